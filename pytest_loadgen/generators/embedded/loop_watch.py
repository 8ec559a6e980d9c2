"""Whether an event loop runs, and what keeps it from running, as another thread sees it."""

from __future__ import annotations

import sys
import threading
import time
from time import perf_counter_ns as clock

from pytest_loadgen.clock import slept
from pytest_loadgen.generators.embedded.user_code import blocking_frame, line_of

_SECOND = 1_000_000_000
BEAT = _SECOND // 100
"""How often the loop has to show that it runs, in ns."""
# How often to look whether it does, in seconds.
_WATCH = 0.01
# A line that takes this long is told, in ns: shorter ones may only have waited for the CPU.
_BLOCKED = 3 * BEAT
# A look that is this much late, beyond the CPU time that the process used, shows that the process did not run, in ns.
_STALL = _SECOND // 20


class LoopWatch:
    """A thread that watches the loop of the thread that creates this."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._beat = 0
        self._stalled = 0
        self._blocked = 0, ""

    def start(self) -> None:
        """Watch from now on."""
        self._beat = clock()
        self._thread.start()

    def beat(self, now: int) -> None:
        """Note that the loop runs; the time in ns."""
        self._beat = now

    def pause(self) -> None:
        """Expect no beats."""
        self._beat = 0

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()

    @property
    def stalled(self) -> float:
        """For how long the process did not run since `reset`, in seconds."""
        return self._stalled / _SECOND

    @property
    def blocked(self) -> str:
        """The line that kept the loop from running for the longest time since `reset`, and how long; empty if none."""
        longest, line = self._blocked
        return f"{line} for {longest / 1e6:.0f}ms" if line else ""

    def reset(self) -> None:
        """Forget what was seen."""
        self._stalled, self._blocked = 0, (0, "")

    def _watch(self) -> None:
        before, busy, asleep = clock(), time.process_time_ns(), slept()
        # The line that the loop executes, and since when.
        at, since = (0, 0), before
        while not self._ended.wait(_WATCH):
            now, used, sleep = clock(), time.process_time_ns(), slept()
            used_since = used - busy
            stall = max(0, now - before - round(_WATCH * _SECOND) - used_since)
            stall += max(0, round((sleep - asleep) * _SECOND))
            if stall >= _STALL:
                self._stalled += stall
            late = self._beat and now - self._beat > 2 * BEAT
            frame = blocking_frame(sys._current_frames().get(self._loop_thread)) if late else None
            # If this thread was late, too, and this process used little CPU time, other processes had the CPU.
            starved = now - before > 1.5 * _WATCH * _SECOND and used_since < (now - before) / 2
            if frame is None or starved:
                at = 0, 0
            elif at != (id(frame), frame.f_lineno):
                at, since = (id(frame), frame.f_lineno), before
            if frame is not None and at[0] and now - since > max(_BLOCKED, self._blocked[0]):
                self._blocked = now - since, line_of(frame)
            before, busy, asleep = now, used, sleep
