"""What a load gave: its intervals, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self

from pytest_loadgen.histogram import Histogram, rank
from pytest_loadgen.plan import Plan
from pytest_loadgen.units import Duration, NoAnswer, Rate, Share

Basis = Literal["due", "sent", "back-filled"]
"""From when a generator counts latency: from when a request was due, or only from when it was sent
(what waited to be sent is not in it), or the same with samples made up for what was not sent."""

FAILURES = {
    "timeout": "not answered in time",
    "refused": "the connection was refused",
    "reset": "the connection was reset",
    "closed": "the connection was closed before the answer was whole",
    "tls": "TLS failed",
    "dns": "the name could not be looked up",
    "unreachable": "no way to the host",
    "protocol": "the answer was not HTTP",
    "failed": "no answer came; the generator does not say why",
    "filehandles": "the generator ran out of file handles",
    "ports": "the generator ran out of ports",
}
"""The kinds of failure; every other outcome is the status of an answer: digits, or in capitals ("SERVING"), or
where a generator knows no more its class ("2xx")."""

# The generator is the limit where one request in a hundred leaves this much late, or where it
# should go as fast as it can and has no CPU left.
_LATE = 0.010
_FULL = 0.95
_THROTTLED = 0.05
_IDLE = 0.5
NO_TIME = Duration(0)
_REMEDY = "Use more workers (--load-workers)"
_RAN_OUT = {
    "filehandles": "Raise the limit (ulimit -n), or use fewer connections.",
    "ports": "Use fewer connections, or a service that keeps them open.",
}


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
    """Seconds for which a container's limit kept the generator from the CPU; all workers' together."""
    received: int = 0
    """Bytes read from the service, heads and bodies."""
    resent: int = 0
    """Requests sent again, as the service had closed the idle connection they were sent on."""
    unsent: int = 0
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
        return self.together((self, other))

    @classmethod
    def together(cls, intervals: Sequence[Interval]) -> Self:
        """Add up what workers did at the same time."""
        seconds, cpu = (max(each) for each in zip(*((one.seconds, one.cpu) for one in intervals), strict=True))
        return cls._sum(intervals, seconds, cpu)

    @classmethod
    def whole(cls, intervals: Sequence[Interval]) -> Self:
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
            outcomes=_outcomes(intervals),
            lag=Histogram.sum(interval.lag for interval in intervals),
            cpu=cpu,
            throttled=sum(interval.throttled for interval in intervals),
            received=sum(interval.received for interval in intervals),
            resent=sum(interval.resent for interval in intervals),
            unsent=sum(interval.unsent for interval in intervals),
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
            "resent": self.resent,
            "unsent": self.unsent,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        histograms = {key: Histogram.decode(data[key]) for key in ("latency", "service_time", "lag")}
        figures = [value for key, value in data.items() if key not in {*histograms, "outcomes"}]
        if wrong := [each for each in (*figures, *data["outcomes"].values()) if not _is_figure(each)]:
            raise ValueError(f"{wrong[0]!r} is no figure")
        return cls(**{**data, **histograms})


@dataclass(frozen=True, repr=False)
class Result:
    """A plan and the intervals that a generator made of it. Times are `Duration`s."""

    plan: Plan
    generator: str
    intervals: tuple[Interval, ...] = ()
    interrupted: bool = False
    """Whether the load was stopped before its end."""
    given_up: str = ""
    """Why the load was ended as hopeless, or nothing."""
    version: str = ""
    """The generator's, where it is known."""
    basis: Basis = "due"
    floor: Duration = NO_TIME
    """How much the generator itself may add to a latency."""
    place: str = ""
    """Where it was sent from, if not from this machine."""

    def bounds(self) -> tuple[Self, Self]:
        """Give what the result is at best, and at worst, where latencies were counted in wide buckets."""
        if not any(each.latency.wide or each.service_time.wide for each in self.intervals):
            return self, self
        best, worst = (
            replace(
                self,
                intervals=tuple(
                    replace(each, latency=each.latency.bounds()[end], service_time=each.service_time.bounds()[end])
                    for each in self.intervals
                ),
            )
            for end in range(2)
        )
        return best, worst

    @cached_property
    def served(self) -> Self:
        """The same with service time as latency: of requests that were sent, from when each was sent."""
        return replace(self, intervals=tuple(_served(each) for each in self.intervals))

    @cached_property
    def total(self) -> Interval:
        """All intervals as one."""
        return Interval.whole(self.intervals)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many requests ended how, the most frequent first: {"200": 990, "timeout": 10}."""
        return dict(_outcomes(self.intervals).most_common())

    @property
    def requests(self) -> int:
        """How many requests were made, answered or not."""
        return sum(interval.requests for interval in self.intervals)

    @property
    def errors(self) -> int:
        """How many requests failed or were answered with a status that is not expected."""
        return sum(count for outcome, count in self.outcomes.items() if not self.plan.expects(outcome))

    @property
    def failed(self) -> bool:
        """Whether not one request was answered rightly."""
        return self.errors == self.requests

    @property
    def error_rate(self) -> Share:
        """Errors as a share of all requests, or 1 of none: 0.001 is 0.1 %; compares with "0.1%" too."""
        return Share(self.errors / self.requests if self.requests else 1.0)

    @property
    def rate(self) -> Rate:
        """Answers per second."""
        answered = self.requests - self.total.unanswered
        return Rate(answered / self.total.seconds if self.total.seconds else 0.0)

    @property
    def offered(self) -> Rate:
        """Requests per second that were to be answered, whether they were or not."""
        return Rate(self.requests / self.total.seconds if self.total.seconds else 0.0)

    @property
    def fell_behind(self) -> bool:
        """Whether the generator was late with most requests, and so did not send what was asked."""
        lag = self.total.lag
        return bool(lag) and lag.percentile(50) > _LATE

    def percentile(self, percent: float, *, service: bool = False) -> Duration:
        """Give the latency that so many percent of all requests did not exceed.

        Counted from when a request was due, or with `service` from when it was sent. Requests
        without an answer count as slower than any other: where the percentile falls among them it
        is a `NoAnswer`, which no limit is above.
        Percent is from 0 to 100; raises ValueError otherwise.
        """
        if service:
            return self.served.percentile(percent)
        wanted = rank(percent, self.requests or 1)
        latency = self.total.latency
        if wanted <= latency.count:
            return latency.at_rank(wanted)
        kinds = {kind for kind in self.total.outcomes if not is_answer(kind)}
        return NoAnswer(self.plan.timeout if kinds == {"timeout"} else 0.0)

    @property
    def p50(self) -> Duration:
        """The median latency."""
        return self.percentile(50)

    @property
    def p90(self) -> Duration:
        """The latency that 90 % of requests did not exceed."""
        return self.percentile(90)

    @property
    def p95(self) -> Duration:
        """The latency that 95 % of requests did not exceed."""
        return self.percentile(95)

    @property
    def p99(self) -> Duration:
        """The latency that 99 % of requests did not exceed."""
        return self.percentile(99)

    @property
    def max(self) -> Duration:
        """The latency of the slowest request."""
        return self.percentile(100)

    @property
    def mean(self) -> Duration:
        """The mean latency; a request without an answer counts with the time-out."""
        missing = self.total.unanswered
        answered = self.total.latency.count
        if not answered + missing:
            return NoAnswer()
        return Duration((self.total.latency.mean * answered + self.plan.timeout * missing) / (answered + missing))

    @cached_property
    def health(self) -> tuple[str, ...]:
        """Why the figures are the generator's and not the service's, a sentence each; or empty."""
        return tuple(_ailments(self))

    def __repr__(self) -> str:
        if not self.requests:
            return f"<Result of {self.generator}: no requests>"
        return (
            f"<Result of {self.generator}: {counted(self.requests, 'request')}, {self.rate}, "
            f"p50 {self.p50}, p99 {self.p99}, {counted(self.errors, 'error')}>"
        )

    def as_dict(self) -> dict[str, Any]:
        """Give the result as JSON can hold it."""
        return {
            "plan": self.plan.as_dict(),
            "generator": self.generator,
            "intervals": [interval.as_dict() for interval in self.intervals],
            "interrupted": self.interrupted,
            "given_up": self.given_up,
            "version": self.version,
            "basis": self.basis,
            "floor": float(self.floor),
            "place": self.place,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        return cls(
            plan=Plan.from_dict(data["plan"]),
            generator=data["generator"],
            intervals=tuple(Interval.from_dict(interval) for interval in data["intervals"]),
            interrupted=data["interrupted"],
            given_up=data["given_up"],
            version=data["version"],
            basis=data["basis"],
            floor=Duration(data["floor"]),
            place=data["place"],
        )


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _outcomes(intervals: Iterable[Interval]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for interval in intervals:
        counts.update(interval.outcomes)
    return counts


def _served(interval: Interval) -> Interval:
    # What was never sent was a time-out.
    outcomes = Counter(interval.outcomes)
    outcomes["timeout"] -= interval.unsent
    return replace(interval, latency=interval.service_time, outcomes=+outcomes, unsent=0)


def is_answer(outcome: str) -> bool:
    """Tell the status of an answer from a kind of failure."""
    return outcome[:1].isdigit() or outcome.isupper()


def tally(outcomes: Mapping[str, int]) -> str:
    """Write how many requests ended how: ``41 × 503, 4 × timeout``."""
    return ", ".join(f"{count:,} × {outcome}" for outcome, count in outcomes.items())


def counted(count: int, noun: str) -> str:
    """Count things in words: ``1 error``, ``1,000 requests``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _ailments(result: Result) -> Iterator[str]:
    total, plan, name = result.total, result.plan, result.generator
    # One late request is a hiccup.
    if total.lag.over(_LATE) > 1 and (late := total.lag.percentile(99)) > _LATE:
        if result.fell_behind:
            sent = Rate((total.requests - total.unsent) / total.seconds if total.seconds else 0.0)
            found = f"the {name} generator fell behind: asked {plan.rate}, sent {sent}."
        elif total.lag.count < 100:
            found = f"the {name} generator was late: a request left {late} after it was due."
        else:
            found = f"the {name} generator was late: 1 request in 100 left {late} or more after it was due."
        idle = f"It used {total.cpu:.0%} of its CPU, so the machine was busy with other things: free it, or send less."
        yield f"{found} {idle if total.cpu < _IDLE else f'{_REMEDY}, or fewer per second.'}"
    elif plan.closed and total.cpu >= _FULL:
        # At a set rate, the lag tells better: a generator may use all its CPU to be on time.
        yield (
            f"the {name} generator's CPU was full ({Share(total.cpu)}): the service may be able to do more. {_REMEDY}."
        )
    if total.seconds and total.throttled > _THROTTLED * total.seconds:
        share = Share(total.throttled / total.seconds)
        yield f"the {name} generator was kept from the CPU for {share} of the time: raise the container's CPU limit."
    for kind, remedy in _RAN_OUT.items():
        if count := total.outcomes.get(kind):
            yield f"{FAILURES[kind]} ({counted(count, 'request')}). {remedy}"
