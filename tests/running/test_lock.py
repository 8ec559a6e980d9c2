"""Taking turns, between real processes: one load at a time, and no test beside it."""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from pytest_loadgen.errors import LoadError
from pytest_loadgen.running.lock import Room, alone

SPAWN = get_context("spawn")
# How long a process may take for what it does at once on an idle machine, in seconds.
PATIENCE = 60


class Other:
    """Another process, which says what it does and goes on when told."""

    def __init__(self, act: Callable[[Path, Connection], None], folder: Path) -> None:
        self._channel, theirs = SPAWN.Pipe()
        self._process: SpawnProcess = SPAWN.Process(target=act, args=(folder, theirs))
        self._process.start()
        theirs.close()

    def says(self, word: str) -> bool:
        """Wait for the next word."""
        assert self._channel.poll(PATIENCE), f"it has not said {word!r}"
        said = self._channel.recv()
        assert said == word
        return True

    def is_silent(self) -> bool:
        """Give it time to say what it must not."""
        return not self._channel.poll(0.2)

    def go_on(self) -> None:
        self._channel.send("go on")

    def end(self) -> int | None:
        self._process.kill()
        self._process.join()
        self._channel.close()
        return self._process.exitcode


Start = Callable[[Callable[[Path, Connection], None]], Other]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start processes that share a folder, and let none outlive the test."""
    with ExitStack() as stack:

        def start(act: Callable[[Path, Connection], None]) -> Other:
            other = Other(act, tmp_path)
            stack.callback(other.end)
            return other

        yield start


def a_load(folder: Path, channel: Connection) -> None:
    with alone(folder, lambda: channel.send("waiting")):
        channel.send("in")
        channel.recv()
    channel.send("out")
    channel.recv()


def a_test(folder: Path, channel: Connection) -> None:
    room = Room(folder)
    channel.send("coming")
    room.enter()
    channel.send("in")
    channel.recv()
    room.leave()
    channel.send("out")
    channel.recv()


def a_test_that_loads(folder: Path, channel: Connection) -> None:
    room = Room(folder)
    room.enter()
    channel.send("in")
    channel.recv()
    with room.alone(lambda: channel.send("waiting")):
        channel.send("alone")
        channel.recv()
    channel.send("in again")
    channel.recv()


def test_loads_exclude_each_other(start: Start) -> None:
    """A load waits while another has the machine, says so once, and follows when that is over."""
    first = start(a_load)
    assert first.says("in")
    second = start(a_load)
    assert second.says("waiting")
    assert second.is_silent()
    first.go_on()
    assert first.says("out")
    assert second.says("in")


def test_nobody_waits_for_nobody(tmp_path: Path) -> None:
    """Where nobody has the machine, nothing is said of waiting; nor where it is another folder's."""
    (tmp_path / "other").mkdir()
    said: list[str] = []
    for _ in range(2):
        with (
            alone(tmp_path, lambda: said.append("waiting")),
            alone(tmp_path / "other", lambda: said.append("waiting")),
        ):
            pass
    assert said == []


def test_the_dead_hold_nothing(start: Start) -> None:
    """What a killed process had is free."""
    first = start(a_load)
    assert first.says("in")
    second = start(a_load)
    assert second.says("waiting")
    assert first.end() == -signal.SIGKILL
    assert second.says("in")


def test_errors_give_the_turn_back(tmp_path: Path) -> None:
    """A load that fails has its turn no longer."""
    with pytest.raises(ZeroDivisionError), alone(tmp_path):
        raise ZeroDivisionError
    with alone(tmp_path, lambda: pytest.fail("it has to wait")):
        pass


def test_tests_share_the_room(start: Start) -> None:
    """Tests are in the room together, and one may leave and the next come as it likes."""
    first, second = start(a_test), start(a_test)
    for other in (first, second):
        assert other.says("coming")
        assert other.says("in")
    first.go_on()
    assert first.says("out")


def test_loads_have_the_room_alone(start: Start) -> None:
    """A load waits for the tests in the room, lets no new ones in before it, and none beside it."""
    inside, loading = start(a_test), start(a_test_that_loads)
    assert inside.says("coming")
    assert inside.says("in")
    assert loading.says("in")
    loading.go_on()
    assert loading.says("waiting")
    late = start(a_test)
    assert late.says("coming")
    assert late.is_silent()
    inside.go_on()
    assert inside.says("out")
    assert loading.says("alone")
    assert late.is_silent()
    loading.go_on()
    assert loading.says("in again")
    assert late.says("in")


def test_two_loads_share_a_room(start: Start) -> None:
    """Two tests in the room that both want to load do so one after the other."""
    first, second = start(a_test_that_loads), start(a_test_that_loads)
    assert first.says("in")
    assert second.says("in")
    first.go_on()
    assert first.says("waiting")
    second.go_on()
    assert second.says("waiting")
    assert first.says("alone")
    assert second.is_silent()
    first.go_on()
    # Whether it comes back before the other's load or after, it leaves in the end.
    first.go_on()
    assert second.says("alone")
    second.go_on()
    assert first.says("in again")
    assert second.says("in again")


def test_told_once(start: Start, tmp_path: Path) -> None:
    """Who waits at the door and then for the room is told once."""
    loading, inside = start(a_test_that_loads), Room(tmp_path)
    assert loading.says("in")
    inside.enter()
    with (tmp_path / "door.lock").open() as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        loading.go_on()
        assert loading.says("waiting")
    assert loading.is_silent()
    inside.leave()
    assert loading.says("alone")


def test_symlinks_are_not_followed(tmp_path: Path) -> None:
    """A link that somebody laid at the lock's path is refused, and what it points to not touched."""
    lock = tmp_path / "pytest-loadgen.lock"
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LoadError) as caught, alone(tmp_path):
        pytest.fail("it was followed")
    assert str(caught.value).startswith(f"cannot lock {lock}, by which loads take turns: ")
    assert not (tmp_path / "elsewhere").exists()


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is missing, or none, is a LoadError with the lock's path in it."""
    (tmp_path / "file").touch()
    for folder, reason in (("missing", "No such file or directory"), ("file", "Not a directory")):
        lock = tmp_path / folder / "pytest-loadgen.lock"
        with pytest.raises(LoadError) as caught, alone(tmp_path / folder):
            pytest.fail("it was locked")
        assert str(caught.value) == f"cannot lock {lock}, by which loads take turns: {reason}"


def test_others_files(tmp_path: Path) -> None:
    """A lock that may only be read, as another user's, can be locked."""
    lock = tmp_path / "pytest-loadgen.lock"
    lock.touch(mode=0o444)
    with alone(tmp_path, lambda: pytest.fail("it has to wait")):
        assert lock.read_bytes() == b""
