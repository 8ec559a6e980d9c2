"""Workers on this machine, connected over loopback sockets."""

from __future__ import annotations

import contextlib
import hmac
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait

from pytest_loadgen.workers.hub import Cancelled, Command, Message, Signal, WorkerConnection

# How far ahead the start time is, and how long one receive waits, in seconds.
_LEAD_TIME = 0.5
_POLL = 0.1
_HANDSHAKE_TIMEOUT = 1.0


class LocalHub:
    """A hub for threads and processes of this machine; a token keeps others out."""

    def __init__(self, workers: int, handshake_timeout: float = _HANDSHAKE_TIMEOUT) -> None:
        """Listen for a number of workers; a client has to send the token within the timeout, in seconds."""
        self.names = [f"worker {number} of {workers}" for number in range(1, workers + 1)]
        self._handshake_timeout = handshake_timeout
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)  # a client may have disconnected before it is accepted
        self._token = secrets.token_bytes(32)
        self._connections: dict[Connection, int] = {}
        self._expected = set(range(workers))

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
        return time.time() + _LEAD_TIME

    def broadcast(self, command: Command) -> None:
        """Send a command to all connected workers."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):  # it is lost, and the next read reports it
                connection.send(command)

    def receive(self) -> Iterator[tuple[int, Message]]:
        """Accept workers, and yield the messages that have arrived."""
        listening = [self._server] if self._expected else []
        wait([*listening, *self._connections], _POLL)
        while self._expected and wait([self._server], 0):
            self._accept()
        for connection in list(self._connections):
            yield from self._read(connection)

    def _read(self, connection: Connection) -> Iterator[tuple[int, Message]]:
        try:
            while connection.poll():
                yield self._connections[connection], connection.recv()
        except (EOFError, OSError):
            connection.close()
            yield self._connections.pop(connection), Signal.LOST

    def _accept(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            accepted, _ = self._server.accept()
            accepted.setblocking(True)
            connection = Connection(accepted.detach())
            # Any process of this machine can connect: nothing is unpickled before the token was checked.
            greeting = b""
            if connection.poll(self._handshake_timeout):
                greeting = connection.recv_bytes(len(self._token) + 8)
            number = int.from_bytes(greeting[len(self._token) :])
            if hmac.compare_digest(greeting[: len(self._token)], self._token) and number in self._expected:
                self._expected.remove(number)
                self._connections[connection] = number

    def stop(self) -> None:
        """Close the connections: workers stop when theirs is closed."""
        while self._connections:
            self._connections.popitem()[0].close()

    def close(self) -> None:
        """Stop, and accept no more workers."""
        self.stop()
        self._server.close()


class _LocalConnection:
    """A worker's end of the socket."""

    def __init__(self, address: tuple[str, int], token: bytes, number: int) -> None:
        try:
            self._connection = Connection(socket.create_connection(address).detach())
            self._connection.send_bytes(token + number.to_bytes(8))
        except OSError:
            raise Cancelled from None

    def send(self, message: Message) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise Cancelled from None

    def receive(self) -> Command | None:
        try:
            command: Command | None = self._connection.recv() if self._connection.poll(_POLL) else None
        except (EOFError, OSError):
            raise Cancelled from None
        return command

    def local_time(self, moment: float) -> float:
        return moment

    def close(self) -> None:
        self._connection.close()
