"""Locks of files, and who holds one for which another waits."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_loadgen import clock
from pytest_loadgen.errors import LoadError
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import printable

EXCLUSIVE, SHARED = fcntl.LOCK_EX, fcntl.LOCK_SH
_BETWEEN_TRIES = 0.01
# After how many seconds a wait is reported, and an idle holder is no longer waited for.
_BEFORE_TELLING = 1.0
_BEFORE_PASSING = 3.0
_PROCESSES = Path("/proc")
# What this process holds. A process that it forks must not hold it, too: it may live longer.
_held: set[int] = set()


def _forget() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_forget)


@contextmanager
def locked(
    path: Path,
    kind: int = EXCLUSIVE,
    *,
    longest_wait: float,
    waiting: Callable[[str], None] = lambda holder: None,
    may_pass: bool = False,
) -> Iterator[None]:
    """Hold the lock of a file; the system releases it when the process dies.

    `waiting` is told once who holds it. With `may_pass`, a holder that is stopped, or that waits for this process,
    is passed. Raises LoadError where the file cannot be locked, or is held for too long.
    """
    try:
        descriptor = _open(path)
    except OSError as error:
        raise LoadError(f"cannot lock {path}: {error.strerror}") from error
    _held.add(descriptor)
    try:
        if _acquire(descriptor, path, kind, longest_wait=longest_wait, waiting=waiting, may_pass=may_pass):
            yield
            return
    finally:
        if descriptor in _held:
            _held.remove(descriptor)
            # Closing is not enough: a process forked in the meantime may have it open, too.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)
    beside = path.with_name(f"{path.name}.beside")
    with locked(beside, kind, longest_wait=longest_wait, waiting=waiting, may_pass=True):
        yield


def _acquire(
    descriptor: int, path: Path, kind: int, *, longest_wait: float, waiting: Callable[[str], None], may_pass: bool
) -> bool:
    """Wait for the lock, and return whether it is held; False where its holder is to be passed."""
    begun = clock.monotonic()
    told, idle_since = False, None
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        now = clock.monotonic()
        if now - begun > min(_BEFORE_TELLING, longest_wait):
            holder = _holder(descriptor)
            if not told:
                waiting(str(holder))
                told = True
            if now - begun > longest_wait:
                raise LoadError(
                    f"timed out after {Duration(longest_wait)} waiting for {path}, which {holder} holds; "
                    "if it hangs, end it"
                )
            idle_since = (idle_since or now) if may_pass and holder.is_idle else None
            if idle_since and now - idle_since > _BEFORE_PASSING:
                return False
            clock.sleep(10 * _BETWEEN_TRIES)
        else:
            clock.sleep(_BETWEEN_TRIES)


def _open(path: Path) -> int:
    """Open a lock file that may belong to another user: to lock it, reading is enough."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, 0o644)
    except PermissionError:
        # Closed to us by its owner's umask: at least our own loads take turns.
        own = path.with_name(f"{path.name}.{os.geteuid()}")
        descriptor = os.open(own, flags | os.O_CREAT, 0o644)
    with suppress(OSError):  # another user's, made in the meantime
        os.fchmod(descriptor, 0o644)  # whatever the umask
    return descriptor


@dataclass(frozen=True)
class _Holder:
    """The process that holds a lock; 0 where it is not known."""

    process: int = 0

    def __str__(self) -> str:
        if not self.process:
            return "another process"
        about = [self._command(), self._age(), "stopped" if self._state() in {"T", "t"} else ""]
        return f"process {self.process} ({', '.join(filter(None, about))})"

    @property
    def is_idle(self) -> bool:
        """Whether it is stopped or dead, or waits for this process, its descendant."""
        return bool(self.process) and (self._state() in {"T", "t", "Z", "X", ""} or self.process in _ancestors())

    def _state(self) -> str:
        return _status(self.process)[0]

    def _command(self) -> str:
        """Give the program and its script or module, without options: they may hold secrets."""
        try:
            words = (_PROCESSES / str(self.process) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return ""
        program, *arguments = [word.rpartition("/")[2] if word.startswith("/") else word for word in words if word] or [
            ""
        ]
        if arguments[:1] == ["-m"]:
            program += f" -m {''.join(arguments[1:2])}"
        elif arguments and not arguments[0].startswith("-") and program.startswith(("python", "pypy")):
            program += f" {arguments[0]}"
        return printable(program)[:100]

    def _age(self) -> str:
        try:
            uptime = float((_PROCESSES / "uptime").read_text(encoding="ascii").split()[0])
            started = int(_status(self.process)[19]) / os.sysconf("SC_CLK_TCK")
        except (OSError, LookupError, ValueError):
            return ""
        return f"running for {Duration(max(1, round(uptime - started)))}"


def _holder(descriptor: int) -> _Holder:
    """Ask the system who holds the lock of an open file."""
    inode = str(os.fstat(descriptor).st_ino)
    with suppress(OSError):
        for line in (_PROCESSES / "locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1:2] == ["FLOCK"] and words[5].rpartition(":")[2] == inode:
                return _Holder(max(int(words[4]), 0))
    return _Holder()


def _status(process: int) -> list[str]:
    """Give what the system says of a process, from its state on."""
    try:
        text = (_PROCESSES / str(process) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [""]
    return text.rpartition(")")[2].split()


def _ancestors() -> set[int]:
    found, process = set[int](), os.getppid()
    while process > 1 and process not in found:
        found.add(process)
        process = int((_status(process)[1:2] or ["0"])[0])
    return found
