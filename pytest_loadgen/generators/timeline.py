"""Requests that a generator tells of one by one, put into the intervals in which they ended."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from pytest_loadgen.figures.histogram import MASKS, Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.traffic.plan import Plan


@dataclass
class _Second:
    latency: Counter[int] = field(default_factory=Counter)
    service_time: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    lag: Counter[int] = field(default_factory=Counter)
    never_sent: int = 0


class Timeline:
    """The seconds of a load. All times are in seconds from its start."""

    def __init__(self, plan: Plan) -> None:
        """Start with none."""
        self._plan = plan
        self._duration = float(plan.duration)
        # As in the embedded generator, the last second takes up to half of one more.
        self._whole = max(1, int(self._duration + 0.5))
        self._seconds: defaultdict[int, _Second] = defaultdict(_Second)

    def add_response(self, end: float, outcome: str, latency: float, service_time: float) -> None:
        """Add a request by when it was answered; one that took too long was given up."""
        if latency > self._plan.timeout:
            self.add_failure(end, "timeout")
            return
        second = self._at(end)
        second.outcomes[outcome] += 1
        second.latency[_edge(latency)] += 1
        second.service_time[_edge(service_time)] += 1

    def add_failure(self, end: float, kind: str, count: int = 1, *, sent: bool = True) -> None:
        """Add requests that got no answer."""
        second = self._at(end)
        second.outcomes[kind] += count
        second.never_sent += 0 if sent else count

    def add_lag(self, due: float, lag: float) -> None:
        """Add how late the generator itself was."""
        self._at(due).lag[_edge(lag)] += 1

    def intervals(self, cpu: float = 0.0) -> list[Interval]:
        """Give the seconds, each with the share of a core that was used in all of them."""
        last = max(self._seconds, default=0)
        return [self._interval(number, cpu) for number in range(max(self._whole, last + 1))]

    def _interval(self, number: int, cpu: float) -> Interval:
        second = self._seconds.get(number, _Second())
        sending = number < self._whole
        start = float(number) if sending else self._duration + number - self._whole
        end = self._duration if number == self._whole - 1 else start + 1
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
            return self._seconds[min(max(0, int(moment)), self._whole - 1)]
        return self._seconds[self._whole + int(moment - self._duration)]


def _edge(seconds: float) -> int:
    ns = max(0, round(seconds * 1e9))
    return ns & MASKS[ns.bit_length()]
