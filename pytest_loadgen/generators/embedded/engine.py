"""The embedded generator's loop: keeps the schedule, and counts what comes of it."""

from __future__ import annotations

import gc
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from itertools import islice
from time import perf_counter_ns as clock
from typing import NamedTuple

from pytest_loadgen.figures.histogram import MASKS
from pytest_loadgen.generators.cgroup import throttled
from pytest_loadgen.generators.embedded.http1 import NEVER, Connection, Wire
from pytest_loadgen.generators.embedded.readiness import poller
from pytest_loadgen.traffic.pacing import schedule
from pytest_loadgen.traffic.plan import Plan

_SECOND = 1_000_000_000
# A connection of the closed model that failed rests a little: a dead service is not to be stormed.
_REST = _SECOND // 100
# How many requests at the most are taken up before the sockets are looked at again.
_BATCH = 64
_OPENINGS = 8


Bucket = int
"""The lower edge of a histogram's bucket, in ns."""


class Figures(NamedTuple):
    """What an interval came to, as plain values that cross a pipe quickly."""

    start: float
    seconds: float
    latency: dict[Bucket, int]
    service_time: dict[Bucket, int]
    outcomes: dict[int | str, int]
    lag: dict[Bucket, int]
    cpu: float
    throttled: float
    received: int
    retried: int
    never_sent: int


class Engine:
    """One run of a plan, from one thread, with one poller."""

    def __init__(self, plan: Plan, emit: Callable[[Figures], None]) -> None:
        """Prepare; nothing is opened yet."""
        self._plan = plan
        self._emit = emit
        self._wire = Wire(plan.target)
        self._closed = plan.closed
        self._timeout = round(plan.timeout * _SECOND)
        # How long nobody looks for time-outs: a tenth of the time-out, from 1 ms to 100 ms.
        self._patience = max(_SECOND // 1000, min(_SECOND // 10, self._timeout // 10))
        # What a connection sees of its owner.
        self.poller = poller(precise=not plan.closed)
        self.handlers: dict[int, Callable[[], None]] = {}
        self.received = 0
        self.retried = 0
        self.kept = False  # whether any connection was answered on twice
        self.drops = 0  # how many were closed after the first answer before one was kept
        self.keep = True  # whether connections are used again
        # Every connection that is open or opening; those that wait for a request; and requests
        # that wait for a connection, by when they were due.
        self._connections: set[Connection] = set()
        self._free: list[Connection] = []
        self._queue: deque[int] = deque()
        # What is still to come, when; set when the run begins.
        self._begin = self._end = self._busy_until = 0
        self._coming: deque[int] = deque()
        self._due_times: Iterator[int] = iter(())
        # How many were taken up, in the intervals before this one; how late, in this one.
        self._taken = 0
        self._lag: defaultdict[Bucket, int] = defaultdict(int)
        self._stopped = False

    def watch(self, fd: int, obey: Callable[[], None]) -> None:
        """Do something whenever a descriptor has input."""
        self.handlers[fd] = obey
        self.poller.add(fd)

    def stop(self) -> None:
        """End the run now; the figures so far are still emitted."""
        self._stopped = True

    def finish(self) -> None:
        """Send no more, and wait for what is open."""
        self._end = self._busy_until = max(self._begin, min(self._end, clock()))
        self._coming.clear()
        self._due_times = iter(())

    def run(self) -> None:
        """Send the load, and emit an interval for each second of it."""
        gc.collect()
        gc.disable()
        try:
            self._run()
        finally:
            gc.enable()
            for connection in self._connections:
                connection.close()
            self.poller.close()

    def _run(self) -> None:
        wait, handlers, free, queue = self.poller.wait, self.handlers, self._free, self._queue
        connections, limit = self._connections, self._plan.connections
        zero = clock() + self._delay()
        self._begin = begin = zero + round(self._plan.warmup * _SECOND)
        self._end = self._busy_until = begin + round(self._plan.duration * _SECOND)
        self._clear(zero)
        self._next_cut = begin if begin > zero else self._after(begin)
        # When requests are to be taken up: in the open model as the schedule says, in the closed
        # model once per connection, and again when one was lost.
        self._coming = coming = deque([zero] * limit if self._closed else ())
        self._due_times = schedule(self._plan, begin)
        next_look = zero
        while not self._stopped:
            if not coming:
                coming.extend(islice(self._due_times, 1024))
            now = clock()
            if now >= next_look:
                if self._look(now):
                    return
                # Past the end, what is still open decides when all is done.
                next_look = now + (self._patience if now < self._end else _SECOND // 1000)
                next_look = min(next_look, self._next_cut)
            # A bounded number at once, so that the sockets are looked at while there is a backlog;
            # opening a connection takes long enough to keep those waiting that are due.
            for _ in range(_OPENINGS):
                if not queue or not (free or len(connections) < limit):
                    break
                self._assign(queue.popleft())
            for _ in range(_BATCH):
                if not coming or coming[0] > now:
                    break
                self._take_up(coming.popleft())
            due = now if queue and (free or len(connections) < limit) else coming[0] if coming else NEVER
            for fd in wait((min(due, next_look) - clock()) / _SECOND):
                handlers[fd]()
        self._cut(clock())

    def _delay(self) -> int:
        """Tell how long to wait for the moment at which all parts of the plan start, in ns."""
        if self._plan.start_at is None:
            return 0
        return max(0, round((self._plan.start_at - time.time()) * 1e9))

    # What becomes of a request.

    def _take_up(self, due: int) -> None:
        now = clock()
        if self._closed:
            if now >= self._end:
                return
            due = now
        elif due >= self._begin:
            lag = now - due
            self._lag[lag & MASKS[lag.bit_length()]] += 1
            if lag > self._timeout:
                # Too late to be answered in time, whatever the service does: not sent.
                self._count("timeout")
                self._unsent += 1
                return
        if self._free or len(self._connections) < self._plan.connections:
            self._assign(due)
        else:
            self._queue.append(due)

    def _assign(self, due: int) -> None:
        if self._free:
            connection = self._free.pop()
            connection.due = due
            connection.sent = clock()
            connection.send()
        else:
            connection = Connection(self._wire, self)
            self._connections.add(connection)
            connection.due = due
            connection.open()

    def answered(self, connection: Connection, status: int, reusable: bool) -> None:
        """Count an answer, and give the connection its next request."""
        now = clock()
        due = connection.due
        if due >= self._begin:
            took = now - due
            if took > self._timeout:
                self._count("timeout")
            else:
                self._latency[took & MASKS[took.bit_length()]] += 1
                if not self._closed:
                    took = now - connection.sent
                    self._service_time[took & MASKS[took.bit_length()]] += 1
                self._outcomes[status] += 1
        connection.due = NEVER
        if connection.answered:
            self.kept = True
        connection.answered = now
        if not (reusable and self.keep):
            connection.close()
            self._connections.discard(connection)
            if self._closed:
                self._coming.appendleft(now)
        elif self._closed:
            if now < self._end:
                connection.due = connection.sent = now
                connection.send()
            else:
                self._free.append(connection)
        elif self._queue:
            connection.due = self._queue.popleft()
            connection.sent = now
            connection.send()
        else:
            self._free.append(connection)

    def failed(self, connection: Connection, kind: str) -> None:
        """Count a request that got no answer."""
        if connection.due >= self._begin:
            self._count(kind)
        self._connections.discard(connection)
        if self._closed:
            self._coming.append(clock() + _REST)

    def lost(self, connection: Connection) -> None:
        """Forget an idle connection that the service closed."""
        self._connections.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

    def _count(self, kind: str) -> None:
        self._outcomes[kind] += 1

    # What is looked at now and then: time-outs, the ends of intervals and of the run.

    def _look(self, now: int) -> bool:
        """Give up on what took too long, and emit the interval if it is over; say if all is done."""
        abort_reason = now - self._timeout
        while self._queue and self._queue[0] < abort_reason:
            if self._queue.popleft() >= self._begin:
                self._count("timeout")
                self._unsent += 1
        for connection in [late for late in self._connections if late.due < abort_reason]:
            connection.close()
            self.failed(connection, "timeout")
        busy = len(self._connections) > len(self._free)
        if now > self._end + self._timeout:
            self._write_off()
        if now >= self._end and (self._queue or self._coming or (busy and self._closed)):
            self._busy_until = now
        done = now >= self._end and not self._queue and not busy and (self._closed or not self._coming)
        if done or now >= self._next_cut:
            self._cut(now)
        return done

    def _write_off(self) -> None:
        """Count what was not even taken up when the last of it was to be answered, as it never will be."""
        taken = self._taken + sum(self._lag.values())
        if not self._closed and (missing := self._plan.requests - taken) > 0 and self._coming:
            self._outcomes["timeout"] += missing
            self._unsent += missing
            self._taken += missing
        self._coming.clear()
        self._due_times = iter(())

    def _after(self, cut: int) -> int:
        """Tell when to cut next: after a second; the last before the end takes half of one more.

        What is open at the end has a second to come in before it is an interval of its own.
        """
        following = cut + _SECOND
        return following if following + _SECOND // 2 <= self._end else max(self._end, cut) + _SECOND

    def _cut(self, now: int) -> None:
        """End the interval, and emit it; at the end of the warm-up, start to count."""
        if self._cut_at < self._begin:
            until = self._begin
        else:
            if now >= self._end:
                until = self._busy_until
            elif self._stopped:
                until = now
            else:
                latest = min(now, self._end - _SECOND // 2)
                until = latest - (latest - self._begin) % _SECOND
            seconds = max(0, until - self._cut_at) / _SECOND
            cpu = (time.process_time_ns() - self._cpu) / max(1, now - self._clock)
            if seconds or self._outcomes:
                self._emit(
                    Figures(
                        start=(self._cut_at - self._begin) / _SECOND,
                        seconds=seconds,
                        latency=dict(self._latency),
                        service_time=dict(self._service_time),
                        outcomes=dict(self._outcomes),
                        lag=dict(self._lag),
                        cpu=cpu,
                        throttled=throttled() - self._throttled,
                        received=self.received,
                        retried=self.retried,
                        never_sent=self._unsent,
                    )
                )
            until = max(until, self._cut_at) if until < self._end else now
        self._clear(until)
        self._next_cut = self._after(until)

    def _clear(self, cut: int) -> None:
        """Start to count anew."""
        self._taken += sum(self._lag.values())
        self._latency: defaultdict[Bucket, int] = defaultdict(int)
        # In the closed model a request is due when it is sent.
        self._service_time = self._latency if self._closed else defaultdict(int)
        self._outcomes: defaultdict[int | str, int] = defaultdict(int)
        self._lag = defaultdict(int)
        self.received = self.retried = self._unsent = 0
        self._throttled = throttled()
        self._cut_at, self._clock, self._cpu = cut, max(cut, clock()), time.process_time_ns()
