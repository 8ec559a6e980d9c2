"""One machine for all loads: a test that loads has it to itself.

It waits before its set-up, so that the wait counts neither for pytest-timeout nor for the test's own clock.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_loadgen import clock
from pytest_loadgen.errors import LoadError
from pytest_loadgen.plugin.session import SESSION, Wait, uses_load
from pytest_loadgen.plugin.uncaptured import uncaptured

if TYPE_CHECKING:
    from pytest_loadgen.running.lock import TestLock

# From how many seconds on the summary says that a test waited.
_LONG_WAIT = 10.0


class Turns:
    """Gives the machine to one load at a time, of all sessions and of all workers of xdist."""

    def __init__(self, config: pytest.Config, tests: TestLock | None) -> None:
        """Take the lock that the tests of xdist's workers share."""
        self._config = config
        self._tests = tests
        self._one_load = threading.Lock()
        self._has_machine = False
        self._why_not: LoadError | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with ExitStack() as stack:
            # An exception here would end the session.
            self._why_not = None
            try:
                if self._tests:
                    self._tests.acquire_shared()
                    stack.callback(self._tests.release_shared)
                if uses_load(item):
                    stack.enter_context(self._turn(item.nodeid))
            except LoadError as error:
                self._why_not = error
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        if self._why_not:
            raise self._why_not.with_traceback(None) from None

    @contextmanager
    def one_load(self) -> Iterator[None]:
        """Have the machine for a load; the threads of a test have it one after the other."""
        with self._one_load, ExitStack() as stack:
            if not self._has_machine:  # the test asked for the fixture only when it ran
                stack.enter_context(self._turn(self._config.stash[SESSION].item.nodeid))
            yield

    @contextmanager
    def _turn(self, test: str) -> Iterator[None]:
        from pytest_loadgen.running.lock import machine_lock

        with ExitStack() as stack:
            if self._tests:
                with self._noting(test, "the tests of other workers"):
                    stack.enter_context(self._tests.exclusive(self._telling("the tests of other workers")))
            with self._noting(test, "other loads on this machine"):
                stack.enter_context(machine_lock(_folder(), self._telling("another load on this machine")))
            self._has_machine = True
            stack.callback(self._give_back)
            yield

    def _give_back(self) -> None:
        self._has_machine = False

    @contextmanager
    def _noting(self, test: str, for_whom: str) -> Iterator[None]:
        """Note a wait that is so long that the summary has to say it."""
        begun = clock.monotonic()
        yield
        if (seconds := clock.monotonic() - begun) > _LONG_WAIT:
            self._config.stash[SESSION].wait(Wait(test, seconds, for_whom))

    def _telling(self, what: str) -> Callable[[str], None]:
        """Give what tells who is waited for, where a person or a log sees it at once."""

        def tell(holder: str) -> None:
            capture = self._config.pluginmanager.getplugin("capturemanager")
            reporter = self._config.pluginmanager.getplugin("terminalreporter")
            said = f"pytest-loadgen: waiting for {what}: {holder}"
            with uncaptured(capture):
                if reporter and not hasattr(self._config, "workerinput"):
                    reporter.ensure_newline()
                    reporter.write_line(said, yellow=True)
                    reporter.flush()
                else:  # nobody sees what a worker of xdist writes elsewhere
                    sys.stderr.write(f"{said}\n")
                    sys.stderr.flush()

        return tell


def _folder() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise LoadError(
            "there is no folder for temporary files that can be written, and loads need a lock file there: set TMPDIR"
        ) from None


TURNS = pytest.StashKey[Turns]()
