"""fortio's access log: each call, when it was due, and why it failed."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.generators.base import PARSE_ERRORS
from pytest_loadgen.traffic.plan import Plan

# On a busy machine, a thread may skip its last call if it is due this shortly before the end, in seconds.
_GRACE = 0.05
# Steps of a clock that are smaller than this are not told from calls that are late, in seconds.
_STEP = 0.25
# A thread that begins a call this long after the one before had nothing to do, in seconds.
_IDLE = 0.002
_FEW = 5
# In bytes: how long a line of the log may be, and how much of one is shown.
_MAX_LINE, _SHOWN = 1 << 16, 200
_CALLS = re.compile(r": (\d{1,15}) calls each \(total")
# fortio's words for a failure, and the kinds of failure that they mean.
_KINDS = {
    "deadline exceeded": "timeout",
    "timeout": "timeout",
    "connection refused": "refused",
    "connection reset": "reset",
    "no such host": "dns",
    "too many open files": "filehandles",
    "cannot assign requested address": "ports",
    "unreachable": "unreachable",
    "no route": "unreachable",
    "malformed": "protocol",
    "tls": "tls",
    "certificate": "tls",
    "eof": "closed",
    "broken pipe": "closed",
}
# What the log has in place of a status if a call failed.
_FAILED = frozenset({"-1", "ERROR"})


class Call(NamedTuple):
    """A line of the access log."""

    thread: int
    number: int
    began: int
    """In ns since the epoch."""
    latency: float
    status: str

    @classmethod
    def read(cls, line: str) -> Call:
        """Read a line. Raises ValueError, LookupError or TypeError."""
        data = json.loads(line)
        call = cls(data["thread"], data["iter"], data["timestamp"], data["latency"], str(data["details"]))
        if any(type(count) is not int or count < 0 for count in call[:3]) or not 0 <= call.latency < math.inf:
            raise ValueError("it is not a call")
        return call


@dataclass(frozen=True)
class Schedule:
    """When each call was due, in seconds from the start; in the closed model, when it was sent."""

    start: int
    """In ns since the epoch."""
    rate: float
    threads: int
    calls: int
    """The number of calls of each thread; 0 in the closed model."""

    @classmethod
    def of(cls, result: dict[str, Any], plan: Plan, each: int | None) -> Schedule:
        """Take the schedule from fortio's result and the number of calls. Raises ValueError or LookupError."""
        start = round(datetime.fromisoformat(result["StartTime"]).timestamp() * 1e6) * 1000
        if not plan.closed and not each:
            raise ValueError("it does not say how many calls it was going to make")
        threads, rate = result["NumThreads"], math.inf if plan.closed else float(result["RequestedQPS"])
        if type(threads) is not int or not 0 < threads <= plan.connections:
            raise ValueError(f"its NumThreads is {threads!r} for {plan.connections} connections")
        # One call more than planned for each thread, at most; loads that were interrupted are shorter than planned.
        if not plan.closed and not 0 < rate <= 2 * float(plan.rate) + threads / min(1.0, float(plan.duration)):
            raise ValueError(f"its RequestedQPS is {rate:g} for {plan.rate}")
        return cls(start, rate, threads, each if each and not plan.closed else 0)

    @classmethod
    def as_planned(cls, calls: Sequence[Call], rate: float, threads: int, each: int) -> Schedule:
        """Take the schedule from what was asked for, and the start from the first calls."""
        schedule = cls(0, rate or math.inf, threads, each)
        if rate:
            start = min((call.began - round(schedule.due(call.thread, call.number) * 1e9) for call in calls), default=0)
        else:
            start = min((call.began for call in calls), default=0)
        return replace(schedule, start=start)

    def placed(self, calls: Iterable[Call]) -> Iterator[tuple[Call, float, float, float]]:
        """Yield each call with when it began, when it was due, and when its thread became free for it."""
        free: defaultdict[int, float] = defaultdict(float)
        for call in calls:
            begin = (call.began - self.start) / 1e9
            # The clock that dates the calls may be adjusted meanwhile; no call begins before it is due.
            due = min(begin, self.due(call.thread, call.number)) if self.calls else begin
            yield call, begin, due, free[call.thread]
            free[call.thread] = begin + call.latency

    def due(self, thread: int, number: int) -> float:
        """Return when a call of a thread was due."""
        stretched = number + number / max(1, self.calls - 1)
        return (thread + stretched * self.threads) / self.rate

    def missing(self, calls: Iterable[Call], until: float) -> Iterator[float]:
        """Yield when the calls were due, up to a moment, that were never made.

        A thread that is busy when its last call is due does not make it: that is not a failure.
        """
        made: Counter[int] = Counter()
        free: defaultdict[int, float] = defaultdict(float)
        for call in calls:
            made[call.thread] += 1
            free[call.thread] = max(free[call.thread], (call.began - self.start) / 1e9 + call.latency)
        for thread in range(self.threads):
            schedule = (self.due(thread, number) for number in range(made[thread], self.calls))
            end = until + thread / self.rate  # each thread starts, and ends, at a time of its own
            missed = list(takewhile(end.__ge__, schedule))
            busy = missed and (missed[-1] < free[thread] or missed[-1] > end - _GRACE)
            yield from missed[:-1] if busy else missed


class Messages:
    """What fortio printed: how many calls it was going to make, and a message for each call that failed.

    The access log does not say why a call failed, nor that a response was cut short.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        """Read the messages."""
        self.calls: int | None = None
        """The number of calls of each thread."""
        self._times: defaultdict[int, list[float]] = defaultdict(list)
        self._kinds: defaultdict[int, list[str]] = defaultdict(list)
        self._next: Counter[int] = Counter()
        for line in lines:
            if not line.startswith("{"):
                if self.calls is None and (each := _CALLS.search(line)):
                    self.calls = int(each[1])
            elif '"err"' in line and (message := _message(line)):
                self._times[message["thread"]].append(float(message["ts"]))
                self._kinds[message["thread"]].append(_kind(f"{message.get('err')} {message.get('msg')}"))
        self._usual = Counter(kind for kinds in self._kinds.values() for kind in kinds).most_common(1)

    def kind(self, call: Call, plan: Plan) -> str:
        """Return how a call failed, or an empty string if it did not; the calls of a thread in their order."""
        printed = self._kind_during(call)
        if call.status in _FAILED:
            usual = self._usual[0][0] if self._usual else "closed"
            return printed or ("timeout" if call.latency >= 0.99 * plan.timeout else usual)
        # Whatever the status: a response may break off after it.
        return printed or ("" if is_answer(call.status) else _kind(call.status))

    def of_thread(self, thread: int) -> int:
        """Count the failures of a thread, those before the first call included."""
        return len(self._times[thread])

    def _kind_during(self, call: Call) -> str:
        """Return the kind of failure of which fortio printed a message during a call."""
        times, began = self._times[call.thread], call.began / 1e9
        at = self._next[call.thread]
        while at < len(times) and times[at] < began - 1e-3:
            at += 1
        during = at < len(times) and times[at] <= began + call.latency + 5e-3
        self._next[call.thread] = at + during
        return self._kinds[call.thread][at] if during else ""


def read_calls(path: Path) -> list[Call]:
    """Read an access log. Raises GeneratorError, with the line that cannot be read."""
    calls: list[Call] = []
    with path.open("rb") as log:
        while line := log.readline(_MAX_LINE):
            try:
                calls.append(Call.read(line.decode()))
            except PARSE_ERRORS as error:
                shown = line[:_SHOWN].decode(errors="replace").strip()
                raise GeneratorError(
                    f"its access log has an invalid line: {path.name}, line {len(calls) + 1:,} ({error}): {shown}"
                ) from None
    return calls


def on_one_clock(calls: Sequence[Call], schedule: Schedule, seconds: float) -> list[Call]:
    """Undo the steps of the clock that dates the calls: no call is early, or ends after the program.

    The lengths of calls are from a clock without steps. What begins before it is due or before its
    thread is free, or ends after all of the time that there was, tells of a step; so do calls that
    all are late to the end by at least as much although their threads had nothing to do.
    """
    step, latest = 0.0, 0.0
    free: defaultdict[int, float] = defaultdict(float)
    begins: list[float] = []
    slack: list[list[float]] = [[]]
    for call in calls:
        begin = (call.began - schedule.start) / 1e9 - step
        due = schedule.due(call.thread, call.number) if schedule.calls else 0.0
        earliest = max(due, free[call.thread])
        end = begin + call.latency
        if begin < earliest - _STEP or not latest - _STEP <= end <= seconds + _STEP:
            # The clock may have stepped unnoticed before: then its threads were free earlier, too.
            if (late := min(slack[-1][-_FEW:], default=0.0)) > _STEP:
                free = defaultdict(float, {thread: moment - late for thread, moment in free.items()})
                earliest, latest = max(due, free[call.thread]), latest - late
            step += begin - earliest
            begin = earliest
            slack.append([])
        was_idle = begin - free[call.thread] > _IDLE
        slack[-1].append(begin - due if schedule.calls and was_idle else 0.0)
        free[call.thread] = begin + call.latency
        latest = max(latest, free[call.thread])
        begins.append(begin)
    for at, late in enumerate(late for part in slack for late in _to_the_end(part)):
        begins[at] -= late if late > _STEP else 0.0
    return [call._replace(began=schedule.start + round(begin * 1e9)) for call, begin in zip(calls, begins, strict=True)]


def _to_the_end(values: Sequence[float]) -> list[float]:
    """Give for each value the smallest from there to the end; of few values at the end alone nothing is known."""
    if len(values) < _FEW:
        return [0.0] * len(values)
    smallest, found = min(values[-_FEW:]), [0.0] * len(values)
    for at in range(len(values) - 1, -1, -1):
        smallest = min(smallest, values[at])
        found[at] = smallest
    return found


def _message(line: str) -> dict[str, Any]:
    """Read a message about a call; empty if it is about something else, or cannot be read."""
    with suppress(*PARSE_ERRORS):
        message = json.loads(line)
        if type(message["thread"]) is int and math.isfinite(message["ts"]):
            return dict(message)
    return {}


def _kind(text: str) -> str:
    return next((kind for words, kind in _KINDS.items() if words in text.lower()), "protocol")
