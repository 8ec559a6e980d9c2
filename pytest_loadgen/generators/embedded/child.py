"""The main function of a worker process: it runs plans and sends their intervals."""

from __future__ import annotations

import contextlib
import marshal
import os
import pickle
import resource
import signal
import socket
import struct
import traceback
from multiprocessing.connection import Connection

from pytest_loadgen.errors import GeneratorError, LoadError
from pytest_loadgen.generators.embedded.engine import Engine
from pytest_loadgen.generators.embedded.protocol import (
    DONE,
    ERROR,
    FIGURES,
    FILLED,
    FILLED_END,
    FINISH,
    NEED,
    STOP,
    Environment,
    Figures,
)
from pytest_loadgen.traffic.plan import Plan


def main(fd: int) -> None:
    """Run the plans that arrive on a socket until the other end closes it."""
    pipe = Connection(fd)
    _raise_file_limit()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = pipe.recv_bytes()
            # A command that arrives after the end of its run is ignored.
            if message not in (STOP, FINISH) and not message.startswith((FILLED, FILLED_END)):
                environment, plan = pickle.loads(message)  # noqa: S301  # from the process that started this one
                _apply_environment(environment)
                _run(pipe, plan)
    # Without cleaning up: that would take time, and nothing needs it.
    os._exit(0)


class _Outbox:
    """Sends messages without blocking, so that a slow reader does not delay the load."""

    def __init__(self, pipe: Connection) -> None:
        self._socket = socket.socket(fileno=os.dup(pipe.fileno()))
        self._pending = b""

    def put(self, message: bytes) -> None:
        """Send as much as possible now, and keep the rest."""
        # The format that `Connection` reads.
        self._pending += struct.pack("!i", len(message)) + message
        with contextlib.suppress(BlockingIOError):
            while self._pending:
                self._pending = self._pending[self._socket.send(self._pending, socket.MSG_DONTWAIT) :]

    def close(self) -> None:
        """Send the rest, however long that takes."""
        with self._socket:
            self._socket.sendall(self._pending)


def _run(pipe: Connection, plan: Plan) -> None:
    outbox = _Outbox(pipe)

    def emit(figures: Figures) -> None:
        plain = figures._replace(
            names=[tuple(each) for each in figures.names],  # type: ignore[misc]
            reasons={kind: tuple(each) for kind, each in figures.reasons.items()},  # type: ignore[misc]
        )
        # In the format without references, which takes half as long.
        outbox.put(FIGURES + marshal.dumps(plain[:], 2))

    def need_filled(wait: bool) -> None:
        """Ask for more filled requests, or wait for those that were asked for."""
        if wait:
            receive_command()
        else:
            outbox.put(NEED)

    def receive_command() -> None:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            message = STOP
        if message.startswith((FILLED, FILLED_END)):
            engine.add_filled(marshal.loads(message[4:]), last=message.startswith(FILLED_END))  # noqa: S302
        elif message == FINISH:
            engine.finish()
        else:
            engine.stop()

    end = DONE
    try:
        engine = Engine(plan, emit, need_filled)
        engine.watch(pipe.fileno(), receive_command)
        engine.run()
    except LoadError as error:
        end = ERROR + pickle.dumps(error)
    except OSError:
        raise
    except Exception:
        internal_error = GeneratorError(f"embedded: internal error (please report)\n{traceback.format_exc()}")
        end = ERROR + pickle.dumps(internal_error)
    outbox.put(end)
    outbox.close()


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
