"""Taking turns, between real processes: one load at a time, and no test beside it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from pytest_loadgen.errors import LoadError
from pytest_loadgen.file_lock import locked
from pytest_loadgen.running.lock import TestLock, machine_lock

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

    def hears(self) -> int:
        """Wait for a number."""
        assert self._channel.poll(PATIENCE)
        return int(self._channel.recv())

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

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
    with machine_lock(folder, lambda holder: channel.send("waiting")):
        channel.send("in")
        channel.recv()
    channel.send("out")
    channel.recv()


def a_load_that_forks(folder: Path, channel: Connection) -> None:
    with machine_lock(folder):
        if child := os.fork():
            channel.send(child)
        channel.recv()


def a_test(folder: Path, channel: Connection) -> None:
    lock = TestLock(folder)
    channel.send("coming")
    lock.acquire_shared()
    channel.send("in")
    channel.recv()
    lock.release_shared()
    channel.send("out")
    channel.recv()


def a_test_that_loads(folder: Path, channel: Connection) -> None:
    lock = TestLock(folder)
    lock.acquire_shared()
    channel.send("in")
    channel.recv()
    with lock.exclusive(lambda holder: channel.send("waiting")):
        channel.send("exclusive")
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


def test_without_another_load_nothing_waits(tmp_path: Path) -> None:
    """Where nobody has the machine, nothing is said of waiting; nor where it is another folder's."""
    (tmp_path / "other").mkdir()
    said: list[str] = []
    for _ in range(2):
        with (
            machine_lock(tmp_path, lambda holder: said.append("waiting")),
            machine_lock(tmp_path / "other", lambda holder: said.append("waiting")),
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


def test_a_stopped_holder_is_passed(start: Start) -> None:
    """It disturbs nobody; whoever waits goes on beside it."""
    first = start(a_load)
    assert first.says("in")
    os.kill(first.pid, signal.SIGSTOP)
    second = start(a_load)
    assert second.says("waiting")
    assert second.says("in")
    second.go_on()
    assert second.says("out")


def test_a_forked_child_holds_nothing(start: Start) -> None:
    """A service that a test forked may live on when the test's process is killed."""
    first = start(a_load_that_forks)
    child = first.hears()
    try:
        assert first.end() == -signal.SIGKILL
        second = start(a_load)
        assert second.says("in")
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not say who holds a lock")
def test_the_end_of_a_wait_names_the_holder(start: Start, tmp_path: Path) -> None:
    """By its number, program and age; without its arguments, which may hold secrets."""
    first = start(a_load)
    assert first.says("in")
    told: list[str] = []
    lock = tmp_path / "pytest-loadgen.lock"
    with pytest.raises(LoadError) as caught, locked(lock, longest_wait=0.1, waiting=told.append):
        pytest.fail("it was locked")
    holder = rf"process {first.pid} \(python[^,]*, running for \d+\w+\)"
    assert re.fullmatch(holder, told[0])
    assert re.fullmatch(
        rf"timed out after 100ms waiting for {lock}, which {holder} holds; if it hangs, end it", str(caught.value)
    )


def test_a_strict_umask_does_not_lock_others_out(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with machine_lock(tmp_path):
            assert stat.S_IMODE((tmp_path / "pytest-loadgen.lock").stat().st_mode) == 0o644
    finally:
        os.umask(before)


def test_a_file_closed_to_us_is_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that another user's umask closed: our own loads take turns by a file of their own."""
    opened = os.open

    def closed(path: Path, *args: int) -> int:
        if path.name == "pytest-loadgen.lock":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *args)

    monkeypatch.setattr(os, "open", closed)
    with machine_lock(tmp_path, lambda holder: pytest.fail("it has to wait")):
        assert [path.name for path in tmp_path.iterdir()] == [f"pytest-loadgen.lock.{os.geteuid()}"]


def test_errors_give_the_turn_back(tmp_path: Path) -> None:
    """A load that fails has its turn no longer."""
    with pytest.raises(ZeroDivisionError), machine_lock(tmp_path):
        raise ZeroDivisionError
    with machine_lock(tmp_path, lambda holder: pytest.fail("it has to wait")):
        pass


def test_tests_share_the_lock(start: Start) -> None:
    """Several tests hold it at once, and each may release it and acquire it again."""
    first, second = start(a_test), start(a_test)
    for other in (first, second):
        assert other.says("coming")
        assert other.says("in")
    first.go_on()
    assert first.says("out")


def test_a_load_holds_the_lock_exclusively(start: Start) -> None:
    """A load waits for the tests that run, lets no new one start before it, and none beside it."""
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
    assert loading.says("exclusive")
    assert late.is_silent()
    loading.go_on()
    assert loading.says("in again")
    assert late.says("in")


def test_two_loads_of_tests_that_share_the_lock(start: Start) -> None:
    """Two running tests that both load do so one after the other."""
    first, second = start(a_test_that_loads), start(a_test_that_loads)
    assert first.says("in")
    assert second.says("in")
    first.go_on()
    assert first.says("waiting")
    second.go_on()
    assert second.says("waiting")
    assert first.says("exclusive")
    assert second.is_silent()
    first.go_on()
    # Whether it comes back before the other's load or after, it leaves in the end.
    first.go_on()
    assert second.says("exclusive")
    second.go_on()
    assert first.says("in again")
    assert second.says("in again")


def test_told_once(start: Start, tmp_path: Path) -> None:
    """A load that waits at the gate and then for the tests says so once."""
    loading, inside = start(a_test_that_loads), TestLock(tmp_path)
    assert loading.says("in")
    inside.acquire_shared()
    with (tmp_path / "gate.lock").open() as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        loading.go_on()
        assert loading.says("waiting")
    assert loading.is_silent()
    inside.release_shared()
    assert loading.says("exclusive")


def test_symlinks_are_not_followed(tmp_path: Path) -> None:
    """A link that somebody laid at the lock's path is refused, and what it points to not touched."""
    lock = tmp_path / "pytest-loadgen.lock"
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LoadError) as caught, machine_lock(tmp_path):
        pytest.fail("it was followed")
    assert str(caught.value).startswith(f"cannot lock {lock}: ")
    assert not (tmp_path / "elsewhere").exists()


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is missing, or none, is a LoadError with the lock's path in it."""
    (tmp_path / "file").touch()
    for folder, reason in (("missing", "No such file or directory"), ("file", "Not a directory")):
        lock = tmp_path / folder / "pytest-loadgen.lock"
        with pytest.raises(LoadError) as caught, machine_lock(tmp_path / folder):
            pytest.fail("it was locked")
        assert str(caught.value) == f"cannot lock {lock}: {reason}"


def test_others_files(tmp_path: Path) -> None:
    """A lock that may only be read, as another user's, can be locked."""
    lock = tmp_path / "pytest-loadgen.lock"
    lock.touch(mode=0o444)
    with machine_lock(tmp_path, lambda holder: pytest.fail("it has to wait")):
        assert lock.read_bytes() == b""
