"""In which range the figure of another run is expected, from those that were kept.

Runs differ from each other by more than the seconds within them do: the machine, the memory layout and the caches are
others each time. So the logarithm of a run's figure is compared with the mean of those of the kept runs, by the
variance between these: a prediction interval for one more value, by Student's t (Whitmore 1986).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.baseline import KeptRun
from pytest_loadgen.objectives.metric import Metric, ResponseRate
from pytest_loadgen.objectives.scatter import Scattered

ENOUGH = 5
"""From so many kept runs on, nothing is assumed of how they differ."""
ASSUMED = 0.03
"""How much runs are taken to differ, as a standard deviation, for each run that is missing to ENOUGH."""


@dataclass(frozen=True)
class Prediction:
    """A figure of a run divided by the geometric mean of those of kept runs, and how far chance may take it from 1.

    Variances are of logarithms.
    """

    value: float
    runs: int
    """How many runs were kept."""
    assumed: float
    """How much runs are taken to differ where too few are kept to know; 0 where nothing is assumed."""
    between: float
    """The variance between runs, with that within them."""
    own: float
    """The variance within the run,"""
    kept: float
    """and that within a kept run: the median."""
    batches: int
    """From how many intervals of each run these are known, at least."""

    @property
    def missing(self) -> int:
        """How many more runs are needed to know how they differ."""
        return max(0, ENOUGH - self.runs) if self.assumed else 0

    def interval(self, alpha: float) -> stats.Estimate:
        """Bound the true ratio; each bound alone is wrong with probability alpha."""
        if self.batches < stats.FEWEST_BATCHES:
            return stats.Estimate(self.value, 0.0, math.inf)
        if not 0 < self.value < math.inf:
            return stats.Estimate(self.value, self.value, self.value)
        factor = math.exp(half) if (half := self.half(alpha)) < math.inf else math.inf
        return stats.Estimate(self.value, self.value / factor, self.value * factor)

    def half(self, alpha: float) -> float:
        """Give half the width of the interval, as a logarithm."""
        if not math.isfinite(self.own + self.kept + self.between):
            return math.inf
        between = self.between * (1 + 1 / self.runs)
        # A run that is shorter than the kept ones varies more.
        of_runs = _half(alpha, [(between, self._freedom), (max(0.0, self.own - self.kept), self._seconds)])
        # Few runs may be alike by chance, but they are never more alike than their seconds let them be.
        of_seconds = _half(alpha, [(self.own, self._seconds), (self.kept / self.runs, self.runs * self._seconds)])
        return max(of_runs, of_seconds)

    def with_runs(self, runs: int) -> Prediction:
        """Give what it would be with more kept runs that differ as much."""
        return replace(self, runs=runs)

    def longer(self, factor: float) -> Prediction:
        """Give what it would be if all runs were longer by a factor."""
        own, kept = self.own / factor, self.kept / factor
        return replace(self, own=own, kept=kept, between=max(0.0, self.between - self.kept) + kept)

    @property
    def _freedom(self) -> int:
        return max(self.runs, ENOUGH if self.assumed else 2) - 1

    @property
    def _seconds(self) -> int:
        return self.batches - 1


def _half(alpha: float, parts: Sequence[tuple[float, int]]) -> float:
    """Give a quantile of a sum of variances with their degrees of freedom (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    if not total:
        return 0.0
    freedom = total**2 / sum(variance**2 / freedom for variance, freedom in parts)
    return stats.student_quantile(1 - alpha, max(1, int(freedom + 1e-9))) * math.sqrt(total)


def predict(metric: Metric, run: KeptRun, runs: Sequence[KeptRun]) -> Prediction:
    """Compare a figure of a run with that of kept runs."""
    own, kept = run.scattered(metric), [each.scattered(metric) for each in runs]
    # A report has only the figures of most runs, and not those of their intervals.
    known = [each for each in kept if each.batches > 1] or kept
    batches = min(each.batches for each in (own, *known))
    within = median(each.variance for each in known)  # in one of them the machine may have been busy for a second
    # The rate of an open load is that of its plan.
    assumed = 0.0 if isinstance(metric, ResponseRate) and not run.result.plan.closed else ASSUMED
    value, between = _ratio(own, kept), 0.0
    if math.isfinite(value) and value:
        centre = fmean(each.log for each in kept)
        squares = sum((each.log - centre) ** 2 for each in kept)
        # A run that is missing counts as one that differs by as much as is assumed.
        lacking = max(0, ENOUGH - len(runs)) if assumed else 0
        between = (squares + lacking * (assumed**2 + within)) / max(1, lacking + len(runs) - 1)
    return Prediction(value, len(runs), assumed, between, own.variance, within, batches)


def _ratio(own: Scattered, kept: Sequence[Scattered]) -> float:
    logs = [each.log for each in kept]
    if all(own.log == log for log in logs):
        return 1.0
    if any(map(math.isnan, (own.log, *logs))):
        return math.nan
    difference = own.log - fmean(logs)
    return math.inf if difference == math.inf else math.exp(difference)
