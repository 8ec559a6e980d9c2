"""A thread of this process that runs journeys with process=False."""

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
from pytest_loadgen.generators.embedded.journeys import JourneyEngine, time_passes
from pytest_loadgen.generators.embedded.protocol import FINISH, STOP, Figures
from pytest_loadgen.generators.embedded.user_code import user_line
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

        Raises PlanError if a test has stopped the clock, LoadError if the load fails.
        """
        if not time_passes():
            raise PlanError(
                f"{plan.name}: with process=False it uses the clock of the test process, which the test has replaced: "
                "restore the clock during the load, or leave process=False out"
            )
        # Journeys see the test's context variables.
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
        # Wakes the thread that waits for intervals.
        self._sent.put(STOP)

    def finish(self) -> None:
        """Begin no more journeys, and wait for those that run."""
        self._command(FINISH)

    def close(self) -> None:
        """Close the socket that commands are sent on, which stops the run."""
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
        """Stop the run. A thread whose code does not return cannot be stopped: warn about it."""
        self.stop()
        self._thread.join(_GRACE)
        if self._thread.is_alive():
            warnings.warn(
                f"{plan.name} still runs after its load: {self._describe_stuck()}", RuntimeWarning, stacklevel=2
            )

    def _describe_stuck(self) -> str:
        place = user_line(sys._current_frames().get(self._thread.ident or 0))
        at = f"at {place} it" if place else "it"
        return f"{at} blocks its event loop, and with process=False nothing can stop it"

    # In the thread.

    def _work(self, plan: Plan) -> None:
        engine = JourneyEngine(plan, self._sent.put)

        def receive_command() -> None:
            # Several may arrive together, or none if the other end is closed.
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
