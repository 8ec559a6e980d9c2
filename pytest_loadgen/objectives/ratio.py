"""How much a figure of one result differs from that of another: their ratio, and its confidence interval.

Requests of one second are alike, those of two runs are not: so the bootstrap draws whole intervals,
never single requests (Efron & Tibshirani 1993, 8.5). Where two services were loaded side by side it
draws pairs of intervals, in which the noise of the machine cancels.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.metric import Metric

_DRAWS = 1000
_SEED = 20_240_601
# More intervals than this take too long to draw from; neighbours are joined.
_MOST_INTERVALS = 120


@dataclass(frozen=True)
class Ratio:
    """A figure divided by the baseline's."""

    value: float
    draws: Sequence[float]
    """Logarithms of the ratio in draws of the intervals, minus that of the value; sorted."""
    batches: int

    def interval(self, alpha: float) -> stats.Estimate:
        """Bound the true ratio; each bound alone is wrong with probability alpha."""
        if self.batches < stats.FEWEST_BATCHES:
            return stats.Estimate(self.value, 0.0, math.inf)
        if not 0 < self.value < math.inf:
            return stats.Estimate(self.value, self.value, self.value)
        # As many draws may be beyond each bound; from where none may, only more draws could tell.
        beyond = int(alpha * (len(self.draws) + 1) + 1e-9)
        if not beyond:
            return stats.Estimate(self.value, 0.0, math.inf)
        at = min(len(self.draws), beyond) - 1
        factor = self._correction(beyond / (len(self.draws) + 1))
        low, high = (factor * self.draws[index] for index in (at, -1 - at))
        return stats.Estimate(self.value, self.value * math.exp(low), self.value * math.exp(high))

    def _correction(self, alpha: float) -> float:
        # Draws from few batches vary too little: Student's t, and the degree of freedom of the mean.
        student = stats.student_quantile(1 - alpha, self.batches - 1) / stats.normal_quantile(1 - alpha)
        return student * math.sqrt(self.batches / (self.batches - 1))


def ratio(metric: Metric, result: Result, baseline: Result, *, paired: bool = False) -> Ratio:
    """Divide the figure of a result by that of a baseline; paired, interval by interval."""
    of = _paired_ratio if paired else _independent_ratio
    return of(metric, metric.view(result), metric.view(baseline))


def _paired_ratio(metric: Metric, result: Result, baseline: Result) -> Ratio:
    """Take the median of the ratios in pairs of intervals, and draw pairs."""
    logs = [
        _log_ratio(metric.figure(mine), metric.figure(theirs))
        for mine, theirs in zip(result.by_interval, baseline.by_interval, strict=False)
        if mine.requests and theirs.requests
    ]
    if not logs:
        return Ratio(math.nan, [], 0)
    value = _median(logs)
    if not math.isfinite(value):
        return Ratio(math.exp(value) if value < 0 else math.inf, [0.0], len(logs))
    source = random.Random(_SEED)  # noqa: S311  # no secret
    draws = sorted(_median(source.choices(logs, k=len(logs))) - value for _ in range(_DRAWS))
    return Ratio(math.exp(value), draws, len(logs))


def _independent_ratio(metric: Metric, result: Result, baseline: Result) -> Ratio:
    """Draw the intervals of each result by themselves."""
    figures = []
    for each in (result, baseline):
        intervals = _join_neighbours([interval for interval in each.intervals if interval.requests])
        figures.append((len(intervals), metric.resampled(each, intervals)))
    batches = min(count for count, _ in figures)
    value = _log_ratio(*(figure([1] * count) for count, figure in figures))
    if not math.isfinite(value) or not batches:
        return Ratio(math.exp(value) if value < 0 else math.inf if value > 0 else math.nan, [0.0], batches)
    source = random.Random(_SEED)  # noqa: S311  # no secret
    draws = sorted(
        _log_ratio(*(figure(_resample(source, count)) for count, figure in figures)) - value for _ in range(_DRAWS)
    )
    return Ratio(math.exp(value), draws, batches)


def _resample(source: random.Random, count: int) -> list[int]:
    """Draw as many intervals as there are, with replacement; give how often each was drawn."""
    times = Counter(source.choices(range(count), k=count))
    return [times[number] for number in range(count)]


def _log_ratio(mine: float, theirs: float) -> float:
    if mine == theirs:
        return 0.0
    if math.isinf(mine) or not theirs:
        return math.inf
    return -math.inf if math.isinf(theirs) or not mine else math.log(mine / theirs)


def _median(values: Sequence[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    if len(values) % 2 or ordered[half] == ordered[half - 1]:  # infinities have no mean
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


def _join_neighbours(intervals: Sequence[Interval]) -> Sequence[Interval]:
    while len(intervals) > _MOST_INTERVALS:
        intervals = [Interval.concatenate(intervals[at : at + 2]) for at in range(0, len(intervals), 2)]
    return intervals
