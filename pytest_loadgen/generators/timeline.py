"""Single requests, collected into the intervals in which they ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pytest_loadgen.figures.histogram import MASKS, Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.traffic.plan import Plan

# How long after the timeout of the last request a response may still be told from the rest, in seconds.
_LATEST = 60.0


@dataclass
class _Second:
    latency: Counter[int] = field(default_factory=Counter)
    service_time: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    lag: Counter[int] = field(default_factory=Counter)
    never_sent: int = 0


class Timeline:
    """The seconds of a load, for a generator that reports each request. All times are in seconds from its start."""

    def __init__(self, plan: Plan) -> None:
        """Start without requests."""
        self._plan = plan
        self._duration = float(plan.duration)
        # As in the embedded generator, the last interval is up to half a second longer.
        self._whole_seconds = max(1, int(self._duration + 0.5))
        self._seconds: defaultdict[int, _Second] = defaultdict(_Second)

    def add_response(self, end: float, outcome: str, latency: float, service_time: float) -> None:
        """Add a response by when it came, with its status; above the timeout of the plan it is a failure."""
        if latency > self._plan.timeout:
            self.add_failure(end, "timeout")
            return
        second = self._at(end)
        second.outcomes[outcome] += 1
        second.latency[_lower_edge(latency)] += 1
        second.service_time[_lower_edge(service_time)] += 1

    def add_failure(self, end: float, kind: str, count: int = 1, *, sent: bool = True) -> None:
        """Add requests that got no response, and whether they were sent at all."""
        second = self._at(end)
        second.outcomes[kind] += count
        second.never_sent += 0 if sent else count

    def add_lag(self, due: float, lag: float) -> None:
        """Add how late the generator itself sent a request."""
        self._at(due).lag[_lower_edge(lag)] += 1

    def intervals(self, cpu: float = 0.0, unseen: int = 0) -> list[Interval]:
        """Return the intervals, each with this share of a core as the CPU use of the generator.

        Of failures that the generator may not have seen it is not known when they were.
        """
        last = max(self._seconds, default=0)
        found = [self._interval(number, cpu) for number in range(max(self._whole_seconds, last + 1))]
        return spread(unseen, found) if unseen else found

    def _interval(self, number: int, cpu: float) -> Interval:
        second = self._seconds.get(number, _Second())
        sending = number < self._whole_seconds
        start = float(number) if sending else self._duration + number - self._whole_seconds
        end = self._duration if number == self._whole_seconds - 1 else start + 1
        return Interval(
            start=start,
            seconds=end - start if sending else 0.0,
            latency=Histogram(second.latency),
            service_time=Histogram(second.service_time),
            outcomes=dict(second.outcomes),
            lag=Histogram(second.lag),
            cpu=cpu if sending else 0.0,
            never_sent=second.never_sent,
        )

    def _at(self, moment: float) -> _Second:
        if moment < self._duration:
            return self._seconds[min(max(0, int(moment)), self._whole_seconds - 1)]
        # A program may report any moment: there are never more seconds than a load can have.
        after = min(moment - self._duration, float(self._plan.timeout) + _LATEST)
        return self._seconds[self._whole_seconds + int(after)]


def spread(unseen: int, intervals: Sequence[Interval]) -> list[Interval]:
    """Distribute failures that nobody saw over intervals, by their requests."""
    total = sum(each.requests for each in intervals)
    found: list[Interval] = []
    before = 0
    for each in intervals:
        after = before + each.requests
        share = unseen * after // total - unseen * before // total if total else unseen if not found else 0
        found.append(replace(each, unseen=share))
        before = after
    return found


def _lower_edge(seconds: float) -> int:
    """Round down to the precision of histograms, in ns: equal values are then counted once."""
    ns = max(0, round(seconds * 1e9))
    return ns & MASKS[ns.bit_length()]
