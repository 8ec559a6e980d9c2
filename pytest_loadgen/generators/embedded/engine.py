"""The embedded generator's event loop: sends requests on schedule and counts their outcomes."""

from __future__ import annotations

import gc
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from itertools import islice
from time import perf_counter_ns as clock

from pytest_loadgen.cgroup import throttled
from pytest_loadgen.clock import slept, wall
from pytest_loadgen.figures.histogram import MASKS
from pytest_loadgen.generators.embedded.counts import Counts, interval_end, whole_seconds
from pytest_loadgen.generators.embedded.http1 import IDLE, OWN_LIMITS, Connection, Endpoint, Kind
from pytest_loadgen.generators.embedded.protocol import Bucket, Evidence, Figures
from pytest_loadgen.generators.embedded.readiness import poller
from pytest_loadgen.generators.embedded.supply import Supply
from pytest_loadgen.traffic.expected import is_expected
from pytest_loadgen.traffic.feed import order
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.pacing import schedule
from pytest_loadgen.traffic.plan import Plan

_SECOND = 1_000_000_000
# How long a failed connection of the closed model pauses, so that a dead service is not flooded.
_FAILURE_PAUSE = _SECOND // 100
# How many requests are dispatched, and how many waiting ones get a connection, before the sockets are polled.
_MAX_DISPATCHED = 64
_MAX_ASSIGNED = 8
# A tick that comes this much too late, beyond the CPU time that the process used, finds that it did not run, in ns.
_STALL = _SECOND // 20


class Engine:
    """One run of a plan, from one thread, with one poller."""

    def __init__(self, plan: Plan, emit: Callable[[Figures], None], supply: Supply | None = None) -> None:
        """Prepare the run; no connection is opened yet. The supply has the requests that are filled from data."""
        self._plan = plan
        self._emit = emit
        requests = plan.mix or (NamedRequest(plan.target.name, plan.target, expect=plan.expect),)
        self._endpoint = Endpoint(plan.target, requests)
        # Which request comes next, where they are not all the same; those with data come filled.
        self._mixed = len(requests) > 1 or bool(requests[0].data)
        self._kinds = map(self._endpoint.kinds.__getitem__, order(plan) if self._mixed else ())
        self._with_data = any(request.data for request in requests)
        self._supply = supply or Supply(plan)
        self._closed_model = plan.closed
        self._timeout = round(plan.timeout * _SECOND)
        # How often requests are checked for timeouts: a tenth of the timeout, from 1 ms to 100 ms.
        self._tick_interval = max(_SECOND // 1000, min(_SECOND // 10, self._timeout // 10))
        # See ConnectionOwner.
        self.poller = poller(precise=not plan.closed)
        self.handlers: dict[int, Callable[[], None]] = {}
        self.retried = 0
        self.reuse_seen = False
        self.reuse = True
        self.closed_after_first = 0
        # All connections, those without a request, and the due times of requests without a connection.
        self._connections: set[Connection] = set()
        self._free: deque[Connection] = deque()
        self._limit = plan.connections
        self._opens_next = True
        self._queue: deque[int] = deque()
        # Set when the run starts: its times, and the due times of requests that are not dispatched yet.
        self._start = self._end = self._busy_until = 0
        self._upcoming: deque[int] = deque()
        self._schedule: Iterator[int] = iter(())
        # How many were dispatched in earlier intervals, and how late they were in this one.
        self._dispatched = 0
        self._lag: defaultdict[Bucket, int] = defaultdict(int)
        self._stopped = False
        # How many requests of the closed model are still to be sent, if the plan limits them.
        self._left = plan.iterations
        # To notice that the process did not run: what it had used of the CPU, and how long the machine had slept, at
        # the latest tick; and for how long it did not run in this interval.
        self._busy = self._stalled = 0
        self._slept = 0.0

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call a function whenever a file descriptor is readable."""
        self.handlers[fd] = handler
        self.poller.add(fd)

    def watch_writing(self, fd: int, *, on: bool) -> None:
        """Also call the function of a watched file descriptor whenever it is writable."""
        self.poller.change(fd, write=on)

    def stop(self) -> None:
        """End the run now; the last interval is still emitted."""
        self._stopped = True

    def finish(self) -> None:
        """Send no more requests, and wait for those in flight."""
        self._end = self._busy_until = max(self._start, min(self._end, clock()))
        self._upcoming.clear()
        self._schedule = iter(())

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
        connections, supply = self._connections, self._supply
        self._wait_for_supply()
        zero = clock() + self._delay()
        self._start = start = zero + round(self._plan.warmup * _SECOND)
        self._end = self._busy_until = start + round(self._plan.duration * _SECOND)
        self._begin_interval(zero)
        self._next_interval = start if start > zero else interval_end(start, self._end)
        # When to dispatch requests: on schedule in the open model; in the closed model once for each
        # connection, and again after a connection was closed.
        self._upcoming = upcoming = deque([zero] * self._limit if self._closed_model else ())
        self._schedule = schedule(self._plan, start)
        next_tick = zero
        self._slept, self._busy = slept(), time.process_time_ns()
        while not self._stopped:
            if not upcoming:
                upcoming.extend(islice(self._schedule, 1024))
            now = clock()
            if now >= next_tick:
                self._notice_stall(now - next_tick)
                if self._tick(now):
                    return
                # After the end, requests in flight decide when the run is over.
                next_tick = now + (self._tick_interval if now < self._end else _SECOND // 1000)
                next_tick = min(next_tick, self._next_interval)
            # A limited number at once, so that the sockets are polled during a backlog, and opening
            # connections, which takes long, does not delay requests that are due.
            for _ in range(_MAX_ASSIGNED):
                if not queue or supply.starved or not (free or len(connections) < self._limit):
                    break
                self._assign(queue.popleft())
            for _ in range(_MAX_DISPATCHED):
                if not upcoming or upcoming[0] > now or supply.starved:
                    break
                self._dispatch(upcoming.popleft())
            if supply.starved:
                # This delay counts as lag of the generator; responses are handled meanwhile.
                due = next_tick
            elif queue and (free or len(connections) < self._limit):
                due = now
            else:
                due = upcoming[0] if upcoming else next_tick
            for fd in wait((min(due, next_tick) - clock()) / _SECOND):
                handlers[fd]()
        self._emit_interval(clock())

    def _wait_for_supply(self) -> None:
        """Wait for filled requests, so that the first ones are on time; parts of a plan start at their common time."""
        supply = self._supply
        supply.begin()
        while supply.starved or not (supply.full or self._plan.start_at):
            if self._stopped:
                return
            for fd in self.poller.wait(self._tick_interval / _SECOND):
                self.handlers[fd]()

    def _delay(self) -> int:
        """Return the time until all parts of the plan start, in ns."""
        if self._plan.start_at is None:
            return 0
        return max(0, round((self._plan.start_at - wall()) * 1e9))

    # Requests.

    def _dispatch(self, due: int) -> None:
        now = clock()
        if self._closed_model:
            if now >= self._end:
                return
            due = now
            if self._left is not None:
                self._use_up(now)
        elif due >= self._start:
            lag = now - due
            self._lag[lag & MASKS[lag.bit_length()]] += 1
            if lag > self._timeout:
                # It would time out whatever the service does: not sent.
                self._count_never_sent()
                return
        if self._free or len(self._connections) < self._limit:
            self._assign(due)
        else:
            self._queue.append(due)

    def _use_up(self, now: int) -> None:
        """Count a request that is sent, and end the load after the last one."""
        assert self._left is not None
        if now >= self._start:
            self._left -= 1
            if not self._left:
                self.finish()

    def _assign(self, due: int, again: tuple[Kind, bytes] | None = None) -> None:
        """Send the next request, or again one that could not be sent.

        It goes to the connection that was used the least recently, or to a new one.
        All connections are used, because one of them may lead to a bad server. Every second request opens one until
        there are enough: so that at a low rate, too, connections are used again.
        """
        if self._mixed:
            if (next_one := again or self._next()) is None:
                return
            kind, message = next_one
        free = self._free
        if free and (len(self._connections) >= self._limit or not self._opens_next):
            self._opens_next = True
            connection = free.popleft()
            connection.due = due
            if self._mixed:
                connection.take(kind, message)
            connection.sent = clock()
            connection.send()
        else:
            self._opens_next = False
            connection = Connection(self._endpoint, self)
            self._connections.add(connection)
            connection.due = due
            if self._mixed:
                connection.take(kind, message)
            connection.open()

    def _next(self) -> tuple[Kind, bytes] | None:
        """Return the next request of the mix; None if it has not arrived, or the data ran out, which ends the load."""
        if not self._with_data:
            kind = next(self._kinds)
            return kind, kind.message
        if (message := self._supply.take()) is None:
            if self._supply.ended:
                self.finish()
            return None
        kind = next(self._kinds)
        return kind, message or kind.message

    def on_response(  # noqa: PLR0912  # calls would take longer than branches
        self, connection: Connection, outcome: int | str, reusable: bool, data: bytes
    ) -> None:
        """Count a response, and give the connection its next request."""
        now = clock()
        due = connection.due
        if due >= self._start:
            counts, total = self._counts[connection.number], self._total
            elapsed = now - due
            if elapsed > self._timeout:
                counts.count_failure("timeout")
            elif outcome.__class__ is str:
                self._explain(connection, outcome, data)
                counts.count_failure(str(outcome))
            else:
                # The total is counted here, too: adding up all names at the end of an interval would delay requests.
                total.latency[bucket := elapsed & MASKS[elapsed.bit_length()]] += 1
                if counts is not total:
                    counts.latency[bucket] += 1
                if connection.first_byte:
                    counts.answered[bucket] += 1
                    elapsed = connection.first_byte - due
                    counts.first_byte[elapsed & MASKS[elapsed.bit_length()]] += 1
                if not self._closed_model:
                    elapsed = now - connection.sent
                    total.service_time[bucket := elapsed & MASKS[elapsed.bit_length()]] += 1
                    if counts is not total:
                        counts.service_time[bucket] += 1
                try:
                    counts.outcomes[outcome] += 1
                except KeyError:
                    # The first of its status in this interval: all others pay nothing for this.
                    counts.outcomes[outcome] = 1
                    self._explain(connection, outcome, data)
            counts.received += connection.received
        connection.received = connection.first_byte = 0
        connection.due = IDLE
        if connection.last_response:
            self.reuse_seen = True
        connection.last_response = now
        if not (reusable and self.reuse):
            connection.close()
            self._connections.discard(connection)
            if self._closed_model:
                self._upcoming.appendleft(now)
        elif (now < self._end if self._closed_model else self._queue) and (not self._mixed or self._give(connection)):
            connection.due = now if self._closed_model else self._queue.popleft()
            if self._left is not None:
                self._use_up(now)
            connection.sent = now
            connection.send()
        else:
            self._free.append(connection)

    def _explain(self, connection: Connection, outcome: int | str, data: bytes) -> None:
        """Keep what a response says, if it is the first of a kind that failed."""
        if str(outcome) not in self._reasons and not is_expected(str(outcome), connection.kind.expect):
            self._reasons[str(outcome)] = connection.evidence(outcome, data)

    def _give(self, connection: Connection) -> bool:
        """Make the next request of the mix that of a connection; return whether there is one."""
        # Like `_next`, with fewer calls: this runs for every response.
        if not self._with_data:
            kind = next(self._kinds)
            connection.take(kind, kind.message)
            return True
        if (message := self._supply.take()) is None:
            if self._supply.ended:
                self.finish()
            elif self._closed_model:
                self._upcoming.appendleft(clock())
            return False
        kind = next(self._kinds)
        connection.take(kind, message or kind.message)
        return True

    def on_failure(self, connection: Connection, kind: str, reason: str = "") -> None:
        """Count a failed request."""
        if self._free and kind in OWN_LIMITS:
            # It has as many connections as this machine lets it have, and one of them is free.
            self._connections.discard(connection)
            self._opens_next = False
            self._assign(connection.due, connection.taken)
            return
        if connection.due >= self._start:
            counts = self._counts[connection.number]
            counts.count_failure(kind)
            counts.received += connection.received
            if reason:
                self._reasons.setdefault(kind, Evidence("", reason))
        self._connections.discard(connection)
        if self._closed_model:
            self._upcoming.append(clock() + _FAILURE_PAUSE)

    def on_idle_close(self, connection: Connection) -> None:
        """Forget the connection."""
        self._connections.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

    def _count_never_sent(self) -> None:
        """Count a request that timed out before it was sent; its row of data is not used."""
        number = 0
        if self._mixed:
            if self._with_data and not self._supply.skip():
                return
            number = next(self._kinds).number
        self._counts[number].count_failure("timeout")
        self._counts[number].never_sent += 1

    # Timeouts, intervals, and the end of the run.

    def _tick(self, now: int) -> bool:
        """Expire requests, and emit the interval if it is over; return whether the run is over."""
        expired = now - self._timeout
        while self._queue and self._queue[0] < expired:
            if self._queue.popleft() >= self._start:
                self._count_never_sent()
        for connection in [late for late in self._connections if late.due < expired]:
            connection.close()
            self.on_failure(connection, "timeout")
        busy = len(self._connections) > len(self._free)
        if now > self._end + self._timeout:
            self._expire_undispatched(now)
        if now >= self._end and (self._queue or self._upcoming or (busy and self._closed_model)):
            self._busy_until = now
        done = now >= self._end and not self._queue and not busy and (self._closed_model or not self._upcoming)
        if done or now >= self._next_interval:
            self._emit_interval(now)
        return done

    def _notice_stall(self, late: int) -> None:
        """Note for how long the process did not run: it was stopped, the machine slept, or others had the CPU."""
        busy, asleep = time.process_time_ns(), slept()
        stall = max(0, late - (busy - self._busy)) + max(0, round((asleep - self._slept) * _SECOND))
        if stall >= _STALL:
            self._stalled += stall
        self._busy, self._slept = busy, asleep

    def _expire_undispatched(self, now: int) -> None:
        """Count, after the last timeout, the requests that were not even dispatched."""
        dispatched = self._dispatched + sum(self._lag.values())
        if not self._closed_model and (missing := self._plan.requests - dispatched) > 0 and self._upcoming:
            for _ in range(missing):
                self._count_never_sent()
            # Each was due before the end, so all are at least this late.
            lag = now - self._end
            self._lag[lag & MASKS[lag.bit_length()]] += missing
        self._upcoming.clear()
        self._schedule = iter(())

    def _emit_interval(self, now: int) -> None:
        """Emit the interval, unless it was the warm-up, and begin the next one."""
        if self._interval_start < self._start:
            until = self._start
        else:
            if now >= self._end:
                until = self._busy_until
            elif self._stopped:
                until = now
            else:
                until = whole_seconds(now, self._start, self._end)
            seconds = max(0, until - self._interval_start) / _SECOND
            cpu = (time.process_time_ns() - self._cpu_start) / max(1, now - self._clock_start)
            counts = self._counts
            if len(counts) > 1:
                self._total.add_rest(counts)
            total = self._total.figures()
            if seconds or total.outcomes:
                self._emit(
                    Figures(
                        start=(self._interval_start - self._start) / _SECOND,
                        seconds=seconds,
                        latency=total.latency,
                        service_time=total.service_time,
                        outcomes=total.outcomes,
                        lag=dict(self._lag),
                        cpu=cpu,
                        throttled=throttled() - self._throttled_start,
                        stalled=self._stalled / _SECOND,
                        received=total.received,
                        connections=len(self._connections),
                        retried=self.retried,
                        never_sent=total.never_sent,
                        first_byte=total.first_byte,
                        names=[each.figures() for each in counts] if len(counts) > 1 else [],
                        reasons=self._reasons,
                    )
                )
            until = max(until, self._interval_start) if until < self._end else now
        self._begin_interval(until)
        self._next_interval = interval_end(until, self._end)

    def _begin_interval(self, start: int) -> None:
        """Reset all counts."""
        self._dispatched += sum(self._lag.values())
        self._counts = [Counts(self._closed_model) for _ in self._endpoint.kinds]
        self._total = self._counts[0] if len(self._counts) == 1 else Counts(self._closed_model)
        self._lag = defaultdict(int)
        self._reasons: dict[str, Evidence] = {}
        self.retried = self._stalled = 0
        self._throttled_start = throttled()
        self._interval_start, self._clock_start, self._cpu_start = start, max(start, clock()), time.process_time_ns()
