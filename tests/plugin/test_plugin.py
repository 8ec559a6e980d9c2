"""What users see of the plugin, in pytest sessions of their own."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from pytest_loadgen.testing.service import Server

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server) -> pytest.Pytester:
    """A folder of tests whose load_target is the server; loads are small unless told otherwise."""
    pytester.makeini(f"[pytest]\nload_target = {server.url}\n")
    pytester.makepyprojecttoml('[tool.pytest-loadgen.profiles.small]\nrate = 100\nduration = "0.2s"\n')
    return pytester


def run(suite: pytest.Pytester, *args: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("--load-profile=small", "-p", "no:cacheprovider", *args)


# The result of a test.


def test_a_load_that_holds_passes_and_is_told_in_the_summary(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_a="""
        def test_fast(load):
            result = load("/")
            assert result.p99 < "10s"
            assert result.error_rate == 0
            assert result.requests == 20
        """
    )
    result = run(suite)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "*= load =*",
            "test *request *requests *rate *p50 *p99 *errors*",
            "test_a.py::test_fast *GET / *20 *100/s *s *s *0",
        ]
    )


def test_a_missed_limit_fails_with_the_figures(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        def test_slow(load):
            result = load("/delay/0.05")
            assert result.p99 < "10ms"
        """
    )
    result = run(suite)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            '>       assert result.p99 < "10ms"',
            "E       AssertionError: assert *ms < '10ms'",
            "E        +  where *ms = <Result of embedded: 20 requests, 100/s, p50 *, p99 *, 0 errors>.p99",
        ]
    )


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/503", "GET /503: all 20 requests failed: 20 × 503. Expected 2xx or 3xx (expect=)."),
        ("/reset", "GET /reset: all 20 requests failed: 20 × reset. Is http://127.0.0.1:* up?"),
        (
            "/garbage",
            '*20 × protocol. *it does not begin with "HTTP/"; * speak HTTP, and does it require a client certificate *',
        ),
    ],
)
def test_a_load_without_one_right_answer_is_never_green(suite: pytest.Pytester, path: str, said: str) -> None:
    suite.makepyfile(f"def test_dead(load):\n    load({path!r})\n")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f">   *load({path!r})", f"E *ServiceError: {said}", "*GET /* 100%: 20 *"])


def test_an_expected_status_is_no_error(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        def test_shedding(load):
            assert load("/503", expect=503).errors == 0
            assert load("/404", expect=[200, "4xx"]).errors == 0
        """
    )
    run(suite).assert_outcomes(passed=1)


def test_a_service_that_is_not_up_is_said_so_at_the_users_line(suite: pytest.Pytester, server: Server) -> None:
    server.die()
    suite.makepyfile('def test_down(load):\n    load("/", ready_timeout=0.1)\n')
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>*load("/", ready_timeout=0.1)',
            "E *ServiceError: http://127.0.0.1:* does not accept connections after 100ms: *",
        ]
    )
    result.stdout.no_fnmatch_line("*fixture.py*")


# Options.


def test_the_nearest_option_wins(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.load(rate=50, duration="0.2s", method="PUT")

        @pytest.mark.load(rate=150)
        class TestIt:
            @pytest.mark.load(rate=200)
            def test_function(self, load):
                assert load("/").requests == 40
                assert load("/", rate="250/s").requests == 50
                assert load("/").plan.target.method == "PUT"

            def test_class(self, load):
                assert load("/").requests == 30

        def test_module(load):
            assert load("/").requests == 10
        """
    )
    run(suite).assert_outcomes(passed=3)


def test_stages_replace_the_rate_of_a_mark(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        from pytest_loadgen import hold, ramp

        @pytest.mark.load(rate=50, duration="60s")
        def test_stages(load):
            result = load("/", stages=[hold(100, 0.1), ramp(100, 300, "0.1s")])
            assert result.requests == 30
        """
    )
    run(suite).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("durration=3", "the load mark has no option 'durration': did you mean 'duration'?"),
        ("duration='5'", "duration: '5' needs a unit: write 5ms or 5s"),
        ("rate='5x'", "rate: '5x' is not a rate: write a number per second (500) or a string ('500/s', '30/m')"),
        ("arrivals='poison'", "arrivals='poison': did you mean 'poisson'?"),
        ("500", "the load mark takes options by name, for example load(rate=500); got 500"),
        ("connections=0", "connections=0: write a whole number, 1 or more"),
    ],
)
def test_a_mark_that_cannot_be_carried_out_stops_at_collection(
    suite: pytest.Pytester, server: Server, mark: str, said: str
) -> None:
    suite.makepyfile(
        test_a=f"""
        import pytest

        def test_first(load):
            load("/")

        @pytest.mark.load({mark})
        def test_typo(load):
            load("/")
        """
    )
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: test_a.py::test_typo: {said}"])
    assert server.connections == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("load('/', durration=3)", "load has no option 'durration': did you mean 'duration'?"),
        ("load('htp://localhost/')", "unknown scheme htp://: did you mean 'http'?"),
        ("load('/', http2=True)", "embedded does not support: http2. Supported by: *"),
        ("load('/', rate=1, duration='0.0001s', warmup=-1)", "warmup=-1: must be a finite time >= 0"),
        ("load('/', rate=0)", "0/s for 200ms: this plan sends no requests; raise the rate or the duration"),
        ("load('/', workers=200)", "100 connections cannot be shared by 200 workers: *"),
        ("load('/', headers={'A': 'b\\r\\nC: d'})", "headers: invalid header 'A': *HTTP *"),
        ("load('http://203.0.113.7/')", "203.0.113.7 (203.0.113.7) is neither this machine nor in a private network*"),
    ],
)
def test_an_impossible_call_stops_before_any_load(suite: pytest.Pytester, server: Server, call: str, said: str) -> None:
    suite.makepyfile(f"def test_it(load):\n    {call}\n")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f">   *{call}".replace("[", "[[]"), f"E *Error: {said}"])
    assert server.requests.total() == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--load-profile=smal"], "no profile 'smal' in *pyproject.toml: did you mean 'small'?"),
        (["--load-workers=many"], "--load-workers=many: expected a whole number >= 1*"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(suite: pytest.Pytester, args: list[str], said: str) -> None:
    result = run(suite, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


def test_a_profile_may_come_from_the_ini_file(pytester: pytest.Pytester, server: Server) -> None:
    pytester.makepyprojecttoml(
        f"""
        [tool.pytest.ini_options]
        load_profile = "brief"
        load_target = "{server.url}"

        [tool.pytest-loadgen.profiles.brief]
        rate = "30/s"
        duration = "0.1s"
        """
    )
    pytester.makepyfile("def test_it(load):\n    assert load('/').requests == 3\n")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


# Where the service is.


def test_a_fixture_may_start_the_service(pytester: pytest.Pytester, server: Server) -> None:
    pytester.makeconftest(
        f"import pytest\n@pytest.fixture(scope='session')\ndef load_target():\n    yield {server.url!r} + '/api'\n"
    )
    server.choose = lambda path, count: "/" if path == "/api/x" else "/404"
    pytester.makepyfile("def test_it(load):\n    assert load('/x', duration=0.1).errors == 0\n")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_the_command_line_says_where_the_service_is(suite: pytest.Pytester, server: Server) -> None:
    suite.makeconftest(
        "import pytest\n@pytest.fixture(scope='session')\ndef load_target():\n    raise AssertionError('not asked')\n"
    )
    suite.makepyfile("def test_it(load):\n    load()\n")
    run(suite, f"--load-target={server.url}/chunked").assert_outcomes(passed=1)
    assert server.requests["/chunked"] == 20


def test_a_relative_address_needs_a_target(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(load):\n    load('/x')\n")
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["E *PlanError: '/x' is a relative URL, and no base URL is set: *"])


# What pytest has already.


def test_tests_that_load_can_be_left_out(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_load(load):\n    load('/')\ndef test_other():\n    pass\n")
    run(suite, "-m", "not load").assert_outcomes(passed=1, deselected=1)


def test_the_mark_is_registered(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\n@pytest.mark.load(rate=10)\ndef test_load(load):\n    load('/')\n")
    run(suite, "--strict-markers").assert_outcomes(passed=1)
    result = suite.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.load(rate, duration, ...): *"])


def test_more_columns_when_verbose(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_a="def test_load(load):\n    load('/')\n")
    result = run(suite, "-v")
    result.stdout.fnmatch_lines(["test *request *requests *offered *rate *p50 *p90 *p99 *p99.9 *max *lag p99 *CPU *"])


def test_each_load_of_a_test_has_a_row(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_a="def test_load(load):\n    load('/')\n    load('/chunked?token=s3cret', method='PUT')\n")
    result = run(suite)
    result.stdout.fnmatch_lines(["test_a.py::test_load *GET / *", "test_a.py::test_load *PUT /chunked *"])
    result.stdout.no_fnmatch_line("*s3cret*")


def test_nothing_is_said_where_nothing_was_loaded(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_other():\n    pass\n")
    run(suite).stdout.no_fnmatch_line("*= load =*")


# Several workers.


def test_workers_share_each_load(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_load(load):\n    assert load('/', rate=101, duration=1).requests == 101\n")
    run(suite, "--load-workers=2").assert_outcomes(passed=1)


def test_under_xdist_each_load_is_in_the_summary_and_had_the_machine_alone(
    suite: pytest.Pytester, server: Server, tmp_path: Path
) -> None:
    busy: dict[str, list[float]] = defaultdict(list)

    def choose(path: str, count: int) -> str:
        busy[path].append(time.monotonic())
        return "/"

    server.choose = choose
    suite.makepyfile(
        test_a=f"""
        import pathlib, time
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_load(load, n):
            assert load(f"/load{{n}}", rate=100, duration=0.5).requests == 50

        @pytest.mark.parametrize("n", range(8))
        def test_other(n):
            begun = time.monotonic()
            time.sleep(0.1)
            pathlib.Path({str(tmp_path)!r}, f"other{{n}}").write_text(f"{{begun}} {{time.monotonic()}}")
        """
    )
    result = run(suite, "-n2")
    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines_random([f"test_a.py::test_load[[]{n}[]] *GET /load{n} *50 *100/s *" for n in range(4)])
    loads = {name: (times[0], times[-1]) for name, times in busy.items()}
    others = {path.name: tuple(map(float, path.read_text().split())) for path in tmp_path.glob("other*")}
    assert len(loads) == 4
    assert len(others) == 8
    for load, (begun, ended) in loads.items():
        everything = {**loads, **others}
        assert not [name for name, span in everything.items() if name != load and span[0] < ended and begun < span[1]]


def test_under_xdist_a_service_forked_in_the_session_does_not_hold_up_loads(
    suite: pytest.Pytester, server: Server
) -> None:
    suite.makeconftest(
        f"""
        import os, signal, time
        import pytest

        @pytest.fixture(scope="session")
        def load_target():
            pid = os.fork()
            if not pid:
                signal.pause()
                os._exit(0)
            yield {server.url!r}
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        """
    )
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_load(load, n):
            load("/")

        def test_asked_for_late(request):
            request.getfixturevalue("load")("/")

        def test_other():
            pass
        """
    )
    run(suite, "-n2").assert_outcomes(passed=6)


def test_two_sessions_on_one_machine_take_turns(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import time

        def test_load(load):
            load("/", rate=100, duration=1)
            print("ENDED", time.monotonic())
        """
    )
    sessions = [
        subprocess.Popen(
            [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=suite.path,
        )
        for _ in range(2)
    ]
    outputs = [session.communicate(timeout=60)[0] for session in sessions]
    assert [session.returncode for session in sessions] == [0, 0], outputs
    first, second = sorted(float(re.findall(r"ENDED ([\d.]+)", output)[0]) for output in outputs)
    assert second - first > 0.95


# Stopping.


@pytest.mark.parametrize("args", [[], ["--load-workers=2"]])
def test_ctrl_c_stops_the_load_and_keeps_the_figures(suite: pytest.Pytester, server: Server, args: list[str]) -> None:
    suite.makepyfile(test_a="def test_long(load):\n    load('/', rate=100, duration=60)\n")
    session = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args],
        stdout=subprocess.PIPE,
        text=True,
        cwd=suite.path,
        env={**os.environ, "LOADGEN_TEST": str(suite.path)},
    )
    deadline = time.monotonic() + 30
    while server.requests.total() < 150 and time.monotonic() < deadline:
        time.sleep(0.01)
    session.send_signal(signal.SIGINT)
    output = session.communicate(timeout=30)[0]
    assert session.returncode == pytest.ExitCode.INTERRUPTED
    assert re.search(r"test_a.py::test_long +GET / +\d\d\d +[\d.]+/s", output), output
    assert re.search(r"test_a.py::test_long: interrupted after \d(\.\d+)?s of 1m\.", output), output
    assert not processes_with(f"LOADGEN_TEST={suite.path}")


def processes_with(variable: str) -> list[Path]:
    """Find processes by a variable of their environment, which their children inherit."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable.encode() in path.read_bytes().split(b"\0"):
                found.append(path)
        except OSError:
            continue  # it has ended meanwhile, or is another user's
    return found


def test_a_killed_generator_is_an_error_with_the_figures_so_far(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_a="""
        import os, signal, threading

        def test_killed(load):
            load("/", duration=0.1)
            worker = load._settings.registry["embedded"]._idle[0]._process.pid
            threading.Timer(1.5, os.kill, (worker, signal.SIGKILL)).start()
            load("/", rate=100, duration=30)
        """
    )
    result = run(suite)
    result.stdout.fnmatch_lines(
        [
            "E *GeneratorError: embedded: its process was killed by SIGKILL",
            "test_a.py::test_killed *GET / *100 *100/s *",
            "test_a.py::test_killed: interrupted after 1s of 30s.",
        ]
    )


# The live line.


def in_a_terminal(suite: pytest.Pytester, *args: str) -> str:
    """Run pytest in a terminal, and give everything that it wrote there."""
    master, terminal = pty.openpty()
    session = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--load-profile=small", *args],
        stdout=terminal,
        stderr=terminal,
        stdin=terminal,
        cwd=suite.path,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(terminal)
    written = b""
    try:
        while data := os.read(master, 65536):
            written += data
    except OSError:
        pass  # Linux's way to say that nobody has the terminal any more
    session.wait(30)
    os.close(master)
    return written.decode()


def test_a_terminal_shows_how_the_load_is_going_and_then_nothing_of_it(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_a="def test_long(load):\n    load('/', rate=100, duration=2.5)\n")
    written = in_a_terminal(suite)
    assert re.search(r"\x1b7\x1b\[K .* 1/2\.5s 100/s, p50 \S+, p99 \S+, 0 errors, lag \S+\s*\x1b8", written), written
    # The line goes before the dot of the test comes.
    assert re.search(r"test_a\.py .*\x1b\[K(\x1b\[\d*m)*\.", written, re.DOTALL), written


@pytest.mark.parametrize("args", [["-q"], ["-n1"]])
def test_no_live_line_when_quiet_or_under_xdist(suite: pytest.Pytester, args: list[str]) -> None:
    suite.makepyfile("def test_long(load):\n    load('/', rate=100, duration=2)\n")
    assert "\x1b7" not in in_a_terminal(suite, *args)


def test_no_live_line_in_a_file(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_long(load):\n    load('/', rate=100, duration=2)\n")
    result = suite.runpytest_subprocess("--load-profile=small", "-p", "no:cacheprovider")
    assert "\x1b" not in result.stdout.str()


def test_a_session_leaves_no_process_of_its_generators(suite: pytest.Pytester) -> None:
    """They are ended with the session, and not only with the process that it ran in."""
    suite.makepyfile("def test_it(load):\n    load('/')\n")
    before = children()
    run(suite).assert_outcomes(passed=1)
    assert children() == before


def children() -> set[str]:
    """Find the child processes of this one that still run."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(path.parent.name)
    return found
