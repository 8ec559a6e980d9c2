"""A sequential test: which error each look at a running load may have, so that all looks together keep to 5 %.

A group-sequential plan (Armitage, McPherson & Rowe 1969). Looks share their data, so together they are wrong less often
than the sum of their errors. The error is spent with the square of the elapsed share of the longest load (Lan & DeMets
1983; Kim & DeMets 1987): early looks, which have the least data, spend little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from pytest_loadgen.objectives.stats import normal_cdf, normal_quantile

_POWER = 2
# Points of the grid on which the distribution between two looks is kept: levels are exact to 1 in 1,000.
_POINTS = 121
# The distribution ends this many standard deviations below 0.
_FAR = 5.0
# No boundary is more standard deviations away than this.
_FARTHEST = 9.0


@dataclass(frozen=True)
class Looks:
    """The moments at which a load was judged; all but the last left it undecided."""

    longest: float = 1.0
    """The longest that the load may last, in the unit of the moments."""
    moments: tuple[float, ...] = (1.0,)
    is_last: bool = True
    """Whether no look follows, so that this one may spend the rest of the error."""

    @classmethod
    def of(cls, longest: float) -> Self:
        """Begin a load that may last this long; it was not looked at yet."""
        return cls(longest, ())

    def at(self, moment: float, *, is_last: bool = False) -> Self:
        """Add a look at a later moment. The last look may repeat the moment of the one before it."""
        before = tuple(each for each in self.moments if each < moment)
        return replace(self, moments=(*before, moment), is_last=is_last)

    def level(self, error: float) -> float:
        """Give the error of the newest look such that all looks together have the error `error`."""
        if self.is_last and len(self.moments) == 1:
            return error
        boundary = _boundary(self.moments, tuple(map(self.spent, self.moments)), error)
        return normal_cdf(-boundary / math.sqrt(self.moments[-1]))

    def spent(self, moment: float) -> float:
        """Give the share of the error that all looks up to a moment may spend."""
        if self.is_last and moment == self.moments[-1]:
            return 1.0
        return min(1.0, moment / self.longest) ** _POWER


ONE_LOOK = Looks()
"""A load that is judged once, at its end."""


@lru_cache(maxsize=1024)
def _boundary(moments: tuple[float, ...], spent: tuple[float, ...], error: float) -> float:
    """Find the boundary of the last look, given the share of the error that is spent up to each look.

    A Brownian motion crosses it with the probability that this look may spend, if it has crossed none before. Computed
    by numerical integration.
    """
    if len(moments) == 1:
        return _exceeded(error * spent[0]) * math.sqrt(moments[0])
    probability = error * (spent[-1] - spent[-2])
    step = math.sqrt(moments[-1] - moments[-2])
    return _density(moments[:-1], spent[:-1], error).boundary(step, probability, _FARTHEST * math.sqrt(moments[-1]))


@lru_cache(maxsize=1024)
def _density(moments: tuple[float, ...], spent: tuple[float, ...], error: float) -> _Density:
    """Give the distribution of the motion at the last look, if it has crossed no boundary."""
    deviation = math.sqrt(moments[-1])
    points = _grid(-_FAR * deviation, _boundary(moments, spent, error))
    if len(moments) == 1:
        values = [_normal(point, deviation) for point in points]
    else:
        before, step = _density(moments[:-1], spent[:-1], error), math.sqrt(moments[-1] - moments[-2])
        pairs = list(zip(before.points, before.weights, strict=True))
        values = [sum(weight * _normal(point - start, step) for start, weight in pairs) for point in points]
    return _Density(points, _weighted(points, values))


@dataclass(frozen=True)
class _Density:
    """The distribution of a motion: points, and the probability of being near each."""

    points: tuple[float, ...]
    weights: tuple[float, ...]

    def beyond(self, boundary: float, step: float) -> float:
        """Give the probability of being above a boundary after a step of this standard deviation."""
        return sum(
            weight * normal_cdf((point - boundary) / step)
            for point, weight in zip(self.points, self.weights, strict=True)
        )

    def boundary(self, step: float, probability: float, highest: float) -> float:
        """Find the value that is exceeded with a probability after a step."""
        low, high = -highest, highest
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.beyond(middle, step) > probability else (low, middle)
        return (low + high) / 2


def _exceeded(probability: float) -> float:
    """Give the value that a standard normal variable exceeds with a probability."""
    return -normal_quantile(probability) if probability > 0 else _FARTHEST


def _normal(value: float, deviation: float) -> float:
    return math.exp(-((value / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))


def _grid(low: float, high: float) -> tuple[float, ...]:
    return tuple(low + (high - low) * at / (_POINTS - 1) for at in range(_POINTS))


def _weighted(points: tuple[float, ...], values: list[float]) -> tuple[float, ...]:
    """Weigh the values of a density for Simpson's rule."""
    width = (points[-1] - points[0]) / (_POINTS - 1)
    ends = {0, _POINTS - 1}
    return tuple(value * width / 3 * (1 if at in ends else 4 if at % 2 else 2) for at, value in enumerate(values))
