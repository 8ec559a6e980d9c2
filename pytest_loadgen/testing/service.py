"""An HTTP service for tests, which can be slow, fail, send garbage or die."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# Responses by path; each is sent in one write.
ANSWERS = {
    "/": OK,
    "/503": b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    "/404": b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno",
    "/302": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x=y\r\nabc\r\n0\r\nT: x\r\n\r\n",
    "/hints": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    "/large": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000),
    "/head": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
    "/garbage": b"\x00\xff this is no HTTP\r\n\r\n",
    "/close": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    "/until-close": b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "/cut-short": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "/cut-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha",
    "/cut-head": b"HTTP/1.1 200 OK\r\nContent-",
    "/hints-then-cut": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "/hints-then-nothing": b"HTTP/1.1 100 Continue\r\n\r\n",
    "/hints-until-close": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end",
    "/twice": OK + OK,
    "/long-head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_100_000,
    "/silent-close": OK,
}
CLOSING = {"/close", "/until-close", "/cut-short", "/cut-chunk", "/cut-head", "/silent-close", "/hang-up"}
CLOSING |= {"/hints-then-cut", "/hints-then-nothing", "/hints-until-close"}


class Server:
    """A service in a thread of this process.

    Of the paths that are not in ANSWERS, /silent never responds, /endless never ends its response,
    /reset and /hang-up end the connection without a response, /delay/SECONDS responds after that time,
    /408 sends a second, unsolicited response a little later. `choose` may replace a path: it gets the
    path of a request and the number of requests before.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, unix: str | None = None, host: str = "127.0.0.1") -> None:
        """Configure TLS and the address; as a context manager it serves."""
        self.choose: Callable[[str, int], str] = lambda path, count: path
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.last_request = b""
        self._tls, self._unix, self._host, self._port = tls, unix, host, 0
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def open(self) -> int:
        """The number of open connections."""
        return len(self._open)

    @property
    def url(self) -> str:
        """Its URL, without a path."""
        scheme = "https" if self._tls else "http"
        if self._unix:
            return f"{scheme}+unix://{self._unix.replace('/', '%2F')}"
        return (
            f"{scheme}://[{self._host}]:{self._port}" if ":" in self._host else f"{scheme}://{self._host}:{self._port}"
        )

    def die(self) -> None:
        """Reset all connections, and accept no more."""
        self._do(self._close())

    def come_back(self) -> None:
        """Listen again, at the same address as before."""
        self._do(self._listen())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._unix:
            self._server = await self._loop.create_unix_server(lambda: _Connection(self), self._unix, ssl=self._tls)
        else:
            self._server = await self._loop.create_server(
                lambda: _Connection(self), self._host, self._port, ssl=self._tls, backlog=1000, reuse_address=True
            )
            self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        # Closing a server leaves accepted connections behind that are not yet set up.
        for listening in self._server.sockets:
            self._loop.remove_reader(listening.fileno())
        # Accepted connections are set up, and aborted ones are closed, a few iterations of the loop later.
        for _ in range(5):
            for connection in list(self._open):
                connection.reset()
            await asyncio.sleep(0)
        self._server.close()


class _Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.connections += 1
        self._server._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._server._open.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received[:1].isalpha():
            self._transport.write(b"HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n")
            self._transport.close()
            return
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            whole = end + 4 + length
            if len(self._received) < whole:
                return
            self._server.last_request, self._received = self._received[:whole], self._received[whole:]
            self._answer(self._server.last_request.split(b" ", 2)[1].decode().partition("?")[0])

    def _answer(self, path: str) -> None:
        path = self._server.choose(path, self._server.requests.total())
        self._server.requests[path] += 1
        if path == "/reset":
            self.reset()
        elif path == "/endless":
            self._transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._go_on()
        elif path.startswith("/delay/"):
            self._server._loop.call_later(float(path.removeprefix("/delay/")), self._transport.write, OK)
        elif path == "/408":
            self._transport.write(OK)
            late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
            self._server._loop.call_later(0.05, self._transport.write, late)
        elif path != "/silent":
            self._transport.write(ANSWERS.get(path, b""))
            if path in CLOSING:
                self._transport.close()

    def _go_on(self) -> None:
        if not self._lost:
            self._transport.write(b"4\r\nmore\r\n")
            self._server._loop.call_later(0.01, self._go_on)

    def reset(self) -> None:
        """Reset the connection."""
        plain: socket.socket = self._transport.get_extra_info("socket")
        if plain is not None and plain.family != socket.AF_UNIX and plain.fileno() >= 0:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
