"""Windows: which intervals of a run an objective is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.objectives.slo import SLO

HALF_INTERVAL = 0.5
"""Half the length of an interval, in seconds: times of a run are no more exact than that."""


def spans(slo: SLO, intervals: Sequence[Interval]) -> list[slice]:
    """Give the intervals that an objective is about: all, the last ones, or each window of a length.

    Empty where the run is shorter than the window.
    """
    if not slo.window:
        return [slice(None)]
    windows = [slice(*ends) for ends in _windows(intervals, slo.window.seconds)]
    return windows if slo.window.which == "any" else windows[-1:]


def last(intervals: Sequence[Interval], seconds: float) -> Sequence[Interval]:
    """Give the last intervals that are this long together, with the responses that came in after them."""
    at, length = len(intervals), 0.0
    while at and length < seconds - HALF_INTERVAL:
        at -= 1
        length += intervals[at].seconds
    return intervals[at:]


def _windows(intervals: Sequence[Interval], seconds: float) -> Iterator[tuple[int, int]]:
    """Give the start and end of each run of intervals that are this long together."""
    end, length = 0, 0.0
    for at, interval in enumerate(intervals):
        while end < len(intervals) and length < seconds - HALF_INTERVAL:
            length += intervals[end].seconds
            end += 1
        # Responses that came in after the last of them belong to it.
        while end < len(intervals) and not intervals[end].seconds:
            end += 1
        if length >= seconds - HALF_INTERVAL and interval.seconds:
            yield at, end
        length -= interval.seconds
