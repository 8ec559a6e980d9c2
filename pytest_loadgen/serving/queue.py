"""The queue of the loads that wait for a machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class QueueFull(Exception):  # noqa: N818  # not an error of this machine
    """No more loads may wait."""


@dataclass(eq=False)
class _Entry:
    load: Hashable


class LoadQueue:
    """Loads in order of arrival: the first one runs, the others wait; the parts of a load run together."""

    def __init__(self, max_waiting: int) -> None:
        """Let at most this many wait."""
        self.max_waiting = max_waiting
        self._entries: list[_Entry] = []
        self._changed = threading.Condition()

    @contextmanager
    def wait_for_turn(self, load: Hashable, timeout: float, cancelled: Callable[[], bool]) -> Iterator[bool]:
        """Wait until a load is first, and hold that place; yields False after a timeout or if cancelled.

        Raises QueueFull.
        """
        entry = _Entry(load)
        with self._changed:
            waiting = sum(not self._is_first(other.load) for other in self._entries)
            if self._entries and not self._is_first(load) and waiting >= self.max_waiting:
                raise QueueFull
            self._entries.append(entry)
        try:
            with self._changed:
                self._changed.wait_for(lambda: cancelled() or self._is_first(load), timeout)
                is_first = not cancelled() and self._is_first(load)
            yield is_first
        finally:
            with self._changed:
                self._entries.remove(entry)
            self.wake()

    def wake(self) -> None:
        """Let all waiting loads check whether they are first, or cancelled."""
        with self._changed:
            self._changed.notify_all()

    def _is_first(self, load: Hashable) -> bool:
        return self._entries[0].load == load
