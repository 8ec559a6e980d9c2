"""Reading responses that httptools refuses but RFC 9112 lets a client take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from httptools import HttpParserError

MAX_HEAD = 1 << 20
"""The largest head of a response, in bytes."""

_SHOWN = 60
_MAX_LINE = 8192  # of a chunk's size
HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/(\d)(?:\.(\d))?[ \t]+(\d{3})(?![^ \t])")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?\r?")


class Callbacks(Protocol):
    """What is told of the responses, as httptools does."""

    def on_message_begin(self) -> None:
        """Handle that a response begins."""

    def on_message_complete(self) -> None:
        """Handle that a response is complete."""


class LenientParser:
    """A parser with the interface of `httptools.HttpResponseParser`, slower and with fewer scruples.

    It takes folded lines (RFC 9112, 5.2), lines that end with a bare LF (2.2), the same length several times and
    a length beside chunks, which count (6.3), and control characters in values (RFC 9110, 5.5). What it refuses
    is an HttpParserError that says what is wrong.
    """

    def __init__(self, callbacks: Callbacks, is_head: bool) -> None:
        """Expect a response; those to HEAD have no body."""
        self._callbacks, self._is_head = callbacks, is_head
        self._buffer = bytearray()
        self._searched = self._left = 0
        self._head = _Head(0, 0, False, False)
        self._read: Callable[[], bool] = self._begin

    def feed_data(self, data: bytes) -> None:
        """Read more of the responses. Raises HttpParserError."""
        self._buffer += data
        while self._read():
            pass

    def get_status_code(self) -> int:
        """Return the status of the latest response."""
        return self._head.status

    def should_keep_alive(self) -> bool:
        """Return whether the service keeps the connection open."""
        return self._head.keep_alive

    # Each reads one thing, sets what is next, and returns whether it could.

    def _begin(self) -> bool:
        while self._buffer.startswith((b"\r", b"\n")):
            del self._buffer[:1]
        if not self._buffer:
            return False
        self._callbacks.on_message_begin()
        self._searched = 0
        self._read = self._read_head
        return True

    def _read_head(self) -> bool:
        buffer = self._buffer
        if not b"HTTP/".startswith(buffer[:5]):
            raise HttpParserError('it does not begin with "HTTP/"')
        end = HEAD_END.search(buffer, max(0, self._searched - 3))
        if not end or end.start() > MAX_HEAD:
            self._searched = len(buffer)
            if len(buffer) > MAX_HEAD:
                raise HttpParserError("its head is larger than 1 MiB")
            return False
        self._head = _head(bytes(buffer[: end.start()]))
        del buffer[: end.end()]
        status, length, chunked = self._head.status, self._head.length, self._head.chunked
        if self._is_head or status < 200 or status in (204, 304) or (length == 0 and not chunked):
            self._complete()
        elif chunked:
            self._read = self._read_size
        elif length is None:
            self._read = self._read_to_the_end
        else:
            self._left, self._read = length, self._read_body
        return True

    def _read_body(self) -> bool:
        count = min(self._left, len(self._buffer))
        del self._buffer[:count]
        self._left -= count
        if self._left:
            return False
        self._complete()
        return True

    def _read_to_the_end(self) -> bool:
        self._buffer.clear()
        return False

    def _read_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not (size := _CHUNK.fullmatch(line)):
            raise HttpParserError(f"a chunk's size is {shown(line.strip())}")
        self._left = int(size[1], 16)
        self._read = self._read_chunk if self._left else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        count = min(self._left, len(self._buffer))
        del self._buffer[:count]
        self._left -= count
        line = None if self._left else self._line()
        if line is None:
            return False
        if line not in (b"", b"\r"):
            raise HttpParserError("a chunk is longer than its size")
        self._read = self._read_size
        return True

    def _read_trailer(self) -> bool:
        line = self._line()
        if line in (b"", b"\r"):
            self._complete()
        return line is not None

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > _MAX_LINE:
                raise HttpParserError("a line among its chunks does not end")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _complete(self) -> None:
        self._read = self._begin
        self._callbacks.on_message_complete()


class _Head(NamedTuple):
    """What the head of a response says about its body and its connection."""

    status: int
    length: int | None
    chunked: bool
    keep_alive: bool


def _head(text: bytes) -> _Head:
    first, *lines = _FOLD.sub(b" ", text).split(b"\n")
    status = _STATUS.match(first.rstrip(b"\r"))
    if not status or status[3] < b"100":
        raise HttpParserError(f"its first line is {shown(first.strip())}")
    fields = list(_fields(lines))

    def values(name: bytes) -> list[bytes]:
        return [part.strip() for field, value in fields if field == name for part in value.split(b",")]

    codings = [coding.lower() for coding in values(b"transfer-encoding") if coding.lower() not in (b"", b"identity")]
    lengths = set() if codings else set(values(b"content-length"))
    if wrong := sorted(length for length in lengths if not re.fullmatch(rb"[0-9]{1,18}", length)):
        raise HttpParserError(f"its Content-Length is {shown(wrong[0])}")
    if len({int(length) for length in lengths}) > 1:
        raise HttpParserError(f"its Content-Length is {' and '.join(shown(length) for length in sorted(lengths))}")
    tokens = {token.lower() for token in values(b"connection")}
    modern = (int(status[1]), int(status[2] or 0)) >= (1, 1)
    return _Head(
        status=int(status[3]),
        length=int(lengths.pop()) if lengths else None,
        chunked=codings[-1:] == [b"chunked"],
        keep_alive=b"close" not in tokens if modern else b"keep-alive" in tokens,
    )


def _fields(lines: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name.strip():
            raise HttpParserError(f"it has a header line without a name: {shown(line.strip())}")
        if b"\0" in line:
            raise HttpParserError(f"it has a header with a NUL: {shown(line.strip())}")
        yield name.strip().lower(), value


def shown(text: bytes) -> str:
    """Quote the first bytes, with escapes for all but ASCII's printable characters."""
    return ascii(text[:_SHOWN])[1:] + ("…" if len(text) > _SHOWN else "")
