"""The line that shows how a load is going, in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_loadgen import clock
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.windows import HALF_INTERVAL
from pytest_loadgen.plugin.uncaptured import uncaptured
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import counted

if TYPE_CHECKING:
    import pytest
    from _pytest._io import TerminalWriter
    from _pytest.capture import CaptureManager

_SAVE, _BACK, _CLEAR = "\x1b7", "\x1b8", "\x1b[K"
_NARROWEST = 20


class LiveLine:
    """Draws behind what pytest has written in the line, and clears it at the end."""

    def __init__(
        self, reporter: pytest.TerminalReporter, capture: CaptureManager | None, plan: Plan, longest: Duration
    ) -> None:
        """Draw nothing yet: a load that is over within a second needs no progress."""
        self._reporter = reporter
        self._capture = capture
        self._plan = plan
        self._longest = longest
        self._begun = clock.monotonic()
        self._errors = 0

    def started(self) -> None:
        """Count the time from now on."""
        self._begun = clock.monotonic()
        self._clear()

    def show(self, interval: Interval, generator: str = "") -> None:
        """Show an interval, with the name of its generator where there are several."""
        now = Result(self._plan, "", (interval,))
        self._errors += interval.errors(self._plan)
        elapsed = interval.start + interval.seconds
        extended = interval.seconds > 0 and elapsed > self._plan.duration + HALF_INTERVAL
        state, total = ("extended, ", self._longest) if extended else ("", self._plan.duration)
        if elapsed >= total:
            return
        lag = f", lag {interval.lag.percentile(99)}" if interval.lag else ""
        figures = (
            f"{now.rate}, p50 {now.p50}, p99 {now.p99}, {counted(self._errors, 'error')}{lag}" if now.requests else ""
        )
        from tqdm import tqdm

        self._draw(
            tqdm.format_meter(
                n=elapsed,
                total=float(total),
                elapsed=elapsed,
                ncols=None,
                bar_format=f"{{bar:10}} {state}{elapsed:.0f}/{total} {generator and f'{generator}: '}{figures}",
            )
        )

    def close(self) -> None:
        """Leave the line as it was."""
        self._clear()

    def _draw(self, text: str) -> None:
        with self._terminal() as writer:
            # Only now: while output is captured, the terminal's width cannot be asked for.
            room = writer.fullwidth - writer.width_of_current_line - 2
            if room >= _NARROWEST:
                encoding = getattr(writer._file, "encoding", None) or "utf-8"
                shown = text[:room].encode(encoding, "replace").decode(encoding)
                # Past pytest's writer, which would count the text to the width of its line.
                writer._file.write(f"{_SAVE}{_CLEAR} {shown}{_BACK}")

    def _clear(self) -> None:
        with self._terminal() as writer:
            writer._file.write(_CLEAR)

    @contextmanager
    def _terminal(self) -> Iterator[TerminalWriter]:
        """Give pytest's writer at a moment when what it writes is seen."""
        writer = self._reporter._tw  # pytest gives no other way to it
        with uncaptured(self._capture):
            yield writer
            writer.flush()
