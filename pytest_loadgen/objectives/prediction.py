"""The range in which the figure of one more run is expected, from those of kept runs.

Runs differ from each other by more than the seconds within them do: the state of the machine, the memory layout and the
caches change from run to run. So the logarithm of a run's figure is compared with the mean of those of the kept runs,
by the variance between them: a prediction interval for one more value, by Student's t (Whitmore 1986).
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
"""With this many kept runs or more, their variance is estimated and nothing is assumed."""
ASSUMED = 0.03
"""The standard deviation between runs that is assumed for each run fewer than ENOUGH."""


@dataclass(frozen=True)
class Prediction:
    """The ratio of a run's figure to the geometric mean of those of kept runs, and its prediction interval.

    Variances are those of logarithms.
    """

    value: float
    runs: int
    """How many runs were kept."""
    assumed: float
    """The standard deviation between runs that is assumed where too few are kept; 0 where none is assumed."""
    between: float
    """The variance between runs, which includes that within them."""
    own: float
    """The variance within the run."""
    kept: float
    """The median of the variances within the kept runs."""
    batches: int
    """The fewest intervals from which the variance within a run is estimated."""

    @property
    def missing(self) -> int:
        """How many more kept runs are needed so that nothing is assumed."""
        return max(0, ENOUGH - self.runs) if self.assumed else 0

    def interval(self, alpha: float) -> stats.Estimate:
        """Bound the true ratio; each bound alone is wrong with probability alpha."""
        if self.batches < stats.FEWEST_BATCHES or math.isnan(self.value):
            return stats.Estimate(self.value, 0.0, math.inf)
        if not 0 < self.value < math.inf:
            return stats.Estimate(self.value, self.value, self.value)
        factor = math.exp(half) if (half := self.half_width(alpha)) < math.inf else math.inf
        return stats.Estimate(self.value, self.value / factor, self.value * factor)

    def half_width(self, alpha: float) -> float:
        """Give half the width of the interval of the logarithm."""
        if not math.isfinite(self.own + self.kept + self.between):
            return math.inf
        between = self.between * (1 + 1 / self.runs)
        # A run that is shorter than the kept ones varies more.
        of_runs = _half_width(alpha, [(between, self._freedom), (max(0.0, self.own - self.kept), self._seconds)])
        # Few runs may agree by chance: bounds are never closer than the variance within runs allows.
        of_seconds = _half_width(alpha, [(self.own, self._seconds), (self.kept / self.runs, self.runs * self._seconds)])
        return max(of_runs, of_seconds)

    def with_runs(self, runs: int) -> Prediction:
        """Give what it would be with this many kept runs and the same variances."""
        return replace(self, runs=runs)

    def longer(self, factor: float) -> Prediction:
        """Give what it would be if all runs were this many times as long."""
        own, kept = self.own / factor, self.kept / factor
        return replace(self, own=own, kept=kept, between=max(0.0, self.between - self.kept) + kept)

    @property
    def _freedom(self) -> int:
        return max(self.runs, ENOUGH if self.assumed else 2) - 1

    @property
    def _seconds(self) -> int:
        return self.batches - 1


def _half_width(alpha: float, parts: Sequence[tuple[float, int]]) -> float:
    """Give the half-width for a sum of variances, each with its degrees of freedom (Satterthwaite 1946)."""
    total = sum(variance for variance, _ in parts)
    if not total:
        return 0.0
    freedom = total**2 / sum(variance**2 / freedom for variance, freedom in parts)
    return stats.student_quantile(1 - alpha, max(1, int(freedom + 1e-9))) * math.sqrt(total)


def predict(metric: Metric, run: KeptRun, runs: Sequence[KeptRun]) -> Prediction:
    """Compare a figure of a run with that of kept runs."""
    own, kept = run.scattered(metric), [each.scattered(metric) for each in runs]
    # A report has the intervals of the newest kept run only.
    known = [each for each in kept if each.batches > 1] or kept
    batches = min(each.batches for each in (own, *known))
    within = median(each.variance for each in known)  # one hiccup in one run does not count
    # The rate of an open load is that of its plan.
    assumed = 0.0 if isinstance(metric, ResponseRate) and not run.result.plan.closed else ASSUMED
    value, between = _ratio(own, kept), 0.0
    if not all(math.isfinite(each.log) for each in kept):
        between = math.inf  # too many requests had no response
    elif math.isfinite(value) and value:
        centre = fmean(each.log for each in kept)
        squares = sum((each.log - centre) ** 2 for each in kept)
        # Each missing run counts as one that deviates by what is assumed.
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
