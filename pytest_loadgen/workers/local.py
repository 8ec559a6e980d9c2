"""Workers on this machine, connected over loopback sockets."""

from __future__ import annotations

import contextlib
import hmac
import os
import pickle
import secrets
import select
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

from pytest_loadgen import clock
from pytest_loadgen.workers.hub import Cancelled, Command, Message, Signal, WorkerConnection

# How far ahead the start time is, and how long one receive waits, in seconds.
_LEAD_TIME = 0.5
_POLL = 0.1
# How long a client has to say who it is, and a worker tries to reach the hub, in seconds.
_HANDSHAKE_TIMEOUT = 5.0
_CONNECT_TIMEOUT = 20.0
# How many clients may be about to say who they are.
_MAX_STRANGERS = 64
_SECRET = 32
_NUMBER = struct.Struct("!I")
_READ = 1 << 18


class LocalHub:
    """A hub for threads and processes of this machine.

    Any process of this machine can connect, and can listen on a port that was given up. So a worker proves
    with one half of a token who it is, the hub with the other half, and neither unpickles anything before.
    """

    def __init__(self, workers: int, handshake_timeout: float = _HANDSHAKE_TIMEOUT) -> None:
        """Listen for a number of workers; a client has to send its half within the timeout, in seconds."""
        self.names = [f"worker {number} of {workers}" for number in range(1, workers + 1)]
        self._handshake_timeout = handshake_timeout
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._server.setblocking(False)
        self._token = secrets.token_bytes(2 * _SECRET)
        self._strangers: dict[_Stream, float] = {}
        self._workers: dict[_Stream, int] = {}
        self._expected = set(range(workers))
        _HUBS.add(self)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._server.getsockname()
        return host, port

    def connector(self, number: int) -> Callable[[], WorkerConnection]:
        """Return what connects to this process."""
        return partial(_LocalConnection, self.address, self._token, number)

    def start_time(self) -> float:
        """Return a time of this machine's clock."""
        return clock.wall() + _LEAD_TIME

    def broadcast(self, command: Command) -> None:
        """Send a command to all connected workers."""
        for worker in list(self._workers):
            with contextlib.suppress(OSError):  # it is lost, and the next read reports it
                worker.send(pickle.dumps(command))

    def receive(self) -> Iterator[tuple[int, Message]]:
        """Accept workers, and yield the messages that have arrived."""
        poll = select.poll()
        for each in (*self._strangers, *self._workers, *([self._server] if self._expected else ())):
            poll.register(each.fileno(), select.POLLIN)
        poll.poll(_POLL * 1000)
        if self._expected:
            self._accept()
        self._greet()
        for worker, number in list(self._workers.items()):
            try:
                worker.fill()
            except OSError:
                worker.ended = True
            for message in worker.frames():
                yield number, pickle.loads(message)  # noqa: S301  # it has shown the token
            if worker.ended:
                worker.close()
                del self._workers[worker]
                yield number, Signal.LOST

    def _accept(self) -> None:
        for _ in range(_MAX_STRANGERS):
            try:
                accepted, _ = self._server.accept()
            except OSError:
                return
            accepted.setblocking(False)
            if len(self._strangers) >= _MAX_STRANGERS:
                oldest = next(iter(self._strangers))
                oldest.close()
                del self._strangers[oldest]
            self._strangers[_Stream(accepted)] = clock.monotonic() + self._handshake_timeout

    def _greet(self) -> None:
        """Let those in who have sent their half of the token; nothing that a stranger does is waited for."""
        size = _SECRET + _NUMBER.size
        for stranger, deadline in list(self._strangers.items()):
            with contextlib.suppress(OSError):
                stranger.fill(size - len(stranger.received))
                if len(stranger.received) < size and not stranger.ended and clock.monotonic() < deadline:
                    continue
            del self._strangers[stranger]
            proof, number = bytes(stranger.received[:_SECRET]), int.from_bytes(stranger.received[_SECRET:])
            stranger.received.clear()
            if hmac.compare_digest(proof, self._token[:_SECRET]) and number in self._expected:
                with contextlib.suppress(OSError):
                    stranger.socket.sendall(self._token[_SECRET:])
                    self._expected.remove(number)
                    self._workers[stranger] = number
                    continue
            stranger.close()

    def stop(self) -> None:
        """Close the connections: workers stop when theirs is closed."""
        for each in (*self._workers, *self._strangers):
            each.close()
        self._workers.clear()
        self._strangers.clear()

    def close(self) -> None:
        """Stop, and accept no more workers."""
        # A process that was forked meanwhile, without our hook, may have the socket open: nobody shall connect to it.
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.stop()
        _HUBS.discard(self)

    def forget(self) -> None:
        """Close what a forked process has inherited; connections of the parent stay as they are."""
        for each in (self._server, *(stream.socket for stream in (*self._workers, *self._strangers))):
            each.close()


# An executor's process may be forked while the hub listens. It would keep the hub's sockets open, connect to itself,
# and keep other workers from noticing that the hub is gone.
_HUBS: weakref.WeakSet[LocalHub] = weakref.WeakSet()


def _after_fork() -> None:
    for hub in list(_HUBS):
        hub.forget()
    _HUBS.clear()


os.register_at_fork(after_in_child=_after_fork)


class _Stream:
    """A socket, and what was received from it; a message is its length and its bytes."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.received = bytearray()
        self.ended = False

    def fileno(self) -> int:
        return self.socket.fileno()

    def fill(self, most: int = _READ) -> None:
        """Read once, no more than this, without waiting. Raises OSError."""
        with contextlib.suppress(BlockingIOError):
            data = self.socket.recv(most, socket.MSG_DONTWAIT)
            self.received += data
            self.ended = not data

    def frames(self) -> Iterator[bytes]:
        """Take out the messages that are complete."""
        while len(self.received) >= _NUMBER.size:
            (length,) = _NUMBER.unpack_from(self.received)
            if len(self.received) < (end := _NUMBER.size + length):
                return
            message = bytes(self.received[_NUMBER.size : end])
            del self.received[:end]  # before the caller, who may want no more than one, gets it
            yield message

    def send(self, message: bytes) -> None:
        self.socket.sendall(_NUMBER.pack(len(message)) + message)

    def close(self) -> None:
        # A forked process may have the socket open, too: the other side has to learn that this is the end.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class _LocalConnection:
    """A worker's end of the socket."""

    def __init__(self, address: tuple[str, int], token: bytes, number: int) -> None:
        deadline = clock.monotonic() + _CONNECT_TIMEOUT
        while (stream := _greeted(address, token, number, deadline)) is None:
            clock.sleep(_POLL)
        self._stream = stream
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        try:
            with self._sending:
                self._stream.send(pickle.dumps(message))
        except OSError:
            raise Cancelled from None

    def receive(self) -> Command | None:
        stream = self._stream
        for message in stream.frames():
            return cast(Command, pickle.loads(message))  # noqa: S301  # the hub has shown the token
        try:
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLIN)
            if poll.poll(_POLL * 1000):
                stream.fill()
        except (OSError, ValueError):
            raise Cancelled from None
        if stream.ended:
            raise Cancelled
        return None

    def local_time(self, moment: float) -> float:
        return moment

    def close(self) -> None:
        self._stream.close()


def _greeted(address: tuple[str, int], token: bytes, number: int, deadline: float) -> _Stream | None:
    """Connect, and let both sides show their half of the token; None if that may be tried again. Raises Cancelled."""
    try:
        connection = socket.create_connection(address, _HANDSHAKE_TIMEOUT)
    except OSError:
        raise Cancelled from None
    welcome = b""
    with contextlib.suppress(OSError):
        connection.sendall(token[:_SECRET] + number.to_bytes(_NUMBER.size))
        while len(welcome) < _SECRET and (wait := deadline - clock.monotonic()) > 0:
            connection.settimeout(wait)
            if not (data := connection.recv(_SECRET - len(welcome))):
                break
            welcome += data
    if hmac.compare_digest(welcome, token[_SECRET:]):
        connection.settimeout(None)
        return _Stream(connection)
    connection.close()
    # The hub drops a worker's connection, too, if too many strangers call.
    if welcome or clock.monotonic() >= deadline:
        raise Cancelled
    return None
