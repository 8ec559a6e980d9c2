"""The event loop of asyncio, with precise timers."""

from __future__ import annotations

import asyncio
import select
import selectors

_MIN_SLEEP = 20e-6


class _PreciseSelector(selectors.DefaultSelector):
    """Waits with microsecond resolution; that of epoll is milliseconds."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait with select for epoll's own descriptor to become readable."""
        if timeout is not None and timeout > _MIN_SLEEP:
            select.select([self.fileno()], (), (), timeout)
            timeout = 0
        return super().select(timeout)


def event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop whose timers are precise to microseconds."""
    if hasattr(select, "epoll"):
        return asyncio.SelectorEventLoop(_PreciseSelector())
    # kqueue is precise by itself.
    return asyncio.SelectorEventLoop()
