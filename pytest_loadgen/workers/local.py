"""Workers on this machine, over sockets that only this machine can reach."""

from __future__ import annotations

import contextlib
import hmac
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection, wait

from pytest_loadgen.workers.hub import Channel, Message, Sign, Unwanted, Word

# How long the workers are told beforehand when they start, and how long one waits for a word, in seconds.
_NOTICE = 0.5
_MOMENT = 0.1
_STRANGER = 1.0


class Loopback:
    """A hub for threads and processes of this machine, which find it by address and token."""

    def __init__(self, workers: int) -> None:
        """Wait for so many."""
        self.names = [f"worker {number} of {workers}" for number in range(1, workers + 1)]
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)  # who was calling may have hung up
        self._token = secrets.token_bytes(32)
        self._callers: dict[Connection, int] = {}
        self._expected = set(range(workers))

    def entrance(self, number: int) -> Callable[[], Channel]:
        """Give what calls this process."""
        return partial(_Line, self._server.getsockname(), self._token, number)

    def soon(self) -> float:
        """Tell a moment of this machine's clock."""
        return time.time() + _NOTICE

    def tell(self, word: Word) -> None:
        """Tell all that have called."""
        for caller in list(self._callers):
            with contextlib.suppress(OSError):  # it is lost, and reading will tell so
                caller.send(word)

    def hear(self) -> Iterator[tuple[int, Message]]:
        """Read what is there, and let workers call."""
        listening = [self._server] if self._expected else []
        wait([*listening, *self._callers], _MOMENT)
        while self._expected and wait([self._server], 0):
            self._answer()
        for caller in list(self._callers):
            yield from self._read(caller)

    def _read(self, caller: Connection) -> Iterator[tuple[int, Message]]:
        try:
            while caller.poll():
                yield self._callers[caller], caller.recv()
        except (EOFError, OSError):
            caller.close()
            yield self._callers.pop(caller), Sign.GONE

    def _answer(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            calling, _ = self._server.accept()
            calling.setblocking(True)
            caller = Connection(calling.detach())
            # A stranger on this machine says something else, or nothing.
            said = caller.recv_bytes(len(self._token) + 8) if caller.poll(_STRANGER) else b""
            number = int.from_bytes(said[len(self._token) :])
            if hmac.compare_digest(said[: len(self._token)], self._token) and number in self._expected:
                self._expected.remove(number)
                self._callers[caller] = number

    def stop(self) -> None:
        """Hang up: workers end when they are not listened to."""
        while self._callers:
            self._callers.popitem()[0].close()

    def close(self) -> None:
        """Take no more calls."""
        self.stop()
        self._server.close()


class _Line:
    """A worker's call."""

    def __init__(self, address: tuple[str, int], token: bytes, number: int) -> None:
        try:
            self._connection = Connection(socket.create_connection(address).detach())
            self._connection.send_bytes(token + number.to_bytes(8))
        except OSError:
            raise Unwanted from None

    def send(self, message: Message) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise Unwanted from None

    def hear(self) -> Word | None:
        try:
            word: Word | None = self._connection.recv() if self._connection.poll(_MOMENT) else None
        except (EOFError, OSError):
            raise Unwanted from None
        return word

    def local(self, moment: float) -> float:
        return moment

    def close(self) -> None:
        self._connection.close()
