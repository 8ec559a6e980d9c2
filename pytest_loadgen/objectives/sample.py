"""What an objective counts, per interval of a result: the batches of its statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.units import Duration

# The bursts of slow requests are looked for in those that are slower than this part of the limit, too.
_NEAR = 0.5
# An interval shorter than this tells nothing of a rate.
_SHORTEST = 0.5


class Sample(Protocol):
    """Batches, of which any stretch is a sample, too."""

    def __getitem__(self, stretch: slice, /) -> Self: ...

    @property
    def value(self) -> float:
        """The figure, as it is found."""

    def side(self, bound: float, alpha: float) -> int:
        """Tell where the true figure surely is: 1 above the bound, -1 below it, 0 where that is not sure."""


@dataclass(frozen=True)
class Shares:
    """How many requests are bad, of how many."""

    bad: Sequence[int]
    near: Sequence[int]
    """Those that are at least half as bad, to see how they come; the same where there is no half."""
    requests: Sequence[int]

    def __getitem__(self, stretch: slice) -> Self:
        return replace(self, bad=self.bad[stretch], near=self.near[stretch], requests=self.requests[stretch])

    @property
    def value(self) -> float:
        """The share, as it is found."""
        return sum(self.bad) / (sum(self.requests) or 1)

    @property
    def inflation(self) -> float:
        """How much more the share varies than that of independent requests would.

        Where few are bad, their bursts cannot be seen in them.
        """
        return max(
            stats.inflation(bad, self.requests) for bad in {id(self.bad): self.bad, id(self.near): self.near}.values()
        )

    def estimate(self, alpha: float) -> stats.Estimate:
        """Bound the share."""
        return stats.share(self.bad, self.requests, alpha, self.inflation)

    def side(self, bound: float, alpha: float) -> int:
        """Tell on which side of a bound the share surely is."""
        return stats.side(self.bad, self.requests, bound, alpha, self.inflation)


@dataclass(frozen=True)
class Means:
    """A mean, and how much it counts for; intervals that count for nothing are none."""

    figures: Sequence[float]
    weights: Sequence[float]

    def __getitem__(self, stretch: slice) -> Self:
        return replace(self, figures=self.figures[stretch], weights=self.weights[stretch])

    @property
    def value(self) -> float:
        """The mean of all, as it is found."""
        return self.estimate(0.5).value

    def estimate(self, alpha: float) -> stats.Estimate:
        """Bound the mean."""
        some = [(figure, weight) for figure, weight in zip(self.figures, self.weights, strict=True) if weight]
        return stats.mean([figure for figure, _ in some], alpha, [weight for _, weight in some])

    def side(self, bound: float, alpha: float) -> int:
        """Tell on which side of a bound the mean surely is; at the bound is on neither."""
        estimate = self.estimate(alpha)
        return (estimate.low > bound) - (estimate.high < bound)


@dataclass(frozen=True)
class Facts:
    """What is a fact of the run, and no sample of anything: a count, the slowest request."""

    each: Sequence[Any]
    together: Callable[[Sequence[Any]], float]

    def __getitem__(self, stretch: slice) -> Self:
        return replace(self, each=self.each[stretch])

    @property
    def value(self) -> float:
        """The figure."""
        return self.together(self.each)

    def side(self, bound: float, alpha: float) -> int:
        """Tell on which side of a bound it is."""
        return (self.value > bound) - (self.value < bound)


def sample(slo: SLO, result: Result) -> Shares | Means | Facts:
    """Count what an objective is about."""
    intervals = result.intervals
    requests = [interval.requests for interval in intervals]
    if slo.kind == "percentile":
        slow, near = ([_slower(each, float(slo.bound) * part) for each in intervals] for part in (1, _NEAR))
        return Shares(slow, near, requests)
    if slo.kind == "mean":
        return Means([_mean(each, result) for each in intervals], requests)
    if slo.kind == "rate":
        seconds = [interval.seconds if interval.seconds >= _SHORTEST else 0.0 for interval in intervals]
        answered = [interval.requests - interval.unanswered for interval in intervals]
        return Means([count / (time or 1) for count, time in zip(answered, seconds, strict=True)], seconds)
    if slo.kind == "max":
        return Facts([_slowest(each, result) for each in intervals], lambda each: max(each, default=Duration(0)))
    if slo.kind == "lag":
        return Facts([interval.lag for interval in intervals], _lag)
    bad = [_bad(slo, result, each) for each in intervals]
    return Shares(bad, bad, requests) if slo.is_share else Facts(bad, sum)


def _slower(interval: Interval, limit: float) -> int:
    """Count what was slower than a limit; what was not answered is."""
    return interval.latency.over(limit) + interval.unanswered


def _mean(interval: Interval, result: Result) -> float:
    return float(replace(result, intervals=(interval,)).mean) if interval.requests else 0.0


def _slowest(interval: Interval, result: Result) -> Duration:
    return replace(result, intervals=(interval,)).max if interval.requests else Duration(0)


def _lag(each: Sequence[Histogram]) -> float:
    lag = Histogram.sum(each)
    return lag.percentile(99) if lag else Duration(math.nan)


def _bad(slo: SLO, result: Result, interval: Interval) -> int:
    """Count what an objective of errors, statuses or time-outs is about."""
    if slo.kind == "errors":
        return sum(count for outcome, count in interval.outcomes.items() if not result.plan.expects(outcome))
    wanted = "timeout" if slo.kind == "timeouts" else slo.status
    if wanted.endswith("xx"):
        return sum(count for outcome, count in interval.outcomes.items() if outcome.startswith(wanted[0]))
    return interval.outcomes.get(wanted, 0)
