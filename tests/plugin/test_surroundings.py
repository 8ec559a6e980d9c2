"""Loads in unusual surroundings, and what of a load is shown there: each works, or says why not."""

from pathlib import Path

import pytest

from pytest_loadgen.testing.service import Server
from tests.paper import CONFTEST, prepared, run

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server) -> pytest.Pytester:
    return prepared(pytester, server, "def test_it(load):\n    load('/', generator='paper', duration=1)\n")


def test_all_typos_are_told_together(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_a="""
        import pytest

        @pytest.mark.load(rat=5)
        @pytest.mark.slo("p99 < 200", "latency < 200ms")
        def test_a(load): pass

        @pytest.mark.load("30s")
        @pytest.mark.parametrize("n", range(3))
        def test_b(load, n): pass
        """
    )
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line]
    starts = [
        "ERROR: test_a.py::test_a: the load mark has no option 'rat'",
        "ERROR: test_a.py::test_a: 'p99 < 200': ",
        "ERROR: test_a.py::test_a: 'latency < 200ms': ",
        "ERROR: test_a.py::test_b[0] and 2 more: the load mark takes options by name",
    ]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True] * 4


def test_no_secret_where_everything_is_shown(suite: pytest.Pytester) -> None:
    """Neither of what the fixture holds nor of the frames of this package, with a fault in another's hook."""
    suite.makeconftest(
        CONFTEST
        + """
def pytest_loadgen_plan(item, plan):
    beside = "shown"
    raise OSError("no plan")
"""
    )
    suite.makepyfile(
        test_a="""
        import pytest

        @pytest.mark.load(headers={"Authorization": "Bearer " + "gehei" "m"})
        def test_it(load):
            load("/", generator="paper", auth=("me", "gehei" "m"), params={"key": "gehei" "m"})
        """
    )
    result = run(suite, "--showlocals", "--tb=long", "-vv")
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*geheim*")
    result.stdout.fnmatch_lines(["load *= <Load of test_a.py::test_it>"])
    result.stdout.fnmatch_lines(["beside *= 'shown'"])
    result.stdout.fnmatch_lines(["E *OSError: no plan"])


def test_after_the_test_and_in_threads(suite: pytest.Pytester) -> None:
    """A relative address is known in a fixture's teardown, with warnings as errors, and in two threads."""
    suite.makepyfile(
        test_a="""
        import pytest
        from concurrent.futures import ThreadPoolExecutor

        @pytest.fixture
        def after(load):
            yield
            load("/", generator="paper", duration=1)

        def test_after(after):
            pass

        def test_threads(load):
            with ThreadPoolExecutor(2) as threads:
                results = list(threads.map(lambda path: load(path, generator="paper", duration=1), ["/a", "/b"]))
            assert [result.requests for result in results] == [100, 100]
        """
    )
    run(suite, "-Werror").assert_outcomes(passed=2)


def test_not_load_is_meant_for_doctests_too(suite: pytest.Pytester) -> None:
    """They ask for the fixture only when they run."""
    suite.makepyfile(
        test_a="""
        def shop():
            '''
            >>> getfixture("load")("/", generator="paper", duration=1).requests
            100
            '''
        """
    )
    run(suite, "--doctest-modules").assert_outcomes(passed=1)
    result = run(suite, "--doctest-modules", "-m", "not load", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*it runs a load, which -m 'not load' deselects*"])


def test_a_terminal_that_is_not_utf_8(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table stays a table."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    suite.makeconftest(CONFTEST.replace('{"200": int(plan.rate)}', '{"200": 99, "503": 1}'))
    result = suite.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["test *request *errors", "test_a.py::test_it *1%: 1 \\xd7 503"])


@pytest.mark.parametrize("option", ["--load-report", "--load-storage"])
def test_a_root_directory_that_an_option_moved_is_reported(suite: pytest.Pytester, option: str) -> None:
    """Pytest takes the second of two words for a path of tests, if it exists."""
    elsewhere = suite.path.parent / f"{suite.path.name}.elsewhere.json"
    elsewhere.write_text("")
    result = suite.runpytest_subprocess("-p", "no:cacheprovider", option, str(elsewhere), "--co")
    result.stdout.fnmatch_lines([f"pytest took {elsewhere} for a path of tests: *. Write {option}={elsewhere}"])
    result = suite.runpytest_subprocess("-p", "no:cacheprovider", f"{option}={elsewhere}", "--co")
    result.stdout.no_fnmatch_line("pytest took *")


def test_control_characters_of_a_name_are_escaped(suite: pytest.Pytester) -> None:
    """Control characters and GitHub's commands in what comes from elsewhere: here the outcomes, and a message."""
    outcome = "\\x1b[31m\\n::error::x"
    suite.makeconftest(CONFTEST.replace('{"200": int(plan.rate)}', f'{{"200": 99, "{outcome}": 1}}'))
    suite.makepyfile(
        test_a="""
        def test_it(load):
            load("/", generator="paper", duration=4, slo="errors == 0")
        """
    )
    result = run(suite, "--load-report=r.md", "--color=no")
    text = result.stdout.str() + Path(suite.path / "r.md").read_text()
    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line.startswith("::")]
