"""An HTTP/1.1 connection to the service, which sends one request at a time."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import struct
import sys
import zlib
from collections.abc import Callable, Sequence
from time import perf_counter_ns as clock
from typing import TYPE_CHECKING, Any, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from pytest_loadgen.generators.embedded.lenient import HEAD_END, MAX_HEAD, LenientParser, shown
from pytest_loadgen.generators.embedded.protocol import Evidence
from pytest_loadgen.redaction import redact
from pytest_loadgen.traffic.expected import is_expected
from pytest_loadgen.traffic.target import message_secrets

if TYPE_CHECKING:
    from pytest_loadgen.generators.embedded.readiness import Poller
    from pytest_loadgen.traffic.check import Check
    from pytest_loadgen.traffic.mix import NamedRequest
    from pytest_loadgen.traffic.target import Target

IDLE = 1 << 62
"""The due time of a connection that has no request."""

_READ_SIZE = 65_536
# How much of an incomplete response is kept, once its head is complete.
_KEPT = 65_536
# How large a response may be to be remembered.
_REMEMBERED = 4096
# How much of the body of a failing response is read to be shown, in bytes: more than what is shown, because secrets are
# left out first.
_EVIDENCE = 8192
# After this time a service may have closed a connection because it was idle, in ns.
_LONG_IDLE = 500_000_000
# The end of a connection that comes within this time after a request, and two round trips, comes before the service
# can have worked at it, in ns.
_AT_ONCE = 5_000_000
# After this many connections that were closed after their first response, the service is taken not to
# keep connections open; a single one may have been closed for another reason.
_MAX_CLOSED_AFTER_FIRST = 3
_LENGTH = re.compile(rb"\n(?:content-length[ \t]*:|transfer-encoding[ \t]*:[^\n]*chunked)", re.IGNORECASE)
# Interim responses (1xx): each is a head and nothing else.
_INTERIM = re.compile(rb"\s*(?:HTTP/1\.\d 1\d\d[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)*", re.IGNORECASE)
# Idempotent methods (RFC 9110, 9.2.2): their requests may be sent twice.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_FAILURES = {
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
OWN_LIMITS = frozenset({"filehandles", "ports"})
"""Failures to open a connection that are this machine's, not the service's."""

# Where Linux keeps these in its tcp_info: the round-trip time in us; bytes acknowledged (and one for the connection
# itself), bytes sent, and bytes sent again.
_ROUND_TRIP = struct.Struct("68xI")
_BYTES = struct.Struct("120xQ72xQQ")


class ConnectionOwner(Protocol):
    """What connections share, and what handles their responses and failures."""

    poller: Poller
    handlers: dict[int, Callable[[], None]]
    retried: int
    reuse_seen: bool
    """Whether any connection had a second response."""
    reuse: bool
    """Whether to reuse connections."""
    closed_after_first: int
    """How many connections the service closed after their first response, before reuse was seen."""

    def on_response(self, connection: Connection, outcome: int | str, reusable: bool, data: bytes) -> None:
        """Handle a complete response: its status, or ``"check"`` if it failed its check; and what was read last."""

    def on_failure(self, connection: Connection, kind: str, reason: str) -> None:
        """Handle a failed request; its connection is closed. The reason may be empty."""

    def on_idle_close(self, connection: Connection) -> None:
        """Handle a connection that was closed while it had no request."""


class Kind:
    """The requests of one name: what is the same for all of them."""

    __slots__ = (
        *("check", "expect", "idempotent", "is_head", "keeps", "message", "name", "number", "response", "status"),
        "whole",
    )

    def __init__(
        self,
        method: str,
        *,
        number: int = 0,
        name: str = "",
        message: bytes = b"",
        expect: tuple[str, ...] = (),
        check: Check | None = None,
        whole: bool = False,
    ) -> None:
        """Take what requests have in common; those that are filled from data have no message of their own.

        With `whole` the owner gets each response completely, and not only what was read last.
        """
        self.number, self.name = number, name
        self.message = message
        self.is_head = method == "HEAD"
        self.idempotent = method in _IDEMPOTENT
        self.check = check
        self.expect = expect
        self.whole = whole
        self.keeps = whole or check is not None
        # The latest response that came whole, after which its connection could be used again, and its status: the
        # same bytes mean the same again, and are not parsed. One is enough: most services answer a request alike, and
        # where they never do, comparing costs less than looking up.
        self.response = b""
        self.status = 0


class Endpoint:
    """What all connections to one service share: the address, TLS settings, and the kinds of requests."""

    def __init__(self, target: Target, requests: Sequence[NamedRequest]) -> None:
        """Build the requests and, for https, the TLS context."""
        address = target.address or (target.host if target.unix else (target.host.strip("[]"), target.port))
        self.address: Any = address
        self.family = socket.AF_UNIX if isinstance(address, str) else _family(address[0])
        self.context = target.ssl_context() if target.tls else None
        self.hostname = "localhost" if target.unix else target.host.strip("[]")
        self.kinds = [
            Kind(
                request.target.method,
                number=number,
                name=request.name,
                message=b"" if request.data else request.target.message(),
                expect=request.expect,
                check=request.check,
            )
            for number, request in enumerate(requests)
        ]


class Connection:
    """A connection and its current request, if any.

    Its owner keeps times on it, in ns: when the request was due (`due`), when it was sent (`sent`), and when
    the previous response was complete (`last_response`; 0 if there was none).
    """

    __slots__ = (
        "_begun",
        "_endpoint",
        "_feed",
        "_head_read",
        "_interim",
        "_owner",
        "_parser",
        "_partial",
        "_raw",
        "_recv",
        "_request",
        "_reusable",
        "_searched",
        "_send",
        "_size",
        "_socket",
        "_status",
        "_unsent",
        "due",
        "failed_check",
        "fd",
        "first_byte",
        "kind",
        "last_response",
        "number",
        "received",
        "sent",
    )

    # Set while the connection is open; httptools has no types.
    _parser: Any
    _feed: Any
    _recv: Any
    _send: Any
    _unsent: memoryview | None
    _status: int
    _reusable: bool
    # Of the response that is being read: whether any byte of it came, its bytes without those of interim responses
    # (not all of a large body), whether an interim response was complete in the latest data, whether the head is in
    # the bytes, and how many of them were searched for its end.
    _begun: bool
    _partial: bytearray
    _interim: bool
    _head_read: bool
    _searched: int
    # All bytes of a response in several pieces, where they are needed.
    _raw: bytearray

    def __init__(self, endpoint: Endpoint, owner: ConnectionOwner) -> None:
        """Create a closed connection."""
        self._endpoint = endpoint
        self._owner = owner
        self.kind = endpoint.kinds[0]
        self._request = self.kind.message
        self._size = len(self._request)
        self.number = self.received = self.first_byte = 0
        self.failed_check = ""
        self._socket: socket.socket | None = None
        self.fd = -1
        self.due = IDLE
        self.sent = self.last_response = 0

    def take(self, kind: Kind, message: bytes) -> None:
        """Make this the request that is sent next."""
        before = self.kind
        if kind is before:
            self._request, self._size = message, len(message)
            return
        self.kind = kind
        self.number = kind.number
        self._request = message
        self._size = len(message)
        if kind.is_head is not before.is_head and self._socket is not None:
            self._new_parser()

    @property
    def taken(self) -> tuple[Kind, bytes]:
        """The request that it was to send."""
        return self.kind, self._request

    def open(self) -> None:
        """Connect, then send the request."""
        self.last_response = 0
        try:
            # Both calls may fail: no file handles, no ports, connection refused.
            self._socket = socket.socket(self._endpoint.family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            if self._endpoint.family != socket.AF_UNIX:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            code = self._socket.connect_ex(self._endpoint.address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
        except OSError as error:
            self._on_error(error)
            return
        self.fd = self._socket.fileno()
        self._owner.handlers[self.fd] = self._connected
        self._owner.poller.add(self.fd, write=True)

    def send(self) -> None:
        """Send the request; the owner is called with its response or failure."""
        try:
            count = self._send(self._request)
        except (BlockingIOError, ssl.SSLWantWriteError):
            count = 0
        except OSError as error:
            # Nothing was sent: the service had ended the connection before.
            self._on_error(error, unread=True)
            return
        if count < self._size:
            self._unsent = memoryview(self._request)[count:]
            self._owner.handlers[self.fd] = self._write
            self._owner.poller.change(self.fd, write=True)

    def close(self) -> None:
        """Close the connection without calling the owner."""
        if self._socket is not None:
            if self._owner.handlers.pop(self.fd, None):
                self._owner.poller.remove(self.fd)
            self.fd = -1
            self._socket.close()
            # Parser and connection refer to each other, and garbage collection is off: without this they
            # would never be freed.
            self._socket = self._parser = self._feed = self._recv = self._send = None

    # Called by the parser.

    def on_message_begin(self) -> None:
        """Note data after the response: nobody asked for it, and what follows on the connection is not known."""
        if self._status:
            self._reusable = False

    def on_message_complete(self) -> None:
        """Note the status of the first response, unless it is an interim one (1xx, but for 101)."""
        if self._status:
            return
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status
            self._reusable = self._parser.should_keep_alive()
        elif status == 101:
            # What follows is another protocol.
            self._status = status
            self._reusable = False
        elif status >= 100:
            self._interim = True
        else:
            raise HttpParserError(f"its status is {status:03}")

    def on_head_complete(self) -> None:
        """Note the response to HEAD; the parser would wait for a body."""
        self.on_message_complete()
        if self._status:
            self._new_parser()

    # Called when the socket is ready, depending on the connection's state.

    def _connected(self) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._on_error(OSError(code, "connect"))
        elif self._endpoint.context is None:
            self._established()
        else:
            # TLS on the socket itself: asyncio's way, with memory buffers, takes five times as long.
            # A read is larger than a TLS record, and OpenSSL reads one record at a time: so no data
            # stays in OpenSSL's buffers, where the poller would not see it.
            try:
                self._socket = self._endpoint.context.wrap_socket(
                    self._socket,
                    server_hostname=self._endpoint.hostname,
                    do_handshake_on_connect=False,
                    suppress_ragged_eofs=False,  # without them a cut response would look complete
                )
            except OSError as error:
                self._on_error(error)
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
        except ssl.SSLError as error:
            self._fail("tls", error)
        except OSError as error:
            self._on_error(error)
        else:
            self._established()

    def _established(self) -> None:
        assert self._socket is not None
        self._unsent = None
        self._status = 0
        self._begun = self._interim = False
        self._recv = self._socket.recv
        self._send = self._socket.send
        self._new_parser()
        self._owner.handlers[self.fd] = self._read
        self._owner.poller.change(self.fd, write=False)
        self.sent = clock()
        self.send()

    def _new_parser(self) -> None:
        self._parser = HttpResponseParser(_HeadParser(self) if self.kind.is_head else self)
        self._feed = self._parser.feed_data

    def _write(self) -> None:
        """Send more of a request that did not fit into the socket's buffer, and check for an early response."""
        assert self._unsent is not None
        try:
            self._unsent = self._unsent[self._send(self._unsent) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            # A service may refuse a body (413) and close: its response can still be read.
            self._read()
            if self._unsent is not None and self._socket is not None and self.due != IDLE:
                self._on_error(error)
            return
        if not self._unsent:
            self._unsent = None
            self._owner.handlers[self.fd] = self._read
            self._owner.poller.change(self.fd, write=False)
        self._read()

    def _read(self) -> None:
        try:
            data = self._recv(_READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._on_error(error)
            return
        if not data or self.due == IDLE:
            # Data without a request, such as a 408 before an idle connection is closed, is not a response to any.
            self._on_close()
            return
        self.received += len(data)
        kind = self.kind
        # The parser is fresh where no byte of this response was read before: then it is where it would be after
        # parsing these bytes, too.
        fresh = not self._begun and self._parser.__class__ is HttpResponseParser
        if data == kind.response and fresh:
            self._owner.on_response(self, kind.status, self._unsent is None, data)
            return
        if kind.keeps and self._begun:
            self._raw += data
        try:
            self._feed(data)
        except (HttpParserError, HttpParserUpgrade):
            self._read_again(data)
            return
        if self._status:
            if fresh and self._reusable and kind.check is None and len(data) <= _REMEMBERED:
                kind.response, kind.status = data, self._status
            self._complete(data)
        else:
            self._keep(data)

    def _read_again(self, data: bytes) -> None:
        """Let the other parser read a response that the fast one refuses."""
        if self._status:
            # After a complete response, only the connection is unusable.
            self._reusable = False
            self._complete(data)
            return
        kept = bytes(self._partial) if self._begun else b""
        if not isinstance(self._parser, LenientParser) and len(kept) < _KEPT:
            data, kept, self._begun = kept + data, b"", False
            self._partial = bytearray()
            self._parser = LenientParser(self, self.kind.is_head)
            self._feed = self._parser.feed_data
        self._feed_again(data, kept)

    def _feed_again(self, data: bytes, kept: bytes) -> None:
        try:
            self._feed(data)
        except HttpParserError as error:
            if not self._status:
                self._fail("protocol", error, kept + data)
                return
            self._reusable = False
        if self._status:
            self._complete(data)
        else:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        """Keep an incomplete response, to know what the end of the connection means."""
        if not self._begun:
            self.first_byte = clock()
            self._begun, self._head_read, self._searched = True, False, 0
            self._partial = bytearray(data)
            if self.kind.keeps:
                self._raw = bytearray(data)
        elif not self._head_read:
            self._partial += data
        partial = self._partial
        if self._interim:
            self._interim = False
            if interim := _INTERIM.match(partial):
                del partial[: interim.end()]
            self._searched = 0
        if len(partial) > _KEPT and not self._head_read:
            self._head_read = HEAD_END.search(partial, max(0, self._searched - 3)) is not None
            self._searched = len(partial)
            if len(partial) > MAX_HEAD and not self._head_read:
                self._fail("protocol", "its head is larger than 1 MiB", bytes(partial))

    def _complete(self, data: bytes) -> None:
        status: int | str = self._status
        self._status = 0
        if self.kind.keeps:
            whole = bytes(self._raw) if self._begun else data
            if self.kind.check is not None and self._fails_check(self.kind.check, int(status), whole):
                status, data = "check", whole
            elif self.kind.whole:
                data = whole
        self._begun = False
        # After an early response the rest of the request is unsent: the connection cannot be reused.
        self._owner.on_response(self, status, self._reusable and self._unsent is None, data)

    def _fails_check(self, check: Check, status: int, response: bytes) -> bool:
        """Whether the response fails its check, and note why; one whose status is wrong is not checked."""
        if not is_expected(str(status), self.kind.expect):
            return False
        why = check.failure(status, *read_whole(response, is_head=self.kind.is_head))
        if why:
            self.failed_check = f"{why}; its status is {status}"
        return bool(why)

    def evidence(self, outcome: int | str, data: bytes) -> Evidence:
        """Give what a reader needs to see of the response that was read last, while it is handled."""
        if outcome != "check":
            if self.first_byte:
                # It came in several pieces. Of a large one only the beginning was kept.
                data = bytes(self._partial) + (data if len(self._partial) <= _KEPT else b"")
            self.failed_check = ""
        body, is_cut = text_of(*read_whole(data, is_head=self.kind.is_head))
        name = self.kind.name if len(self._endpoint.kinds) > 1 else ""
        why = self.failed_check
        if not self.kind.message:
            # Only here is known which secrets a filled request has; to look for many takes too long.
            if self._size > _KEPT:
                return Evidence(name, "", "[...]")
            secrets = message_secrets(self._request)
            why, body = redact(why, secrets), redact(body, secrets, is_cut=is_cut)
        return Evidence(name, why, body, is_cut)

    def _on_close(self) -> None:
        """Handle that the service closed the connection."""
        if self.due == IDLE:
            self.close()
            self._owner.on_idle_close(self)
        elif self._begun:
            end = HEAD_END.search(self._partial)
            if end and not _LENGTH.search(self._partial, 0, end.end()):
                # Neither length nor chunks: the end of the connection is the end of the body.
                self._reusable = False
                self._status = self._parser.get_status_code()
                self._complete(b"")
            else:
                self._fail("closed")
        else:
            self._retry_or_fail("closed", unread=self._unread())

    def _on_error(self, error: OSError, *, unread: bool | None = None) -> None:
        if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            # Without TLS's own end of the connection, a body without a length may be cut.
            if self.due == IDLE or self._begun:
                self._fail("closed")
            else:
                self._retry_or_fail("closed", unread=unread or self._unread())
        elif isinstance(error, ssl.SSLError):
            self._fail("tls", error)
        elif error.errno == errno.EPIPE and self._socket is not None and self.due != IDLE and self._begun:
            self._on_close()
        else:
            kind = _FAILURES.get(error.errno or 0, "unreachable")
            self._retry_or_fail(kind, unread=unread)

    def _unread(self) -> bool | None:
        """Return whether the service cannot have read the request; None if that is not known.

        A service that closed before the request came has not acknowledged it; one that closes without having read
        it resets the connection.
        """
        if (info := self._tcp_info()) is None or len(info) < _BYTES.size:
            return None
        acknowledged, sent, again = _BYTES.unpack_from(info)
        # After it OpenSSL may have sent an alert, which is smaller than any request.
        return bool(sent - again - (acknowledged - 1) >= self._size)

    def _tcp_info(self) -> bytes | None:
        if self._socket is None or self._endpoint.family == socket.AF_UNIX or not sys.platform.startswith("linux"):
            return None
        try:
            return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:
            return None

    def _retry_or_fail(self, kind: str, *, unread: bool | None) -> None:
        """Send the request again if the service ended the connection before it can have read it; else fail it.

        A service may close an idle connection while a request is on its way; clients then send it again on a new one
        (RFC 9112, 9.3.1). A service that reads a request and ends the connection has failed it. Which of both is
        known where the request was not even sent, or not acknowledged when the connection was closed. Where it is
        not known, `unread` is None, or the connection was reset: the request is sent again if the end came at once,
        and the connection was idle for long or the service does not keep connections.
        """
        reused = self.last_response and kind in {"closed", "reset"} and not self._begun
        if reused and (unread or (unread is None and self._at_once())):
            idle_long = self.sent - self.last_response >= _LONG_IDLE
            if not idle_long and not self._owner.reuse_seen:
                self._owner.closed_after_first += 1
                self._owner.reuse = self._owner.closed_after_first < _MAX_CLOSED_AFTER_FIRST
            if self.kind.idempotent and (unread or idle_long or not self._owner.reuse_seen):
                self._owner.retried += 1
                self.close()
                self.open()
                return
        self._fail(kind)

    def _at_once(self) -> bool:
        """Return whether the request was sent so lately that the service cannot have worked at it."""
        info = self._tcp_info()
        round_trip = _ROUND_TRIP.unpack_from(info)[0] * 1000 if info and len(info) >= _ROUND_TRIP.size else 0
        return bool(clock() - self.sent < _AT_ONCE + 2 * round_trip)

    def _fail(self, kind: str, why: object = "", data: bytes = b"") -> None:
        """Fail the request: say why, and how the response begins, if there is one."""
        self.close()
        if self.due == IDLE:
            self._owner.on_idle_close(self)
        else:
            begins = f"; it begins {shown(data)}" if data else ""
            self._owner.on_failure(self, kind, f"{why}{begins}")


class _Collector:
    """Parser callbacks that keep headers and body of the first final response."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.parser: Any = None
        self._is_whole = False

    def on_message_begin(self) -> None:
        if not self._is_whole:
            self.headers, self.body = [], b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._is_whole:
            self.headers.append((name, value))

    def on_body(self, body: bytes) -> None:
        if not self._is_whole:
            self.body += body

    def on_message_complete(self) -> None:
        # An interim response (1xx) is not the one.
        self._is_whole = self._is_whole or self.parser.get_status_code() >= 200


def read_whole(response: bytes, *, is_head: bool) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Give the headers and the body of a response; of one that the fast parser refuses, what follows its head."""
    collected = _Collector()
    collected.parser = HttpResponseParser(collected)
    try:
        collected.parser.feed_data(response)
    except (HttpParserError, HttpParserUpgrade):
        if not collected.body and not is_head:
            collected.body = HEAD_END.split(response, maxsplit=1)[-1]
    # They refer to each other, and garbage collection may be off.
    collected.parser = None
    return collected.headers, collected.body


def text_of(headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[str, bool]:
    """Give the beginning of a body as text, and whether it was cut."""
    (coding, *_) = [value.strip().lower() for name, value in headers if name.lower() == b"content-encoding"] or [b""]
    if coding in {b"gzip", b"x-gzip", b"deflate"}:
        try:
            body = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, _EVIDENCE + 1)
        except zlib.error:
            return f"{len(body):,} bytes that are not {coding.decode()}", False
    elif coding not in {b"", b"identity"} and body:
        return f"{len(body):,} bytes of {coding.decode(errors='replace')}", False
    return body[:_EVIDENCE].decode(errors="replace"), len(body) > _EVIDENCE


class _HeadParser:
    """Parser callbacks for HEAD: the response is complete after its head."""

    __slots__ = ("on_body", "on_headers_complete", "on_message_begin")

    def __init__(self, connection: Connection) -> None:
        self.on_headers_complete = connection.on_head_complete
        self.on_message_begin = connection.on_message_begin
        self.on_body = self._on_body

    def _on_body(self, _: bytes) -> None:
        # A body for HEAD is data that nobody asked for.
        self.on_message_begin()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
