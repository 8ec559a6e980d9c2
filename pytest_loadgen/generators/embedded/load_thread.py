"""A thread of this process that runs journeys which are not to be sent to another one."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextvars import copy_context
from queue import Empty, SimpleQueue

from pytest_loadgen import clock
from pytest_loadgen.errors import GeneratorError, LoadError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.embedded.journeys import JourneyEngine, time_passes, user_line
from pytest_loadgen.generators.embedded.protocol import FINISH, STOP, Figures
from pytest_loadgen.generators.embedded.worker import interval_of, max_duration
from pytest_loadgen.traffic.plan import Plan

# How long it may take to stop a run, in seconds.
_GRACE = 1.5
# How long one wait for an interval is, in seconds.
_LONGEST_WAIT = 3600.0


class LoadThread:
    """Runs one plan, in an event loop of its own, as a `Worker` does in a process of its own."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._ours, self._theirs = socket.socketpair()
        self._sent: SimpleQueue[Figures | LoadError | bytes | None] = SimpleQueue()
        self._thread = threading.Thread(target=lambda: None)

    def run(self, plan: Plan) -> Iterator[Interval]:
        """Run a plan; closing the iterator stops it, and so does Ctrl-C, after one last interval.

        Raises PlanError where a test has stopped the time, LoadError where the load fails.
        """
        if not time_passes():
            raise PlanError(
                f"{plan.name}: with process=False its time is that of the test process, which the test has replaced: "
                "let the time pass during the load, or leave process=False out"
            )
        # What the test has set is set for its journeys, too.
        context = copy_context()
        # A journey that never ends must not keep pytest from ending.
        self._thread = threading.Thread(target=context.run, args=(self._work, plan), name="pytest-loadgen", daemon=True)
        self._thread.start()
        try:
            try:
                yield from self._intervals(plan, max_duration(plan))
            except KeyboardInterrupt:
                self.stop()
                yield from self._intervals(plan, _GRACE)
                raise
        finally:
            self._settle(plan)

    def stop(self) -> None:
        """Stop the run; any thread may do this."""
        self._command(STOP)
        # Whoever waits for intervals does not wait long.
        self._sent.put(STOP)

    def finish(self) -> None:
        """Begin no more journeys, and wait for those on their way."""
        self._command(FINISH)

    def close(self) -> None:
        """Close what it is told by, which stops it."""
        self._ours.close()
        if not self._thread.is_alive():
            self._theirs.close()

    def _command(self, command: bytes) -> None:
        with contextlib.suppress(OSError):
            self._ours.send(command)

    def _intervals(self, plan: Plan, seconds: float) -> Iterator[Interval]:
        deadline, stopped = clock.monotonic() + seconds, False
        while True:
            try:
                sent = self._sent.get(timeout=min(_LONGEST_WAIT, max(0.0, deadline - clock.monotonic())))
            except Empty:
                if clock.monotonic() < deadline:
                    continue
                if stopped:
                    return
                raise GeneratorError(f"{plan.name} did not end: {self._describe_stuck()}") from None
            if sent is None:
                return
            if isinstance(sent, LoadError):
                raise sent
            if isinstance(sent, bytes):
                deadline, stopped = min(deadline, clock.monotonic() + _GRACE), True
            else:
                yield interval_of(sent, plan)

    def _settle(self, plan: Plan) -> None:
        """Stop the run. Nothing can end a thread whose code does not return: then there is a warning."""
        self.stop()
        self._thread.join(_GRACE)
        if self._thread.is_alive():
            warnings.warn(f"{plan.name} goes on after its load: {self._describe_stuck()}", RuntimeWarning, stacklevel=2)

    def _describe_stuck(self) -> str:
        place = user_line(sys._current_frames().get(self._thread.ident or 0))
        at = f"at {place} it" if place else "it"
        return f"{at} keeps its event loop from running, which with process=False cannot be ended from outside"

    # In the thread.

    def _work(self, plan: Plan) -> None:
        engine = JourneyEngine(plan, self._sent.put)

        def receive_command() -> None:
            # Several may have come together; none comes where the other end is closed.
            commands = self._theirs.recv(64)
            if not commands or STOP in commands:
                engine.stop()
            else:
                engine.finish()

        engine.watch(self._theirs.fileno(), receive_command)
        end: LoadError | None = None
        try:
            engine.run()
        except LoadError as error:
            end = error
        except Exception:
            end = GeneratorError(f"embedded: internal error (please report)\n{traceback.format_exc()}")
        finally:
            self._sent.put(end)
            self._theirs.close()
