"""The data of a run's charts; page.js draws it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.histogram import rank
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.records.run import Run

# Points of a curve per nine: from 90 % to 99 %, from 99 % to 99.9 %.
_POINTS = 24
_LATENCIES = {"percentile", "mean", "max"}
_PERCENTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}


@dataclass(frozen=True)
class Curve:
    """Latency by percentile, up to the slowest response."""

    name: str
    style: str
    x: list[float]
    """One request in this many is slower: 100 at the 99th percentile."""
    y: list[float]
    """Seconds."""


@dataclass(frozen=True)
class Limit:
    """An objective on latency or on the rate."""

    said: str
    outcome: str
    sure: str
    limit: float
    """Seconds, or per second."""
    at: float | None
    """The position of its percentile on the axis; None for the mean, the maximum and the rate."""
    low: float | None
    high: float | None
    """The confidence interval of a percentile, where known; without a high it has no upper end."""


@dataclass(frozen=True)
class Timeline:
    """Figures by interval."""

    at: list[float]
    """The middle of each, in seconds from the start."""
    latency: dict[str, list[float | None]]
    """By percentile, in seconds; None where no request finished, or the percentile got no response."""
    unanswered: list[int]
    rate: list[float | None]
    """Responses per second; None where the interval is too short for a rate."""
    errors: list[float]
    """Per second."""
    requested: tuple[list[float], list[float]]
    """The plan's rate, as times and rates."""


@dataclass(frozen=True)
class Charts:
    """The data of all charts of a run."""

    curves: list[Curve]
    requests: int
    unanswered: int
    limits: list[Limit]
    rates: list[Limit]
    timeline: Timeline

    def as_dict(self) -> dict[str, Any]:
        """Return the data for JSON."""
        return asdict(self)


def charts(run: Run) -> Charts:
    """Compute the charts of a run."""
    result = run.result
    limits = [limit for verdict in run.result.verdicts for limit in _limits(verdict, run)]
    return Charts(
        curves=list(_curves(run)),
        requests=result.requests,
        unanswered=result.total.unanswered,
        limits=[limit for kind, limit in limits if kind in _LATENCIES],
        rates=[limit for kind, limit in limits if kind == "rate"],
        timeline=_timeline(result),
    )


# Latency by percentile.


def _curves(run: Run) -> Iterator[Curve]:
    result = run.result
    best, worst = result.best_and_worst()
    yield _curve(
        "response time (from schedule)" if result.latency_from == "scheduled" else "latency (from send)",
        "main",
        worst,
    )
    if best is not worst:
        yield _curve("best case (wide buckets)", "best", best)
    # In the closed model, and where nothing waited, the two are the same.
    if result.total.service_time and result.total.service_time != result.total.latency:
        yield _curve("service time (from send)", "service", worst.by_service_time)
    if (baseline := result.baseline).result is not None:
        yield _curve("against" if baseline.paired else "baseline", "baseline", baseline.result.best_and_worst()[1])


def _curve(name: str, style: str, result: Result) -> Curve:
    rows, requests = result.total.latency.spectrum(), result.requests
    if not rows:
        return Curve(name, style, [], [])
    answered = rows[-1][1]
    # From this x on, percentiles fall among the requests without a response.
    end = requests / (requests - answered) if answered < requests else requests
    steps = math.floor(math.log10(end) * _POINTS + 1e-9)
    x = [10 ** (step / _POINTS) for step in range(steps + 1)]
    ranks = [max(1, math.ceil(round((1 - 1 / each) * requests, 6))) for each in x]
    x, ranks = [*x, end], [*ranks, answered]
    return Curve(name, style, x, [rows[bisect_left(rows, rank, key=lambda row: row[1])][0] for rank in ranks])


# Objectives.


def _limits(verdict: Verdict, run: Run) -> Iterator[tuple[str, Limit]]:
    """Give the kind of an objective and how it is drawn, where it can be."""
    try:
        slo = SLO.parse(verdict.slo)
    except PlanError:
        return  # of a version that knows more
    scale = _figure(slo, run.result.baseline.result) if slo.is_relative else 1.0
    # An objective on the worst stretch is not about the curve of the whole, and a mean has no place on it.
    drawn = slo.kind == "percentile" and not slo.window
    low, high = (_finite(verdict.low, scale), _finite(verdict.high, scale)) if drawn else (None, None)
    if slo.kind not in {*_LATENCIES, "rate"} or not math.isfinite(limit := float(slo.bound) * scale):
        return
    at = 1 / (1 - slo.percent / 100) if slo.kind == "percentile" else None
    yield slo.kind, Limit(verdict.slo, verdict.outcome, verdict.remark, limit, at, low, high)


def _figure(slo: SLO, baseline: Result | None) -> float:
    """Give what a change is relative to, or infinity."""
    if baseline is None:
        return math.inf
    if slo.kind == "rate":
        return float(baseline.rate)
    return float(baseline.percentile(slo.percent, service=slo.service) if slo.percent else baseline.mean)


def _finite(bound: float | None, scale: float) -> float | None:
    return None if bound is None or not math.isfinite(bound * scale) else bound * scale


# Over time.


def _timeline(result: Result) -> Timeline:
    intervals, expects = result.intervals, result.plan.expects
    # The last interval may be so short that its rate means nothing.
    least = max((each.seconds for each in intervals), default=0.0) / 10
    return Timeline(
        at=[each.start + each.seconds / 2 for each in intervals],
        latency={name: [_latency(each, percent) for each in intervals] for name, percent in _PERCENTILES.items()},
        unanswered=[each.unanswered for each in intervals],
        rate=[each.latency.count / each.seconds if each.seconds > least else None for each in intervals],
        errors=[
            sum(count for outcome, count in each.outcomes.items() if not expects(outcome)) / (each.seconds or 1)
            for each in intervals
        ],
        requested=_requested(result),
    )


def _latency(interval: Interval, percent: float) -> float | None:
    wanted = rank(percent, interval.requests or 1)
    return float(interval.latency.at_rank(wanted)) if wanted <= interval.latency.count else None


def _requested(result: Result) -> tuple[list[float], list[float]]:
    """Return the corners of the plan's rate; nothing for the closed model, which has no rate."""
    plan = result.plan
    if plan.closed:
        return [], []
    ends = list(accumulate((float(stage.seconds) for stage in plan.stages), initial=0.0))
    if plan.steady:  # the load may have been extended
        ends[-1] = max(ends[-1], result.total.start + result.total.seconds)
    corners = [
        (moment, float(rate or 0))
        for stage, begin, end in zip(plan.stages, ends[:-1], ends[1:], strict=True)
        for moment, rate in ((begin, stage.start), (end, stage.end))
    ]
    return [moment for moment, _ in corners], [rate for _, rate in corners]
