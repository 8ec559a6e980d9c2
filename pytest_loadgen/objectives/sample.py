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
from pytest_loadgen.units import Share


@dataclass(frozen=True)
class Shares:
    """How many requests are bad, out of how many."""

    bad: Sequence[int]
    requests: Sequence[int]
    near: Sequence[int] = ()
    """How many are at least nearly bad, where that is known: bursts show in these before they show in the bad ones."""

    def __getitem__(self, span: slice) -> Self:
        return replace(self, bad=self.bad[span], requests=self.requests[span], near=self.near[span])

    @property
    def batches(self) -> int:
        """How many intervals there are."""
        return len(self.requests)

    @property
    def value(self) -> float:
        """The share in this sample; 0 without requests."""
        return sum(self.bad) / (sum(self.requests) or 1)

    @property
    def inflation(self) -> float:
        """How many times larger the variance of the share is than with independent requests."""
        bursts = stats.inflation(self.bad, self.requests)
        return max(bursts, stats.inflation(self.near, self.requests)) if self.near else bursts

    def estimate(self, alpha: float) -> stats.Estimate:
        """Bound the true share; each bound alone is wrong with probability alpha."""
        return stats.share(self.bad, self.requests, alpha, self.inflation)

    def side(self, bound: float, alpha: float) -> int:
        """Return 1 if the true share is above the bound, -1 if it is below, 0 if that is not sure."""
        return stats.side(self.bad, self.requests, bound, alpha, self.inflation)


@dataclass(frozen=True)
class Means:
    """The mean of each interval and its weight; an interval of weight 0 is left out."""

    figures: Sequence[float]
    weights: Sequence[float]
    latencies: Sequence[Histogram] = ()
    """The latencies of each interval, where their means are the figures: few of them may carry the mean."""
    spreads: Sequence[stats.Spread] = ()
    """How much the latencies of each interval differ."""

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

    def estimate(self, alpha: float) -> stats.Estimate:
        """Bound the true mean; each bound alone is wrong with probability alpha."""
        found = self._by_batches(alpha)
        return replace(found, high=max(found.high, found.value + self._unseen(alpha)))

    def side(self, bound: float, alpha: float) -> int:
        """Return 1 if the true mean is above the bound, -1 if it is below, 0 if that is not sure or it is equal."""
        estimate = self.estimate(alpha)
        return (estimate.low > bound) - (estimate.high < bound)

    def why_unclear(self, bound: float, alpha: float) -> str:
        """Say so where only the slowest requests leave it open whether the mean is below a bound; else empty."""
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
        return f"the slowest {size} of {self._spread.count:,} requests make up {part} of the mean: judge a percentile"

    def _by_batches(self, alpha: float) -> stats.Estimate:
        pairs = [(figure, weight) for figure, weight in zip(self.figures, self.weights, strict=True) if weight]
        spread = self._spread if self.spreads else None
        return stats.mean([figure for figure, _ in pairs], alpha, [weight for _, weight in pairs], spread)

    def _unseen(self, alpha: float) -> float:
        return stats.unseen(self._descending(), self._spread.count, alpha) if self.latencies else 0.0

    def _descending(self) -> Iterator[tuple[float, int]]:
        return heapq.merge(*(each.descending() for each in self.latencies), reverse=True)

    @cached_property
    def _spread(self) -> stats.Spread:
        return stats.Spread.sum(self.spreads)


@dataclass(frozen=True)
class Trends:
    """A figure at moments of the run, of which the growth per second counts; it is nan where it is not known."""

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
