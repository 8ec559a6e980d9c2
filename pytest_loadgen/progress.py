"""The live line while a load runs."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from pytest_loadgen.plan import Plan
from pytest_loadgen.result import Interval, Result, counted

if TYPE_CHECKING:
    import pytest
    from _pytest.capture import CaptureManager

_SAVE, _BACK, _CLEAR = "\x1b7", "\x1b8", "\x1b[K"
_NARROWEST = 20


class Progress:
    """Draws behind what pytest has written in the line, and leaves nothing there."""

    def __init__(self, reporter: pytest.TerminalReporter, capture: CaptureManager | None, plan: Plan) -> None:
        """Draw nothing yet: a load that is over within a second needs no progress."""
        self._reporter = reporter
        self._capture = capture
        self._plan = plan
        self._begun = time.monotonic()
        self._intervals: list[Interval] = []

    def waiting(self) -> None:
        """Tell that another load has the machine."""
        self._draw("waiting for another load on this machine")

    def started(self) -> None:
        """Count the time from now on."""
        self._begun = time.monotonic()
        self._clear()

    def show(self, interval: Interval) -> None:
        """Tell how the load is going."""
        self._intervals.append(interval)
        elapsed = interval.start + interval.seconds
        if elapsed >= self._plan.duration:
            return
        now = Result(self._plan, "", (interval,))
        lag = f", lag {interval.lag.percentile(99)}" if interval.lag.counts else ""
        errors = sum(Result(self._plan, "", (each,)).errors for each in self._intervals)
        figures = f"{now.rate}, p50 {now.p50}, p99 {now.p99}, {counted(errors, 'error')}{lag}" if now.requests else ""
        from tqdm import tqdm

        self._draw(
            tqdm.format_meter(
                n=elapsed,
                total=float(self._plan.duration),
                elapsed=elapsed,
                ncols=self._room(),
                bar_format=f"{{bar:10}} {elapsed:.0f}/{self._plan.duration} {figures}",
            )
        )

    def close(self) -> None:
        """Leave the line as it was."""
        self._clear()

    def _room(self) -> int:
        writer = self._reporter._tw  # pytest gives no other way to its width
        return max(0, writer.fullwidth - writer.width_of_current_line - 2)

    def _draw(self, text: str) -> None:
        if self._room() >= _NARROWEST:
            self._write(f"{_SAVE}{_CLEAR} {text[: self._room()]}{_BACK}")

    def _clear(self) -> None:
        self._write(_CLEAR)

    def _write(self, text: str) -> None:
        # Not through pytest's writer, which would count the text to the width of its line.
        file = self._reporter._tw._file
        with self._capture.global_and_fixture_disabled() if self._capture else nullcontext():
            file.write(text)
            file.flush()
