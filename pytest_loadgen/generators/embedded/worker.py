"""The process in which the embedded generator runs, and how to talk to it.

The service may live in a thread of the test process, and would share the interpreter's lock with
a generator there. The process is started once and takes one plan after another.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from pytest_loadgen.errors import GeneratorError, LoadError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.embedded.engine import Engine, Figures
from pytest_loadgen.traffic.plan import Plan

# How long a worker may take to end what it was told to end, in seconds.
_GRACE = 1.0
_LONGEST_POLL = 3600.0
# Messages to the process: a pickled plan, or one of these in the middle of a run.
_STOP, _FINISH = b"stop", b"finish"
# Messages from the process, by their first byte: figures, all done, or an error.
_FIGURES, _DONE, _ERROR = b"f", b"d", b"e"


class Worker:
    """A process that runs plans, one at a time."""

    def __init__(self) -> None:
        """Start the process. Raises GeneratorError."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise GeneratorError(f"embedded: cannot talk to another process: {error}") from error
        with theirs:
            # The child finds the modules where this process found them.
            start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main({theirs.fileno()})"
            try:
                self._process = subprocess.Popen(  # noqa: S603  # this interpreter, our own text
                    [sys.executable, "-P", "-c", start],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is this process's to handle
                )
            except OSError as error:
                ours.close()
                raise GeneratorError(f"embedded: cannot start {sys.executable}: {error}") from error
        self._channel = Connection(ours.detach())
        self._busy = False
        _ALL.add(self)

    @property
    def alive(self) -> bool:
        """Whether it can take another plan: it lives, and nothing of the last one is still to come."""
        return not self._busy and self._process.poll() is None

    def run(self, plan: Plan) -> Iterator[Interval]:
        """Run a plan; closing the iterator stops it, and Ctrl-C does after the last interval."""
        try:
            self._busy = True
            self._channel.send_bytes(pickle.dumps((_surroundings(), plan)))
            try:
                yield from self._intervals(_longest(plan))
            except KeyboardInterrupt:
                self.stop()
                yield from self._intervals(_GRACE)
                raise
        except TimeoutError:
            raise  # no channel raises it: it is an alarm of the test's own
        except (EOFError, OSError) as error:
            raise GeneratorError(f"embedded: its process {self._epitaph()}") from error
        finally:
            if self._busy:
                self._settle()

    def stop(self) -> None:
        """Let the run end now, also from another thread than it is iterated in."""
        with contextlib.suppress(OSError):
            self._channel.send_bytes(_STOP)

    def finish(self) -> None:
        """Let the run send no more, and end when what is open has ended."""
        with contextlib.suppress(OSError):
            self._channel.send_bytes(_FINISH)

    def _intervals(self, seconds: float) -> Iterator[Interval]:
        deadline = time.monotonic() + seconds
        while True:
            # Ctrl-C comes while waiting, not between the halves of a message.
            # In pieces, as poll(2) takes no more than 24 days.
            while not self._channel.poll(min(_LONGEST_POLL, max(0.0, deadline - time.monotonic()))):
                if time.monotonic() >= deadline:
                    raise EOFError
            message = self._channel.recv_bytes()
            kind, content = message[:1], message[1:]
            if kind == _DONE:
                self._busy = False
                return
            if kind == _ERROR:
                self._busy = False
                raise pickle.loads(content)  # noqa: S301  # from our own process
            yield _interval(Figures(*marshal.loads(content)))  # noqa: S302  # likewise

    def _settle(self) -> None:
        """Stop the run that is under way, or the process if it does not."""
        self.stop()
        with contextlib.suppress(EOFError, OSError):
            while self._channel.poll(_GRACE):
                if self._channel.recv_bytes()[:1] in (_DONE, _ERROR):
                    self._busy = False
                    return
        self.close()

    def close(self) -> None:
        """End the process."""
        self._channel.close()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()

    def _epitaph(self) -> str:
        """Tell how the process ended."""
        try:
            _, output = self._process.communicate(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            return "does not answer, and was ended"
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        said = output.decode(errors="replace").strip()[-2000:] if output else ""
        return f"{how}\n{said}" if said else how


_ALL: weakref.WeakSet[Worker] = weakref.WeakSet()


def _forget_all() -> None:
    """Close, in a forked child, what would keep the processes alive when their parent dies."""
    for worker in _ALL:
        worker._channel.close()


os.register_at_fork(after_in_child=_forget_all)


def _surroundings() -> tuple[str | None, dict[str, str | None]]:
    """Tell what relative paths and `verify=True` mean now; a test may change it between loads."""
    try:
        folder = str(Path.cwd())
    except OSError:
        folder = None
    return folder, {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}


def _move(surroundings: tuple[str | None, dict[str, str | None]]) -> None:
    folder, variables = surroundings
    if folder:
        with contextlib.suppress(OSError):
            os.chdir(folder)
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _longest(plan: Plan) -> float:
    """Tell after how many seconds a process that has not said that it is done must be stuck."""
    delay = max(0.0, plan.start_at - time.time()) if plan.start_at else 0.0
    return delay + plan.warmup + plan.duration + plan.timeout + 10 * _GRACE


def _interval(figures: Figures) -> Interval:
    return Interval(
        start=figures.start,
        seconds=figures.seconds,
        latency=Histogram(figures.latency),
        service_time=Histogram(figures.service_time),
        outcomes={str(outcome): count for outcome, count in figures.outcomes.items()},
        lag=Histogram(figures.lag),
        cpu=figures.cpu,
        throttled=figures.throttled,
        received=figures.received,
        retried=figures.retried,
        never_sent=figures.never_sent,
    )


def main(fd: int) -> None:
    """Run plans that arrive on a descriptor until the other end closes it."""
    channel = Connection(fd)
    _raise_file_limit()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = channel.recv_bytes()
            # A word that crossed the end of the run that it meant is for nobody.
            if message not in (_STOP, _FINISH):
                surroundings, plan = pickle.loads(message)  # noqa: S301  # from the process that started this one
                _move(surroundings)
                _run(channel, plan)
    # At once: what a run left behind needs no tidying.
    os._exit(0)


class _Outbox:
    """Messages on their way; a reader that is busy with other things keeps no load waiting."""

    def __init__(self, channel: Connection) -> None:
        self._socket = socket.socket(fileno=os.dup(channel.fileno()))
        self._pending = b""

    def put(self, message: bytes) -> None:
        """Send as much as there is room for now, and keep the rest."""
        # In the form in which `Connection` reads messages.
        self._pending += struct.pack("!i", len(message)) + message
        with contextlib.suppress(BlockingIOError):
            while self._pending:
                self._pending = self._pending[self._socket.send(self._pending, socket.MSG_DONTWAIT) :]

    def close(self) -> None:
        """Send what is left, however long that takes."""
        with self._socket:
            self._socket.sendall(self._pending)


def _run(channel: Connection, plan: Plan) -> None:
    outbox = _Outbox(channel)

    def emit(figures: Figures) -> None:
        outbox.put(_FIGURES + marshal.dumps(figures[:]))

    def obey() -> None:
        try:
            message = channel.recv_bytes()
        except (EOFError, OSError):
            message = _STOP
        if message == _FINISH:
            engine.finish()
        else:
            engine.stop()

    end = _DONE
    try:
        engine = Engine(plan, emit)
        engine.watch(channel.fileno(), obey)
        engine.run()
    except LoadError as error:
        end = _ERROR + pickle.dumps(error)
    except OSError:
        raise
    except Exception:
        flaw = GeneratorError(f"embedded: this should not have happened\n{traceback.format_exc()}")
        end = _ERROR + pickle.dumps(flaw)
    outbox.put(end)
    outbox.close()


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # macOS says that there is no limit, and takes no more than this.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (10_240 if hard == resource.RLIM_INFINITY else hard, hard))
