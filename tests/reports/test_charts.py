"""Charts: curves over all requests that end at the slowest response, and the objectives that can be drawn."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.charts import Panel, charts, panel
from pytest_loadgen.traffic.plan import hold, ramp
from tests.builders.traffic import plan
from tests.reports.examples import (
    CLOSED,
    HOSTILE,
    ILL,
    KEPT,
    MIX,
    NOTHING,
    UNANSWERED,
    WELL,
    compared,
    judged,
    verdict,
)


def over_time(run: Run) -> Sequence[Panel]:
    return charts(run).timeline.panels


@pytest.mark.parametrize("percent", [10, 50, 90, 99, 99.9])
def test_curve(percent: float) -> None:
    """The curve has the result's value at each percentile: at x, one request in x is slower."""
    found = charts(WELL).percentiles
    (curve,) = found.panel.series
    x = 1 / (1 - percent / 100)
    at = min(range(len(found.x)), key=lambda index: abs(found.x[index] - x))
    assert curve.values[at] == pytest.approx(WELL.result.percentile(100 - 100 / found.x[at]), rel=1e-9)
    assert found.x[at] == pytest.approx(x, rel=0.06)


@pytest.mark.parametrize("run", [WELL, ILL, CLOSED])
def test_curves_rise(run: Run) -> None:
    """Curves go from the fastest response to the slowest, and never down."""
    found = charts(run).percentiles
    assert found.x[0] == 1
    assert all(one < other for one, other in pairwise(found.x))
    drawn = [[value for value in curve.values if value is not None] for curve in found.panel.series]
    for values in drawn:
        assert all(one <= other for one, other in pairwise(values))
    assert (drawn[0][0], drawn[0][-1]) == (run.result.percentile(0), run.result.total.latency.percentile(100))


@pytest.mark.parametrize(
    ("run", "styles"),
    [
        (WELL, ["first"]),
        (ILL, ["first", "second", "baseline"]),
        (CLOSED, ["first", "best"]),
        (UNANSWERED, []),
        (NOTHING, []),
    ],
)
def test_which_curves(run: Run, styles: list[str]) -> None:
    """Service time, the best case of wide buckets and the baseline have a curve only where they differ."""
    assert [curve.style for curve in charts(run).percentiles.panel.series] == styles


def test_a_curve_ends_at_the_slowest_response() -> None:
    """Requests without a response are not on the curve; their share of the axis stays empty."""
    found = charts(ILL).percentiles
    values = found.panel.series[0].values
    end = max(x for x, value in zip(found.x, values, strict=True) if value is not None)
    assert end == pytest.approx(878 / 13)
    assert found.x[-1] > end  # the baseline's curve goes on
    assert (found.requests, found.unanswered) == (878, 13)


@pytest.mark.parametrize(
    ("found", "drawn"),
    [
        (verdict("p99 < 200ms", "met", "", 0.1, 0.15), (0.2, 100, 0.1, 0.15)),
        (verdict("p99 < 200ms", "missed", "", 0.3, float("inf")), (0.2, 100, 0.3, None)),
        (verdict("service p50 < 40ms", "met", "", 0.01, 0.02), (0.04, 2, 0.01, 0.02)),
        (verdict("mean < 1s", "unclear", "", 0.5, 1.5), (1.0, None, None, None)),
        (verdict("max < 1s", "met", "", 0.4, 0.4), (1.0, None, None, None)),
        (verdict("p90 < 1s over any 4s", "met", "", 0.1, 0.2), (1.0, 10, None, None)),
        (verdict("p50 < baseline + 10%", "met", "", 0.9, 1.05), (1.1 * 0.0211, 2, 0.9 * 0.0211, 1.05 * 0.0211)),
        (verdict("errors < 1%", "met", ""), None),
        (verdict("lag < 1s", "met", ""), None),
        (verdict("of another version", "met", ""), None),
    ],
)
def test_limits(found: Verdict, drawn: Any) -> None:
    """Objectives on latency are drawn at their limit and percentile, with the confidence interval."""
    limits = charts(judged(ILL, found)).percentiles.panel.limits
    seen = [(limit.limit, limit.at, limit.low, limit.high) for limit in limits]
    about: Any = tuple(number if number is None else pytest.approx(number, rel=0.01) for number in drawn or ())
    assert seen == ([about] if drawn else [])


def test_limits_on_rates() -> None:
    """An objective on the rate is drawn with the rate."""
    assert [(limit.said, limit.limit) for limit in over_time(WELL)[1].limits] == [("rate >= 495/s", 495)]


def test_relative_limits_need_a_baseline() -> None:
    """Without a baseline, an objective relative to it is not drawn."""
    limits = charts(compared(ILL, None)).percentiles.panel.limits
    assert limits
    assert not [limit.said for limit in limits if "baseline" in limit.said]


def test_timeline() -> None:
    """Each interval has its figures, or None where they are unknown."""
    latency, rate, errors, received = over_time(ILL)
    assert charts(ILL).timeline.x == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6]
    assert [series.name for series in latency.series] == ["p50", "p90", "p99", "max", "no response"]
    assert latency.series[-1].values == [None, None, None, None, 1, 9, 3]
    assert [value is None for value in latency.series[3].values] == [False] * 4 + [True] * 3
    assert rate.series[0].values[-2:] == [220, None]
    assert errors.series[0].values == [3, 3, 3, 10, 16, 39, 3]
    assert received.series[0].values[-2:] == [220_000, None]
    assert over_time(HOSTILE)[0].series[-1].values == [10] * 6


def test_panels_of_what_is_known() -> None:
    """Connections have a panel where the generator counts them, bytes and the service where they are known."""
    assert [panel.title for panel in over_time(CLOSED)[2:]] == ["errors"]
    intervals = tuple(replace(each, connections=7) for each in WELL.result.intervals)
    run = replace(WELL, result=replace(WELL.result, intervals=intervals))
    _, _, connections, received, cpu, memory = over_time(run)
    assert (connections.title, connections.series[0].values) == ("open connections", [7] * 6)
    assert (received.unit, received.series[0].values) == ("B/s", [500_000] * 6)
    assert (cpu.unit, [(each.name, each.values) for each in cpu.series]) == (" cores", [("all processes", [0.5] * 6)])
    assert (memory.unit, memory.series[0].values) == ("B", [118e6 + at * 4e5 for at in range(6)])
    assert list(panel("CPU", "", {"service": [None, None]})) == []
    assert [each.name for each in next(panel("CPU", "", {"service": [None, 1], "other": [None, None]})).series] == [
        "service"
    ]


@pytest.mark.parametrize(
    ("stages", "requested"),
    [
        ([hold(100, 3), ramp(100, 300, 3)], ([0, 3, 3, 6], [100, 100, 100, 300])),
        ([hold(100, 3)], ([0, 6], [100, 100])),  # the load was extended
        ([hold("max", 3)], None),
    ],
)
def test_requested_rate(stages: Any, requested: Any) -> None:
    """The requested rate is drawn by its corners."""
    found = charts(replace(WELL, result=replace(WELL.result, plan=plan(stages=stages))))
    assert found.timeline.panels[1].dotted == requested


def test_errors_of_a_mix() -> None:
    """A status that one name expects is no error of it, whatever the others expect."""
    assert over_time(MIX)[2].series[0].values == [3, 3, 3]


def test_limits_of_a_name() -> None:
    """An objective of one name is not drawn into the chart of all."""
    assert [limit.said for limit in charts(MIX).percentiles.panel.limits] == ["p99 < 100ms"]
    of_a_name = judged(MIX, verdict("p99 of order < 100ms", "met", "36ms", 0.03, 0.04))
    assert charts(of_a_name).percentiles.panel.limits == []


def test_history() -> None:
    """Each compared figure has a panel: the kept runs, those from before a step, this one, and the limit."""
    found = charts(KEPT).history
    assert found
    assert (found.x, found.names[0], found.names[-1]) == (list(range(1, 10)), "0abcdef", "this run")
    p50, _, rate = found.panels
    assert [each.name for each in p50.series] == ["kept", "left out", "this run"]
    kept, left_out, own = (each.values for each in p50.series)
    assert [each is None for each in kept] == [True] * 4 + [False] * 4 + [True]
    assert [each is None for each in left_out] == [False] * 4 + [True] * 5
    assert own == [None] * 8 + [KEPT.result.p50]
    (limit,) = p50.limits
    assert limit.limit == pytest.approx(0.0024 * 1.1, rel=0.01)
    assert [each.name for each in rate.series] == ["kept", "this run"]
    assert charts(ILL).history is None
