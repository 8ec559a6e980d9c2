"""What happened to a load in a stretch of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.outcomes import is_answer


@dataclass(frozen=True)
class Interval:
    """What happened to a load in a stretch of time, about a second."""

    start: float
    """Seconds from the start of the plan (warm-up is before it, and in no interval)."""
    seconds: float
    """How long requests were being sent; 0 where only the answers of earlier ones came in."""
    latency: Histogram = field(default_factory=Histogram)
    """Answered requests, from when each was due to the end of its answer (response time)."""
    service_time: Histogram = field(default_factory=Histogram)
    """The same, from when each was sent."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """How many requests ended how: by status ("200", "SERVING"), its class ("2xx") or kind of failure ("timeout")."""
    lag: Histogram = field(default_factory=Histogram)
    """How late the generator itself was, per request: from when it was due to when it was taken up."""
    cpu: float = 0.0
    """Share of one core that the generator used; of the busiest worker where there are several."""
    throttled: float = 0.0
    """Seconds for which a container's limit kept the generator from the CPU; all workers' merge_parallel."""
    received: int = 0
    """Bytes read from the service, heads and bodies."""
    retried: int = 0
    """Requests sent again, as the service had closed the idle connection they were sent on."""
    never_sent: int = 0
    """Time-outs that were never sent: no connection, or not even the generator, was free for them."""

    @property
    def requests(self) -> int:
        """How many requests ended in it, one way or another."""
        return sum(self.outcomes.values())

    @property
    def unanswered(self) -> int:
        """How many of them got no answer; each is slower than any limit."""
        return sum(count for outcome, count in self.outcomes.items() if not is_answer(outcome))

    def __add__(self, other: Interval) -> Interval:
        return self.merge_parallel((self, other))

    @classmethod
    def merge_parallel(cls, intervals: Sequence[Interval]) -> Self:
        """Add up what workers did at the same time."""
        seconds, cpu = (max(each) for each in zip(*((one.seconds, one.cpu) for one in intervals), strict=True))
        return cls._sum(intervals, seconds, cpu)

    @classmethod
    def concatenate(cls, intervals: Sequence[Interval]) -> Self:
        """Add up intervals that followed one another."""
        # From the first start to the last end, as workers' intervals may overlap where one was held up;
        # but no longer than requests were being sent, as there may be gaps between rounds.
        sending = [interval for interval in intervals if interval.seconds]
        start = min((interval.start for interval in sending), default=0.0)
        span = max((interval.start + interval.seconds for interval in sending), default=0.0) - start
        seconds = sum(interval.seconds for interval in sending)
        busy = sum(interval.cpu * interval.seconds for interval in sending)
        return cls._sum(intervals, min(span, seconds), busy / seconds if seconds else 0.0)

    @classmethod
    def _sum(cls, intervals: Sequence[Interval], seconds: float, cpu: float) -> Self:
        return cls(
            start=min((interval.start for interval in intervals), default=0.0),
            seconds=seconds,
            latency=Histogram.sum(interval.latency for interval in intervals),
            service_time=Histogram.sum(interval.service_time for interval in intervals),
            outcomes=count_outcomes(intervals),
            lag=Histogram.sum(interval.lag for interval in intervals),
            cpu=cpu,
            throttled=sum(interval.throttled for interval in intervals),
            received=sum(interval.received for interval in intervals),
            retried=sum(interval.retried for interval in intervals),
            never_sent=sum(interval.never_sent for interval in intervals),
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the interval as JSON can hold it; histograms in HdrHistogram's own encoding."""
        return {
            "start": self.start,
            "seconds": self.seconds,
            "latency": self.latency.encode(),
            "service_time": self.service_time.encode(),
            "outcomes": dict(self.outcomes),
            "lag": self.lag.encode(),
            "cpu": self.cpu,
            "throttled": self.throttled,
            "received": self.received,
            "retried": self.retried,
            "never_sent": self.never_sent,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        histograms = {key: Histogram.decode(data[key]) for key in ("latency", "service_time", "lag")}
        figures = [value for key, value in data.items() if key not in {*histograms, "outcomes"}]
        if wrong := [each for each in (*figures, *data["outcomes"].values()) if not _is_figure(each)]:
            raise ValueError(f"{wrong[0]!r} is no figure")
        return cls(**{**data, **histograms})


def count_outcomes(intervals: Iterable[Interval]) -> Counter[str]:
    """Add up how many requests ended how."""
    counts: Counter[str] = Counter()
    for interval in intervals:
        counts.update(interval.outcomes)
    return counts


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")
