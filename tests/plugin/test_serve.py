"""Services that tests start: as `load_target`, in failing tests, under xdist, and when pytest is killed."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import wait_for

SHOP = """
import os, pathlib

async def app(scope, receive, send):
    if scope["type"] == "http":
        print("asked for", scope["path"], flush=True)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
"""
TARGET = """
import pytest
from pytest_loadgen import serve

@pytest.fixture(scope="session")
def load_target():
    with serve("uvicorn shop:app --port {port}") as url:
        yield url
"""
SMALL = "rate=50, duration=0.2"
LOG = "pytest-loadgen-service-*.log"


@pytest.fixture(autouse=True)
def files_of_services(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of this test only, in the folder for temporary files."""
    folder = tmp_path_factory.mktemp("tmp")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def run(pytester: pytest.Pytester, conftest: str, tests: str, *args: str) -> pytest.RunResult:
    pytester.makepyfile(shop=SHOP, test_a=tests)
    pytester.makeconftest(conftest)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *args)


def test_load_target_serves(pytester: pytest.Pytester, files_of_services: Path) -> None:
    """And leaves nothing behind: neither a process nor a file."""
    result = run(pytester, TARGET, f"def test_it(load):\n    assert load('/', {SMALL}).outcomes == {{'200': 10}}\n")
    result.assert_outcomes(passed=1)
    assert list(files_of_services.glob(LOG)) == []


@pytest.mark.parametrize("end", ["yield app", "return app", "yield serve(app)"])
def test_load_target_gives_an_application(pytester: pytest.Pytester, end: str) -> None:
    """It is served for as long as the fixture lasts; tests get its address."""
    conftest = f"""
import pytest
from pytest_loadgen import serve

@pytest.fixture(scope="module")
def load_target():
    from shop import app
    {end}
    import pathlib
    pathlib.Path("torn_down").touch()
"""
    tests = f"""
def test_one(load, load_target):
    assert load_target.startswith("http://127.0.0.1:")
    assert load("/", {SMALL}).error_rate == 0

def test_two(load):
    assert load("/", {SMALL}).error_rate == 0
"""
    result = run(pytester, conftest, tests)
    result.assert_outcomes(passed=2)
    assert (pytester.path / "torn_down").exists() == ("yield" in end)


def test_load_target_gives_what_cannot_be_served(pytester: pytest.Pytester) -> None:
    """It is told once for each test, and the fixture ends in order."""
    conftest = """
import pytest

@pytest.fixture(scope="session")
def load_target():
    yield lambda environ, start_response: None
    print("torn down")
"""
    tests = "def test_one(load):\n    load('/')\ndef test_two(load_target):\n    pass\n"
    result = run(pytester, conftest, tests)
    assert result.parseoutcomes() in ({"failed": 1, "errors": 1}, {"failed": 1, "error": 1})
    result.stdout.fnmatch_lines(["*PlanError: this function cannot be served in another process*"])
    result.stdout.no_fnmatch_line("*served.py*")


def test_load_target_on_the_command_line_comes_first(pytester: pytest.Pytester) -> None:
    """Then nothing is started, also for a test that asks for the fixture."""
    conftest = TARGET.replace("with serve", "raise AssertionError('started')\n    with serve")
    tests = "def test_it(load, load_target):\n    assert load_target == 'http://127.0.0.1:9'\n"
    result = run(pytester, conftest, tests * 2, "--load-target=http://127.0.0.1:9", "--setup-show")
    result.assert_outcomes(passed=1)


def test_each_worker_of_xdist_has_its_own(pytester: pytest.Pytester) -> None:
    tests = f"""
import pathlib, pytest

@pytest.mark.parametrize("number", range(2))
def test_it(load, load_target, number):
    pathlib.Path(f"url-{{number}}").write_text(load_target)
    assert load("/", {SMALL}).error_rate == 0
"""
    result = run(pytester, TARGET, tests, "-n", "2", "--dist", "each")
    result.assert_outcomes(passed=4)


def test_a_failed_test_shows_what_the_service_printed(pytester: pytest.Pytester, files_of_services: Path) -> None:
    """Since the test began; the file is kept, and named."""
    tests = f"""
def test_first(load):
    load("/first", {SMALL})

def test_second(load):
    load("/second", {SMALL})
    assert False

def test_third(load):
    assert False

def test_other():
    assert False
"""
    result = run(pytester, TARGET, tests)
    result.assert_outcomes(passed=1, failed=3)
    (kept,) = files_of_services.glob(LOG)
    assert "asked for /first" in kept.read_text()
    text = result.stdout.str()
    sections = re.findall(rf"Output of uvicorn shop:app --port {{port}}: {re.escape(str(kept))} -+\n(.*)", text)
    assert [re.sub("INFO: .*", "INFO", each) for each in sections] == [
        "asked for /second",
        "(nothing during this test)",
    ]
    assert "asked for /first" not in text


def test_a_session_that_passes_keeps_no_output(pytester: pytest.Pytester, files_of_services: Path) -> None:
    """Even if a test expects a service to fail, or another plugin runs a failed test again."""
    conftest = f"""{TARGET}
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.failed:
        assert "Output of uvicorn" in report.sections[-1][0]
        report.outcome = "rerun"  # as pytest-rerunfailures does
    return report
"""
    tests = f"""
import pytest
from pytest_loadgen import ServiceError, serve

def test_expected():
    with pytest.raises(ServiceError, match="All of it: "), serve("shop:ap"):
        pass

def test_again(load):
    load("/", {SMALL})
    assert False
"""
    result = run(pytester, conftest, tests)
    assert result.parseoutcomes() == {"passed": 1, "rerun": 1}
    assert list(files_of_services.glob(LOG)) == []


def test_a_service_in_a_test_that_fails_after_it(pytester: pytest.Pytester, files_of_services: Path) -> None:
    """Its output is there until the test has ended; that of other tests is not."""
    tests = f"""
from pytest_loadgen import serve

def test_passes(load):
    with serve("shop:app") as url:
        load(f"{{url}}/good", {SMALL})

def test_fails(load):
    with serve("shop:app") as url:
        result = load(f"{{url}}/bad", {SMALL})
    assert result.errors > 0
"""
    result = run(pytester, "", tests)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Output of shop:app: *", "asked for /bad"])
    assert len(list(files_of_services.glob(LOG))) == 1


def test_a_service_that_dies_during_a_load(pytester: pytest.Pytester) -> None:
    """Each failed test says how it ended, with the last that it printed."""
    shop = SHOP.replace("        await send", "        print('out of memory'); os._exit(7)\n        await send", 1)
    pytester.makepyfile(shop_that_dies=shop)
    tests = f"def test_it(load):\n    load('/', {SMALL})\ndef test_later(load):\n    load('/', ready_timeout=0)\n"
    result = run(pytester, TARGET.replace("shop:", "shop_that_dies:"), tests)
    result.assert_outcomes(failed=2)
    section = [
        "*Output of uvicorn shop_that_dies:app --port {port}, which ended with exit status 7: */*",
        "*out of memory",
    ]
    result.stdout.fnmatch_lines([*section, *section])


def test_a_service_that_does_not_start_is_told_once(pytester: pytest.Pytester) -> None:
    """At the user's line, with the end of its output."""
    conftest = TARGET.replace("uvicorn shop:app --port {port}", "shop:ap")
    result = run(pytester, conftest, "def test_it(load):\n    load('/')\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *ServiceError: shop:ap ended with exit status 1 before it was ready.*"])
    assert result.stdout.str().count("did you mean 'app'?") == 1
    result.stdout.no_fnmatch_line("*pytest_loadgen/service*")


@pytest.mark.skipif(sys.platform != "linux", reason="what has left the process group is found on Linux only")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_a_killed_session(pytester: pytest.Pytester, number: signal.Signals) -> None:
    """Neither the service nor its children, even one in a session of its own."""
    pytester.makepyfile(
        family="""
import http.server, os, subprocess, sys
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
print("pids", os.getpid(), *(child.pid for child in children), flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
server.serve_forever()
""",
        test_a="def test_it(load):\n    load('/', duration=60, rate=5)\n",
    )
    pytester.makeconftest(TARGET.replace("uvicorn shop:app --port {port}", "python family.py {port}"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    with subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL) as session:
        folder = Path(os.environ["TMPDIR"])
        wait_for(lambda: any("/ HTTP" in log.read_text() for log in folder.glob(LOG)), 30)
        (log,) = folder.glob(LOG)
        pids = re.findall(r"\d+", log.read_text().partition("\n")[0])
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        session.send_signal(number)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
