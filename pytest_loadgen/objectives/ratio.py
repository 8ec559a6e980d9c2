"""The ratio of a figure to that of the baseline, and its confidence interval.

With kept runs, a prediction interval from the variance between them. Side by side, a bootstrap that draws pairs of
intervals, in which the noise of the machine cancels (Efron & Tibshirani 1993, 8.5).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.baseline import Baseline, KeptRun
from pytest_loadgen.objectives.metric import Metric
from pytest_loadgen.objectives.prediction import Prediction, predict

_DRAWS = 1000
_SEED = 20_240_601


@dataclass(frozen=True)
class PairedRatio:
    """A figure divided by that of the other service: the median of the ratios of pairs of intervals."""

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


def ratio(metric: Metric, result: Result, baseline: Baseline) -> PairedRatio | Prediction:
    """Divide the figure of a result by that of a baseline that is not missing."""
    if baseline.paired:
        assert baseline.result
        return _paired_ratio(metric, metric.view(result), metric.view(baseline.result))
    return predict(metric, KeptRun(result), baseline.divided(metric.figure)[1])


def _paired_ratio(metric: Metric, result: Result, other: Result) -> PairedRatio:
    """Take the median of the ratios in pairs of intervals, and draw pairs."""
    logs = [
        _log_ratio(metric.figure(mine), metric.figure(theirs))
        for mine, theirs in zip(result.by_interval, other.by_interval, strict=False)
        if mine.requests and theirs.requests
    ]
    if not logs:
        return PairedRatio(math.nan, [], 0)
    value = _median(logs)
    if not math.isfinite(value):
        return PairedRatio(math.exp(value) if value < 0 else math.inf, [0.0], len(logs))
    source = random.Random(_SEED)  # noqa: S311  # no secret
    draws = sorted(_median(source.choices(logs, k=len(logs))) - value for _ in range(_DRAWS))
    return PairedRatio(math.exp(value), draws, len(logs))


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
