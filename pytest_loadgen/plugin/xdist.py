"""What the workers of pytest-xdist share: the lock by which their tests wait while a load runs."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_loadgen.running.lock import TestLock

# The key under which the controller gives its workers the directory of the lock.
_FOLDER = "loadgen_folder"


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
        with suppress(OSError):  # no folder for temporary files: a load will say so
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
