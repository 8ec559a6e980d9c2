"""What Nighthawk tells of a run: its message CommandOutput, in the form that it has as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.nighthawk_options import drain
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration

_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
# The least part of its duration that a run must have lasted.
_WHOLE = 0.9
# How late a run may be at its end without having left out a request, in seconds.
_LATE = 0.010
# How much the greatest of the percentiles may differ from the maximum.
_ALIKE = 1e-3


@dataclass(frozen=True)
class Statistic:
    """Times, and how many of all do not exceed each."""

    count: int
    lowest: float
    rows: tuple[tuple[float, int], ...]

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Read a statistic of durations. Raises ValueError where its parts do not agree, or LookupError."""
        rows = tuple((_seconds(row.get("duration", "0s")), int(row.get("count", 0))) for row in data["percentiles"])
        count, lowest, highest = int(data.get("count", 0)), _seconds(data["min"]), _seconds(data["max"])
        ends = rows and (rows[0][0] >= lowest, rows[-1][1] == count, abs(rows[-1][0] - highest) <= _ALIKE * highest)
        orderly = all(a <= b and m <= n for (a, m), (b, n) in pairwise(rows))
        if not (ends and all(ends) and orderly):
            raise ValueError(
                f"the percentiles of {data.get('id') or 'a statistic'} do not agree with its count or ends"
            )
        return cls(count, lowest, rows)

    def without_fastest(self, number: int) -> Self:
        """Leave out so many that are faster than all others."""
        passed = [value for value, count in self.rows if count <= number]
        rows = tuple((value, max(0, count - number)) for value, count in self.rows)
        return replace(self, count=max(0, self.count - number), lowest=max([self.lowest, *passed]), rows=rows)

    def within(self, limit: float) -> Self:
        """Leave out those that are surely above a limit, in seconds."""
        # Those of a row may be anywhere down to the row before.
        kept = next((count for value, count in self.rows if value >= limit), self.count)
        return replace(self, count=kept, rows=tuple((value, min(count, kept)) for value, count in self.rows))

    @property
    def histogram(self) -> Histogram:
        """The times, exact where a row tells them."""
        return Histogram.from_spectrum(self.rows, self.lowest) if self.count else Histogram()


@dataclass(frozen=True)
class Told:
    """All that is read of a run."""

    seconds: float
    """How long it lasted, without the wait for what was open at its end."""
    counters: Mapping[str, int]
    ended: Statistic
    """Of each request that ended, from its release to its end; also of those that failed."""
    answered: Statistic
    """Of each answer, from when its request was sent."""

    @classmethod
    def read(cls, output: Mapping[str, Any]) -> Self:
        """Read the result of all workers together. Raises ValueError, LookupError or TypeError where there is none."""
        result = next((each for each in output.get("results", ()) if each.get("name") == "global"), None)
        if result is None:
            raise ValueError("there is no result of Nighthawk's in it")
        statistics = {each.get("id"): each for each in result.get("statistics", ())}
        ended, answered = (
            Statistic.read(statistics[name])
            for name in ("sequencer.callback", "benchmark_http_client.request_to_response")
        )
        counters = {each["name"]: int(each.get("value", 0)) for each in result.get("counters", ())}
        return cls(_seconds(result["execution_duration"]), counters, ended, answered)

    def interval(self, plan: Plan, took: float) -> Interval:
        """Tell what came of a plan; from start to end all took so many seconds. Raises GeneratorError.

        Latency counts from the release. Its statistic holds failures too, and does not say which
        they are: as many are taken out as there are, the fastest, so that no answer looks faster
        than it was. What found no connection is among the fastest indeed.
        """
        planned = self._planned(plan)
        answers, failures = self._answers(), self._failures(plan)
        failed = self.ended.count - answers.total()
        # No connection was free for them, or none came about in time.
        never_sent = failed - failures.total()
        if self.answered.count != answers.total() + failures["protocol"] or never_sent < 0:
            raise GeneratorError("its counters and its statistics do not tell of the same requests")
        never_sent += self._left_out(planned, plan)
        hung = self._open_at_end() if took >= self.seconds + drain(plan) else 0
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
        """Tell how many requests were due; refuse a run that did not last as long as it should."""
        # None is asked for that does not last whole seconds: such a plan is what is left of one that was interrupted.
        if not plan.duration.is_integer():
            return int(plan.rate * self.seconds)
        if self.seconds < _WHOLE * plan.duration or self._count("graceful_stop_requested"):
            what = "a signal" if self._count("graceful_stop_requested") else "one of its predicates"
            raise GeneratorError(f"lasted {Duration(self.seconds)} of {plan.duration}: {what} ended it")
        return plan.requests

    def _answers(self) -> Counter[str]:
        return Counter({kind: self._count(f"benchmark.http_{kind}") for kind in _CLASSES})

    def _failures(self, plan: Plan) -> Counter[str]:
        # Where TLS fails, Nighthawk says no more than that there is no connection.
        unconnected = "failed" if plan.target.tls else "refused"
        return Counter(
            {
                unconnected: self._count("benchmark.pool_connection_failure"),
                "reset": self._count("benchmark.stream_resets"),
                "protocol": self._count("benchmark.http_xxx"),
            }
        )

    def _open_at_end(self) -> int:
        """Count what was sent, and had not ended when the run had."""
        return max(0, self._count("upstream_rq_total") - self.answered.count - self._count("benchmark.stream_resets"))

    def _left_out(self, planned: int, plan: Plan) -> int:
        """Count what was due, and was never sent."""
        missing = planned - self.ended.count - self._open_at_end()
        return missing if missing > plan.rate * _LATE else 0

    def _count(self, name: str) -> int:
        """Give a counter; Nighthawk leaves out those that are zero."""
        return self.counters.get(name, 0)


def _in_time(answers: Counter[str], late: int) -> Counter[str]:
    """Leave out what was answered too late: it is not told how, so the most frequent answers."""
    left = Counter(answers)
    for kind, count in answers.most_common():
        left[kind] -= min(count, late)
        late -= min(count, late)
    return left


def _seconds(text: str) -> float:
    if not text.endswith("s"):
        raise ValueError(f"{text!r} is no duration")
    return float(text[:-1])
