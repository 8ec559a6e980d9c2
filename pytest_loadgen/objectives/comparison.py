"""How much one result differs from another: a ratio of their figures, and how sure it is.

Requests of one second are alike, those of two runs are not: so whole intervals are drawn again, never
single requests (the bootstrap by batches: Efron & Tibshirani 1993, 8.5), and where the two services
were loaded side by side, pairs of intervals, in which the noise of the machine cancels.
"""

from __future__ import annotations

import math
import operator
import random
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.units import Change

_DRAWS = 1000
_SEED = 20_240_601
# As many intervals, and levels of latency, as are drawn from in a moment.
_MOST = 120
_LEVELS = 512
# Levels are looked at where from a quarter to four times the tail is above.
_AROUND = 4
# What is surely within this factor of the other is the same.
_SAME = 1.1

Figure = Callable[[Sequence[int]], float]
"""Gives a figure of a result in which each interval comes so many times."""


@dataclass(frozen=True)
class Ratio:
    """How a figure is to that of the baseline, and what else it may be."""

    value: float
    draws: Sequence[float]
    """Logarithms of the ratio in draws of the intervals, less that of the value; sorted."""
    batches: int

    def interval(self, alpha: float) -> stats.Estimate:
        """Bound the ratio; each bound alone is wrong with probability alpha."""
        if self.batches < stats.FEWEST_BATCHES:
            return stats.Estimate(self.value, 0.0, math.inf)
        at = max(0, min(len(self.draws) - 1, int(alpha * len(self.draws))))
        wide = self._widened(alpha)
        low, high = (wide * self.draws[index] for index in (at, -1 - at))
        return stats.Estimate(self.value, self.value * math.exp(low), self.value * math.exp(high))

    def chance(self, bound: float, *, above: bool) -> float:
        """Tell how probable such draws are, if the true ratio is at a bound and this one is above or below it."""
        if self.batches < stats.FEWEST_BATCHES or math.isnan(self.value):
            return 1.0
        if not 0 < self.value < math.inf:  # nothing was answered, of the one or of the other
            return 0.0 if (self.value > 0) == above else 1.0
        distance = math.log(self.value / bound) * (1 if above else -1)
        if distance <= 0:
            return 1.0
        distance /= self._widened(0.05)
        beyond = bisect_left(self.draws, -distance) if above else len(self.draws) - bisect_right(self.draws, distance)
        return (beyond + 1) / (len(self.draws) + 1)

    def _widened(self, alpha: float) -> float:
        # Draws from few batches vary too little: Student's t, and the degree of freedom of the mean.
        student = stats.student_quantile(1 - alpha, self.batches - 1) / stats.normal_quantile(1 - alpha)
        return student * math.sqrt(self.batches / (self.batches - 1))


def ratio(slo: SLO, result: Result, baseline: Result, *, paired: bool = False) -> Ratio:
    """Compare the figure that an objective is about; paired, interval by interval."""
    if slo.service:
        result, baseline = result.by_service_time, baseline.by_service_time
    return (_paired if paired else _apart)(slo, result, baseline)


def _paired(slo: SLO, result: Result, baseline: Result) -> Ratio:
    """Draw the logarithms of the ratios in pairs of intervals; the figure is their median."""
    logs = []
    for one, other in zip(result.intervals, baseline.intervals, strict=False):
        if one.requests and other.requests:
            mine, theirs = (_of(slo, replace(of, intervals=(each,))) for of, each in ((result, one), (baseline, other)))
            logs.append(_log(mine, theirs))
    if not logs:
        return Ratio(math.nan, [], 0)
    middle = _median(logs)
    if not math.isfinite(middle):
        return Ratio(math.exp(middle) if middle < 0 else math.inf, [0.0], len(logs))
    draw = random.Random(_SEED)  # noqa: S311  # no secret
    drawn = sorted(_median(draw.choices(logs, k=len(logs))) - middle for _ in range(_DRAWS))
    return Ratio(math.exp(middle), drawn, len(logs))


def _apart(slo: SLO, result: Result, baseline: Result) -> Ratio:
    """Draw the intervals of each for itself."""
    figures = []
    for one in (result, baseline):
        intervals = _joined([each for each in one.intervals if each.requests])
        figures.append((len(intervals), _figure(slo, one, intervals)))
    batches = min(count for count, _ in figures)
    whole = [figure([1] * count) for count, figure in figures]
    value = _log(*whole)
    if not math.isfinite(value) or not batches:
        return Ratio(math.exp(value) if value < 0 else math.inf if value > 0 else math.nan, [0.0], batches)
    draw = random.Random(_SEED)  # noqa: S311  # no secret
    drawn = sorted(_log(*(figure(_times(draw, count)) for count, figure in figures)) - value for _ in range(_DRAWS))
    return Ratio(math.exp(value), drawn, batches)


def _times(draw: random.Random, count: int) -> list[int]:
    """Draw so many of so many, and tell how often each came."""
    times = Counter(draw.choices(range(count), k=count))
    return [times[number] for number in range(count)]


def _figure(slo: SLO, result: Result, intervals: Sequence[Interval]) -> Figure:
    if slo.kind == "rate":
        answered = [each.requests - each.unanswered for each in intervals]
        seconds = [each.seconds for each in intervals]
        return lambda times: _over(times, answered) / (_over(times, seconds) or math.inf)
    if slo.kind == "mean":
        means = [float(replace(result, intervals=(each,)).mean) * each.requests for each in intervals]
        requests = [each.requests for each in intervals]
        return lambda times: _over(times, means) / (_over(times, requests) or math.inf)
    return _percentile(slo.percent, intervals)


def _percentile(percent: float, intervals: Sequence[Interval]) -> Figure:
    """Find percentiles quickly: by how many are up to each of some levels, interval by interval."""
    requests = [each.requests for each in intervals]
    counts = [each.latency.counts for each in intervals]
    whole: Counter[int] = Counter()
    for each in counts:
        whole.update(each)
    edges = sorted(whole)
    above = sum(requests)
    tail = (1 - percent / 100) * above
    levels = []
    for edge in edges:
        above -= whole[edge]
        if above <= tail * _AROUND:
            levels.append(edge)
        if above < tail / _AROUND:
            break
    levels = levels[:: max(1, len(levels) // _LEVELS)]
    upto = [[0] * len(intervals) for _ in levels]
    for number, each in enumerate(counts):
        ordered = sorted(each)
        running = [0, *accumulate(each[edge] for edge in ordered)]
        for row, level in zip(upto, levels, strict=True):
            row[number] = running[bisect_right(ordered, level)]

    def figure(times: Sequence[int]) -> float:
        wanted = percent / 100 * _over(times, requests)
        at = bisect_left(range(len(levels)), wanted, key=lambda level: _over(times, upto[level]))
        return levels[at] / 1e9 if at < len(levels) else math.inf

    return figure


def _over(times: Sequence[int], each: Sequence[float]) -> float:
    return float(sum(map(operator.mul, times, each)))


def _of(slo: SLO, result: Result) -> float:
    if slo.kind == "rate":
        return float(result.rate)
    return float(result.mean if slo.kind == "mean" else result.percentile(slo.percent))


def _log(mine: float, theirs: float) -> float:
    if mine == theirs:
        return 0.0
    if math.isinf(mine) or not theirs:
        return math.inf
    return -math.inf if math.isinf(theirs) or not mine else math.log(mine / theirs)


def _median(values: Sequence[float]) -> float:
    ordered, half = sorted(values), len(values) // 2
    if len(values) % 2 or ordered[half] == ordered[half - 1]:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


def _joined(intervals: Sequence[Interval]) -> Sequence[Interval]:
    """Join neighbours until there are few enough to draw from."""
    while len(intervals) > _MOST:
        intervals = [Interval.concatenate(intervals[at : at + 2]) for at in range(0, len(intervals), 2)]
    return intervals


def moved(result: Result, baseline: Result, *, paired: bool) -> str:
    """Say where latencies moved: "p50 same, p99 +38%: the tail only"."""
    parts = {}
    for percent in (50, 99):
        slo = SLO.parse(f"p{percent} < baseline")
        parts[percent] = _moved(ratio(slo, result, baseline, paired=paired).interval(0.05))
    told = ", ".join(f"p{percent} {change}" for percent, change in parts.items())
    return f"{told}: the tail only" if parts[50] == "same" and parts[99].startswith("+") else told


def _moved(bounds: stats.Estimate) -> str:
    if not bounds.low <= 1 <= bounds.high:
        return str(Change(bounds.value))
    return "same" if bounds.low >= 1 / _SAME and bounds.high <= _SAME else "unclear"
