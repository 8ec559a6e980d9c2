"""One machine for the tests of all workers of xdist."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_loadgen.running.lock import Room

# By what name the controller tells its workers the folder of the room that tests share.
_FOLDER = "loadgen_folder"


class Sharing:
    """Lets the tests of an xdist worker wait while another worker's load has the machine."""

    def __init__(self, room: Room) -> None:
        """Take the room that the tests share."""
        self._room = room
        self._wanted = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        # Every worker collects all tests: where none loads, none has to wait.
        self._wanted = any(item.get_closest_marker("load") for item in session.items)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        if not self._wanted:
            return (yield)
        self._room.enter()
        try:
            return (yield)
        finally:
            self._room.leave()


class Controller:
    """Gives the workers of xdist a room to share."""

    def __init__(self) -> None:
        """Make none yet."""
        self._files = ExitStack()

    @cached_property
    def _folder(self) -> str:
        return self._files.enter_context(tempfile.TemporaryDirectory(prefix="pytest-loadgen-"))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[_FOLDER] = self._folder

    def pytest_unconfigure(self) -> None:
        self._files.close()


def room_of(config: pytest.Config) -> Room | None:
    """Give the room that this worker's tests share with those of others; none where there are no others."""
    folder = getattr(config, "workerinput", {}).get(_FOLDER)
    if not folder:
        return None
    from pytest_loadgen.running.lock import Room

    return Room(Path(folder))


def its_turn(room: Room | None) -> Callable[[Callable[[], None]], AbstractContextManager[None]]:
    """Give what a load waits in: for the tests of other workers, and for the loads of other sessions."""
    from pytest_loadgen.running import lock as turn

    @contextmanager
    def wait(waiting: Callable[[], None]) -> Iterator[None]:
        with ExitStack() as stack:
            if room:
                stack.enter_context(room.alone(waiting))
            stack.enter_context(turn.alone(Path(tempfile.gettempdir()), waiting))
            yield

    return wait
