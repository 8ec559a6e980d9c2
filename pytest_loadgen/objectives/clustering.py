"""How bad requests cluster, and by which factor that inflates the variance of their share.

Requests queue, so slow ones come in bursts; and services have slow and fast times, so neighbouring intervals are
correlated. Bursts are measured by the variance of the share between intervals, divided by that of independent requests
(the design effect); slow times by how much more this is between longer intervals.
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
# Bursts are measured where there are at least this many bad requests.
_ENOUGH_EVENTS = 100
# If a level counts more than this part of all requests, its count hardly varies, however much their latency does.
_NEARLY_ALL = 0.75
# The highest autocorrelation assumed: with a higher one, no run would be long enough.
_MOST_CORRELATED = 0.8


@dataclass(frozen=True)
class Clustering:
    """How bad requests cluster, within batches and beyond."""

    bursts: float = 1.0
    """The variance of the share between batches, divided by that of independent requests; at least 1."""
    persistence: float = 1.0
    """By which factor that grows over longer times, because neighbouring batches are correlated; at least 1."""
    span: int = 1
    """Over how many batches the variance was largest."""

    @property
    def inflation(self) -> float:
        """The variance of the share of a whole run, divided by that of independent requests."""
        return self.bursts * self.persistence

    @classmethod
    def seen(cls, levels: Sequence[Sequence[float]], requests: Sequence[float], effective_size: float = 0.0) -> Self:
        """Measure it in the bad requests and all requests of each batch.

        The first level counts the bad requests, the others those above ever lower limits. Bursts are measured at the
        first level with 100 events that count as `effective_size` independent ones, or else at the last. Persistence is
        measured at the last level that does not hold nearly all requests: their number would not vary. Batches without
        requests are left out.
        """
        busy = [bool(each) for each in requests]
        levels, requests = [list(compress(level, busy)) for level in levels], list(compress(requests, busy))
        own = bursts = inflation(levels[0], requests)
        for level in levels:
            bursts = inflation(level, requests)
            if sum(level) >= max(_ENOUGH_EVENTS, effective_size * bursts):
                break
        lasting = [level for level in levels if sum(level) <= _NEARLY_ALL * sum(requests)] or levels[:1]
        persistence, span = _persistence(lasting[-1], requests)
        return cls(max(own, bursts), persistence, span)


def inflation(bad: Sequence[float], requests: Sequence[float]) -> float:
    """Divide the variance of a share between batches by that of independent requests; at least 1."""
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


def _persistence(bad: Sequence[float], requests: Sequence[float]) -> tuple[float, int]:
    """Give by which factor the variance grows over longer times, and over how many batches it is largest.

    Batches are joined by 2, 4, … while enough remain. For longer times, they are modelled as an autoregressive process:
    with the first autocorrelation r the variance grows by (1 + r) / (1 - r) (Bartlett 1946), if r exceeds its standard
    error.
    """
    found = [inflation(*batches) for batches in _joined(bad, requests)]
    if not found:
        return 1.0, 1
    number = found.index(max(found))
    persistence, span = found[number] / found[0], 2**number
    count, value = len(requests), sum(bad) / (sum(requests) or 1)
    left = [events - value * size for events, size in zip(bad, requests, strict=True)]
    correlation = min(_MOST_CORRELATED, autocorrelation(left))
    if correlation <= 1 / math.sqrt(count):
        return persistence, span
    longer = _ratio(bad, requests) * (1 + correlation) / (1 - correlation)
    return max(persistence, longer / found[0]), span


def _joined(*series: Sequence[float]) -> Iterator[tuple[Sequence[float], ...]]:
    """Give the batches one by one, joined by two, by four, … while enough remain."""
    while len(series[0]) >= FEWEST_BATCHES:
        yield series
        if len(series[0]) < 2 * _ENOUGH_BATCHES:
            return
        series = tuple(_paired(each) for each in series)


def _paired(values: Sequence[float]) -> list[float]:
    return [sum(values[at : at + 2]) for at in range(0, len(values) - len(values) % 2, 2)]
