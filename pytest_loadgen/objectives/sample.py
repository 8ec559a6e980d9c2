"""Samples: what a metric counts in each interval of a result. The intervals are the batches of the statistics.

A slice of a sample is the sample of those intervals.
"""

from __future__ import annotations

import heapq
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.clustering import Clustering
from pytest_loadgen.objectives.stats import FEWEST_BATCHES
from pytest_loadgen.units import Share
from pytest_loadgen.wording import counted

# A run that happens to have few bad requests also shows too little of how they cluster. So before it counts as met,
# bursts are measured at a level with enough events to count as this many independent ones.
_ENOUGH_EFFECTIVE = 24
# With this many bursts of bad requests, their own clustering is measured and none is assumed.
_SHOWN = 10


@dataclass(frozen=True)
class Shares:
    """How many requests are bad, out of how many."""

    bad: Sequence[int]
    requests: Sequence[int]
    lower_levels: Sequence[Sequence[int]] = ()
    """How many are above lower and lower limits, where that is known: these show bursts before the bad ones do."""
    assumed_burst: float = 1.0
    """How many bad requests are assumed to come in one burst, until enough of them show how they cluster."""

    def __getitem__(self, span: slice) -> Self:
        lower_levels = tuple(each[span] for each in self.lower_levels)
        return replace(self, bad=self.bad[span], requests=self.requests[span], lower_levels=lower_levels)

    @property
    def batches(self) -> int:
        """How many intervals have requests."""
        return sum(map(bool, self.requests))

    @property
    def value(self) -> float:
        """The share in this sample; 0 without requests."""
        return sum(self.bad) / (sum(self.requests) or 1)

    @cached_property
    def clustering(self) -> Clustering:
        """How bad requests cluster, as measured: for a verdict that many of them are above the bound."""
        return Clustering.seen(self._levels, self.requests)

    @cached_property
    def conservative_clustering(self) -> Clustering:
        """The same, measured with more requests: for a verdict that few of them are below the bound."""
        return Clustering.seen(self._levels, self.requests, _ENOUGH_EFFECTIVE)

    @property
    def _bursts(self) -> float:
        """The measured bursts, or the assumed ones as far as too few bad requests show otherwise."""
        seen = self.conservative_clustering.bursts
        known = min(1.0, sum(self.bad) / seen / _SHOWN)
        return max(seen, known * seen + (1 - known) * self.assumed_burst)

    @property
    def effective_size(self) -> float:
        """The effective sample size: how many independent requests count as much."""
        if self._is_mirrored(self.value):
            return self._mirrored.effective_size
        return sum(self.requests) / (self._bursts * self.conservative_clustering.persistence)

    @property
    def basis(self) -> str:
        """What a verdict rests on, in words."""
        said = f"{sum(self.requests):,} requests in {counted(self.batches, 'interval')}"
        said += f" count as {self.effective_size:,.0f} independent ones"
        span = self.conservative_clustering.span
        return f"{said}; bad ones cluster over {counted(span, 'interval')}" if span > 1 else said

    def estimate(self, alpha: float, bound: float | None = None) -> stats.Estimate:
        """Bound the true share; each bound alone is wrong with probability alpha.

        With the bound of an objective, the interval agrees with the verdict about it.
        """
        if not sum(self.requests):
            return stats.Estimate(math.nan, 0.0, 1.0)
        value = self.value
        if self._is_mirrored(value if bound is None else bound):
            mirrored = self._mirrored.estimate(alpha, None if bound is None else 1 - bound)
            return stats.Estimate(value, 1 - mirrored.high, 1 - mirrored.low)
        if self.batches < FEWEST_BATCHES:
            return stats.Estimate(value, 0.0, 1.0)
        events = sum(self.bad)
        low = stats.root(lambda share: self._p_at_least(events, share, alpha) - alpha, 0.0, value)
        high = stats.root(lambda share: alpha - self._p_at_most(events, share, alpha), value, 1.0)
        return stats.Estimate(value, low, high)

    def critical_shares(self, share: float, alpha: float) -> stats.Estimate:
        """Give the shares between which a sample of this size leaves it open whether the true share is above or below.

        The low one is -1 where even a sample without bad requests does.
        """
        total = sum(self.requests)
        low = stats.root(lambda part: self._p_at_most(part * total, share, alpha) - alpha, 0.0, share)
        high = stats.root(lambda part: alpha - self._p_at_least(part * total, share, alpha), share, 1.0)
        return stats.Estimate(share, low if self._p_at_most(0.0, share, alpha) < alpha else -1.0, high)

    def side(self, bound: float, alpha: float) -> int:
        """Return 1 if the true share is above the bound, -1 if it is below, 0 if that is not sure."""
        if self._is_mirrored(bound):
            return -self._mirrored.side(1 - bound, alpha)
        if self.batches < FEWEST_BATCHES or not sum(self.requests):
            return 0
        events = sum(self.bad)
        if self._p_at_most(events, bound, alpha) < alpha:
            return -1
        return int(self._p_at_least(events, bound, alpha) < alpha)

    def _p_at_most(self, events: float, share: float, alpha: float) -> float:
        """Give the probability of this many bad requests or fewer, if this were the true share."""
        clustering = self.conservative_clustering
        scale = self._bursts * self._t_correction(clustering, alpha)
        return stats.at_most(events / scale, sum(self.requests) / scale, share, clustering.persistence)

    def _p_at_least(self, events: float, share: float, alpha: float) -> float:
        """Give the probability of this many bad requests or more, if this were the true share."""
        clustering = self.clustering
        scale = clustering.inflation * self._t_correction(clustering, alpha)
        return stats.at_least(events / scale, sum(self.requests) / scale, share)

    def _t_correction(self, clustering: Clustering, alpha: float) -> float:
        """Give by which factor the inflation may be larger: few batches show it less exactly (Student's t)."""
        if clustering.inflation <= 1 or alpha >= 0.5:
            return 1.0
        freedom = self.batches // clustering.span - 1
        return max(1.0, stats.student_quantile(1 - alpha, freedom) / stats.normal_quantile(1 - alpha)) ** 2

    @property
    def _levels(self) -> Sequence[Sequence[int]]:
        return (self.bad, *self.lower_levels)

    def _is_mirrored(self, share: float) -> bool:
        """Return whether to count the good requests instead, because they are fewer and come in bursts."""
        return share > 0.5 and not self.lower_levels

    @property
    def _mirrored(self) -> Self:
        """The same sample with the good requests as the bad ones."""
        return replace(self, bad=[size - bad for bad, size in zip(self.bad, self.requests, strict=True)])


@dataclass(frozen=True)
class Means:
    """The mean of each interval and its weight; an interval of weight 0 is left out."""

    figures: Sequence[float]
    weights: Sequence[float]
    latencies: Sequence[Histogram] = ()
    """The latencies of each interval, where the figures are their means: a few may dominate the mean."""
    spreads: Sequence[stats.Spread] = ()
    """The spread of the latencies of each interval."""

    @classmethod
    def of_latencies(cls, figures: Sequence[float], latencies: Sequence[Histogram]) -> Self:
        """Take the mean latency of each interval, and the latencies of all of its requests."""
        spreads = [stats.Spread.of(list(each.descending())) for each in latencies]
        return cls(figures, [each.count for each in spreads], latencies, spreads)

    def __getitem__(self, span: slice) -> Self:
        cut = replace(self, figures=self.figures[span], weights=self.weights[span])
        return replace(cut, latencies=self.latencies[span], spreads=self.spreads[span])

    @property
    def batches(self) -> int:
        """How many intervals have a weight."""
        return sum(map(bool, self.weights))

    @property
    def value(self) -> float:
        """The mean of this sample."""
        total = sum(self.weights)
        return sum(map(operator.mul, self.figures, self.weights)) / total if total else math.nan

    @property
    def basis(self) -> str:
        """What a verdict rests on, in words."""
        return f"the means of {counted(self.batches, 'interval')}"

    def estimate(self, alpha: float) -> stats.Estimate:
        """Bound the true mean; each bound alone is wrong with probability alpha."""
        found = self._by_batches(alpha)
        return replace(found, high=max(found.high, found.value + self._tail_allowance(alpha)))

    def side(self, bound: float, alpha: float) -> int:
        """Return 1 if the true mean is above the bound, -1 if it is below, 0 if that is not sure or it is equal."""
        estimate = self.estimate(alpha)
        return (estimate.low > bound) - (estimate.high < bound)

    def why_unclear(self, bound: float, alpha: float) -> str:
        """Say that only the slowest requests leave it open whether the mean is below a bound; empty if they do not."""
        if not self._by_batches(alpha).high < bound <= self.estimate(alpha).high:
            return ""
        size = left = stats.tail(self._spread.count)
        seconds = 0.0
        for latency, number in self._descending():
            seconds += latency * min(number, left)
            left -= min(number, left)
            if not left:
                break
        part = Share(round(seconds / (self._spread.count * self._spread.mean), 2))
        slowest = f"the slowest {size} of {self._spread.count:,} requests"
        return f"{slowest} make up {part} of the mean: use a percentile instead"

    def _by_batches(self, alpha: float) -> stats.Estimate:
        pairs = [(figure, weight) for figure, weight in zip(self.figures, self.weights, strict=True) if weight]
        spread = self._spread if self.spreads else None
        return stats.mean([figure for figure, _ in pairs], alpha, [weight for _, weight in pairs], spread)

    def _tail_allowance(self, alpha: float) -> float:
        return stats.tail_allowance(self._descending(), self._spread.count, alpha) if self.latencies else 0.0

    def _descending(self) -> Iterator[tuple[float, int]]:
        return heapq.merge(*(each.descending() for each in self.latencies), reverse=True)

    @cached_property
    def _spread(self) -> stats.Spread:
        return stats.Spread.sum(self.spreads)


@dataclass(frozen=True)
class Trends:
    """A figure at moments of the run, nan where unknown; its growth per second is what counts."""

    figures: Sequence[float]
    moments: Sequence[float]

    def __getitem__(self, span: slice) -> Self:
        return replace(self, figures=self.figures[span], moments=self.moments[span])

    @property
    def batches(self) -> int:
        """How many intervals have the figure."""
        return sum(not math.isnan(each) for each in self.figures)

    @property
    def value(self) -> float:
        """The growth in this sample."""
        return self.estimate(0.5).value

    @property
    def basis(self) -> str:
        """What a verdict rests on, in words."""
        return f"a line through {counted(self.batches, 'interval')}"

    def estimate(self, alpha: float) -> stats.Estimate:
        """Bound the true growth; each bound alone is wrong with probability alpha."""
        known = [(at, each) for at, each in zip(self.moments, self.figures, strict=True) if not math.isnan(each)]
        return stats.trend([at for at, _ in known], [each for _, each in known], alpha)

    def side(self, bound: float, alpha: float) -> int:
        """Return 1 if the true growth is above the bound, -1 if it is below, 0 if that is not sure or it is equal."""
        estimate = self.estimate(alpha)
        return (estimate.low > bound) - (estimate.high < bound)


@dataclass(frozen=True)
class Facts:
    """Figures that are facts of this run and not estimates: a count, the slowest request."""

    figures: Sequence[Any]
    combine: Callable[[Sequence[Any]], float]

    def __getitem__(self, span: slice) -> Self:
        return replace(self, figures=self.figures[span])

    @property
    def value(self) -> float:
        """The figure of all intervals; nan where it is not known."""
        return float(self.combine(self.figures))

    def side(self, bound: float, alpha: float) -> int:  # as the other samples
        """Return 1 if the figure is above the bound, -1 if it is below, 0 if it is equal."""
        return (self.value > bound) - (self.value < bound)


Estimated = Shares | Means | Trends
"""Samples from which a true figure is estimated."""
Sample = Estimated | Facts
