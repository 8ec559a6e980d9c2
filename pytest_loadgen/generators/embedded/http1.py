"""One connection to the service: connect, send a request, read its answer, be reused."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable
from time import perf_counter_ns as clock
from typing import TYPE_CHECKING, Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

if TYPE_CHECKING:
    from pytest_loadgen.generators.embedded.readiness import Poller
    from pytest_loadgen.traffic.target import Target

NEVER = 1 << 62
"""When a request is due that a connection without one is waiting for."""

_READ = 65_536
_LONGEST_HEAD = 65_536
# How long a connection must have been idle for a service to have closed it for that, in ns.
_LONG = 500_000_000
# After how many connections that none but the first request was answered on it is known that the
# service keeps none; one alone may have another reason.
_DROPS = 3
_LENGTH = re.compile(rb"\r?\n(?:content-length|transfer-encoding)[ \t]*:", re.IGNORECASE)
# Answers before the answer (1xx): each is a head and nothing else.
_INTERIM = re.compile(rb"\s*(?:HTTP/1\.\d 1\d\d[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)*", re.IGNORECASE)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
# Methods that may be sent twice (RFC 9110, 9.2.2).
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ENOENT: "refused",
    errno.ECONNRESET: "reset",
    errno.ECONNABORTED: "reset",
    errno.EPIPE: "closed",
    errno.ETIMEDOUT: "timeout",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EMFILE: "filehandles",
    errno.ENFILE: "filehandles",
    errno.EADDRNOTAVAIL: "ports",
    errno.EAGAIN: "refused",  # a unix socket's queue of connections is full
}


class Owner(Protocol):
    """Who a connection tells how its request ended."""

    poller: Poller
    handlers: dict[int, Callable[[], None]]
    received: int
    retried: int
    kept: bool
    keep: bool
    drops: int

    def answered(self, connection: Connection, status: int, reusable: bool) -> None:
        """Take the status of a whole answer."""

    def failed(self, connection: Connection, kind: str) -> None:
        """Take the kind of a failure; the connection is closed."""

    def lost(self, connection: Connection) -> None:
        """Take note that the service closed the connection while it had no request."""


class Wire:
    """What all connections to one target share: address, TLS, and the request as bytes."""

    def __init__(self, target: Target) -> None:
        """Make the request's bytes and, for https, the TLS context."""
        address = target.address or (target.host if target.unix else (target.host.strip("[]"), target.port))
        self.address: Any = address
        self.family = socket.AF_UNIX if isinstance(address, str) else _family(address[0])
        self.context = target.ssl_context() if target.tls else None
        self.hostname = "localhost" if target.unix else target.host.strip("[]")
        head = [f"{target.method} ".encode() + target.path + b" HTTP/1.1"]
        head += [name + b": " + value for name, value in target.headers]
        self.request = b"\r\n".join(head) + b"\r\n\r\n" + target.body
        self.bodiless = target.method == "HEAD"
        self.resend = target.method in _IDEMPOTENT


class Connection:
    """A connection and, while it is busy, the one request that is on it.

    Public are the figures that its owner keeps on it, in ns: when the request was due and sent,
    and when the one before it was answered (0 where there was none).
    """

    __slots__ = (
        "_feed",
        "_head",
        "_owner",
        "_parser",
        "_recv",
        "_request",
        "_rest",
        "_reusable",
        "_send",
        "_size",
        "_socket",
        "_status",
        "_wire",
        "answered",
        "due",
        "fd",
        "sent",
    )

    # Set by open() and for as long as it is open; without types on the parser's side.
    _parser: Any
    _feed: Any
    _recv: Any
    _send: Any
    _rest: memoryview | None
    _status: int
    _reusable: bool
    _head: bytes

    def __init__(self, wire: Wire, owner: Owner) -> None:
        """Make a connection that is not yet open."""
        self._wire = wire
        self._request = wire.request
        self._size = len(wire.request)
        self._owner = owner
        self._socket: socket.socket | None = None
        self.fd = -1
        self.due = NEVER
        self.sent = self.answered = 0

    def open(self) -> None:
        """Connect, and send the request as soon as that is done."""
        self.answered = 0
        try:
            # Both calls may fail at once: no handles, no ports, nobody listening.
            self._socket = socket.socket(self._wire.family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            if self._wire.family != socket.AF_UNIX:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._socket.connect_ex(self._wire.address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
        except OSError as error:
            self._fail(error)
            return
        self.fd = self._socket.fileno()
        self._owner.handlers[self.fd] = self._connected
        self._owner.poller.add(self.fd, write=True)

    def send(self) -> None:
        """Send the request; its answer, or its failure, is told to the owner."""
        try:
            count = self._send(self._request)
        except (BlockingIOError, ssl.SSLWantWriteError):
            count = 0
        except OSError as error:
            self._fail(error)
            return
        if count < self._size:
            self._rest = memoryview(self._request)[count:]
            self._owner.handlers[self.fd] = self._write
            self._owner.poller.change(self.fd, write=True)

    def close(self) -> None:
        """Close, whatever is under way; nobody is told."""
        if self._socket is not None:
            if self._owner.handlers.pop(self.fd, None):
                self._owner.poller.forget(self.fd)
            self.fd = -1
            self._socket.close()
            # The parser knows this connection and this connection the parser: without a garbage
            # collector they would stay for ever.
            self._socket = self._parser = self._feed = self._recv = self._send = None

    # The parser calls these.

    def on_message_complete(self) -> None:
        """Take note of an answer; 1xx are not yet it."""
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status
            self._reusable = self._parser.should_keep_alive()

    def on_head_complete(self) -> None:
        """Take note of an answer to HEAD; the parser would wait for a body."""
        self.on_message_complete()
        if self._status:
            self._new_parser()

    # The poller's events, by what the connection is doing.

    def _connected(self) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(OSError(code, "connect"))
        elif self._wire.context is None:
            self._established()
        else:
            # TLS on the socket itself: asyncio's way, over memory buffers, costs five times as much.
            # A read takes more than TLS puts into one record, and OpenSSL reads one at a time: so
            # nothing stays in its buffers that no poller tells of.
            try:
                self._socket = self._wire.context.wrap_socket(
                    self._socket, server_hostname=self._wire.hostname, do_handshake_on_connect=False
                )
            except OSError as error:
                self._fail(error)
                return
            self._owner.handlers[self.fd] = self._shake_hands
            self._shake_hands()

    def _shake_hands(self) -> None:
        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            self._owner.poller.change(self.fd, write=False)
        except ssl.SSLWantWriteError:
            self._owner.poller.change(self.fd, write=True)
        except ssl.SSLError:
            self._finish("tls")
        except OSError as error:
            self._fail(error)
        else:
            self._established()

    def _established(self) -> None:
        assert self._socket is not None
        self._rest = None
        self._status = 0
        self._head = b""
        self._recv = self._socket.recv
        self._send = self._socket.send
        self._new_parser()
        self._owner.handlers[self.fd] = self._read
        self._owner.poller.change(self.fd, write=False)
        self.sent = clock()
        self.send()

    def _new_parser(self) -> None:
        self._parser = HttpResponseParser(_Bodiless(self) if self._wire.bodiless else self)
        self._feed = self._parser.feed_data

    def _write(self) -> None:
        """Go on sending a request that the socket had no room for, and look for an early answer."""
        assert self._rest is not None
        try:
            self._rest = self._rest[self._send(self._rest) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            # A service may refuse a body, say so, and hang up (413): what it said is still to be read.
            self._read()
            if self._rest is not None and self._socket is not None and self.due != NEVER:
                self._fail(error)
            return
        if not self._rest:
            self._rest = None
            self._owner.handlers[self.fd] = self._read
            self._owner.poller.change(self.fd, write=False)
        self._read()

    def _read(self) -> None:
        try:
            data = self._recv(_READ)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._fail(error)
            return
        if not data or self.due == NEVER:
            # What comes where nothing was asked (a 408 before an idle connection is closed) answers nothing.
            self._end()
            return
        self._owner.received += len(data)
        try:
            self._feed(data)
        except (HttpParserError, HttpParserUpgrade):
            # After a whole answer it is only the connection that is spoilt.
            if not self._status:
                self._finish("protocol")
                return
            self._reusable = False
        if self._status:
            self._answer()
        elif len(self._head) < _LONGEST_HEAD:
            # Kept only while an answer is incomplete, to know what its end will mean.
            self._head += data
            if len(self._head) >= _LONGEST_HEAD and not _HEAD_END.search(self._head):
                self._finish("protocol")

    def _answer(self) -> None:
        status = self._status
        self._status = 0
        if self._head:
            self._head = b""
        # An answer to half a request leaves the other half in the way.
        self._owner.answered(self, status, self._reusable and self._rest is None)

    def _end(self) -> None:
        """Understand that the service closed the connection."""
        if self.due == NEVER:
            self.close()
            self._owner.lost(self)
        elif self._head:
            interim = _INTERIM.match(self._head)
            begin = interim.end() if interim else 0
            end = _HEAD_END.search(self._head, begin)
            if end and not _LENGTH.search(self._head, begin, end.end()):
                # Neither length nor chunks: the end of the connection is the end of the body.
                self._reusable = False
                self._status = self._parser.get_status_code()
                self._answer()
            else:
                self._finish("closed")
        else:
            self._give_up("closed")

    def _fail(self, error: OSError) -> None:
        if isinstance(error, ssl.SSLError):
            self._finish("closed" if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) else "tls")
        elif error.errno == errno.EPIPE and self._socket is not None and self.due != NEVER and self._head:
            self._end()
        else:
            self._give_up(_KINDS.get(error.errno or 0, "unreachable"))

    def _give_up(self, kind: str) -> None:
        """Take the end of the connection for the request's failure, unless that is unfair.

        A service may close a connection that it has kept long enough, while a request is under
        way to it; clients then send again on a new one (RFC 9112, 9.3.1). So does this one, where
        the connection was kept unused for long, or where the service keeps none. Not more often:
        a service that drops a request now and then must be told from one that closes politely.
        """
        dropped = self.answered and kind in {"closed", "reset"} and not self._head
        idle_long = self.sent - self.answered >= _LONG
        if dropped and not idle_long and not self._owner.kept:
            self._owner.drops += 1
            self._owner.keep = self._owner.drops < _DROPS
        if dropped and self._wire.resend and (idle_long or not self._owner.kept):
            self._owner.retried += 1
            self.close()
            self.open()
        else:
            self._finish(kind)

    def _finish(self, kind: str) -> None:
        self.close()
        if self.due == NEVER:
            self._owner.lost(self)
        else:
            self._owner.failed(self, kind)


class _Bodiless:
    """Tells a connection that an answer to HEAD is whole when its head is."""

    __slots__ = ("on_headers_complete",)

    def __init__(self, connection: Connection) -> None:
        self.on_headers_complete = connection.on_head_complete


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
