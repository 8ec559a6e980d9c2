"""Loads in async tests: the event loop keeps running, and fixtures may be async."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest

pytestmark = pytest.mark.filterwarnings("default")

# A service in the event loop of the test.
CONFTEST = """
import asyncio, threading
import pytest

@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"

async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\\r\\n\\r\\n")
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()

@pytest.fixture(scope="{scope}")
async def load_target(anyio_backend):
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield "http://127.0.0.1:%s" % server.sockets[0].getsockname()[1]
    server.close()
"""
SMALL = "rate=50, duration=0.3"


def suite(pytester: pytest.Pytester, tests: str, scope: str = "function") -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.replace("{scope}", scope))
    header = "import asyncio, contextvars, threading\nimport pytest\n\npytestmark = pytest.mark.anyio\n"
    pytester.makepyfile(test_a=header + textwrap.dedent(tests))
    return pytester


def run(pytester: pytest.Pytester, tests: str, *args: str, scope: str = "function") -> pytest.RunResult:
    return suite(pytester, tests, scope).runpytest_inprocess("-p", "no:cacheprovider", *args)


@pytest.mark.parametrize("scope", ["function", "session"])
def test_a_service_in_the_loop_of_the_test(pytester: pytest.Pytester, scope: str) -> None:
    """load_target is an async fixture; the load runs in a thread with the test's context, which ends with it."""
    result = run(
        pytester,
        f"""
        setting = contextvars.ContextVar("setting")

        async def test_it(load):
            setting.set("of the test")
            seen = []

            async def looks(client):
                seen.append(setting.get())
                await client.get("/")

            assert (await load.run("/", {SMALL})).outcomes == {{"200": 15}}
            assert (await load.run(looks, {SMALL}, process=False)).outcomes == {{"OK": 15}}
            assert set(seen) == {{"of the test"}}
            assert (await asyncio.to_thread(load, "/", {SMALL})).outcomes == {{"200": 15}}
            assert not [thread for thread in threading.enumerate() if "loadgen" in thread.name]
        """,
        scope=scope,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_a.py::test_it  looks *", "*ran in the test process*"])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("load('/')", "*load() was called in a coroutine and would block its event loop: write 'await load.run(…)'*"),
        (
            "load.run('/')",
            "test_a.py::test_it: load.run() was not awaited, so nothing was sent: write 'await load.run(…)'",
        ),
        ("await load.run('/', rat=1)", "*PlanError: load has no option 'rat'*"),
        ("await load.run('/', '/b')", "*PlanError: load() takes one address*"),
    ],
)
def test_a_call_that_is_wrong_in_a_coroutine(pytester: pytest.Pytester, call: str, said: str) -> None:
    """It fails the test before anything is sent, at the user's line."""
    result = run(pytester, f"async def test_it(load):\n    {call}\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([said])
    result.stdout.no_fnmatch_line("*event_loop.py*")
    result.stdout.no_fnmatch_line("*= load =*")


def test_run_elsewhere(pytester: pytest.Pytester) -> None:
    result = run(pytester, "def test_it(load):\n    load.run('http://localhost:1')\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*load.run() works in asyncio coroutines only: elsewhere, call load(…)"])


def test_a_load_that_fails_does_so_at_the_users_line(pytester: pytest.Pytester) -> None:
    result = run(pytester, f"async def test_it(load):\n    await load.run('/', {SMALL}, expect=404)\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">*await load.run('/', *", "E *ServiceError: GET /: all 15 requests failed*"])
    result.stdout.no_fnmatch_line("*event_loop.py*")


def test_a_load_whose_task_is_cancelled_stops(pytester: pytest.Pytester) -> None:
    """What it has measured is shown, nothing of it keeps running, and it does not wait for the service."""
    result = run(
        pytester,
        """
        async def test_it(load):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await load.run("/", rate=50, duration=60)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await load.run("http://127.0.0.1:1", ready_timeout=60)
            assert not [thread for thread in threading.enumerate() if "loadgen" in thread.name]
        """,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test_a.py::test_it: interrupted after * of 1m*"])


def test_ctrl_c_ends_it(pytester: pytest.Pytester) -> None:
    """Even a journey that catches everything, in a thread of the test process, does not delay pytest's exit."""
    suite(
        pytester,
        """
        async def stubborn(client):
            print("begun", flush=True)
            for _ in range(3):
                try:
                    await asyncio.sleep(60)
                except BaseException:
                    pass

        async def test_it(load):
            await load.run(stubborn, users=2, duration=60, timeout=60, process=False)
        """,
    )
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=pytester.path) as session:
        assert session.stdout
        while "begun" not in session.stdout.readline():
            assert session.poll() is None
        session.send_signal(signal.SIGINT)
        sent = time.monotonic()
        output = session.communicate(timeout=30)[0]
    assert "KeyboardInterrupt" in output
    assert time.monotonic() - sent < 15


def test_an_async_fixture_loads(pytester: pytest.Pytester) -> None:
    """Once for the tests of a module; the base URL is an async fixture, too."""
    result = run(
        pytester,
        f"""
        @pytest.fixture(scope="module")
        async def result(load_session):
            return await load_session.run("/", {SMALL})

        async def test_a(result):
            assert result.outcomes == {{"200": 15}}

        async def test_b(result):
            assert result.outcomes == {{"200": 15}}
        """,
        scope="session",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["test_a.py::test_a  GET / *"])
    result.stdout.no_fnmatch_line("test_a.py::test_b *")
