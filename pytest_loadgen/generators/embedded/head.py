"""The headers and cookies of a journey's requests as they are sent: written once, and not for each request."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Set
from functools import lru_cache
from http.cookiejar import Cookie, CookieJar
from typing import Any

OF_BODY = frozenset({b"content-length", b"transfer-encoding"})
"""Headers that describe the body; it is sent as a whole, with its length, whatever they say."""
WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose requests say the length of a body that is empty, too."""

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[^\r\n\0]*")
# How many headers of requests are remembered as they are sent: those of a journey are often the same.
_REMEMBERED = 1000

Field = tuple[bytes, bytes]
"""A header: its name in small letters, and its line."""


class Head:
    """Header lines, by their names in small letters, and all in one."""

    __slots__ = ("lines", "text")

    def __init__(self, lines: dict[bytes, bytes]) -> None:
        """Take lines with their ends."""
        self.lines = lines
        self.text = b"".join(lines.values())

    @classmethod
    def of(cls, pairs: Iterable[tuple[bytes, bytes]]) -> Head | None:
        """Write names and values; None where one cannot be sent like this."""
        return cls._of(map(_field, pairs))

    @classmethod
    def _of(cls, fields: Iterable[Field | None]) -> Head | None:
        lines: dict[bytes, bytes] = {}
        for field in fields:
            if field is None:
                return None
            name, line = field
            lines[name] = lines.get(name, b"") + line
        return cls(lines)

    def with_headers(self, headers: dict[str, str]) -> Head | None:
        """Add the headers of a request, which replace others of their names; None where httpx has to."""
        if (more := self._of(_encoded(*pair) for pair in headers.items())) is None:
            return None
        return Head(self.lines | more.lines)


def _field(pair: tuple[bytes, bytes]) -> Field | None:
    name, value = pair
    low = name.lower()
    if low in OF_BODY or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        return None
    return low, b"%b: %b\r\n" % pair


@lru_cache(_REMEMBERED)
def _encoded(name: str, value: str) -> Field | None:
    if value.__class__ is name.__class__ is str and name.isascii() and value.isascii():
        return _field((name.encode(), value.encode()))
    return None


class Jar(CookieJar):
    """Cookies, and the header that they make, which is written again when one was set or removed."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changed, self._until = True, 0.0
        self._header: bytes | None = None
        super().__init__()

    def set_cookie(self, cookie: Cookie) -> None:
        """Set one; whatever sets one does it here."""
        self._changed = True
        super().set_cookie(cookie)

    def clear(self, *which: Any, **others: Any) -> None:
        """Remove some; whatever removes one does it here."""
        self._changed = True
        super().clear(*which, **others)

    def header(self, domains: Set[str], *, tls: bool) -> bytes | None:
        """Give the Cookie header of all requests to a service; None where http.cookiejar has to decide on each."""
        if self._changed or self._until <= time.time():
            self._changed = False
            self._until = min((cookie.expires for cookie in self if cookie.expires is not None), default=math.inf)
            self._header = self._written(domains, tls)
        return self._header

    def _written(self, domains: Set[str], tls: bool) -> bytes | None:
        values = []
        for cookie in self:
            known = not cookie.domain or cookie.domain in domains
            usual = cookie.path == "/" and cookie.port is None and not cookie.version and cookie.value is not None
            if not known or not usual or cookie.is_expired() or (cookie.secure and not tls):
                return None
            values.append(f"{cookie.name}={cookie.value}")
        try:
            return "; ".join(values).encode("ascii")
        except UnicodeEncodeError:
            return None
