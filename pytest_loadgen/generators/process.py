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
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from pytest_loadgen import clock
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
# A program of which a thread waited for a CPU for this part of the time between two looks, while it hardly ran, was
# kept from running.
_STARVED = 0.8
# No generator sends its load to a proxy: that would be past the check of the host.
PROXY_VARIABLE = re.compile(r".*_proxy", re.IGNORECASE)


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
    hung: bool = False
    """Whether it waited for the service without end, and was killed."""
    messages: Path | None = None
    """A file with all of standard error, if the command asked for it: of `stderr` only both ends are kept."""
    stalls: Sequence[tuple[float, float]] = ()
    """When and for how long it did not run, in seconds from its start: it was stopped, or had no CPU."""


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
        messages: Path | None = None,
    ) -> None:
        """Start it, where possible so that it is killed when this thread dies. Raises GeneratorError.

        With `messages`, all of its standard error goes to that file, too.
        """
        self._folder, self._program, self._messages = folder, argv[0], messages
        self._lock = threading.Lock()
        self._started = clock.monotonic()
        wrapper = _parent_death_wrapper() if die_with_parent else ()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # what the user configured
                [*wrapper, *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env={**_environment(), **env},
                start_new_session=True,  # Ctrl-C is for this process to handle
            )
        except (OSError, ValueError) as error:
            raise GeneratorError(f"cannot start {argv[0]}: {getattr(error, 'strerror', None) or error}") from None
        self._pipes = selectors.DefaultSelector()
        self._stdout, self._stderr = _FullCapture(max_output), _HeadTailCapture(messages)
        for pipe, capture in (self._process.stdout, self._stdout), (self._process.stderr, self._stderr):
            assert pipe
            self._pipes.register(pipe, selectors.EVENT_READ, capture)
        self._ended: float | None = None
        self._cpu = 0.0
        self._stops = _Stops(self._process.pid, self._started)

    @property
    def stderr(self) -> str:
        """What it has written to standard error so far."""
        return self._stderr.text

    def wait(self, seconds: float) -> CommandOutput | None:
        """Wait until it ends, and return its output; or None if it is still running after this time."""
        deadline = clock.monotonic() + seconds
        while self._ended is None or (self._pipes.get_map() and clock.monotonic() < self._ended + _LINGER):
            left = deadline - clock.monotonic()
            if left <= 0 and self._ended is None:
                return None
            self._read(min(max(left, 0.0), _POLL))
            self._reap()
        self._stderr.flush()
        status, stderr = self._process.returncode, self._stderr.text
        if status == _WRAPPER_STATUS and stderr.startswith(_WRAPPER_ERROR):
            raise GeneratorError(f"cannot start {self._program}: {stderr.strip().rpartition(': ')[2]}")
        return CommandOutput(
            self._stdout.text,
            stderr,
            status,
            self._ended - self._started,
            self._cpu,
            self._folder,
            messages=self._messages,
            stalls=self._stops.found,
        )

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
        self._stderr.close()
        for pipe in self._process.stdout, self._process.stderr:
            if pipe:
                pipe.close()

    def _read(self, seconds: float) -> None:
        if not self._pipes.get_map():
            # It has closed both, and is about to end.
            clock.sleep(min(seconds, _POLL / 10))
        for key, _ in self._pipes.select(seconds) if self._pipes.get_map() else ():
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]  # these are what was registered
            if data := os.read(pipe.fileno(), _CHUNK):
                key.data.add(data)
            else:
                self._pipes.unregister(pipe)

    def _reap(self, block: bool = False) -> None:
        """Note its end, and its stops; with wait4, which reports the CPU time of this process alone."""
        with self._lock:
            while self._ended is None:
                options = 0 if block else os.WNOHANG | os.WUNTRACED | os.WCONTINUED
                pid, status, usage = os.wait4(self._process.pid, options)
                if pid and not (os.WIFSTOPPED(status) or os.WIFCONTINUED(status)):
                    self._process.returncode = os.waitstatus_to_exitcode(status)
                    self._ended = clock.monotonic()
                    self._cpu = usage.ru_utime + usage.ru_stime
                    self._stops.note(self._ended, stopped=False)
                elif pid:
                    self._stops.note(clock.monotonic(), stopped=os.WIFSTOPPED(status))
                else:
                    self._stops.look(clock.monotonic())
                    break


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not PROXY_VARIABLE.fullmatch(name)}


@cache
def query(path: str, *args: str) -> str:
    """Return all that a program prints, whatever its exit status. Raises GeneratorError."""
    with tempfile.TemporaryDirectory() as folder, closing(Process([path, *args], {}, Path(folder))) as process:
        if (output := process.wait(_QUERY_TIMEOUT)) is None:
            raise GeneratorError(f"{path} {' '.join(args)} did not end within {Duration(_QUERY_TIMEOUT)}")
        return output.stdout + output.stderr


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


class _Stops:
    """When a process did not run although it might have had work to do, as seen from outside."""

    def __init__(self, pid: int, started: float) -> None:
        self._pid, self._started = pid, started
        self._stopped_at: float | None = None
        self._looked = started
        self._slept = clock.slept()
        self._times: dict[str, tuple[int, int]] = {}
        self.found: list[tuple[float, float]] = []

    def note(self, now: float, *, stopped: bool) -> None:
        """Note that a signal stopped or continued it."""
        if stopped and self._stopped_at is None:
            self._stopped_at = now
        elif not stopped and self._stopped_at is not None:
            self.found.append((self._stopped_at - self._started, now - self._stopped_at))
            self._stopped_at = None

    def look(self, now: float) -> None:
        """See how long its threads waited for a CPU since the last look, and whether the machine slept."""
        slept = clock.slept()
        if slept - self._slept > _POLL:
            self.found.append((self._looked - self._started, slept - self._slept))
        self._slept = slept
        if now - self._looked < _POLL / 2:
            return
        times, since = self._thread_times(), now - self._looked
        ran = sum(ran - self._times.get(thread, (ran, 0))[0] for thread, (ran, _) in times.items()) / 1e9
        waited = max((each - self._times.get(thread, (0, each))[1] for thread, (_, each) in times.items()), default=0)
        if waited / 1e9 > _STARVED * since and ran < (1 - _STARVED) * since:
            self.found.append((self._looked - self._started, min(waited / 1e9, since)))
        self._times, self._looked = times, now

    def _thread_times(self) -> dict[str, tuple[int, int]]:
        """Read how long each thread ran and waited for a CPU so far, in ns; empty where the system does not say."""
        times = {}
        with suppress(OSError, ValueError, IndexError):
            for task in Path(f"/proc/{self._pid}/task").iterdir():
                ran, waited, *_ = map(int, (task / "schedstat").read_text(encoding="ascii").split())
                times[task.name] = ran, waited
        return times


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
    """A stream of which the first and the last bytes are kept: there may be a line for each request.

    All of it goes to a file, if there is one.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = path.open("wb") if path else None
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._tail_size = 0

    def add(self, data: bytes) -> None:
        if self._file:
            try:
                self._file.write(data)
            except OSError as error:
                raise GeneratorError(f"its messages cannot be kept: {error.strerror}") from None
        room = _KEPT_END - len(self._head)
        self._head += data[:room]
        if rest := data[room:]:
            self._tail.append(rest)
            self._tail_size += len(rest)
            while self._tail_size - len(self._tail[0]) > _KEPT_END:
                self._tail_size -= len(self._tail.popleft())

    def flush(self) -> None:
        if self._file:
            self._file.flush()

    def close(self) -> None:
        if self._file:
            with suppress(OSError):
                self._file.close()

    @property
    def text(self) -> str:
        tail = b"".join(self._tail)
        gap = b"\n[...]\n" if len(tail) > _KEPT_END else b""
        return (self._head + gap + tail[-_KEPT_END:]).decode(errors="replace")
