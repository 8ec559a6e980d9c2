"""Nighthawk's result: its message Output, in JSON form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.nighthawk_options import drain_time
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration

_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
# The smallest part of its duration that a run must have lasted.
_COMPLETE = 0.9
# How late a run may be at its end without having omitted a request, in seconds.
_GRACE = 0.010
# The relative difference between the last percentile and the maximum.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Statistic:
    """Durations, as rows of a value and how many durations do not exceed it."""

    count: int
    lowest: float
    rows: tuple[tuple[float, int], ...]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Read a statistic of durations. Raises ValueError if it is inconsistent, or LookupError."""
        rows = tuple((_seconds(row.get("duration", "0s")), int(row.get("count", 0))) for row in data["percentiles"])
        count, lowest, highest = int(data.get("count", 0)), _seconds(data["min"]), _seconds(data["max"])
        ends = rows and (rows[0][0] >= lowest, rows[-1][1] == count, abs(rows[-1][0] - highest) <= _TOLERANCE * highest)
        sorted_rows = all(a <= b and m <= n for (a, m), (b, n) in pairwise(rows))
        if not (ends and all(ends) and sorted_rows):
            raise ValueError(
                f"the percentiles of {data.get('id') or 'a statistic'} do not match its count, minimum and maximum"
            )
        return cls(count, lowest, rows)

    def without_fastest(self, number: int) -> Self:
        """Leave out this many durations that are shorter than all others."""
        passed = [value for value, count in self.rows if count <= number]
        rows = tuple((value, max(0, count - number)) for value, count in self.rows)
        return replace(self, count=max(0, self.count - number), lowest=max([self.lowest, *passed]), rows=rows)

    def within(self, limit: float) -> Self:
        """Leave out those that are certainly above a limit, in seconds."""
        # The durations of a row may be anywhere down to the row before.
        kept = next((count for value, count in self.rows if value >= limit), self.count)
        return replace(self, count=kept, rows=tuple((value, min(count, kept)) for value, count in self.rows))

    @property
    def histogram(self) -> Histogram:
        """The durations, exact where there is a row."""
        return Histogram.from_spectrum(self.rows, self.lowest) if self.count else Histogram()


@dataclass(frozen=True)
class NighthawkResult:
    """The counters and statistics of a run."""

    seconds: float
    """How long it lasted, without the wait for open requests at its end."""
    counters: Mapping[str, int]
    ended: Statistic
    """Of each request that ended, failed ones included: from its release to its end."""
    answered: Statistic
    """Of each response, from when its request was sent."""

    @classmethod
    def read(cls, output: Mapping[str, Any]) -> Self:
        """Read the combined result of all workers. Raises ValueError, LookupError or TypeError if it is malformed."""
        result = next((each for each in output.get("results", ()) if each.get("name") == "global"), None)
        if result is None:
            raise ValueError("not a Nighthawk result")
        statistics = {each.get("id"): each for each in result.get("statistics", ())}
        ended, answered = (
            Statistic.read(statistics[name])
            for name in ("sequencer.callback", "benchmark_http_client.request_to_response")
        )
        counters = {each["name"]: int(each.get("value", 0)) for each in result.get("counters", ())}
        return cls(_seconds(result["execution_duration"]), counters, ended, answered)

    def interval(self, plan: Plan, took: float) -> Interval:
        """Return the figures of a plan that took this many seconds from start to end. Raises GeneratorError.

        Latency counts from the release. Its statistic includes failures, and does not say which
        they are: the fastest ones are left out for them, so that no response looks faster than it
        was. Requests that found no connection are in fact among the fastest.
        """
        planned = self._planned(plan)
        answers, failures = self._answers(), self._failures(plan)
        failed = self.ended.count - answers.total()
        # No connection was free for them, or none was established in time.
        never_sent = failed - failures.total()
        if self.answered.count != answers.total() + failures["protocol"] or never_sent < 0:
            raise GeneratorError("its counters do not match its statistics")
        never_sent += self._omitted(planned, plan)
        hung = self._open_at_end() if took >= self.seconds + drain_time(plan) else 0
        latency = self.ended.without_fastest(failed).within(plan.timeout)
        late = answers.total() - latency.count
        return Interval(
            start=0.0,
            seconds=self.seconds,
            latency=latency.histogram,
            service_time=self.answered.without_fastest(failures["protocol"] + late).histogram,
            outcomes=dict(_in_time(answers, late) + failures + Counter(timeout=late + hung + never_sent)),
            received=self._count("upstream_cx_rx_bytes_total"),
            never_sent=never_sent,
        )

    def _planned(self, plan: Plan) -> int:
        """Count the requests that were due; refuse a run that was too short."""
        # A plan that does not last whole seconds is what remains of one that was interrupted: Nighthawk runs no other.
        if not plan.duration.is_integer():
            return int(plan.rate * self.seconds)
        if self.seconds < _COMPLETE * plan.duration or self._count("graceful_stop_requested"):
            what = "a signal" if self._count("graceful_stop_requested") else "a termination predicate"
            raise GeneratorError(f"ran for {Duration(self.seconds)} instead of {plan.duration}: {what} ended it")
        return plan.requests

    def _answers(self) -> Counter[str]:
        return Counter({kind: self._count(f"benchmark.http_{kind}") for kind in _CLASSES})

    def _failures(self, plan: Plan) -> Counter[str]:
        # If TLS fails, Nighthawk reports only that there is no connection.
        unconnected = "failed" if plan.target.tls else "refused"
        return Counter(
            {
                unconnected: self._count("benchmark.pool_connection_failure"),
                "reset": self._count("benchmark.stream_resets"),
                "protocol": self._count("benchmark.http_xxx"),
            }
        )

    def _open_at_end(self) -> int:
        """Count the requests that were sent and had not ended when the run did."""
        return max(0, self._count("upstream_rq_total") - self.answered.count - self._count("benchmark.stream_resets"))

    def _omitted(self, planned: int, plan: Plan) -> int:
        """Count the requests that were due and never released."""
        missing = planned - self.ended.count - self._open_at_end()
        return missing if missing > plan.rate * _GRACE else 0

    def _count(self, name: str) -> int:
        """Return a counter; Nighthawk omits those that are zero."""
        return self.counters.get(name, 0)


def _in_time(answers: Counter[str], late: int) -> Counter[str]:
    """Leave out the responses that came too late: their statuses are unknown, so the most frequent ones."""
    left = Counter(answers)
    for kind, count in answers.most_common():
        left[kind] -= min(count, late)
        late -= min(count, late)
    return left


def _seconds(text: str) -> float:
    if not text.endswith("s"):
        raise ValueError(f"{text!r} is not a duration")
    return float(text[:-1])
