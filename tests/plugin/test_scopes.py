"""Loads in fixtures of a wider scope: one load for several tests."""

import textwrap

import pytest

from pytest_loadgen.testing.service import Server
from tests.paper import prepared, run

pytestmark = pytest.mark.filterwarnings("default")


def suite(pytester: pytest.Pytester, server: Server, tests: str) -> pytest.Pytester:
    return prepared(pytester, server, "import pytest\n" + textwrap.dedent(tests))


@pytest.mark.parametrize("fixture", ["load", "load_session"])
def test_one_load_for_the_tests_of_a_module(pytester: pytest.Pytester, server: Server, fixture: str) -> None:
    """The load belongs to the first test, which may have a load of its own, too."""
    tests = f"""
        @pytest.fixture(scope="module")
        def result({fixture}):
            return {fixture}("/", generator="paper", duration=2)

        def test_first(result, load):
            assert result.requests == 200
            load("/own", generator="paper", duration=1)

        def test_second(result):
            assert result.requests == 200
    """
    found = run(suite(pytester, server, tests), "--load-save=main")
    found.assert_outcomes(passed=2)
    found.stdout.fnmatch_lines(["test_a.py::test_first  GET / *", "test_a.py::test_first  GET /own *"])
    found.stdout.no_fnmatch_line("test_a.py::test_second *")
    again = run(pytester, "--load-compare=main")
    again.assert_outcomes(passed=2)


def test_the_marks_are_those_of_what_the_fixture_is_for(pytester: pytest.Pytester, server: Server) -> None:
    """Those of the module and the class, not those of the test that came first."""
    tests = """
        pytestmark = [pytest.mark.load(generator="paper", rate=100, duration=5), pytest.mark.slo("p99 < 1s")]

        @pytest.fixture(scope="module")
        def of_module(load_session):
            return load_session("/module")

        @pytest.fixture(scope="class")
        def of_class(load):
            return load("/class")

        @pytest.mark.load(rate=80)
        @pytest.mark.slo("p50 < 1s")
        class TestIt:
            @pytest.mark.load(duration=6)
            @pytest.mark.slo("max < 1us")
            def test_first(self, of_module, of_class):
                found = [(result.plan.rate, result.plan.duration, len(result.verdicts))
                         for result in (of_module, of_class)]
                assert found == [(100, 5, 1), (80, 5, 2)]

            def test_second(self, of_class):
                pass
    """
    found = run(suite(pytester, server, tests))
    found.assert_outcomes(passed=2)
    # Nothing was judged by the objective of the test itself.
    found.stdout.fnmatch_lines(["test_a.py::TestIt::test_first: has objectives, but no load was judged."])
    found.stdout.no_fnmatch_line("*test_second: has objectives*")


def test_a_load_that_fails_fails_all_its_tests(pytester: pytest.Pytester, server: Server) -> None:
    tests = """
        @pytest.fixture(scope="module")
        def result(load_session):
            return load_session("/", generator="paper", duration=5, slo="p99 < 1ms")

        def test_first(result): pass
        def test_second(result): pass
    """
    found = run(suite(pytester, server, tests))
    found.assert_outcomes(errors=2)
    found.stdout.fnmatch_lines(["E *SLOMissed: *"])


def test_tests_with_such_a_fixture_load(pytester: pytest.Pytester, server: Server) -> None:
    """-m selects them, and the base URL is that of the test."""
    tests = f"""
        @pytest.fixture
        def load_target():
            return "{server.url}/of/the/module"

        @pytest.fixture(scope="session")
        def result(load_session):
            return load_session("/x", generator="paper", duration=1)

        def test_it(result):
            assert result.plan.target.path == b"/of/the/module/x"

        def test_other(): pass
    """
    run(suite(pytester, server, tests), "-m", "load").assert_outcomes(passed=1, deselected=1)
    run(pytester, "-m", "not load").assert_outcomes(passed=1, deselected=1)
