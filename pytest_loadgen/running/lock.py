"""The locks that give each load the machine to itself."""

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
def machine_lock(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the machine exclusively among all loads that use the same directory.

    `waiting` is called once if another load holds it. Raises LoadError after an hour.
    """
    with _locked(folder / "pytest-loadgen.lock", fcntl.LOCK_EX, waiting):
        yield


class TestLock:
    """A lock that tests share and a load holds exclusively: a readers-writer lock, in files.

    Whoever acquires it passes the gate; a load holds the gate while it waits for the running tests, so that
    no new test starts before the load.
    """

    __test__ = False  # not a class of tests

    def __init__(self, folder: Path) -> None:
        """Take a directory that all processes of the session know."""
        self._gate = folder / "gate.lock"
        self._tests = folder / "tests.lock"
        self._held = ExitStack()
        self._is_held = False
        self._one_load = threading.Lock()

    def acquire_shared(self) -> None:
        """Hold it together with other tests."""
        with ExitStack() as stack:
            with _locked(self._gate, fcntl.LOCK_EX):
                stack.enter_context(_locked(self._tests, fcntl.LOCK_SH))
            self._held = stack.pop_all()
        self._is_held = True

    def release_shared(self) -> None:
        """Release it."""
        self._is_held = False
        self._held.close()

    @contextmanager
    def exclusive(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Release it, hold it exclusively, and share it again; `waiting` is called at most once."""
        tell = cache(waiting)
        # The threads of one test share its lock: one of them must not wait for another to release it.
        with self._one_load:
            was_held = self._is_held
            self.release_shared()
            try:
                with _locked(self._gate, fcntl.LOCK_EX, tell), _locked(self._tests, fcntl.LOCK_EX, tell):
                    yield
            finally:
                if was_held:
                    self.acquire_shared()


@contextmanager
def _locked(path: Path, kind: int, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file; the system releases it when the process dies."""
    try:
        descriptor = _open(path)
    except OSError as error:
        raise LoadError(f"cannot lock {path}, which serializes loads: {error.strerror}") from error
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
                    raise LoadError(f"timed out after {waited} waiting for another load, which holds {path}") from None
            if not told:
                waiting()
                told = True
            time.sleep(_BETWEEN_TRIES)
        yield
    finally:
        # Closing is not enough: a process forked in the meantime, such as a service, has it open, too.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open a lock file that may belong to another user: to lock it, reading is enough."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        return os.open(path, flags | os.O_CREAT, 0o644)
