"""Loads that stand in line for a machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Full(Exception):  # noqa: N818  # no error
    """So many wait already that no more may."""


@dataclass(eq=False)
class _Place:
    load: Hashable


class Line:
    """The one load that has the machine, and behind it those that wait; the parts of a load have it together."""

    def __init__(self, most: int) -> None:
        """Start with none; so many may wait."""
        self.most = most
        self._places: list[_Place] = []
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, load: Hashable, seconds: float, gone: Callable[[], bool]) -> Iterator[bool]:
        """Wait for the turn of a load, for so long and until it is gone; tell whether it came. Raises Full."""
        place = _Place(load)
        with self._changed:
            waiting = [place.load for place in self._places if not self._first(place.load)]
            if self._places and not self._first(load) and len(waiting) >= self.most:
                raise Full
            self._places.append(place)
        try:
            with self._changed:
                self._changed.wait_for(lambda: gone() or self._first(load), seconds)
                has_it = not gone() and self._first(load)
            yield has_it
        finally:
            with self._changed:
                self._places.remove(place)
            self.look()

    def look(self) -> None:
        """Let those who wait look again whether it is their turn, or they are gone."""
        with self._changed:
            self._changed.notify_all()

    def _first(self, load: Hashable) -> bool:
        return self._places[0].load == load
