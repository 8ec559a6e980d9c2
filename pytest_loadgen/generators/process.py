"""A program that runs in a process of its own: its output, its CPU time and its end."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.units import Duration

# Standard output is kept whole up to this size; of standard error both ends are kept. In bytes.
_MAX_OUTPUT = 256 << 20
_KEPT_END = 32 << 10
_CHUNK = 1 << 16
# How long child processes may hold the pipes open after the program has ended, in seconds.
_LINGER = 0.5
_POLL = 0.05
# How long a program has to print its version or its usage, in seconds.
_QUERY_TIMEOUT = 10.0
# How setpriv starts its message, and its exit status, when there is nothing to execute.
_WRAPPER_ERROR, _WRAPPER_STATUS = "setpriv: ", 127
_EXCERPT = 1000


@dataclass(frozen=True)
class CommandOutput:
    """The result of running a command."""

    stdout: str
    stderr: str
    status: int
    """Its exit status; if negative, the signal that killed it."""
    seconds: float
    """How long it ran."""
    cpu: float
    """CPU time it used, in seconds."""
    folder: Path
    """Its working directory, with the files it wrote."""
    interrupted: bool = False
    """Whether the load was told to end early."""


class Process:
    """A program in a process group of its own; any thread may signal it."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        *,
        max_output: int = _MAX_OUTPUT,
        die_with_parent: bool = True,
    ) -> None:
        """Start it, where possible so that it is killed when this thread dies. Raises GeneratorError."""
        self._folder, self._program = folder, argv[0]
        self._lock = threading.Lock()
        self._started = time.monotonic()
        wrapper = _parent_death_wrapper() if die_with_parent else ()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # what the user configured
                [*wrapper, *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env={**os.environ, **env},
                start_new_session=True,  # Ctrl-C is for this process to handle
            )
        except (OSError, ValueError) as error:
            raise GeneratorError(f"cannot start {argv[0]}: {getattr(error, 'strerror', None) or error}") from None
        self._pipes = selectors.DefaultSelector()
        self._stdout, self._stderr = _FullCapture(max_output), _HeadTailCapture()
        for pipe, capture in (self._process.stdout, self._stdout), (self._process.stderr, self._stderr):
            assert pipe
            self._pipes.register(pipe, selectors.EVENT_READ, capture)
        self._ended: float | None = None
        self._cpu = 0.0

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""
        return self._stderr.text

    def wait(self, seconds: float) -> CommandOutput | None:
        """Wait until it ends, and return its output; or None if it is still running after this time."""
        deadline = time.monotonic() + seconds
        while self._ended is None or (self._pipes.get_map() and time.monotonic() < self._ended + _LINGER):
            left = deadline - time.monotonic()
            if left <= 0 and self._ended is None:
                return None
            self._read(min(max(left, 0.0), _POLL))
            self._reap()
        status, stderr = self._process.returncode, self._stderr.text
        if status == _WRAPPER_STATUS and stderr.startswith(_WRAPPER_ERROR):
            raise GeneratorError(f"cannot start {self._program}: {stderr.strip().rpartition(': ')[2]}")
        return CommandOutput(self._stdout.text, stderr, status, self._ended - self._started, self._cpu, self._folder)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to every process it started."""
        with self._lock, suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, number)

    def close(self) -> None:
        """Kill it and every process it started."""
        # Its children may have outlived it; as long as one of the group lives, no other process gets its number.
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
            time.sleep(min(seconds, _POLL / 10))
        for key, _ in self._pipes.select(seconds) if self._pipes.get_map() else ():
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]  # these are what was registered
            if data := os.read(pipe.fileno(), _CHUNK):
                key.data.add(data)
            else:
                self._pipes.unregister(pipe)

    def _reap(self, block: bool = False) -> None:
        """Note its end; with wait4, which reports the CPU time of this process alone."""
        with self._lock:
            if self._ended is None:
                pid, status, usage = os.wait4(self._process.pid, 0 if block else os.WNOHANG)
                if pid:
                    self._process.returncode = os.waitstatus_to_exitcode(status)
                    self._ended = time.monotonic()
                    self._cpu = usage.ru_utime + usage.ru_stime


@cache
def query(path: str, *args: str) -> str:
    """Return all that a program prints, whatever its exit status. Raises GeneratorError."""
    with tempfile.TemporaryDirectory() as folder, closing(Process([path, *args], {}, Path(folder))) as process:
        if (output := process.wait(_QUERY_TIMEOUT)) is None:
            raise GeneratorError(f"{path} {' '.join(args)} did not end within {Duration(_QUERY_TIMEOUT)}")
        return output.stdout + output.stderr


def describe_exit(status: int) -> str:
    """Describe how a program ended."""
    if status >= 0:
        return f"ended with exit status {status}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"


def excerpt(text: str) -> str:
    """Quote the last lines of an output, to be appended to a sentence."""
    text = text.strip()
    if not text:
        return ", with no output"
    if len(text) <= _EXCERPT:
        return f": {text}"
    # No word is cut: a secret is recognized only as a whole.
    whole_words = re.sub(r"^\S*\s*", "", text[-_EXCERPT:])
    return f": [...] {whole_words}"


@cache
def _parent_death_wrapper() -> tuple[str, ...]:
    """Return a command that starts a program so that the kernel kills it with this thread; empty without setpriv."""
    if sys.platform != "linux" or not (setpriv := shutil.which("setpriv")):
        return ()
    words = (setpriv, "--pdeathsig", "KILL", "--")  # it then executes the program: the process stays the same
    tried = subprocess.run([*words, setpriv, "--version"], capture_output=True, check=False)  # noqa: S603
    return words if tried.returncode == 0 else ()


class _FullCapture:
    """A stream of which everything is kept, up to a limit in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise GeneratorError(f"printed more than {self._limit >> 20} MiB, and was killed")
        self._pieces.append(data)

    @property
    def text(self) -> str:
        return b"".join(self._pieces).decode(errors="replace")


class _HeadTailCapture:
    """A stream of which the first and the last bytes are kept: there may be a line for each request."""

    def __init__(self) -> None:
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._tail_size = 0

    def add(self, data: bytes) -> None:
        room = _KEPT_END - len(self._head)
        self._head += data[:room]
        if rest := data[room:]:
            self._tail.append(rest)
            self._tail_size += len(rest)
            while self._tail_size - len(self._tail[0]) > _KEPT_END:
                self._tail_size -= len(self._tail.popleft())

    @property
    def text(self) -> str:
        tail = b"".join(self._tail)
        gap = b"\n[...]\n" if len(tail) > _KEPT_END else b""
        return (self._head + gap + tail[-_KEPT_END:]).decode(errors="replace")
