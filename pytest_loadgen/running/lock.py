"""Whose turn it is: loads have the machine one at a time, and to themselves."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from pytest_loadgen.errors import LoadError
from pytest_loadgen.units import Duration

_LONGEST_WAIT = 3600.0
_BETWEEN_TRIES = 0.01


@contextmanager
def alone(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Have the machine to oneself among all who ask for the same folder.

    `waiting` is called once where somebody else has it. Raises LoadError after an hour.
    """
    with _locked(folder / "pytest-loadgen.lock", fcntl.LOCK_EX, waiting):
        yield


class Room:
    """A room that tests share and a load has alone: a lock of readers and writers, in files.

    Whoever comes in passes the door; a load stands in the door while it waits for the tests in the
    room to leave, so that no new ones come in before it.
    """

    def __init__(self, folder: Path) -> None:
        """Take a folder that all who share the room know."""
        self._door = folder / "door.lock"
        self._room = folder / "room.lock"
        self._inside = ExitStack()
        self._is_inside = False
        self._one_load = threading.Lock()

    def enter(self) -> None:
        """Be in the room with others."""
        with ExitStack() as stack:
            with _locked(self._door, fcntl.LOCK_EX):
                stack.enter_context(_locked(self._room, fcntl.LOCK_SH))
            self._inside = stack.pop_all()
        self._is_inside = True

    def leave(self) -> None:
        """Be out of it."""
        self._is_inside = False
        self._inside.close()

    @contextmanager
    def alone(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Leave, have the room to oneself, and enter again; `waiting` is called once if at all."""
        tell = cache(waiting)
        # The threads of one test are in the room together: one of them must not wait for another to leave.
        with self._one_load:
            was_inside = self._is_inside
            self.leave()
            try:
                with _locked(self._door, fcntl.LOCK_EX, tell), _locked(self._room, fcntl.LOCK_EX, tell):
                    yield
            finally:
                if was_inside:
                    self.enter()


@contextmanager
def _locked(path: Path, kind: int, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a file's lock; the system gives it back when a process dies."""
    try:
        descriptor = _open(path)
    except OSError as error:
        raise LoadError(f"cannot lock {path}, by which loads take turns: {error.strerror}") from error
    try:
        deadline = time.monotonic() + _LONGEST_WAIT
        told = False
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    waited = Duration(_LONGEST_WAIT)
                    raise LoadError(f"another load has held {path} for {waited}: is it stuck?") from None
            if not told:
                waiting()
                told = True
            time.sleep(_BETWEEN_TRIES)
        yield
    finally:
        # Closing is not enough: a process forked meanwhile, a service for example, has it open too.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open a lock file that may be another user's: to lock it, reading is enough."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags | os.O_CREAT, 0o644)
