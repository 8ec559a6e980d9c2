"""What a load gave: its intervals, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

from pytest_loadgen.figures.histogram import rank
from pytest_loadgen.figures.interval import Interval, count_outcomes
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.figures.problems import LATE, find_problems
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import NO_TIME, Duration, NoAnswer, Rate, Share
from pytest_loadgen.wording import counted

LatencyFrom = Literal["scheduled", "sent", "corrected"]
"""From when a generator counts latency: from when a request was due, or only from when it was sent
(what waited to be sent is not in it), or the same with samples made up for what was not sent."""


@dataclass(frozen=True, repr=False)
class Result:
    """A plan and the intervals that a generator made of it. Times are `Duration`s."""

    plan: Plan
    generator: str
    intervals: tuple[Interval, ...] = ()
    interrupted: bool = False
    """Whether the load was stopped before its end."""
    abort_reason: str = ""
    """Why the load was ended as hopeless, or nothing."""
    version: str = ""
    """The generator's, where it is known."""
    latency_from: LatencyFrom = "scheduled"
    added_latency: Duration = NO_TIME
    """How much the generator itself may add to a latency."""
    sent_from: str = ""
    """Where it was sent from, if not from this machine."""

    def best_and_worst(self) -> tuple[Self, Self]:
        """Give what the result is at best, and at worst, where latencies were counted in wide buckets."""
        if not any(each.latency.wide or each.service_time.wide for each in self.intervals):
            return self, self
        best, worst = (
            replace(
                self,
                intervals=tuple(
                    replace(
                        each,
                        latency=each.latency.best_and_worst()[end],
                        service_time=each.service_time.best_and_worst()[end],
                    )
                    for each in self.intervals
                ),
            )
            for end in range(2)
        )
        return best, worst

    @cached_property
    def by_service_time(self) -> Self:
        """The same with service time as latency: of requests that were sent, from when each was sent."""
        return replace(self, intervals=tuple(_served(each) for each in self.intervals))

    @cached_property
    def total(self) -> Interval:
        """All intervals as one."""
        return Interval.concatenate(self.intervals)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """How many requests ended how, the most frequent first: {"200": 990, "timeout": 10}."""
        return dict(count_outcomes(self.intervals).most_common())

    @property
    def requests(self) -> int:
        """How many requests were made, answered or not."""
        return sum(interval.requests for interval in self.intervals)

    @property
    def errors(self) -> int:
        """How many requests failed or were answered with a status that is not expected."""
        return sum(count for outcome, count in self.outcomes.items() if not self.plan.expects(outcome))

    @property
    def all_failed(self) -> bool:
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
        return bool(lag) and lag.percentile(50) > LATE

    def percentile(self, percent: float, *, service: bool = False) -> Duration:
        """Give the latency that so many percent of all requests did not exceed.

        Counted from when a request was due, or with `service` from when it was sent. Requests
        without an answer count as slower than any other: where the percentile falls among them it
        is a `NoAnswer`, which no limit is above.
        Percent is from 0 to 100; raises ValueError otherwise.
        """
        if service:
            return self.by_service_time.percentile(percent)
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
    def problems(self) -> tuple[str, ...]:
        """Why the figures are the generator's and not the service's, a sentence each; or empty."""
        return tuple(find_problems(self))

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
            "abort_reason": self.abort_reason,
            "version": self.version,
            "latency_from": self.latency_from,
            "added_latency": float(self.added_latency),
            "sent_from": self.sent_from,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        return cls(
            plan=Plan.from_dict(data["plan"]),
            generator=data["generator"],
            intervals=tuple(Interval.from_dict(interval) for interval in data["intervals"]),
            interrupted=data["interrupted"],
            abort_reason=data["abort_reason"],
            version=data["version"],
            latency_from=data["latency_from"],
            added_latency=Duration(data["added_latency"]),
            sent_from=data["sent_from"],
        )


def _served(interval: Interval) -> Interval:
    # What was never sent was a time-out.
    outcomes = Counter(interval.outcomes)
    outcomes["timeout"] -= interval.never_sent
    return replace(interval, latency=interval.service_time, outcomes=+outcomes, never_sent=0)
