"""Stops a load from another thread than the one that waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pytest_loadgen.generators.base import Intervals


class Stopped(BaseException):
    """The load was stopped. Like KeyboardInterrupt, this is not a failure."""


class Stop:
    """Stops a load when any thread asks for it."""

    def __init__(self) -> None:
        """Stop nothing yet."""
        self._asked = False
        self._running: Intervals | None = None

    def ask(self) -> None:
        """Stop the load: at once if the generator can, else after its current interval."""
        self._asked = True
        self._close()

    def check(self) -> None:
        """Raise Stopped if a stop was asked for."""
        if self._asked:
            raise Stopped

    @contextmanager
    def closes(self, running: Intervals) -> Iterator[None]:
        """Close these intervals when a stop is asked for, or at once if it was before."""
        self._running = running
        try:
            self.check()
            yield
        finally:
            self._running = None

    def _close(self) -> None:
        if running := self._running:
            with suppress(ValueError):  # a generator function cannot be closed while it runs
                running.close()
