"""A program that runs: what it prints, what it uses, and its end."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from pytest_loadgen.errors import GeneratorError

# Of its results all is kept, up to this many bytes; of its messages both ends.
_MOST = 256 << 20
_END = 32 << 10
# How long what it started may hold its pipes open after its own end, in seconds.
_LINGER = 0.5
_TICK = 0.05
# How setpriv begins what it says, and how it ends, where there is nothing to execute.
_STARTER, _NOT_STARTED = "setpriv: ", 127
_READ = 1 << 16


@dataclass(frozen=True)
class CommandOutput:
    """What a program left."""

    stdout: str
    stderr: str
    status: int
    """Its exit status; negative, the signal that ended it."""
    seconds: float
    """How long it ran."""
    cpu: float
    """How many seconds of CPU it used."""
    folder: Path
    """Where it ran, and left its files."""
    interrupted: bool = False
    """Whether the load was to end early."""


class Process:
    """A program in a process group of its own; any thread may signal it."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
        """Start it. Raises GeneratorError."""
        self._folder, self._program = folder, argv[0]
        self._lock = threading.Lock()
        self._started = time.monotonic()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # what the user configured
                [*_dying_with_this(), *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env={**os.environ, **env},
                start_new_session=True,  # Ctrl-C is this process's to handle
            )
        except (OSError, ValueError) as error:
            raise GeneratorError(f"cannot start {argv[0]}: {getattr(error, 'strerror', None) or error}") from None
        self._pipes = selectors.DefaultSelector()
        self._printed, self._said = _Printed(), _Said()
        for pipe, kept in (self._process.stdout, self._printed), (self._process.stderr, self._said):
            assert pipe
            self._pipes.register(pipe, selectors.EVENT_READ, kept)
        self._ended: float | None = None
        self._cpu = 0.0

    @property
    def said(self) -> str:
        """The messages so far."""
        return self._said.text

    def wait(self, seconds: float) -> CommandOutput | None:
        """Wait until it has ended, and give what it left; or nothing where it has not in so many seconds."""
        deadline = time.monotonic() + seconds
        while self._ended is None or (self._pipes.get_map() and time.monotonic() < self._ended + _LINGER):
            left = deadline - time.monotonic()
            if left <= 0 and self._ended is None:
                return None
            self._read(min(max(left, 0.0), _TICK))
            self._reap()
        seconds = self._ended - self._started
        if self._process.returncode == _NOT_STARTED and self._said.text.startswith(_STARTER):
            raise GeneratorError(f"cannot start {self._program}: {self._said.text.strip().rpartition(': ')[2]}")
        return CommandOutput(
            self._printed.text, self._said.text, self._process.returncode, seconds, self._cpu, self._folder
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to all that it has started."""
        with self._lock, suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, number)

    def close(self) -> None:
        """Leave nothing of it running."""
        # What it started may have outlived it; as long as any of its group lives, the number is its own.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        while self._ended is None:
            self._reap(block=True)
        self._pipes.close()
        for pipe in self._process.stdout, self._process.stderr:
            if pipe:
                pipe.close()

    def _read(self, seconds: float) -> None:
        if not self._pipes.get_map():
            # It has closed both, and is about to end.
            time.sleep(min(seconds, _TICK / 10))
        for key, _ in self._pipes.select(seconds) if self._pipes.get_map() else ():
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]  # these are what went in
            if data := os.read(pipe.fileno(), _READ):
                key.data.take(data)
            else:
                self._pipes.unregister(pipe)

    def _reap(self, block: bool = False) -> None:
        """Take note of its end; by wait4, which tells the CPU time of this process alone."""
        with self._lock:
            if self._ended is None:
                pid, status, usage = os.wait4(self._process.pid, 0 if block else os.WNOHANG)
                if pid:
                    self._process.returncode = os.waitstatus_to_exitcode(status)
                    self._ended = time.monotonic()
                    self._cpu = usage.ru_utime + usage.ru_stime


@cache
def _dying_with_this() -> tuple[str, ...]:
    """Give what a program is started by, so that it ends where this thread is killed; nothing where that cannot be."""
    if sys.platform != "linux" or not (setpriv := shutil.which("setpriv")):
        return ()
    words = (setpriv, "--pdeathsig", "KILL", "--")  # then it executes the program: the process is the same
    tried = subprocess.run([*words, setpriv, "--version"], capture_output=True, check=False)  # noqa: S603
    return words if tried.returncode == 0 else ()


class _Printed:
    """All that was printed."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def take(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > _MOST:
            raise GeneratorError(f"printed more than {_MOST >> 20} MiB, and was ended")
        self._pieces.append(data)

    @property
    def text(self) -> str:
        return b"".join(self._pieces).decode(errors="replace")


class _Said:
    """The beginning and the end of what was said: there may be a line for each request."""

    def __init__(self) -> None:
        self._begin = b""
        self._recent: deque[bytes] = deque()
        self._size = 0

    def take(self, data: bytes) -> None:
        room = _END - len(self._begin)
        self._begin += data[:room]
        if rest := data[room:] if room >= 0 else data:
            self._recent.append(rest)
            self._size += len(rest)
            while self._size - len(self._recent[0]) > _END:
                self._size -= len(self._recent.popleft())

    @property
    def text(self) -> str:
        recent = b"".join(self._recent)
        left_out = b"\n[...]\n" if len(recent) > _END else b""
        return (self._begin + left_out + recent[-_END:]).decode(errors="replace")
