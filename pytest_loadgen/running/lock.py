"""The locks that give each load the machine to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pytest_loadgen.file_lock import EXCLUSIVE, SHARED, locked

_LONGEST_WAIT = 3600.0


def _untold(holder: str) -> None:
    """Say nothing."""


@contextmanager
def machine_lock(folder: Path, waiting: Callable[[str], None] = _untold) -> Iterator[None]:
    """Hold the machine exclusively among all loads that use the same directory.

    `waiting` is called once, with its holder, if another load holds it. Raises LoadError after an hour.
    """
    with _locked(folder / "pytest-loadgen.lock", EXCLUSIVE, waiting):
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

    def acquire_shared(self) -> None:
        """Hold it together with other tests."""
        with ExitStack() as stack:
            with _locked(self._gate, EXCLUSIVE):
                stack.enter_context(_locked(self._tests, SHARED))
            self._held = stack.pop_all()
        self._is_held = True

    def release_shared(self) -> None:
        """Release it."""
        self._is_held = False
        self._held.close()

    @contextmanager
    def exclusive(self, waiting: Callable[[str], None] = _untold) -> Iterator[None]:
        """Release it, hold it exclusively, and share it again; `waiting` is called at most once."""
        told: list[str] = []

        def tell(holder: str) -> None:
            if not told:
                waiting(holder)
            told.append(holder)

        was_held = self._is_held
        self.release_shared()
        try:
            with _locked(self._gate, EXCLUSIVE, tell), _locked(self._tests, EXCLUSIVE, tell):
                yield
        finally:
            if was_held:
                self.acquire_shared()


@contextmanager
def _locked(path: Path, kind: int, waiting: Callable[[str], None] = _untold) -> Iterator[None]:
    with locked(path, kind, longest_wait=_LONGEST_WAIT, waiting=waiting, may_pass=True):
        yield
