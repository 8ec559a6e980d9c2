"""Samples: what a metric counts in each interval of a result. The intervals are the batches of the statistics.

A slice of a sample is the sample of those intervals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from pytest_loadgen.objectives import stats


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

    def __getitem__(self, span: slice) -> Self:
        return replace(self, figures=self.figures[span], weights=self.weights[span])

    @property
    def batches(self) -> int:
        """How many intervals have a weight."""
        return sum(map(bool, self.weights))

    @property
    def value(self) -> float:
        """The mean of this sample."""
        return self.estimate(0.5).value

    def estimate(self, alpha: float) -> stats.Estimate:
        """Bound the true mean; each bound alone is wrong with probability alpha."""
        pairs = [(figure, weight) for figure, weight in zip(self.figures, self.weights, strict=True) if weight]
        return stats.mean([figure for figure, _ in pairs], alpha, [weight for _, weight in pairs])

    def side(self, bound: float, alpha: float) -> int:
        """Return 1 if the true mean is above the bound, -1 if it is below, 0 if that is not sure or it is equal."""
        estimate = self.estimate(alpha)
        return (estimate.low > bound) - (estimate.high < bound)


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
