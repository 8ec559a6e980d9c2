"""The data of a run's charts; page.js draws it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from pytest_loadgen.figures.histogram import rank
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.metric import Percentile, ResponseRate
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.records.run import Run

# Points of a curve per nine: from 90 % to 99 %, from 99 % to 99.9 %.
_POINTS = 24
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
    noun: str
    lost: str
    """What is said of those without a latency."""
    limits: list[Limit]
    rates: list[Limit]
    timeline: Timeline

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
        curves=list(_curves(run)),
        requests=result.requests,
        unanswered=result.total.unanswered,
        noun=result.plan.noun,
        lost="failed" if result.plan.journey else "no response",
        limits=list(_limits(latencies, result.baseline.result)),
        rates=list(_limits(rates, result.baseline.result)),
        timeline=_timeline(result),
    )


# Latency by percentile.


def _curves(run: Run) -> Iterator[Curve]:
    result = run.result
    best, worst = result.best_and_worst()
    yield _curve(
        "response time (from when due)" if result.latency_from == "scheduled" else "latency (from when sent)",
        "main",
        worst,
    )
    if best is not worst:
        yield _curve("best case (wide buckets)", "best", best)
    # In the closed model, and where nothing waited, the two are the same.
    if result.total.service_time and result.total.service_time != result.total.latency:
        yield _curve("service time (from when sent)", "service", worst.by_service_time)
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


def _limits(verdicts: Sequence[Verdict], baseline: Result | None) -> Iterator[Limit]:
    """Give how objectives are drawn, where they can be."""
    for verdict in verdicts:
        slo, metric = verdict.slo, verdict.slo.metric
        scale = 1.0
        if slo.is_relative:
            scale = math.inf if baseline is None else float(metric.figure(baseline))
        if not math.isfinite(limit := float(slo.bound) * scale):
            continue
        at = low = high = None
        if isinstance(metric, Percentile):
            at = 1 / (1 - metric.percent / 100)
            # An objective on the worst window is not about the curve of the whole run.
            if not slo.window:
                low, high = _finite(verdict.low, scale), _finite(verdict.high, scale)
        yield Limit(slo.text, verdict.outcome, verdict.remark, limit, at, low, high)


def _finite(bound: float | None, scale: float) -> float | None:
    return None if bound is None or not math.isfinite(bound * scale) else bound * scale


# Over time.


def _timeline(result: Result) -> Timeline:
    intervals = result.intervals
    # The last interval may be so short that its rate means nothing.
    least = max((each.seconds for each in intervals), default=0.0) / 10
    return Timeline(
        at=[each.start + each.seconds / 2 for each in intervals],
        latency={name: [_latency(each, percent) for each in intervals] for name, percent in _PERCENTILES.items()},
        unanswered=[each.unanswered for each in intervals],
        rate=[each.latency.count / each.seconds if each.seconds > least else None for each in intervals],
        errors=[each.errors(result.plan) / (each.seconds or 1) for each in intervals],
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
