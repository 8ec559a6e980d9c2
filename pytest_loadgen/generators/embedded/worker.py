"""A worker process of the embedded generator, as seen by the process that starts it.

The service may run in a thread of the test process, and would share the GIL with a generator in the same
process. A worker is started once and runs one plan after another.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from pytest_loadgen import clock
from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures import interval as figures_of_a_name
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.generators.embedded.protocol import (
    DONE,
    ERROR,
    FINISH,
    LAST,
    NEED,
    PRINTED,
    RAN_OUT,
    STOP,
    Environment,
    Evidence,
    Figures,
    NamedFigures,
)
from pytest_loadgen.generators.embedded.supply import Feed
from pytest_loadgen.redaction import redact
from pytest_loadgen.traffic.plan import Plan

# How long a worker may take to stop a run, or to exit, in seconds.
_GRACE = 1.0
# How much longer than it should a run may take: the machine may sleep, or something may stop the worker.
_LATEST = 60.0
# How long setup= and teardown= of a journey may take together, in seconds.
_SETUP = 60.0
# How often to look whether it has ended, in seconds.
_POLL = 0.005
# How much of what it printed at its end is told, in bytes.
_SAID = 2000
# How long to wait for a message at a time, in seconds: another thread may stop the run meanwhile.
_MAX_POLL = 0.5
# How much of a response that failed is shown, in characters.
_SHOWN = 200
_NO_RESPONSE = "did not respond and was killed"
_CHILD = "pytest_loadgen.generators.embedded.child"


class Worker:
    """A process that runs plans, one at a time."""

    def __init__(self) -> None:
        """Start the process. Raises GeneratorError."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise GeneratorError(f"embedded: cannot create a socket pair: {error}") from error
        # A worker that hangs reads nothing: this process would wait for ever to send it more.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(_LATEST), 0))
        # Not a pipe, which would have to be read, or what a journey starts waits for that for ever.
        self._errors = _error_file()
        with theirs:
            # The child has the same module search path as this process, in which projects put paths, too.
            path = [os.fsdecode(each) for each in sys.path if isinstance(each, (str, bytes, os.PathLike))]
            start = f"import sys; sys.path[:] = {path!r}; from {_CHILD} import main; main({theirs.fileno()})"
            try:
                self._process = subprocess.Popen(  # noqa: S603  # this interpreter, our own code
                    [sys.executable, "-P", "-c", start],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    start_new_session=True,  # this process handles Ctrl-C
                )
            except OSError as error:
                ours.close()
                raise GeneratorError(f"embedded: cannot start {sys.executable}: {error}") from error
        self._pipe = Connection(ours.detach())
        self._busy = self._stopping = self._is_last = False
        _ALL.add(self)

    @property
    def alive(self) -> bool:
        """Whether it can run another plan: it is alive, and the last run has ended."""
        return not (self._busy or self._is_last) and self._process.poll() is None

    def run(self, plan: Plan) -> Iterator[Interval]:
        """Run a plan; closing the iterator stops it, and so does Ctrl-C, after one last interval."""
        try:
            sent = replace(plan, mix=tuple(request.without_rows() for request in plan.mix))
            message = pickle.dumps((_environment(), sent))
            self._busy, self._stopping = True, False
            self._pipe.send_bytes(message)
            feed = Feed(plan)
            try:
                yield from self._intervals(plan, max_duration(plan), feed)
            except KeyboardInterrupt:
                self.stop()
                # A worker that does not stop is killed, without a last interval.
                with contextlib.suppress(EOFError, OSError):
                    yield from self._intervals(plan, _GRACE, feed)
                raise
        except TimeoutError:
            raise  # not from the pipe, but from a timeout of the test itself
        except (EOFError, OSError) as error:
            how = self._describe_exit()
            if how == _NO_RESPONSE and any(request.check for request in plan.mix):
                how += "; does a check= return?"
            raise GeneratorError(f"embedded: its process {how}") from error
        finally:
            if self._busy:
                self._settle()

    def stop(self) -> None:
        """Stop the run; any thread may do this."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(STOP)

    def finish(self) -> None:
        """Send no more requests, and wait for those in flight."""
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(FINISH)

    def _intervals(  # noqa: PLR0912  # one for each kind of message
        self, plan: Plan, seconds: float, feed: Feed
    ) -> Iterator[Interval]:
        deadline = clock.monotonic() + seconds
        failed: PlanError | None = None
        while True:
            # Ctrl-C interrupts the wait, not the reading of a message.
            while not (ready := self._ready(min(_MAX_POLL, deadline - clock.monotonic()), to_write=feed.wanted > 0)):
                if clock.monotonic() < deadline:
                    # A journey may block the worker so that it does not get the command; then it is killed.
                    deadline = min(deadline, clock.monotonic() + _GRACE) if self._stopping else deadline
                elif self._stopping:
                    return
                else:
                    raise EOFError
            if ready == select.POLLOUT:
                begin = clock.monotonic()
                block = feed.block()
                # Rows may take their time; the worker can do nothing about it.
                deadline += clock.monotonic() - begin
                self._pipe.send_bytes(block)
                continue
            message = self._pipe.recv_bytes()
            kind, content = message[:1], message[1:]
            if kind == DONE:
                self._busy = False
                if failed:
                    raise failed
                return
            if kind == ERROR:
                self._busy = False
                raise pickle.loads(content)  # noqa: S301  # from our own worker
            if kind == PRINTED:
                sys.stdout.write(content.decode(errors="replace"))
                continue
            self._is_last = self._is_last or kind == LAST
            if kind == LAST:
                continue
            if kind == NEED:
                feed.ask(content[0])
                continue
            if kind == RAN_OUT:
                failed = feed.error
                continue
            yield interval_of(Figures(*marshal.loads(content)), plan)  # noqa: S302  # likewise

    # Not with the timeouts of Connection and Popen: they ask Python for the time, which a test may have stopped.

    def _ready(self, seconds: float, *, to_write: bool = False) -> int:
        """Wait until it can be read or written; return the events of poll(2), or 0 after this time."""
        poll = select.poll()
        poll.register(self._pipe.fileno(), select.POLLIN | (select.POLLOUT if to_write else 0))
        found = poll.poll(max(0.0, seconds) * 1000)
        return found[0][1] if found else 0

    def _ends(self) -> bool:
        """Wait a moment for the end of the process."""
        deadline = clock.monotonic() + _GRACE
        while not (ended := self._process.poll() is not None) and clock.monotonic() < deadline:
            clock.sleep(_POLL)
        return ended

    def _settle(self) -> None:
        """Stop the current run, or the process if the run does not stop."""
        self.stop()
        with contextlib.suppress(EOFError, OSError):
            while self._ready(_GRACE):
                kind = self._pipe.recv_bytes()[:1]
                self._is_last = self._is_last or kind == LAST
                if kind in (DONE, ERROR):
                    self._busy = False
                    return
        self.close()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        if not self._ends():
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._errors.close()

    def _describe_exit(self) -> str:
        """Return how the process ended, and what it printed."""
        if not self._ends():
            return _NO_RESPONSE
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _SAID))
        output = self._errors.read()
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
        text = output.decode(errors="replace").strip()
        return f"{how}\n{text}" if text else how


def _error_file() -> IO[bytes]:
    """Open a file for what a process prints at its end: in memory where the system can, because a disk may be full."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("pytest-loadgen"), "w+b")
    return tempfile.TemporaryFile()


_ALL: weakref.WeakSet[Worker] = weakref.WeakSet()


def _close_inherited() -> None:
    """Close the pipes in a forked child: open ones would keep the workers alive when their parent dies."""
    for worker in _ALL:
        worker._pipe.close()


os.register_at_fork(after_in_child=_close_inherited)


def _environment() -> Environment:
    try:
        folder = str(Path.cwd())
    except OSError:
        folder = None
    return Environment(folder, {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")})


def max_duration(plan: Plan) -> float:
    """Return the time after which a load that has not finished must be stuck, in seconds."""
    delay = max(0.0, plan.start_at - clock.wall()) if plan.start_at else 0.0
    return delay + plan.warmup + plan.duration + plan.timeout + _LATEST + (_SETUP if plan.journey else 0)


def interval_of(figures: Figures, plan: Plan) -> Interval:
    """Read the figures of an interval."""
    labels = figures.labels or [request.name for request in plan.mix]
    names = zip(labels, (NamedFigures(*each) for each in figures.names), strict=True)
    secrets = plan.secrets if figures.reasons else ()
    return Interval(
        start=figures.start,
        seconds=figures.seconds,
        latency=(latency := Histogram(figures.latency)),
        service_time=latency if figures.service_time is None else Histogram(figures.service_time),
        outcomes={str(outcome): count for outcome, count in figures.outcomes.items()},
        lag=Histogram(figures.lag),
        cpu=figures.cpu,
        throttled=figures.throttled,
        stalled=figures.stalled,
        received=figures.received,
        connections=figures.connections,
        retried=figures.retried,
        never_sent=figures.never_sent,
        first_byte=latency if figures.first_byte is None else Histogram(figures.first_byte),
        names={name: _named(each) for name, each in (names if figures.names else ())},
        reasons={kind: _reason(kind, Evidence(*each), secrets) for kind, each in figures.reasons.items()},
    )


def _reason(kind: str, evidence: Evidence, secrets: Sequence[str]) -> str:
    """Write what was wrong with a request, without secrets."""
    why = redact(evidence.why, secrets)
    name = f" ({evidence.name})" if evidence.name else ""
    if evidence.body is not None and (is_answer(kind) or kind == "check"):
        # Only what is shown is cut: a part of a secret would not be recognized as one.
        body = redact(evidence.body, secrets, is_cut=evidence.is_cut)
        shown = f"{body[:_SHOWN]!r}{'…' if evidence.is_cut or len(body) > _SHOWN else ''}"
        said = f"its body {'begins' if shown.endswith('…') else 'is'} {shown}" if body else "its body is empty"
        why = f"{why[:_SHOWN]} and {said}" if why else said
    return f"{why}{name}"


def _named(figures: NamedFigures) -> figures_of_a_name.NamedFigures:
    return figures_of_a_name.NamedFigures(
        latency=(latency := Histogram(figures.latency)),
        service_time=latency if figures.service_time is None else Histogram(figures.service_time),
        outcomes={str(outcome): count for outcome, count in figures.outcomes.items()},
        first_byte=latency if figures.first_byte is None else Histogram(figures.first_byte),
        received=figures.received,
        never_sent=figures.never_sent,
    )
