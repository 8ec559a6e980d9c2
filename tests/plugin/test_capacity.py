"""`load.capacity()`, against a service whose capacity is known."""

import sys
import textwrap

import pytest

from pytest_loadgen.testing.service import Server
from tests import paper
from tests.builders import one_at_a_time

CONFTEST = f"""
    import pytest
    from pytest_loadgen import serve

    @pytest.fixture(scope="session")
    def load_target():
        with serve([{sys.executable!r}, {one_at_a_time.__file__!r}, "{{port}}", "0.005"]) as url:
            yield url
"""

LATE = """
    from dataclasses import replace

    class Late(Paper):
        name = "late"

        def run(self, plan):
            lag = Histogram()
            lag.record(0.5, int(plan.rate))
            for interval in super().run(plan):
                yield replace(interval, lag=lag, cpu=1.0)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(textwrap.dedent(CONFTEST))
    return pytester


def run(suite: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    suite.makepyfile(test_a=textwrap.dedent(tests))
    return suite.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_the_capacity_of_a_service(suite: pytest.Pytester) -> None:
    """200/s, where a busy machine may take some of it."""
    result = run(
        suite,
        """
        def test_it(load):
            capacity = load.capacity("/", slo="p99 < 500ms", between=("25/s", "400/s"), within="30s")
            assert 25 <= capacity.low < capacity.high <= 400
            assert capacity >= "25/s"
            assert capacity < "400/s"
            assert not capacity >= "400/s"
            assert capacity.limited_by == "p99 < 500ms"
            assert capacity.steps[0].rate == "25/s"
        """,
        "--load-report=loads.json",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_a.py::test_it: capacity of GET /: *holds, * does not (p99 < 500ms)*"])


def test_a_service_that_holds_the_range(pytester: pytest.Pytester, server: Server) -> None:
    """Of marks the objectives count; what they say of the rate is for other loads."""
    tests = """
        import pytest

        @pytest.mark.load(rate=5000, duration="1h", generator="paper")
        @pytest.mark.slo("errors < 10%")
        def test_it(load):
            capacity = load.capacity("/", between=(10, 22))
            assert [step.rate for step in capacity.steps[:3]] == [10, 20, 22]
            assert capacity >= 22
            assert capacity.high == float("inf")
            assert capacity.limited_by == "the range ends there"
    """
    paper.run(paper.prepared(pytester, server, textwrap.dedent(tests))).assert_outcomes(passed=1)


WRONG = {
    '"/"': "load.capacity() needs objectives that tell whether a rate holds: slo=['p99 < 50ms']",
    '"/", slo="p99 < 50ms", rate=100': "load.capacity() sets rate itself: leave it out, or give a range of rates",
    '"/", slo="p99 < baseline"': "'p99 < baseline': a search for the capacity has no baseline",
    '"/", slo="p99 < 50ms over any 5s"': "the loads of a search are too short for a window",
    '"/", slo="errors < 5"': "a count means less in a longer load; write a share",
    '"/", slo="rate > 500/s"': "the search sets the rate",
    '"/", slo="p99 < 50ms", between=5': "between=5: write two rates",
    '"/", slo="p99 < 50ms", between=("9/s", "5/s")': "write two rates above 0, the lower one first",
    '"/", slo="p99 < 50ms", between=("9", "5/s")': "between: '9' is not a rate",
    '"/", slo="p99 < 50ms", within="2s"': "within='2s': a search takes 7s or more",
    '"/", slo="p99 < 50ms", generator=["embedded", "fortio"]': "load.capacity() takes one generator",
    '["/a", "/b"], slo="p99 of c < 50ms"': "this load has no request named 'c'",
    '"/", slo="p99 < 50ms", rates=5': "load.capacity has no option 'rates': did you mean 'rate'",
}


def test_calls_that_make_no_sense(pytester: pytest.Pytester) -> None:
    """They are refused before anything is sent."""
    tests = "\n".join(f"def test_{number}(load):\n    load.capacity({call})\n" for number, call in enumerate(WRONG))
    result = run(pytester, tests, "--load-target=http://127.0.0.1:9")
    result.assert_outcomes(failed=len(WRONG))
    for said in WRONG.values():
        assert said in result.stdout.str()


def test_a_service_that_is_not_there(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        'def test_it(load):\n    load.capacity("/", slo="p99 < 50ms", ready_timeout=0)\n',
        "--load-target=http://127.0.0.1:9",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ServiceError:*127.0.0.1:9*"])


def test_a_service_that_dies_of_a_load(suite: pytest.Pytester) -> None:
    """The error says at which rate, and the summary shows what was found."""
    suite.makeconftest(textwrap.dedent(CONFTEST).replace('"0.005"', '"0.005", "250"'))
    result = run(suite, 'def test_it(load):\n    load.capacity("/", slo="p99 < 900ms", ready_timeout=0.2)\n')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ServiceError:*The load before was at *00/s.", "*capacity of GET /: *Loads: 100/s*"])


def test_an_unclear_comparison_is_in_the_summary_and_strictly_fails(pytester: pytest.Pytester) -> None:
    test = """
        def test_it(load):
            from pytest_loadgen.objectives.capacity import Capacity
            from pytest_loadgen.units import Rate
            assert Capacity(Rate(10), Rate(20), (), "p99 < 1s", load._unclear) >= "15/s"
    """
    result = run(pytester, test)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_it: capacity >= 15/s is unclear: 10/s holds, 20/s does not (p99 < 1s)."])
    result = run(pytester, test, "--load-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Unclear comparisons fail because of --load-strict."])


def test_a_generator_that_is_the_limit_is_no_capacity(pytester: pytest.Pytester, server: Server) -> None:
    """What the service holds is then not known, and a test that asks for more fails."""
    tests = """
        import pytest
        from pytest_loadgen import InvalidRun

        def test_it(load):
            capacity = load.capacity("/", slo="p99 < 900ms", generator="late")
            assert "generator" in capacity.limited_by
            with pytest.raises(InvalidRun, match="capacity >= 30/s is unclear: not found"):
                assert capacity >= "30/s"
    """
    suite = paper.prepared(pytester, server, textwrap.dedent(tests))
    conftest = paper.CONFTEST.replace("return [Paper(), Whole()]", "return [Late()]")
    suite.makeconftest(conftest + textwrap.dedent(LATE))
    paper.run(suite).assert_outcomes(passed=1)
