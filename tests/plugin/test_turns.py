"""How a load waits for its turn: before its test begins, told, and with an end."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_loadgen.testing.service import Server
from tests.conftest import wait_for
from tests.paper import CONFTEST, prepared

pytestmark = pytest.mark.filterwarnings("default")

HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""
# The clock of a plugin such as pytest-timeout.
TIMER = (
    CONFTEST
    + """
import time

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    begun = time.monotonic()
    yield
    print("the test took", "long" if time.monotonic() - begun > 4.5 else "little")
    return True
"""
)


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    (pytester.path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(pytester.path / "tmp"))
    suite = prepared(pytester, server, "def test_it(load):\n    load('/', generator='paper', duration=1)\n")
    suite.makeconftest(TIMER)
    return suite


@contextmanager
def held(suite: pytest.Pytester) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the machine."""
    argv = [sys.executable, "-c", HOLD, str(suite.path / "tmp" / "pytest-loadgen.lock")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("args", [["-s"], ["-n1"]])
def test_the_wait_is_told_and_no_part_of_the_test(suite: pytest.Pytester, args: list[str]) -> None:
    """Also in a log, and under xdist; once. The summary says how long it was."""
    suite.makeconftest(TIMER + "\nfrom pytest_loadgen.plugin import turns\nturns._LONG_WAIT = 2.0\n")
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args]
    log = suite.path / "log"
    with log.open("w") as file, held(suite) as holder:
        session = subprocess.Popen(argv, stdout=file, stderr=file, cwd=suite.path)
        wait_for(lambda: "waiting" in log.read_text() or session.poll() is not None, 60)
        time.sleep(5)  # longer than the test may take
    assert session.wait(60) == 0
    said = log.read_text()
    assert said.count(f"pytest-loadgen: waiting for another load on this machine: process {holder.pid} (") == 1
    assert said.count("waiting") == 1
    assert re.findall(r"^test_a.py::test_it waited \d+s for other loads on this machine.$", said, re.MULTILINE)
    if args == ["-s"]:
        assert "the test took little" in said


@pytest.mark.parametrize("args", [[], ["-n1"]])
def test_a_wait_without_an_end_is_an_error_of_the_test(suite: pytest.Pytester, args: list[str]) -> None:
    """Not of the session: the other tests go on."""
    suite.makeconftest(TIMER + "\nfrom pytest_loadgen.running import lock\nlock._LONGEST_WAIT = 1.0\n")
    suite.makepyfile(test_b="def test_plain(): pass")
    with held(suite) as holder:
        result = suite.runpytest_subprocess("-p", "no:cacheprovider", *args)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["E *LoadError: timed out after 1s waiting for *pytest-loadgen.lock, which process *"])
    assert f"process {holder.pid} (" in result.stdout.str()


def test_a_load_within_a_test_that_loads_waits_for_nobody(suite: pytest.Pytester) -> None:
    """A suite that runs another suite has the machine already."""
    inner = suite.mkdir("inner")
    (inner / "conftest.py").write_text(CONFTEST)
    (inner / "test_inner.py").write_text(Path(suite.path / "test_a.py").read_text())
    url = Path(suite.path / "tox.ini").read_text()
    (inner / "tox.ini").write_text(url)
    suite.makepyfile(
        test_a=f"""
        import subprocess, sys

        def test_it(load):
            load("/", generator="paper", duration=1)
            argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", {str(inner)!r}]
            assert subprocess.run(argv, timeout=60).returncode == 0
        """
    )
    suite.runpytest_subprocess("-p", "no:cacheprovider", "test_a.py").assert_outcomes(passed=1)


def test_without_a_folder_for_turns_it_is_said(suite: pytest.Pytester) -> None:
    suite.makeconftest(
        CONFTEST
        + """
import tempfile

def broken():
    raise FileNotFoundError(2, "No usable temporary directory found")

tempfile.gettempdir = broken
"""
    )
    result = suite.runpytest_subprocess("-p", "no:cacheprovider", "-s")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["E *LoadError: there is no folder for temporary files *: set TMPDIR"])


def test_a_parameter_that_is_called_load_is_not_the_fixture(pytester: pytest.Pytester) -> None:
    """Its test is no load test: it waits for nothing, and -m "not load" runs it."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("load", [1, 2])
        def test_it(load, request):
            assert not request.node.get_closest_marker("load")
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-m", "not load")
    result.assert_outcomes(passed=2)
