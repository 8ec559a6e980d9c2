"""What users see of --load-scale: shorter loads, judged by what they are long enough for."""

import json
from pathlib import Path

import pytest

from pytest_loadgen.testing.service import Server
from tests.paper import prepared, run

pytestmark = pytest.mark.filterwarnings("default")

TESTS = """
import pytest

@pytest.mark.slo("errors < 1%", "errors < 0.1%", "errors == 0", "status 200 >= 500")
def test_it(load):
    load("/", generator="paper", rate=250, duration=20)
"""
LEFT_OUT = [
    "errors < 1% (needs 1,495 requests)",
    "errors < 0.1% (needs 14,975 requests)",
    "status 200 >= 500 (needs the full length, as a count)",
]


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server) -> pytest.Pytester:
    return prepared(pytester, server, TESTS)


def report(suite: pytest.Pytester) -> dict[str, object]:
    """Give the only run of the report r.json: how many requests it had, its verdicts, and what it was not judged by."""
    (found,) = json.loads((suite.path / "r.json").read_text())["runs"]
    requests = sum(sum(interval["outcomes"].values()) for interval in found["result"]["intervals"])
    verdicts = [verdict["slo"] for verdict in found["verdicts"]]
    return {"requests": requests, "verdicts": verdicts, "not judged": found["not_judged"]}


@pytest.mark.parametrize("args", [[], ["--load-strict"], ["-n1"]])
def test_what_a_load_is_too_short_for_is_named(suite: pytest.Pytester, args: list[str]) -> None:
    """In one line and in reports; it fails no test, not even a strict one."""
    result = run(suite, "--load-scale=0.06", "--load-report=r.json", "--load-report=r.md", *args)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"test_a.py::test_it: not judged, because of --load-scale: {', '.join(LEFT_OUT)}."])
    assert report(suite) == {"requests": 250, "verdicts": ["errors == 0"], "not judged": LEFT_OUT}
    assert "not judged, because of" in (suite.path / "r.md").read_text()


def test_what_it_is_long_enough_for_is_judged(suite: pytest.Pytester) -> None:
    run(suite, "--load-scale=0.1", "--load-report=r.json").assert_outcomes(passed=1)
    assert report(suite)["verdicts"] == ["errors < 1%", "errors == 0"]
    run(suite, "--load-scale=2", "--load-report=r.json").assert_outcomes(passed=1)
    assert report(suite)["verdicts"] == ["errors < 1%", "errors < 0.1%", "errors == 0"]


@pytest.mark.parametrize("factor", ["0.1", "2"])
def test_what_is_missed_fails(suite: pytest.Pytester, factor: str) -> None:
    suite.makepyfile(test_a=TESTS.replace("errors < 1%", "status 200 < 10%"))
    result = run(suite, f"--load-scale={factor}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *missed   status 200 < 10% *"])


def test_what_the_full_load_cannot_decide_is_an_error(suite: pytest.Pytester) -> None:
    """As without the option: a smoke run is no way to hide it."""
    suite.makepyfile(test_a=TESTS.replace("errors < 1%", "p99.99 < 200ms"))
    result = run(suite, "--load-scale=0.1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *PlanError: 'p99.99 < 200ms' needs at least 29,956 requests *"])


def test_a_load_that_mostly_fails_fails(suite: pytest.Pytester, server: Server) -> None:
    """Also where it is too short for its objective on errors."""
    server.choose = lambda path, before: "/503" if before % 10 else "/"
    suite.makepyfile(test_a="def test_it(load):\n    load('/', rate=40, duration=150, slo='errors < 0.1%')\n")
    result = run(suite, "--load-scale=0.01")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *ServiceError: GET /: 54 of 60 requests failed: 54 × 503.*"])


def test_it_is_not_compared_with_a_full_load(suite: pytest.Pytester) -> None:
    """The message does not propose to replace the full one; under another name, scaled loads are compared."""
    suite.makepyfile(
        test_a="def test_it(load):\n    load('/', generator='paper', duration=20, slo='rate > baseline - 10%')\n"
    )
    run(suite, "--load-save=main").assert_outcomes(passed=1)
    result = run(suite, "--load-compare=main", "--load-scale=0.2")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "test_a.py::test_it: unclear  rate > baseline - 10% *(the baseline 'main' is of a different load (rate and "
            "duration were 100/s for 20s, now 100/s for 4s): leave --load-scale out, or save loads of this scale "
            "under another name)"
        ]
    )
    run(suite, "--load-save=smoke", "--load-scale=0.2").assert_outcomes(passed=1)
    run(suite, "--load-compare=smoke", "--load-scale=0.2", "--load-strict").assert_outcomes(passed=1)
    assert len(list(Path(suite.path).glob(".loadgen/*/*.json"))) == 2


def test_both_sides_are_scaled(suite: pytest.Pytester, server: Server) -> None:
    """Of two services side by side, and of several generators."""
    suite.makepyfile(
        test_a=f"""
        def test_side_by_side(load):
            result = load("/", rate=60, duration=5, against="{server.url}")
            assert result.requests == result.against.requests == 60

        def test_generators(load):
            checked = load("/", generator=["paper", "whole"], duration=20)
            assert [result.requests for result in checked.values()] == [400, 400]
        """
    )
    run(suite, "--load-scale=0.2").assert_outcomes(passed=2)


def test_a_search_for_the_capacity(suite: pytest.Pytester) -> None:
    """It has less time for loads of the same length; and no baseline, so it needs none."""
    suite.makepyfile(
        test_a="""
        def test_it(load):
            found = load.capacity("/", generator="paper", between=(50, 100), within=140, slo="errors < 10%")
            assert found.low == 100
            assert {step.seconds for step in found.steps} == {2, 5}
        """
    )
    run(suite, "--load-scale=0.1", "--load-require-baseline", "--load-compare=main").assert_outcomes(passed=1)


@pytest.mark.parametrize("text", ["0", "-0.1", "nan", "inf", "1e999", "", "fast", "10%", "0x1"])
def test_a_wrong_factor_stops_before_any_load(suite: pytest.Pytester, text: str) -> None:
    result = run(suite, f"--load-scale={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --load-scale={text}: expected a number above 0, such as 0.1 for a tenth of all durations"]
    )
