"""The data of a run's charts; page.js draws them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

from pytest_loadgen.figures.histogram import rank
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import NO_BASELINE, Baseline
from pytest_loadgen.objectives.capacity import Capacity
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.metric import Percentile, ResponseRate
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.history import FigureHistory, figure_histories, origins

# Points of a curve per nine: from 90 % to 99 %, from 99 % to 99.9 %.
_POINTS = 24
# A process that uses less than this part of the CPU is not the only one that works.
_NEARLY = 0.9
_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}

Values = Sequence[float | None]
"""A value for each point of the horizontal axis; None where there is none."""


@dataclass(frozen=True)
class Series:
    """A line of a panel."""

    name: str
    values: Values
    style: str = ""
    """One of STYLES in page.js; by default the lines of a panel differ in the order in which they come."""


@dataclass(frozen=True)
class Limit:
    """An objective on latency or on the rate."""

    said: str
    outcome: str
    limit: float
    """In the unit of the panel."""
    at: float | None
    """The position of its percentile on the axis; None for the mean, the maximum and the rate."""
    low: float | None
    high: float | None
    """The confidence interval of a percentile, where known; without a high it has no upper end."""


@dataclass(frozen=True)
class Panel:
    """Lines with a common vertical axis."""

    title: str
    """Shown if it has several lines."""
    unit: str
    """Of its values: s, /s, B, B/s, cores; empty for counts."""
    series: Sequence[Series]
    limits: Sequence[Limit] = ()
    dotted: tuple[list[float], list[float]] | None = None
    """The corners of a dotted line: where, and values."""


@dataclass(frozen=True)
class Chart:
    """Panels below each other, with a common horizontal axis."""

    title: str
    """Of the horizontal axis."""
    x: Sequence[float]
    panels: Sequence[Panel]
    names: Sequence[str] = ()
    """The label of each value of the axis, if it is not a number."""


@dataclass(frozen=True)
class Curves:
    """Latency by percentile: x is how many requests there are for each one that is slower, 100 at the 99th percentile.

    A curve ends at the slowest response, and has no values from there on.
    """

    requests: int
    unanswered: int
    noun: str
    lost: str
    """What is said of those without a latency."""
    x: Sequence[float]
    panel: Panel


@dataclass(frozen=True)
class Charts:
    """The data of all charts of a run."""

    percentiles: Curves
    timeline: Chart
    capacity: Chart | None = None
    """Latency by rate, of a search for the capacity."""
    history: Chart | None = None
    """The figures that were compared with kept runs."""

    def as_dict(self) -> dict[str, Any]:
        """Return the data for JSON."""
        return asdict(self)


def charts(run: Run) -> Charts:
    """Compute the charts of a run."""
    result = run.result
    # Those of one name are not about the curves of the whole load.
    verdicts = [verdict for verdict in result.verdicts if not verdict.slo.name]
    latencies = [verdict for verdict in verdicts if verdict.slo.metric.is_latency]
    rates = [verdict for verdict in verdicts if isinstance(verdict.slo.metric, ResponseRate)]
    return Charts(
        _curves(run, list(_limits(latencies, result.baseline))),
        _timeline(result, list(_limits(rates, result.baseline))),
        _by_rate(run.capacity, latencies) if run.capacity and run.capacity.steps else None,
        _by_run(run) if len(result.baseline.runs) > 1 else None,
    )


def panel(title: str, unit: str, series: Mapping[str, Values]) -> Iterator[Panel]:
    """Yield a panel with the series of which a value is known, by their names; none if there are none."""
    known = [Series(name, values) for name, values in series.items() if any(value is not None for value in values)]
    if known:
        yield Panel(title, unit, known)


# Latency by percentile.


@dataclass(frozen=True)
class _Curve:
    name: str
    style: str
    result: Result
    """Whose latency it shows."""

    @cached_property
    def rows(self) -> list[tuple[float, int]]:
        """Each latency, and how many responses were not slower."""
        return self.result.total.latency.spectrum()

    @cached_property
    def end(self) -> float:
        """The place of the slowest response: from here on, percentiles fall among requests without one."""
        requests, answered = self.result.requests, self.rows[-1][1]
        return requests / (requests - answered) if answered < requests else requests

    def at(self, x: float) -> float | None:
        """Give the latency at a place of the axis."""
        if x > self.end:
            return None
        requests, answered = self.result.requests, self.rows[-1][1]
        wanted = answered if x == self.end else max(1, math.ceil(round((1 - 1 / x) * requests, 6)))
        return self.rows[bisect_left(self.rows, wanted, key=lambda row: row[1])][0]


def _curves(run: Run, limits: list[Limit]) -> Curves:
    result = run.result
    curves = [curve for curve in _each_curve(result) if curve.rows]
    ends = {curve.end for curve in curves}
    steps = math.floor(math.log10(max(ends)) * _POINTS + 1e-9) + 1 if ends else 0
    x = sorted({10 ** (step / _POINTS) for step in range(steps)} | ends)
    series = [Series(curve.name, [curve.at(each) for each in x], curve.style) for curve in curves]
    return Curves(
        result.requests,
        result.total.unanswered,
        result.plan.noun,
        "failed" if result.plan.journey else "no response",
        x,
        Panel("", "s", series, limits),
    )


def _each_curve(result: JudgedResult) -> Iterator[_Curve]:
    best, worst = result.best_and_worst()
    from_when = "response time (from when due)" if result.latency_from == "scheduled" else "latency (from when sent)"
    yield _Curve(from_when, "first", worst)
    if best is not worst:
        yield _Curve("best case (wide buckets)", "best", best)
    # In the closed model, and where nothing waited, the two are the same.
    if result.total.service_time and result.total.service_time != result.total.latency:
        yield _Curve("service time (from when sent)", "second", worst.by_service_time)
    if (baseline := result.baseline).result is not None:
        name = "against" if baseline.paired else "baseline" if len(baseline.runs) == 1 else "newest kept run"
        yield _Curve(name, "baseline", baseline.result.best_and_worst()[1])


# Objectives.


def _limits(verdicts: Sequence[Verdict], baseline: Baseline) -> Iterator[Limit]:
    """Give how objectives are drawn, where they can be."""
    for verdict in verdicts:
        slo, metric = verdict.slo, verdict.slo.metric
        scale = 1.0
        if slo.is_relative:
            scale = baseline.typical(metric.figure) if baseline.runs else math.inf
        if not math.isfinite(limit := float(slo.bound) * scale):
            continue
        at = low = high = None
        if isinstance(metric, Percentile):
            at = 1 / (1 - metric.percent / 100)
            # An objective on the worst window is not about the curve of the whole run.
            if not slo.window:
                low, high = _finite(verdict.low, scale), _finite(verdict.high, scale)
        yield Limit(slo.text, verdict.outcome, limit, at, low, high)


def _finite(bound: float | None, scale: float) -> float | None:
    return None if bound is None or not math.isfinite(bound * scale) else bound * scale


# By rate.


def _by_rate(capacity: Capacity, verdicts: Sequence[Verdict]) -> Chart:
    """Give the p99 of the loads of a search, and whether the objectives held."""
    steps = sorted(capacity.steps, key=lambda step: step.rate)
    p99 = [step.p99 for step in steps]
    known = dict.fromkeys(step.outcome for step in steps)
    series = [Series("p99", p99, "second")]
    for outcome in known:
        points = [value if step.outcome == outcome else None for step, value in zip(steps, p99, strict=True)]
        series.append(Series(outcome, points, outcome))
    limits = [
        replace(limit, at=None, low=None, high=None)
        for limit in _limits([each for each in verdicts if each.slo.metric == Percentile(percent=99)], NO_BASELINE)
    ]
    return Chart("requests per second", [float(step.rate) for step in steps], [Panel("latency", "s", series, limits)])


# By run.


def _by_run(run: Run) -> Chart:
    """Give the figures of the kept runs and of this one, with the limits."""
    runs = run.result.baseline.runs
    names = [" ".join(filter(None, origin)) or "an earlier run" for origin in origins(runs)]
    panels = list(map(_of_runs, figure_histories(run)))
    title = "runs, the oldest first; the last is this one"
    return Chart(title, [float(number) for number in range(1, len(runs) + 2)], panels, [*names, "this run"])


def _of_runs(found: FigureHistory) -> Panel:
    nothing: Values = [None] * (len(found.kept) + 1)
    series = [Series("kept", [*nothing[: found.left_out], *found.kept[found.left_out :], None], "first")]
    if found.left_out:
        series.append(Series("left out", [*found.kept[: found.left_out], *nothing[found.left_out :]], "fourth"))
    outcome = next((each.outcome for each in found.verdicts), "third")
    series.append(Series("this run", [*nothing[:-1], found.own], outcome))
    limits = [replace(limit, at=None, low=None, high=None) for limit in _limits(found.verdicts, found.baseline)]
    return Panel(found.said, "s" if found.metric.is_latency else "/s", series, limits)


# Over time.


def _timeline(result: Result, limits: list[Limit]) -> Chart:
    intervals = result.intervals
    panels = [_latencies(result), _rates(result, limits)]
    errors = [each.errors(result.plan) / (each.seconds or 1) for each in intervals]
    if any(errors):
        panels.append(Panel("errors", "/s", [Series("errors", errors, "bars")]))
    panels += panel("open connections", "", {"open connections": [each.connections for each in intervals]})
    if result.total.received:  # else the generator does not know
        panels += panel("received", "B/s", {"received": _per_second(result, [each.received for each in intervals])})
    used = [each.service for each in intervals]
    cpu = [each.cpu if each else None for each in used]
    busiest = [each.busiest if each and each.busiest < _NEARLY * each.cpu else None for each in used]
    panels += panel("CPU of the service", " cores", {"all processes": cpu, "the busiest": busiest})
    panels += panel("memory of the service", "B", {"memory": [float(each.memory) if each else None for each in used]})
    return Chart("seconds from the start", [each.start + each.seconds / 2 for each in intervals], panels)


def _latencies(result: Result) -> Panel:
    """Give the percentiles of each interval, and how many requests had no response."""
    intervals = result.intervals
    series = [Series(name, [_latency(each, percent) for each in intervals]) for name, percent in _PERCENTILES.items()]
    if result.total.unanswered:
        lost = "failed" if result.plan.journey else "no response"
        series.append(Series(lost, [each.unanswered or None for each in intervals], "crosses"))
    return Panel("latency", "s", series)


def _latency(interval: Interval, percent: float) -> float | None:
    wanted = rank(percent, interval.requests or 1)
    return float(interval.latency.at_rank(wanted)) if wanted <= interval.latency.count else None


def _rates(result: Result, limits: list[Limit]) -> Panel:
    requested = _requested(result)
    name = "responses (dotted: requested)" if requested else "responses"
    rates = _per_second(result, [each.latency.count for each in result.intervals])
    return Panel(name, "/s", [Series(name, rates)], limits, requested)


def _per_second(result: Result, counts: Sequence[int]) -> Values:
    """Divide counts by the lengths of their intervals; the last one may be so short that its rate means nothing."""
    least = max((each.seconds for each in result.intervals), default=0.0) / 10
    return [
        count / each.seconds if each.seconds > least else None
        for count, each in zip(counts, result.intervals, strict=True)
    ]


def _requested(result: Result) -> tuple[list[float], list[float]] | None:
    """Return the corners of the plan's rate; None for the closed model, which has no rate."""
    plan = result.plan
    if plan.closed:
        return None
    ends = list(accumulate((float(stage.seconds) for stage in plan.stages), initial=0.0))
    if plan.steady:  # the load may have been extended
        ends[-1] = max(ends[-1], result.total.start + result.total.seconds)
    corners = [
        (moment, float(rate or 0))
        for stage, begin, end in zip(plan.stages, ends[:-1], ends[1:], strict=True)
        for moment, rate in ((begin, stage.start), (end, stage.end))
    ]
    return [moment for moment, _ in corners], [rate for _, rate in corners]
