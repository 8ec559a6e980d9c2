"""The main function of a worker process: it runs plans and sends their intervals."""

from __future__ import annotations

import contextlib
import io
import marshal
import os
import pickle
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pytest_loadgen.errors import GeneratorError, LoadError
from pytest_loadgen.generators.embedded.engine import Engine
from pytest_loadgen.generators.embedded.protocol import (
    DONE,
    ERROR,
    FIGURES,
    FILLED,
    FILLED_END,
    FINISH,
    LAST,
    PRINTED,
    STOP,
    Environment,
    Figures,
)
from pytest_loadgen.generators.embedded.supply import Supply
from pytest_loadgen.traffic.plan import Plan

if TYPE_CHECKING:
    from pytest_loadgen.generators.embedded.journeys import JourneyEngine

# The format of `multiprocessing.connection.Connection`: each message follows its length.
_LENGTH = struct.Struct("!i")
_READ_SIZE = 65_536
# How long it may go on after the process that started it, in seconds.
_GRACE = 1.0
# How much of what journeys print is shown, in characters for each load.
_MOST_PRINTED = 100_000


def main(fd: int) -> None:
    """Run the plans that arrive on a socket until the other end closes it."""
    pipe = _Pipe(fd)
    _raise_file_limit()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(fd,), daemon=True).start()
    os.register_at_fork(after_in_child=lambda: _let_go(pipe))
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = pipe.wait()
            # A command that arrives after the end of its run is ignored.
            if message not in (STOP, FINISH) and not message.startswith((FILLED, FILLED_END)):
                environment, plan = pickle.loads(message)  # noqa: S301  # from the process that started this one
                _apply_environment(environment)
                _run(pipe, plan)
    _end()


def _end() -> NoReturn:
    """End this process, without cleaning up: that would take time. What journeys have started ends, too."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def _let_go(pipe: _Pipe) -> None:
    """Leave the pipe to the process that this one is a copy of, made by a journey."""
    pipe.close()
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # for as long as the process lasts


def _end_with(fd: int) -> None:
    """End this process soon after the one that started it, also where a journey keeps it from noticing."""
    poll = select.poll()
    poll.register(fd, 0)
    poll.poll()
    time.sleep(_GRACE)
    _end()


class _Pipe:
    """The socket to the parent process; a run blocks neither for messages from it nor for it to read."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._received, self._unsent = bytearray(), bytearray()

    def fileno(self) -> int:
        """Return its file descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    @property
    def unsent(self) -> bool:
        """Whether a part of a message could not be sent yet."""
        return bool(self._unsent)

    def wait(self) -> bytes:
        """Wait for a message. Raises EOFError if there are no more, or OSError."""
        while (message := self._message()) is None:
            self._receive()
        return message

    def messages(self) -> Iterator[bytes]:
        """Read what has arrived, and yield the complete messages. Raises EOFError or OSError."""
        with contextlib.suppress(BlockingIOError):
            self._receive(socket.MSG_DONTWAIT)
        while (message := self._message()) is not None:
            yield message

    def put(self, message: bytes) -> None:
        """Send as much as possible now, and keep the rest. Raises OSError."""
        self._unsent += _LENGTH.pack(len(message)) + message
        self.flush()

    def flush(self) -> None:
        """Send more of what is kept. Raises OSError."""
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent, socket.MSG_DONTWAIT)]

    def drain(self) -> None:
        """Send everything, however long that takes; keep reading, as the other end may have to send before it reads."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLOUT)
        while self._unsent:
            poll.poll()
            with contextlib.suppress(BlockingIOError):
                self._receive(socket.MSG_DONTWAIT)
            self.flush()

    def _receive(self, flags: int = 0) -> None:
        if not (data := self._socket.recv(_READ_SIZE, flags)):
            raise EOFError
        self._received += data

    def _message(self) -> bytes | None:
        received = self._received
        if len(received) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
        if len(received) < end:
            return None
        message = bytes(received[_LENGTH.size : end])
        del received[:end]
        return message


class _Printer(io.TextIOBase):
    """Sends what journeys print to the output of the test."""

    def __init__(self, put: Callable[[bytes], None], engine: JourneyEngine) -> None:
        self._put, self._engine = put, engine
        self._thread = threading.get_ident()
        self._left = _MOST_PRINTED

    def write(self, text: str) -> int:
        """Send a text, until there is too much."""
        if self._left > 0:
            self._left -= len(text)
            more = "" if self._left > 0 else "\n… (the journeys printed more; the rest is left out)\n"
            message = PRINTED + (text[: max(0, self._left + len(text))] + more).encode(errors="replace")
            if threading.get_ident() == self._thread:
                self._put(message)
            else:
                self._engine.call_soon(self._put, message)
        return len(text)


def _run(pipe: _Pipe, plan: Plan) -> None:
    def emit(figures: Figures) -> None:
        plain = figures._replace(
            names=[tuple(each) for each in figures.names],  # type: ignore[misc]
            reasons={kind: tuple(each) for kind, each in figures.reasons.items()},  # type: ignore[misc]
        )
        # In the format without references, which takes half as long.
        put(FIGURES + marshal.dumps(plain[:], 2))

    def put(message: bytes) -> None:
        pipe.put(message)
        if pipe.unsent:
            engine.watch_writing(pipe.fileno(), on=True)

    def exchange() -> None:
        if pipe.unsent:
            pipe.flush()
            engine.watch_writing(pipe.fileno(), on=pipe.unsent)
        try:
            for message in pipe.messages():
                obey(message)
        except (EOFError, OSError):
            engine.stop()

    def obey(message: bytes) -> None:
        if message.startswith((FILLED, FILLED_END)):
            supply.add(marshal.loads(message[4:]), last=message.startswith(FILLED_END))  # noqa: S302  # from our parent
        elif message == FINISH:
            engine.finish()
        else:
            engine.stop()

    end = DONE
    engine: Engine | JourneyEngine
    try:
        supply = Supply(plan, put)
        if plan.journey:
            from pytest_loadgen.generators.embedded.journeys import JourneyEngine

            engine = JourneyEngine(plan, emit)
            sys.stdout = sys.stderr = _Printer(put, engine)
        else:
            engine = Engine(plan, emit, supply)
        engine.watch(pipe.fileno(), exchange)
        engine.run()
    except LoadError as error:
        end = ERROR + pickle.dumps(error)
    except OSError:
        raise
    except Exception:
        internal_error = GeneratorError(f"embedded: internal error (please report)\n{traceback.format_exc()}")
        end = ERROR + pickle.dumps(internal_error)
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    _finish(pipe, end, is_last=bool(plan.journey) and getattr(engine, "is_spoilt", False))


def _finish(pipe: _Pipe, end: bytes, *, is_last: bool) -> None:
    """Send the end of a run; after the last one this process cannot be used again."""
    if is_last:
        pipe.put(LAST)
    pipe.put(end)
    pipe.drain()
    if is_last:
        _end()


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # macOS reports no limit but accepts no more than this.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (10_240 if hard == resource.RLIM_INFINITY else hard, hard))


def _apply_environment(environment: Environment) -> None:
    if environment.folder:
        with contextlib.suppress(OSError):
            os.chdir(environment.folder)
    for name, value in environment.variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
