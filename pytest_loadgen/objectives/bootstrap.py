"""Figures of a result whose intervals were drawn again, for the bootstrap.

Each function prepares one figure and returns a function: it takes how many times each interval was
drawn, and gives the figure of the result that these intervals make.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import accumulate

from pytest_loadgen.figures.interval import Interval

Resampled = Callable[[Sequence[int]], float]
"""Gives a figure from the number of times that each interval was drawn."""

# A percentile is looked up among at most this many latencies,
_LEVELS = 512
# from where a quarter of the tail is slower to where four times the tail is.
_AROUND = 4


def quotient(numerators: Sequence[float], denominators: Sequence[float]) -> Resampled:
    """Prepare a mean or a rate: the sum of one quantity divided by the sum of another."""
    return lambda times: _dot(times, numerators) / (_dot(times, denominators) or math.inf)


def percentile(percent: float, intervals: Sequence[Interval]) -> Resampled:
    """Prepare a percentile of latency, in seconds; infinite where it falls among the unanswered requests.

    Counts in advance how many latencies of each interval are up to each of a few levels near the percentile.
    """
    requests = [each.requests for each in intervals]
    counts = [each.latency.counts for each in intervals]
    total: Counter[int] = Counter()
    for each in counts:
        total.update(each)
    above = sum(requests)
    tail = (1 - percent / 100) * above
    levels = []
    for edge in sorted(total):
        above -= total[edge]
        if above <= tail * _AROUND:
            levels.append(edge)
        if above < tail / _AROUND:
            break
    levels = levels[:: max(1, len(levels) // _LEVELS)]
    up_to = [[0] * len(intervals) for _ in levels]
    for number, each in enumerate(counts):
        edges = sorted(each)
        running = [0, *accumulate(each[edge] for edge in edges)]
        for row, level in zip(up_to, levels, strict=True):
            row[number] = running[bisect_right(edges, level)]

    def figure(times: Sequence[int]) -> float:
        wanted = percent / 100 * _dot(times, requests)
        at = bisect_left(range(len(levels)), wanted, key=lambda level: _dot(times, up_to[level]))
        return levels[at] / 1e9 if at < len(levels) else math.inf

    return figure


def _dot(times: Sequence[int], values: Sequence[float]) -> float:
    return float(sum(map(operator.mul, times, values)))
