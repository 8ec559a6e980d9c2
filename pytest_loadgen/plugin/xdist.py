"""One machine for the tests of all pytest-xdist workers: tests wait while a load runs."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_loadgen.running.lock import TestLock

# The key under which the controller gives its workers the directory of the lock.
_FOLDER = "loadgen_folder"


class WorkerHooks:
    """Lets the tests of an xdist worker wait while another worker's load runs."""

    def __init__(self, lock: TestLock) -> None:
        """Take the lock that the workers share."""
        self._lock = lock
        self._wanted = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        # Every worker collects all tests: if none loads, none has to wait.
        self._wanted = any(item.get_closest_marker("load") for item in session.items)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        if not self._wanted:
            return (yield)
        self._lock.acquire_shared()
        try:
            return (yield)
        finally:
            self._lock.release_shared()


class ControllerHooks:
    """Gives the workers of xdist a lock to share."""

    def __init__(self) -> None:
        """Create nothing yet."""
        self._files = ExitStack()

    @cached_property
    def _folder(self) -> str:
        return self._files.enter_context(tempfile.TemporaryDirectory(prefix="pytest-loadgen-"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[_FOLDER] = self._folder

    def pytest_unconfigure(self) -> None:
        self._files.close()


def test_lock(config: pytest.Config) -> TestLock | None:
    """Give the lock that this worker shares with the others, or None without xdist."""
    folder = getattr(config, "workerinput", {}).get(_FOLDER)
    if not folder:
        return None
    from pytest_loadgen.running.lock import TestLock

    return TestLock(Path(folder))
