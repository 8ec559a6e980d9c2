"""The embedded generator's event loop for journeys: calls a function on schedule and counts its outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import threading
import time
import warnings
import weakref
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter_ns as clock
from types import BuiltinFunctionType
from typing import Any

from pytest_loadgen.cgroup import throttled
from pytest_loadgen.clock import monotonic, wall
from pytest_loadgen.errors import GeneratorError, LoadError
from pytest_loadgen.figures.histogram import MASKS
from pytest_loadgen.generators.embedded.client import Client
from pytest_loadgen.generators.embedded.counts import Counts, interval_end, whole_seconds
from pytest_loadgen.generators.embedded.event_loop import event_loop
from pytest_loadgen.generators.embedded.http1 import Connection, read_whole, text_of
from pytest_loadgen.generators.embedded.loop_watch import BEAT, LoopWatch
from pytest_loadgen.generators.embedded.pool import Exchange, Pool
from pytest_loadgen.generators.embedded.protocol import Bucket, Evidence, Figures
from pytest_loadgen.generators.embedded.session import Session
from pytest_loadgen.generators.embedded.user_code import awaited_line, told, user_line
from pytest_loadgen.redaction import redact
from pytest_loadgen.traffic.data import ROW_SHARE, RowsExhausted, RowShare
from pytest_loadgen.traffic.expected import is_expected
from pytest_loadgen.traffic.journey import (
    CANCELLED,
    CURRENT,
    OK,
    UNAWAITED,
    AsyncFunction,
    Trip,
    first_of,
    outcome_of,
)
from pytest_loadgen.traffic.pacing import schedule
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import message_secrets
from pytest_loadgen.units import Duration

_SECOND = 1_000_000_000
# How long a user pauses after a failed journey, in seconds, so that a dead service is not flooded.
_FAILURE_PAUSE = 0.01
# How long setup= and teardown= may take, each, in seconds.
_SETUP_TIMEOUT = 30.0
# How long journeys that are cancelled may take to end, and teardown= of a load that is stopped, in seconds.
_HURRY = 0.5
# How many steps have figures of their own; the others are counted together.
_MOST_NAMES = 200
_OTHERS = "(other steps)"
# How many failures of a kind an interval reports, each at a different line.
_MOST_TOLD = 3
# How many failures of an interval are described to find these; if all journeys fail, describing each takes too long.
_MOST_DESCRIBED = 100
# How much is told of a response that failed before, in characters.
_SHOWN = 200


class JourneyEngine:
    """One run of a plan whose traffic is a function."""

    def __init__(self, plan: Plan, emit: Callable[[Figures], None]) -> None:
        """Prepare the run."""
        assert plan.journey
        assert plan.journey.code
        self._plan, self._emit = plan, emit
        self._journey, self._code = plan.journey, plan.journey.code
        self._closed_model = plan.closed
        self._timeout = round(plan.timeout * _SECOND)
        self._left = plan.iterations
        self._watched: dict[int, Callable[[], None]] = {}
        # Set when the run starts.
        self._loop: asyncio.AbstractEventLoop
        self._session: Session
        self._ended: asyncio.Event
        self._start = self._end = self._busy_until = self._interval_start = self._next_interval = 0
        self._due: Iterator[int] = iter(())
        self._next_due: int | None = None
        self._tasks: dict[asyncio.Task[Any], Trip | None] = {}
        self._finishing = self._stopped = False
        self._loop_watch = LoopWatch()
        self._once: asyncio.Timeout | None = None
        """The time limit of setup= or teardown= while it runs."""
        self._failure: LoadError | None = None
        self.is_spoilt = False
        """Whether journeys still run although they were cancelled: the process cannot be used again."""
        self._expected: dict[int | str, bool] = {}
        # The counts of the interval.
        self._total = Counts(closed_model=False)
        self._names: dict[str, Counts] = {}
        # The names of steps, which have no first byte.
        self._steps: set[str] = set()
        self._lag: defaultdict[Bucket, int] = defaultdict(int)
        self._reasons: dict[str, list[Evidence]] = {}
        self._described = 0
        self._clock_start = self._cpu_start = 0
        self._throttled_start = 0.0

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call a function whenever a file descriptor is readable."""
        self._watched[fd] = handler

    def watch_writing(self, fd: int, *, on: bool) -> None:
        """Also call the function of a watched file descriptor whenever it is writable."""
        if on:
            self._loop.add_writer(fd, self._watched[fd])
        else:
            self._loop.remove_writer(fd)

    def call_soon(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a function in the thread of the run; any thread may ask for it."""
        with contextlib.suppress(RuntimeError):  # the run has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    def stop(self) -> None:
        """End the run now; the last interval is still emitted."""
        self._stopped = True
        if self._once:
            self._once.reschedule(self._loop.time() + _HURRY)
        self._loop.call_soon(self._tick)

    def finish(self) -> None:
        """Begin no more journeys, and wait for those that run."""
        if self._start:
            self._end = self._busy_until = max(self._start, min(self._end, clock()))
        self._finishing = True

    def run(self) -> None:
        """Send the load, and emit an interval for each second of it. Raises LoadError."""
        separate = self._journey.separate
        if separate:  # the test process has objects of its own, which must stay collectable
            gc.collect()
            gc.freeze()
        self._loop = loop = event_loop()
        asyncio.set_event_loop(loop)
        _RUNNING.add(self)
        executor = ThreadPoolExecutor(thread_name_prefix=(prefix := f"pytest-loadgen-{id(self)}"))
        loop.set_default_executor(executor)
        try:
            # In the test process pytest itself has these warnings.
            with _unawaited_noted() if separate else contextlib.nullcontext():
                loop.run_until_complete(self._run())
        except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
            # A task raised it, or stopped the loop; where a journey raises it, that is its outcome.
            raise GeneratorError(f"{self._journey.name}: its event loop was ended by {told(error)}") from None
        finally:
            self._loop_watch.stop()
            _RUNNING.discard(self)
            if separate:
                gc.unfreeze()
            executor.shutdown(wait=False, cancel_futures=True)
            self.is_spoilt = bool(self._tasks) or not _all_end(prefix)
            if not self.is_spoilt:
                loop.run_until_complete(loop.shutdown_asyncgens())
            if not (self.is_spoilt and separate):  # the process then exits
                asyncio.set_event_loop(None)
                loop.close()
        if self._failure:
            raise self._failure

    async def _run(self) -> None:
        plan, journey = self._plan, self._journey
        self._ended = asyncio.Event()
        for fd, handler in self._watched.items():
            self._loop.add_reader(fd, handler)
        ROW_SHARE.set(RowShare(plan.part * journey.loads + journey.first, plan.parts * journey.loads))
        pool = Pool(self._loop, sys.maxsize if plan.closed else plan.connections, self)
        try:
            self._session = Session(plan, pool)
            await self._call("setup", self._code.setup, _SETUP_TIMEOUT)
            self._begin()
            self._loop_watch.start()
            await self._ended.wait()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_HURRY)
            await self._call("teardown", self._code.teardown, _HURRY if self._stopped else _SETUP_TIMEOUT)
            if others := asyncio.all_tasks() - {asyncio.current_task(), *self._tasks}:
                for task in others:
                    task.cancel()
                await asyncio.wait(others, timeout=_HURRY)
        finally:
            self._loop_watch.pause()
            pool.close()
            for fd in self._watched:
                self._loop.remove_reader(fd)
                self._loop.remove_writer(fd)

    async def _call(self, what: str, function: AsyncFunction | None, seconds: float) -> None:
        """Call setup or teardown. Raises GeneratorError."""
        if function is None or (self._stopped and what == "setup"):
            return
        try:
            async with (limit := asyncio.timeout(seconds)):
                self._once = limit
                try:
                    await function(Client(self._session))
                finally:
                    self._once = None
        except Exception as error:
            if self._stopped and limit.expired():
                return
            late = isinstance(error, TimeoutError)
            why = f"did not end within {seconds:g} s" if late else f"failed: {told(error)}"
            raise GeneratorError(f"{self._journey.name}: {what}= {why}") from None

    def _begin(self) -> None:
        plan = self._plan
        delay = 0 if plan.start_at is None else max(0, round((plan.start_at - wall()) * 1e9))
        zero = clock() + delay
        self._start = start = zero + round(plan.warmup * _SECOND)
        self._end = self._busy_until = start + round(plan.duration * _SECOND)
        self._begin_interval(zero)
        self._next_interval = start if start > zero else interval_end(start, self._end)
        if self._finishing:
            self.finish()
        self._loop.call_soon(self._tick)
        if plan.closed:
            for _ in range(plan.connections):
                self._add_task(self._user(zero), None)
        else:
            self._due = schedule(plan, start)
            self._next_due = next(self._due, None)
            self._dispatch()
        self._keep_beat(zero)

    # Journeys.

    def _dispatch(self) -> None:
        """Begin the journeys that are due, and schedule the next call."""
        now = clock()
        while (due := self._next_due) is not None and due <= now and not self._over:
            self._next_due = next(self._due, None)
            if due >= self._start:
                self._count_lag(now - due)
            if now - due > self._timeout:
                # It would time out whatever the service does, so it is not sent.
                if due >= self._start:
                    self._total.count_failure("timeout")
                    self._total.never_sent += 1
                continue
            trip = Trip(self, due)
            self._add_task(self._make(trip), trip)
            now = clock()
        if self._next_due is not None and not self._over:
            self._loop.call_later(max(0.0, (self._next_due - clock()) / _SECOND), self._dispatch)

    @property
    def _over(self) -> bool:
        return self._stopped or self._finishing or self._ended.is_set()

    def _add_task(self, coroutine: Coroutine[Any, Any, object], trip: Trip | None) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks[task] = trip
        task.add_done_callback(self._tasks.pop)

    async def _user(self, begin: int) -> None:
        """Make one journey after another."""
        task = asyncio.current_task()
        assert task
        await asyncio.sleep(max(0.0, (begin - clock()) / _SECOND))
        while not self._over and (now := clock()) < self._end:
            if self._left is not None and now >= self._start:
                if self._left <= 0:
                    return
                self._left -= 1
            self._tasks[task] = trip = Trip(self, now)
            failed = await self._make(trip)
            self._tasks[task] = None
            if failed:
                await asyncio.sleep(_FAILURE_PAUSE)

    async def _make(self, trip: Trip) -> bool:
        """Make a journey, and count it; return whether it failed."""
        CURRENT.set(trip)
        try:
            await self._code.journey(Client(self._session, trip))
        except asyncio.CancelledError as error:
            if self._ended.is_set():
                raise
            if not trip.expired:
                self._tell(CANCELLED, partial(told, error), trip)
            outcome = "timeout" if trip.expired else CANCELLED
        except (RowsExhausted, LoadError) as error:
            # These end the load.
            if isinstance(error, LoadError) and self._failure is None:
                error.args = (f"{self._journey.name}: {error}",)
                self._failure = error
            self.finish()
            await asyncio.sleep(0)
            return False
        except BaseException as error:
            if not (outcome := outcome_of(error)):
                raise
            self._tell(outcome, partial(told, first_of(error)), trip)
        else:
            outcome = OK
        now = clock()
        paused = trip.paused
        if not await self._is_settled(trip):
            outcome = "timeout" if outcome == OK else outcome
        if outcome == OK:
            outcome = trip.unexpected or OK
        if trip.due >= self._start:
            self._count(self._total, now - trip.due - paused, outcome)
            if self._plan.closed:
                self._busy_until = max(self._busy_until, now) if now > self._end else self._busy_until
        return outcome != OK

    async def _is_settled(self, trip: Trip) -> bool:
        """Wait for the requests of tasks for which the journey did not; return False if they take too long."""
        try:
            # Its last task begins only now, and a journey that waits for nothing would let nobody else run.
            await asyncio.sleep(0)
            while trip.in_flight and not trip.expired:
                await asyncio.wait(trip.in_flight)
        except asyncio.CancelledError:
            if self._ended.is_set():
                raise
            # Else it has expired, or has cancelled itself at its end.
        return not trip.expired

    def record(self, trip: Trip, name: str, due: int, outcome: str, *, paused: int = 0) -> None:
        """Count a step that ends now."""
        if trip.due >= self._start and not self._ended.is_set():
            self._steps.add(name)
            self._count(self._named(name), clock() - due - paused, outcome)

    def ended(
        self, exchange: Exchange, connection: Connection | None, outcome: int | str, now: int, data: bytes
    ) -> None:
        """Count a request of a journey."""
        trip = exchange.trip
        if trip is None or (outcome == CANCELLED and self._ended.is_set()):
            return
        if not self._is_expected(outcome):
            # What the function itself cancels is not the failure of the journey: it may have asked twice.
            if outcome != CANCELLED:
                trip.unexpected = trip.unexpected or str(outcome)
                trip.failed = trip.failed or (exchange, outcome, data)
            self._explain(exchange, outcome, data)
        if trip.due < self._start:
            return
        counts = self._named(exchange.kind.name)
        elapsed = now - exchange.due
        self._count(counts, elapsed, outcome)
        if connection is None:
            return
        counts.received += connection.received
        self._total.received += connection.received
        if outcome.__class__ is int and elapsed <= self._timeout:
            service_time = now - connection.sent
            counts.service_time[service_time & MASKS[service_time.bit_length()]] += 1
            if connection.first_byte:
                counts.answered[elapsed & MASKS[elapsed.bit_length()]] += 1
                elapsed = connection.first_byte - exchange.due
                counts.first_byte[elapsed & MASKS[elapsed.bit_length()]] += 1

    def _count(self, counts: Counts, elapsed: int, outcome: int | str) -> None:
        if elapsed > self._timeout:
            outcome = "timeout"
        elif outcome.__class__ is int or outcome == OK or str(outcome).isdigit():
            elapsed = max(0, elapsed)
            counts.latency[elapsed & MASKS[elapsed.bit_length()]] += 1
        counts.outcomes[outcome] = counts.outcomes.get(outcome, 0) + 1

    def _named(self, name: str) -> Counts:
        try:
            return self._names[name]
        except KeyError:
            if len(self._names) >= _MOST_NAMES:
                name = _OTHERS
            return self._names.setdefault(name, Counts(closed_model=False))

    def _is_expected(self, outcome: int | str) -> bool:
        try:
            return self._expected[outcome]
        except KeyError:
            return self._expected.setdefault(outcome, is_expected(str(outcome), self._plan.expect))

    # Failures.

    def _explain(self, exchange: Exchange, outcome: int | str, data: bytes) -> None:
        """Keep the first failed response of a kind in an interval."""
        if str(outcome) not in self._reasons and (outcome.__class__ is int or data):
            self._reasons[str(outcome)] = [_evidence(exchange, outcome, data)]

    def _tell(self, outcome: str, describe: Callable[[], str], trip: Trip) -> None:
        """Keep where a journey failed: a few different lines for each outcome."""
        if outcome.isdigit() and outcome in self._reasons:
            return  # the response says more
        reasons = self._reasons.setdefault(outcome, [])
        if len(reasons) >= _MOST_TOLD or self._described >= _MOST_DESCRIBED:
            return
        self._described += 1
        text = describe()
        if not any(each.why.startswith(text) for each in reasons):
            reasons.append(Evidence("", text + _before(trip), None))

    def _waited(self, task: asyncio.Task[Any]) -> str:
        line = awaited_line(task)
        where = f"at {line}, " if line else ""
        return f"{where}after {Duration(self._timeout / _SECOND)} (timeout=)"

    def note_unawaited(self, trip: Trip, text: str) -> None:
        """Fail a journey that called something and did not await it."""
        trip.unexpected = trip.unexpected or UNAWAITED
        self._tell(UNAWAITED, lambda: text, trip)

    # The clock of the load.

    def _tick(self) -> None:
        """Expire journeys, and emit the interval if it is over."""
        if self._ended.is_set():
            return
        now = clock()
        for task, trip in list(self._tasks.items()):
            # A journey that is thinking cannot time out.
            if trip and not trip.expired and not trip.pausing and now - trip.due - trip.paused > self._timeout:
                trip.expired = True
                self._tell("timeout", partial(self._waited, task), trip)
                task.cancel()
                for future in tuple(trip.in_flight):  # also of tasks that are shielded, or not awaited
                    future.cancel()
        nothing_left = self._next_due is None or self._finishing
        # One that goes on although it was cancelled is not waited for.
        latest = now - self._timeout - round(_HURRY * _SECOND)
        going_on = [
            trip for trip in self._tasks.values() if not (trip and trip.expired and trip.due + trip.paused < latest)
        ]
        busy = any(going_on)
        if self._closed_model:
            done = not (self._tasks if self._left is None else going_on) or (now >= self._end and not busy)
        else:
            done = now >= self._end and nothing_left and not busy
        # Journeys that are still thinking when all others have timed out are cancelled.
        if self._stopped or done or now > self._end + self._timeout + _SECOND // 2:
            for trip in self._tasks.values():
                if trip and trip.expired and trip.due >= self._start:
                    # It catches what cancels it, and goes on.
                    self._count(self._total, now - trip.due, "timeout")
            self._emit_interval(now)
            self._ended.set()
            return
        if now >= self._next_interval:
            self._emit_interval(now)
        interval = max(_SECOND // 1000, min(_SECOND // 10, self._timeout // 10)) if now < self._end else _SECOND // 1000
        self._loop.call_later(min(interval, max(0, self._next_interval - now)) / _SECOND, self._tick)

    def _keep_beat(self, due: int) -> None:
        """Count how late the loop runs what is due: whatever it did before took too long."""
        if self._ended.is_set():
            return
        now = clock()
        if now >= self._start:
            # As if something had been due at every beat that was missed.
            for late in range(now - due, -1, -BEAT):
                self._count_lag(late)
        self._loop_watch.beat(now)
        self._loop.call_later(BEAT / _SECOND, self._keep_beat, now + BEAT)

    def _count_lag(self, lag: int) -> None:
        self._lag[lag & MASKS[lag.bit_length()]] += 1

    def _emit_interval(self, now: int) -> None:
        """Emit the interval, unless it was the warm-up, and begin the next one."""
        if self._interval_start < self._start:
            until = self._start
        else:
            if now >= self._end:
                until = self._busy_until
            elif self._stopped or (self._closed_model and not self._tasks):
                until = now
            else:
                until = whole_seconds(now, self._start, self._end)
            seconds = max(0, until - self._interval_start) / _SECOND
            total = self._total.figures()
            if seconds or total.outcomes or self._names:
                self._emit(
                    Figures(
                        start=(self._interval_start - self._start) / _SECOND,
                        seconds=seconds,
                        latency=total.latency,
                        service_time=None,
                        outcomes=total.outcomes,
                        lag=dict(self._lag),
                        cpu=(time.process_time_ns() - self._cpu_start) / max(1, now - self._clock_start),
                        throttled=throttled() - self._throttled_start,
                        stalled=self._loop_watch.stalled,
                        received=total.received,
                        connections=self._session.pool.connections,
                        retried=self._session.pool.retried,
                        never_sent=total.never_sent,
                        first_byte={},
                        names=[
                            each.figures()._replace(first_byte={}) if name in self._steps else each.figures()
                            for name, each in self._names.items()
                        ],
                        reasons=self._told_reasons(),
                        labels=tuple(self._names),
                    )
                )
            until = max(until, self._interval_start) if until < self._end else now
        self._begin_interval(until)
        self._next_interval = interval_end(until, self._end)

    def _told_reasons(self) -> dict[str, Evidence]:
        found = {kind: each[0]._replace(why="; ".join(one.why for one in each)) for kind, each in self._reasons.items()}
        if blocked := self._loop_watch.blocked:
            found["lag"] = Evidence("", blocked, None)
        return found

    def _begin_interval(self, start: int) -> None:
        """Reset all counts."""
        self._total = Counts(closed_model=False)
        self._names = {}
        self._lag = defaultdict(int)
        self._reasons = {}
        self._described = 0
        self._loop_watch.reset()
        self._session.pool.retried = 0
        self._throttled_start = throttled()
        self._interval_start, self._clock_start, self._cpu_start = start, max(start, clock()), time.process_time_ns()


_RUNNING: weakref.WeakSet[JourneyEngine] = weakref.WeakSet()


def _end_copies() -> None:
    """End a process that a journey forked when it comes back to its event loop, or it would send the load, too."""
    for engine in _RUNNING:
        engine._loop.call_soon(os._exit, 0)


os.register_at_fork(after_in_child=_end_copies)


def _all_end(prefix: str) -> bool:
    """Wait a moment for the threads of a name; return whether all have ended."""
    deadline = monotonic() + _HURRY
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]
    for thread in threads:
        thread.join(max(0.0, deadline - monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _evidence(exchange: Exchange, outcome: int | str, data: bytes) -> Evidence:
    if isinstance(outcome, str):
        return Evidence(exchange.kind.name, data.decode(errors="replace"), None)
    secrets = message_secrets(exchange.message)
    body, is_cut = text_of(*read_whole(data, is_head=exchange.kind.is_head))
    return Evidence(exchange.kind.name, "", redact(body, secrets, is_cut=is_cut), is_cut)


def _before(trip: Trip) -> str:
    """Write which request of a journey had failed before, and how."""
    if not trip.failed:
        return ""
    exchange, outcome, data = trip.failed
    evidence = _evidence(exchange, outcome, data)
    body = f", and its body begins {evidence.body[:_SHOWN]!r}" if evidence.body else ""
    return f"; before that, the outcome of {exchange.kind.name} was {outcome}{body}"


@contextlib.contextmanager
def _unawaited_noted() -> Iterator[None]:
    """Let Python's warning of a coroutine that was never awaited fail the journey that created it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message="coroutine .* was never awaited", category=RuntimeWarning)
        show = warnings.showwarning

        def note(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            trip = CURRENT.get()
            if trip is None or "was never awaited" not in str(message):
                show(message, category, *place, **more)
                return
            line = user_line(sys._getframe())
            trip.recorder.note_unawaited(trip, f"{line}: {message}" if line else str(message))

        warnings.showwarning = note
        yield


def time_passes() -> bool:
    """Whether the clock is the system's, and not one with which a test stops time."""
    return isinstance(clock, BuiltinFunctionType)
