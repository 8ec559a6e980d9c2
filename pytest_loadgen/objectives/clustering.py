"""How bad requests cluster: how many times less a number of requests says than if they were independent.

Requests queue, so slow ones come in bursts; and services have slow and fast times, so neighbouring intervals are
alike. The first is the variance of a share between intervals, divided by that of independent requests; the second is
how many times larger this is over longer times.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Self

from pytest_loadgen.objectives.stats import FEWEST_BATCHES, autocorrelation

# Neighbouring batches are joined into longer ones, as long as at least this many remain.
_ENOUGH_BATCHES = 10
# Bursts are looked for among at least so many requests.
_ENOUGH_EVENTS = 100
# A count of more than this part of all requests hardly varies, however much their latency does.
_NEARLY_ALL = 0.75
# Neighbours count as alike by this at most: beyond it, no run would be long enough.
_MOST_ALIKE = 0.8


@dataclass(frozen=True)
class Clustering:
    """How bad requests cluster, within batches and beyond."""

    bursts: float = 1.0
    """How many times larger the variance of a share of requests is than with independent ones; at least 1."""
    alike: float = 1.0
    """How many times larger than that it is over longer times, because neighbouring batches are alike; at least 1."""
    longest: int = 1
    """How many batches long the times are over which it was seen."""

    @property
    def inflation(self) -> float:
        """How many times larger the variance of the share of a whole run is than with independent requests."""
        return self.bursts * self.alike

    @classmethod
    def seen(cls, levels: Sequence[Sequence[float]], requests: Sequence[float], effective: float = 0.0) -> Self:
        """Measure it in counts of bad requests and of all requests per batch.

        There may be several counts: first of the bad ones, then of those that are ever less bad. Bursts are measured
        where enough requests show them: in the first count of 100 events that say as much as `effective` independent
        ones, or else in the last. What lasts for longer is measured in the largest count that is not nearly all
        requests, which would show nothing. Batches without requests are left out.
        """
        busy = [bool(each) for each in requests]
        levels, requests = [list(compress(level, busy)) for level in levels], list(compress(requests, busy))
        own = bursts = inflation(levels[0], requests)
        for level in levels:
            bursts = inflation(level, requests)
            if sum(level) >= max(_ENOUGH_EVENTS, effective * bursts):
                break
        lasting = [level for level in levels if sum(level) <= _NEARLY_ALL * sum(requests)] or levels[:1]
        alike, longest = _likeness(lasting[-1], requests)
        return cls(max(own, bursts), alike, longest)


def inflation(bad: Sequence[float], requests: Sequence[float]) -> float:
    """Give how many times larger the variance of a share is than with independent requests; at least 1."""
    return max(1.0, _ratio(bad, requests))


def _ratio(bad: Sequence[float], requests: Sequence[float]) -> float:
    """Divide the variance of a share between batches by that of independent requests.

    Batches differ in size: the variance of a ratio estimate (Cochran 1977, 6.3).
    """
    total, count = sum(requests), len(requests)
    value = sum(bad) / total if total else 0.0
    if not 0 < value < 1 or count < 2:
        return 1.0
    between = sum((events - value * size) ** 2 for events, size in zip(bad, requests, strict=True))
    return between * count / (count - 1) / (value * (1 - value) * total)


def _likeness(bad: Sequence[float], requests: Sequence[float]) -> tuple[float, int]:
    """Give how many times larger the variance is over longer times, and of how many batches these are.

    The largest over batches of 2, 4, … joined together. Those that are longer still are too few; so neighbours are also
    taken for an autoregressive process: with the first autocorrelation r the variance is (1 + r) / (1 - r) times as
    large (Bartlett 1946), where r is more than its standard error.
    """
    found = [inflation(*batches) for batches in _joined(bad, requests)]
    if not found:
        return 1.0, 1
    number = found.index(max(found))
    alike, longest = found[number] / found[0], 2**number
    count, value = len(requests), sum(bad) / (sum(requests) or 1)
    left = [events - value * size for events, size in zip(bad, requests, strict=True)]
    correlation = min(_MOST_ALIKE, autocorrelation(left))
    if correlation <= 1 / math.sqrt(count):
        return alike, longest
    longer = _ratio(bad, requests) * (1 + correlation) / (1 - correlation)
    return max(alike, longer / found[0]), longest


def _joined(*series: Sequence[float]) -> Iterator[tuple[Sequence[float], ...]]:
    """Give the batches singly, joined by two, by four, … while enough remain: neighbours may be alike."""
    while len(series[0]) >= FEWEST_BATCHES:
        yield series
        if len(series[0]) < 2 * _ENOUGH_BATCHES:
            return
        series = tuple(_paired(each) for each in series)


def _paired(values: Sequence[float]) -> list[float]:
    return [sum(values[at : at + 2]) for at in range(0, len(values) - len(values) % 2, 2)]
