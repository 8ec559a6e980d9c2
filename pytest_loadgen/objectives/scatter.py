"""The variance of a figure within a run, by a bootstrap.

The requests of a second are correlated, so the bootstrap draws whole intervals, never single requests
(Efron & Tibshirani 1993, 8.5).
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.metric import Metric

# Estimates the standard error of a figure to 5 %.
_DRAWS = 200
_SEED = 20_240_601
# To draw from more intervals takes too long, so neighbours are joined.
_MOST_INTERVALS = 120


@dataclass(frozen=True)
class Scattered:
    """The logarithm of a figure of a run, and its variance by chance within the run."""

    log: float
    """Infinite where too many requests had no response, minus infinity where the figure is 0."""
    variance: float
    """The variance of the logarithm; infinite where it is not known."""
    batches: int
    """The number of intervals from which the variance is estimated."""


def scattered(metric: Metric, result: Result) -> Scattered:
    """Give a figure of a result, and its variance."""
    view = metric.view(result)
    intervals = _join_neighbours([interval for interval in view.intervals if interval.requests])
    count, log = len(intervals), _log(metric.figure(result)) if intervals else math.nan
    if count < 2 or not math.isfinite(log):
        return Scattered(log, 0.0, count)
    if view.requests < metric.comparable_from:
        return Scattered(log, math.inf, count)
    figure = metric.resampled(view, intervals)
    source = random.Random(_SEED)  # noqa: S311  # no secret
    logs = [_log(figure(_resample(source, count))) for _ in range(_DRAWS)]
    if not all(map(math.isfinite, logs)):
        return Scattered(log, math.inf, count)
    # Draws from few intervals vary too little.
    return Scattered(log, variance(logs) * count / (count - 1), count)


def _resample(source: random.Random, count: int) -> list[int]:
    """Draw as many intervals as there are, with replacement, and count how often each was drawn."""
    times = Counter(source.choices(range(count), k=count))
    return [times[number] for number in range(count)]


def _log(figure: float) -> float:
    return math.log(figure) if figure > 0 else -math.inf


def _join_neighbours(intervals: Sequence[Interval]) -> Sequence[Interval]:
    while len(intervals) > _MOST_INTERVALS:
        intervals = [Interval.concatenate(intervals[at : at + 2]) for at in range(0, len(intervals), 2)]
    return intervals
