"""fortio's access log: each call, when it was due, and why it failed."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.traffic.plan import Plan

# On a busy machine, a thread may skip its last call if it is due this shortly before the end, in seconds.
_GRACE = 0.05
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
# What the log has in place of a status if a call failed; and if a response was cut short.
_FAILED, _CUT_SHORT = frozenset({"-1", "ERROR"}), "204"


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
        """Read a line. Raises GeneratorError, ValueError or LookupError."""
        data = json.loads(line)
        call = cls(data["thread"], data["iter"], data["timestamp"], data["latency"], str(data["details"]))
        if any(type(count) is not int or count < 0 for count in call[:3]) or not 0 <= call.latency < math.inf:
            raise GeneratorError(f"its access log has an invalid line: {line}")
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
    def of(cls, result: dict[str, Any], plan: Plan, stderr: str) -> Schedule:
        """Take the schedule from fortio's result and messages. Raises ValueError or LookupError."""
        start = round(datetime.fromisoformat(result["StartTime"]).timestamp() * 1e6) * 1000
        each = re.search(r": (\d+) calls each \(total", stderr)
        if not plan.closed and not each:
            raise ValueError("it does not say how many calls it was going to make")
        calls = int(each[1]) if each and not plan.closed else 0
        rate = math.inf if plan.closed else float(result["RequestedQPS"])
        return cls(start, rate, result["NumThreads"], calls)

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


class Failures:
    """Why calls failed: the access log does not say, but fortio prints a message for each."""

    def __init__(self, stderr: str) -> None:
        """Read the messages."""
        self._times: defaultdict[int, list[float]] = defaultdict(list)
        self._kinds: defaultdict[int, list[str]] = defaultdict(list)
        for line in stderr.splitlines():
            if '"err"' in line and (message := _message(line)) and "thread" in message:
                self._times[message["thread"]].append(float(message["ts"]))
                self._kinds[message["thread"]].append(_kind(f"{message.get('err')} {message.get('msg')}"))
        self._usual = Counter(kind for kinds in self._kinds.values() for kind in kinds).most_common(1)

    def kind(self, call: Call, plan: Plan) -> str:
        """Return how a call failed, or an empty string if it did not."""
        if call.status in _FAILED:
            usual = self._usual[0][0] if self._usual else "closed"
            return self._kind_during(call) or ("timeout" if call.latency >= 0.99 * plan.timeout else usual)
        if call.status == _CUT_SHORT:
            return self._kind_during(call)
        return "" if is_answer(call.status) else _kind(call.status)

    def _kind_during(self, call: Call) -> str:
        """Return the kind of failure of which fortio printed a message during a call."""
        times = self._times[call.thread]
        began = call.began / 1e9
        at = bisect_left(times, began - 1e-3)
        return self._kinds[call.thread][at] if at < len(times) and times[at] <= began + call.latency + 5e-3 else ""


def _message(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _kind(text: str) -> str:
    return next((kind for words, kind in _KINDS.items() if words in text.lower()), "protocol")
