"""What charts promise: curves of all requests, that end where answers end, and objectives where they can be drawn."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.charts import charts
from pytest_loadgen.traffic.plan import hold, ramp
from tests.builders.traffic import plan
from tests.reports.examples import CLOSED, HOSTILE, ILL, NOTHING, UNANSWERED, WELL


@pytest.mark.parametrize("percent", [10, 50, 90, 99, 99.9])
def test_curve(percent: float) -> None:
    """The curve is at each percentile where the result is: x is the number of requests of which one is slower."""
    (curve,) = charts(WELL).curves
    x = 1 / (1 - percent / 100)
    at = min(range(len(curve.x)), key=lambda index: abs(curve.x[index] - x))
    assert curve.y[at] == pytest.approx(WELL.result.percentile(100 - 100 / curve.x[at]), rel=1e-9)
    assert curve.x[at] == pytest.approx(x, rel=0.06)


@pytest.mark.parametrize("run", [WELL, ILL, CLOSED])
def test_curves_rise(run: Run) -> None:
    """Curves go from the fastest request to the slowest, and never down."""
    for curve in charts(run).curves:
        assert all(one <= other for one, other in pairwise(curve.y))
        assert all(one <= other for one, other in pairwise(curve.x))
        assert curve.x[0] == 1
    main = charts(run).curves[0]
    assert (main.y[0], main.y[-1]) == (run.result.percentile(0), run.result.total.latency.percentile(100))


@pytest.mark.parametrize(
    ("run", "styles"),
    [
        (WELL, ["main"]),
        (ILL, ["main", "service", "baseline"]),
        (CLOSED, ["main", "best"]),
        (UNANSWERED, ["main"]),
        (NOTHING, ["main"]),
    ],
)
def test_which_curves(run: Run, styles: list[str]) -> None:
    """There is a curve for what differs: what was served, what it was at best, what it was before."""
    assert [curve.style for curve in charts(run).curves] == styles


def test_a_curve_ends_with_the_answers() -> None:
    """What was not answered is not on the curve, and leaves its share free."""
    found = charts(ILL)
    assert found.curves[0].x[-1] == pytest.approx(878 / 13)
    assert (found.requests, found.unanswered) == (878, 13)
    assert charts(UNANSWERED).curves[0].x == []


@pytest.mark.parametrize(
    ("verdict", "drawn"),
    [
        (Verdict("p99 < 200ms", "met", "", 0.1, 0.15), (0.2, 100, 0.1, 0.15)),
        (Verdict("p99 < 200ms", "missed", "", 0.3, float("inf")), (0.2, 100, 0.3, None)),
        (Verdict("service p50 < 40ms", "met", "", 0.01, 0.02), (0.04, 2, 0.01, 0.02)),
        (Verdict("mean < 1s", "unclear", "", 0.5, 1.5), (1.0, None, None, None)),
        (Verdict("max < 1s", "met", "", 0.4, 0.4), (1.0, None, None, None)),
        (Verdict("p90 < 1s over any 4s", "met", "", 0.1, 0.2), (1.0, 10, None, None)),
        (Verdict("p50 < baseline + 10%", "met", "", 0.9, 1.05), (1.1 * 0.0211, 2, 0.9 * 0.0211, 1.05 * 0.0211)),
        (Verdict("errors < 1%", "met", ""), None),
        (Verdict("lag < 1s", "met", ""), None),
        (Verdict("of another version", "met", ""), None),
    ],
)
def test_limits(verdict: Verdict, drawn: Any) -> None:
    """Objectives on latencies are drawn at their limit and percentile, with what the figure may be."""
    limits = charts(replace(ILL, verdicts=(verdict,))).limits
    found = [(limit.limit, limit.at, limit.low, limit.high) for limit in limits]
    about: Any = tuple(number if number is None else pytest.approx(number, rel=0.01) for number in drawn or ())
    assert found == ([about] if drawn else [])


def test_limits_on_rates() -> None:
    """An objective on the rate is drawn where the rate is."""
    assert [(limit.said, limit.limit) for limit in charts(WELL).rates] == [("rate >= 495/s", 495)]


def test_relative_limits_need_a_baseline() -> None:
    """A change from nothing is not drawn."""
    assert [limit.said for limit in charts(replace(ILL, baseline=None)).limits if "baseline" in limit.said] == []


def test_timeline() -> None:
    """Each interval has its figures, and none where they are not known."""
    timeline = charts(ILL).timeline
    assert timeline.at == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6]
    assert timeline.unanswered == [0, 0, 0, 0, 1, 9, 3]
    assert timeline.rate[-2:] == [220, None]
    assert timeline.errors == [3, 3, 3, 10, 16, 39, 3]
    assert [value is None for value in timeline.latency["max"]] == [False] * 4 + [True] * 3
    assert charts(HOSTILE).timeline.unanswered == [10] * 6


@pytest.mark.parametrize(
    ("stages", "asked"),
    [
        ([hold(100, 3), ramp(100, 300, 3)], ([0, 3, 3, 6], [100, 100, 100, 300])),
        ([hold(100, 3)], ([0, 6], [100, 100])),  # it went on for longer
        ([hold("max", 3)], ([], [])),
    ],
)
def test_asked(stages: Any, asked: Any) -> None:
    """What was asked for is drawn by its corners."""
    assert charts(replace(WELL, result=replace(WELL.result, plan=plan(stages=stages)))).timeline.asked == asked
