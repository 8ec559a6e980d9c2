"""Intervals with what the service used in them: samples have times of this machine, intervals those of the plan."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.resources import Resources
from pytest_loadgen.service.resources import Sample, Watch
from pytest_loadgen.units import Share, Size

# Samples have to cover this part of an interval.
_COVERED = 0.5
# How long to wait for a sample, in seconds, where an objective needs it.
_CATCH_UP = 0.1
# Of many intervals that come together, all are given samples again when there are this many times as many.
_GROWN = 1.1


@dataclass(frozen=True)
class Arrival:
    """An interval, and when it came, as `clock.monotonic`."""

    interval: Interval
    at: float


def are_together(one: Arrival, following: Arrival) -> bool:
    """Return whether two intervals came together, sooner than one can have followed the other."""
    return following.at - one.at < following.interval.seconds / 2


def spans(arrivals: Sequence[Arrival]) -> Iterator[tuple[float, float]]:
    """Tell when each interval began and ended.

    An interval ends when it comes. Programs report several at once, at their end: of those that come together,
    the last one ends then, and the others before it.
    """
    ends: list[float] = []
    end, following = 0.0, None
    for arrival in reversed(arrivals):
        together = following is not None and are_together(arrival, following)
        end = end - following.interval.seconds if following and together else arrival.at
        ends.append(end)
        following = arrival
    for arrival, end in zip(arrivals, reversed(ends), strict=True):
        yield end - arrival.interval.seconds, end


def used(samples: Sequence[Sample], begin: float, end: float) -> Resources | None:
    """Tell what a service used between two moments; None where too few samples are from that time."""
    if not samples:
        return None
    first, last = max(begin, samples[0].at), min(end, samples[-1].at)
    length = last - first
    if length <= 0 or length < _COVERED * (end - begin):
        return None
    low = bisect_right(samples, first, key=attrgetter("at"))
    high = bisect_right(samples, last, key=attrgetter("at"))
    inside = samples[low:high] or samples[max(0, high - 1) : high]

    def during(figure: str) -> float:
        return _at(samples, high, last, figure) - _at(samples, low, first, figure)

    return Resources(
        process=inside[-1].process,
        cpu=during("cpu") / length,
        cores=inside[-1].cores,
        busiest=during("busiest") / length,
        memory=Size(max(each.memory for each in inside)),
        threads=max(each.threads for each in inside),
        files=max(each.files for each in inside),
        files_share=Share(max(each.files_share for each in inside)),
        throttled=during("throttled"),
    )


def _at(samples: Sequence[Sample], after: int, moment: float, figure: str) -> float:
    """Give a figure at a moment, on the line between the samples before and after it."""
    before = samples[after - 1]
    value = float(getattr(before, figure))
    if after == len(samples):
        return value
    slope = (getattr(samples[after], figure) - value) / (samples[after].at - before.at)
    return value + float(slope) * (moment - before.at)


def with_resources(arrivals: Sequence[Arrival], samples: Sequence[Sample]) -> tuple[Interval, ...]:
    """Give intervals with what the service used in each; one in which nothing was sent has none."""
    return tuple(
        replace(arrival.interval, service=used(samples, *span)) if arrival.interval.seconds else arrival.interval
        for arrival, span in zip(arrivals, spans(arrivals), strict=True)
    )


class Sampled:
    """The intervals of a result as they come, with what the service used in them."""

    def __init__(self, watch: Watch, *, live: bool) -> None:
        """Take the samples of a watch: as soon as an interval comes if that is needed meanwhile, else at the end."""
        self._watch, self._live = watch, live
        self._arrivals: list[Arrival] = []
        self.intervals: list[Interval] = []
        """The intervals so far; only with `live` they have what is known of the service."""
        # Where those begin that came together with the last one, and how many of them have been given samples.
        self._begin = self._given = 0

    def add(self, interval: Interval, at: float) -> None:
        """Take the next interval, and when it ended, or came."""
        arrival = Arrival(interval, at)
        if not self._arrivals or not are_together(self._arrivals[-1], arrival):
            self._begin, self._given = len(self._arrivals), 0
            if self._live:
                self._watch.catch_up(_CATCH_UP)
            else:
                self._watch.look()
        self._arrivals.append(arrival)
        self.intervals.append(interval)
        # Each that follows moves the others of a long report; they need not be moved each time.
        if self._live and len(self._arrivals) - self._begin >= _GROWN * self._given:
            self.intervals[self._begin :] = with_resources(self._arrivals[self._begin :], self._watch.samples)
            self._given = len(self._arrivals) - self._begin

    def complete(self) -> tuple[Interval, ...]:
        """Give all intervals with what is known of the service, once its watch has ended."""
        return with_resources(self._arrivals, self._watch.samples)
