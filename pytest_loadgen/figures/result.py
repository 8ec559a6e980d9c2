"""The result of a load: its intervals, and their figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.histogram import rank
from pytest_loadgen.figures.interval import Interval, count_outcomes
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.figures.problems import LATE, find_problems, without_own_failures
from pytest_loadgen.figures.resources import Resources
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import NO_TIME, Duration, Latency, NoAnswer, Rate, Share, is_real
from pytest_loadgen.wording import counted, did_you_mean

LatencyFrom = Literal["scheduled", "sent", "corrected"]
"""From when a generator measures latency: from when a request was due; only from when it was sent, without the
wait before that; or from when it was sent, with samples added for requests that were not sent on time."""


@dataclass(frozen=True, repr=False)
class Result:
    """The intervals that a generator measured while it carried out a plan. Times are `Duration`s."""

    plan: Plan
    generator: str
    intervals: tuple[Interval, ...] = ()
    interrupted: bool = False
    """Whether the load was stopped before its end."""
    abort_reason: str = ""
    """Why the load was aborted; empty if it was not."""
    version: str = ""
    """The generator's version, where it is known."""
    latency_from: LatencyFrom = "scheduled"
    added_latency: Duration = NO_TIME
    """The most that the generator itself may add to a latency."""
    sent_from: str = ""
    """Where the load was sent from, if not from this machine."""
    went_on: str = ""
    """That the load went on beyond its duration, to what, and what for; empty if it did not."""
    service_unknown: str = ""
    """Why it is not known what the service used, as the end of a sentence; empty if it is."""

    def best_and_worst(self) -> tuple[Self, Self]:
        """Give the best and the worst that the result may be, where latencies were counted in wide buckets."""
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

    def __getitem__(self, name: str) -> Self:
        """Give the result of the requests of one name.

        Raises KeyError if the load has no such request or step, or if its generator counts all requests together.
        """
        plan = self.plan.only(name)
        if self.plan.journey and name == self.plan.journey.name and name not in self.names:
            # Whole journeys, without the steps.
            return replace(self, intervals=tuple(replace(each, names={}) for each in self.intervals))
        if self.plan.journey and name not in self.names:
            raise KeyError(f"no step {name!r}: {did_you_mean(name, [self.plan.name, *self.names])}")
        if not (self.plan.is_mix or self.plan.journey):
            return replace(self, plan=plan)  # a single request has all figures
        if not self.names:
            raise KeyError(
                f"no figures of {name!r}: {self.generator} does not tell the requests of a mix apart; "
                "use another generator (--load-generator=embedded)"
            )
        return replace(self, plan=plan, intervals=tuple(each.of(name) for each in self.intervals))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the requests of a mix, or of the requests and steps of a journey.

        Empty if all requests are the same, or were counted together.
        """
        if self.plan.journey and not self.plan.step:
            return tuple(dict.fromkeys(name for each in self.intervals for name in each.names))
        told_apart = any(each.names for each in self.intervals) or not self.requests
        return tuple(request.name for request in self.plan.mix) if self.plan.is_mix and told_apart else ()

    @cached_property
    def by_service_time(self) -> Self:
        """The same result with service time as its latency: from when each request was sent."""
        return replace(self, intervals=tuple(_by_service_time(each) for each in self.intervals))

    @cached_property
    def by_first_byte(self) -> Self:
        """The same result with the time to the first byte as its latency: from when each request was due."""
        return replace(self, intervals=tuple(replace(each, latency=each.first_byte) for each in self.intervals))

    @property
    def by_interval(self) -> tuple[Self, ...]:
        """One result for each interval."""
        return tuple(replace(self, intervals=(interval,)) for interval in self.intervals)

    @cached_property
    def total(self) -> Interval:
        """All intervals combined."""
        return Interval.concatenate(self.intervals)

    @property
    def outcomes(self) -> Mapping[str, int]:
        """The requests by how they ended, the most frequent first: {"200": 990, "timeout": 10}."""
        return dict(count_outcomes(self.intervals).most_common())

    @property
    def requests(self) -> int:
        """How many requests there were, with or without a response."""
        return sum(interval.requests for interval in self.intervals)

    @cached_property
    def failures(self) -> Mapping[str, int]:
        """The requests that failed, or got a status that is not expected, by how they ended."""
        rest, found = Counter(self.outcomes), Counter[str]()
        for name in () if self.plan.journey else self.names:
            outcomes = count_outcomes(each.names[name] for each in self.intervals if name in each.names)
            rest.subtract(outcomes)
            found.update({kind: count for kind, count in outcomes.items() if not self.plan.expects(kind, name)})
        # Failures that no request of the mix is known for are of the whole.
        found.update({kind: count for kind, count in (+rest).items() if not self.plan.expects(kind)})
        return dict(found.most_common())

    @cached_property
    def errors(self) -> int:
        """How many requests failed or got a status that is not expected."""
        return sum(interval.errors(self.plan) for interval in self.intervals)

    @cached_property
    def without_own_failures(self) -> Self:
        """The same result without the failures that the generator itself may have caused; itself if there are none."""
        intervals = without_own_failures(self)
        return self if intervals == self.intervals else replace(self, intervals=intervals)

    @property
    def all_failed(self) -> bool:
        """Whether no request succeeded."""
        return self.errors == self.requests

    @property
    def error_rate(self) -> Share:
        """Errors as a share of all requests, 1 if there were none: 0.001 is 0.1 %; compares with "0.1%" too."""
        return Share(self.errors / self.requests if self.requests else 1.0)

    @property
    def rate(self) -> Rate:
        """Responses per second."""
        responses = self.requests - self.total.unanswered
        return Rate(responses / self.total.seconds if self.total.seconds else 0.0)

    @property
    def offered(self) -> Rate:
        """Requests per second, with or without a response."""
        return Rate(self.requests / self.total.seconds if self.total.seconds else 0.0)

    @property
    def service(self) -> Resources:
        """What the processes of the service used: CPU, memory, threads, files.

        Raises PlanError where that is not known, as for a service on another machine.
        """
        __tracebackhide__ = True
        if (found := self.total.service) is None:
            raise PlanError(self.why_service_unknown)
        return found

    @property
    def why_service_unknown(self) -> str:
        """Why it is not known what the service used, in a sentence; empty if it is."""
        if self.total.service is not None:
            return ""
        return f"the CPU and memory of the service are not known: {self.service_unknown or 'they were not sampled'}"

    @property
    def fell_behind(self) -> bool:
        """Whether the generator sent most requests late, and so did not reach the rate of the plan."""
        lag = self.total.lag
        return bool(lag) and lag.percentile(50) > LATE

    def percentile(self, percent: float, *, service: bool = False) -> Latency:
        """Give the latency that this percentage (0 to 100) of all requests did not exceed.

        Measured from when a request was due, or with `service` from when it was sent. Requests
        without a response count as slower than any other: a percentile among them is a `NoAnswer`,
        which exceeds every limit. Raises PlanError where there is no such percentile.
        """
        __tracebackhide__ = True
        if service:
            return self.by_service_time.percentile(percent)
        if not is_real(percent) or not 0 <= percent <= 100:
            raise PlanError(f"percentile({percent!r}): write a number from 0 to 100")
        wanted = rank(percent, self.requests or 1)
        latency = self.total.latency
        if wanted <= latency.count:
            return Latency(latency.at_rank(wanted), self.plan.timeout)
        kinds = {kind for kind in self.total.outcomes if not is_answer(kind)}
        return NoAnswer(self.plan.timeout if kinds == {"timeout"} else 0.0, self.plan.timeout)

    @property
    def p50(self) -> Latency:
        """The median latency."""
        return self.percentile(50)

    @property
    def p90(self) -> Latency:
        """The latency that 90 % of requests did not exceed."""
        return self.percentile(90)

    @property
    def p95(self) -> Latency:
        """The latency that 95 % of requests did not exceed."""
        return self.percentile(95)

    @property
    def p99(self) -> Latency:
        """The latency that 99 % of requests did not exceed."""
        return self.percentile(99)

    @property
    def max(self) -> Latency:
        """The latency of the slowest request."""
        return self.percentile(100)

    @property
    def mean(self) -> Latency:
        """The mean latency; a request without a response counts with the timeout."""
        unanswered, answered = self.total.unanswered, self.total.latency.count
        if not answered + unanswered:
            return NoAnswer(timeout=self.plan.timeout)
        seconds = self.total.latency.mean * answered + self.plan.timeout * unanswered
        return Latency(seconds / (answered + unanswered), self.plan.timeout)

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """Why the figures describe the generator and not the service, one sentence each; empty if they do not."""
        return tuple(each.sentence for each in find_problems(self))

    @property
    def limited_by(self) -> str:
        """The first of the problems in a few words; empty if there are none."""
        return next((each.reason for each in find_problems(self)), "")

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
            "went_on": self.went_on,
            "version": self.version,
            "latency_from": self.latency_from,
            "added_latency": float(self.added_latency),
            "sent_from": self.sent_from,
            "service_unknown": self.service_unknown,
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
            went_on=data["went_on"],
            version=data["version"],
            latency_from=data["latency_from"],
            added_latency=Duration(data["added_latency"]),
            sent_from=data["sent_from"],
            service_unknown=data["service_unknown"],
        )


def _by_service_time(interval: Interval) -> Interval:
    # Requests that were never sent are among the timeouts.
    outcomes = Counter(interval.outcomes)
    outcomes["timeout"] -= interval.never_sent
    return replace(interval, latency=interval.service_time, outcomes=+outcomes, never_sent=0)
