"""Templates: requests whose fields are filled from rows of data."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.by_value import Sent
from pytest_loadgen.traffic.target import Target, digest_of

# What stands for a value: {id}, {0}, {}; doubled braces are braces.
_FIELD = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*|\d*)\}")
# The options of a request that may have fields, or be functions of the row.
_FILLED = ("params", "headers", "cookies", "content", "data", "files", "json")
# Letters, digits and marks that no place encodes (RFC 3986, 2.3).
_PLAIN = (string.ascii_letters + string.digits + "-._~").encode()
_NO_MAPPINGS = frozenset({str, int, tuple, list})
_LENGTH = re.compile(rb"\r\nContent-Length: \d+(?=\r\n)", re.IGNORECASE)

Encode = Callable[[str], bytes]


@dataclass(frozen=True)
class _Slot:
    """A place in the request that a value fills, and how values are encoded there."""

    field: str
    encode: Encode


Piece = bytes | _Slot


class Template:
    """A request, and how to fill it from a row.

    A value is encoded as its place needs: percent-encoded in path, query and forms, escaped in JSON. Functions among
    httpx's options get the row, and give the value of the option.
    """

    def __init__(self, url: str, options: Mapping[str, Any], row: Any, literal: Collection[str] = frozenset()) -> None:
        """Compile the request, with an example of a row; literal options have no fields. Raises PlanError."""
        self._url = url
        self._options = options
        self._functions = functions = [name for name in _FILLED if callable(options.get(name))]
        # A function that gives JSON or text changes the body only; others may change everything.
        self._body = functions[0] if len(functions) == 1 and functions[0] in {"json", "content"} else None
        self._rebuilt = bool(functions) and self._body is None
        example = {**options, **{name: _called(name, options[name], row) for name in functions}}
        fields = _Fields()
        # What a function gives is sent as it is.
        marked_options = {*_FILLED} - {*functions, *literal}
        filled = {name: fields.mark(value) if name in marked_options else value for name, value in example.items()}
        marked = fields.mark(url)
        if fields.mark_of(urlsplit(marked).netloc):
            raise PlanError(f"{url!r}: data cannot fill the host: all requests of a load go to one service")
        target = Target.of(marked, **filled)
        self.target = replace(target, url=fields.shown(target.url), digest=self._digest(target, fields))
        """The request of the example; its URL shows the fields."""
        head = fields.split(_head(target), _encode_path, _encode_query, _encode_header)
        self._head = _Filling(head)
        body = _body_encoding(target)
        self._content = _Filling(fields.split(target.body, body, body, body))
        # A body without fields is filled together with the head.
        fixed_body = self._content.fixed and not self._body
        self._whole = _Filling((*head, target.body)) if fixed_body and not self._rebuilt else None

    def __getstate__(self) -> dict[str, Any]:
        """Send functions by value."""
        sent = {name: Sent(value, name) if callable(value) else value for name, value in self._options.items()}
        return {**self.__dict__, "_options": sent}

    def _digest(self, target: Target, fields: _Fields) -> str:
        """Return a hash of what all its requests have in common; what functions return may differ each time."""
        if self._rebuilt:
            return ""
        query = target.path.partition(b"?")[2]
        body = b"" if self._body else target.body
        return digest_of(fields.shown_in(query), fields.shown_in(body), target.headers)

    def render(self, row: Any) -> bytes:
        """Fill the request from a row. Raises PlanError where a value is missing, or cannot be sent."""
        if self._whole:
            return self._whole(row)
        if self._rebuilt:
            given = {name: _called(name, self._options[name], row) for name in self._functions}
            return Template(self._url, {**self._options, **given}, row, self._functions).render(row)
        if self._body:
            body = _encoded(self._body, _called(self._body, self._options[self._body], row))
        else:
            body = self._content(row)
        return _LENGTH.sub(b"\r\nContent-Length: %d" % len(body), self._head(row), count=1) + body


class _Fields:
    """Marks that stand for fields while httpx builds the request: letters and digits, which no encoding changes."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._key = f"Z{secrets.token_hex(8)}f"
        self._mark = re.compile(rf"{self._key}(\d+)Z")

    def mark(self, value: Any) -> Any:
        """Replace fields in texts, also in those of lists and dicts."""
        if isinstance(value, str):
            return _FIELD.sub(self._marked, value)
        if isinstance(value, Mapping):
            return {self.mark(key): self.mark(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.mark, value))
        return value

    def _marked(self, match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        self._names.append(match[1])
        return f"{self._key}{len(self._names) - 1}Z"

    def mark_of(self, text: str) -> bool:
        """Return whether a text has a mark."""
        return self._mark.search(text) is not None

    def shown(self, text: str) -> str:
        """Show the fields in place of their marks."""
        return self._mark.sub(lambda match: f"{{{self._names[int(match[1])]}}}", text)

    def shown_in(self, text: bytes) -> bytes:
        """Put the names of the fields back into a part of the request."""
        return self.shown(text.decode(errors="surrogateescape")).encode(errors="surrogateescape")

    def split(self, text: bytes, path: Encode, query: Encode, header: Encode) -> tuple[Piece, ...]:
        """Cut a head or a body at its marks."""
        pieces: list[Piece] = []
        end_of_line, question = text.find(b"\r\n"), text.find(b"?")
        begin = 0
        for match in re.finditer(self._mark.pattern.encode(), text):
            at = match.start()
            in_line = 0 <= at < end_of_line
            encode = header if not in_line else query if 0 <= question < at else path
            if encode is _encode_header and b":" not in text[text.rfind(b"\n", 0, at) : at]:
                encode = _encode_header_name
            pieces += [text[begin:at], _Slot(self._names[int(match[1])], encode)]
            begin = match.end()
        pieces.append(text[begin:])
        return tuple(pieces)


def _head(target: Target) -> bytes:
    return target.message()[: -len(target.body) or None]


class _Filling:
    """A text with its slots, as a format: each request of a load is filled while others are sent."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._slots = [(piece.field, piece.encode) for piece in pieces if isinstance(piece, _Slot)]
        self._format = b"".join(piece.replace(b"%", b"%%") if isinstance(piece, bytes) else b"%b" for piece in pieces)

    @property
    def fixed(self) -> bool:
        return not self._slots

    def __call__(self, row: Any) -> bytes:
        try:
            return self._format % tuple([encode(_value(row, field)) for field, encode in self._slots])
        except PlanError:
            raise
        except Exception as error:
            # Rows may hold anything: what cannot be written as text, or as UTF-8.
            raise PlanError(f"a value cannot be sent: {type(error).__name__}: {error}") from error


def _value(row: Any, field: str) -> str:
    """Look up a field: {} and {row} are the row itself, {0} an item of it, {id} a key or an attribute."""
    try:
        # The check for other mappings takes longer than all of the rest.
        kind = type(row)
        if kind is dict or (kind not in _NO_MAPPINGS and isinstance(row, Mapping)):
            value = row[field]
        elif field in ("", "row"):
            value = row
        else:
            value = row[int(field)] if field.isdigit() else getattr(row, field)
    except (LookupError, AttributeError, TypeError):
        known = f"; it has {', '.join(map(str, row))}" if isinstance(row, Mapping) else f" in a {type(row).__name__}"
        raise PlanError(f"no field {{{field}}}{known}") from None
    # As texts they would be "None" and "b'…'", which no service wants.
    if value is None or value.__class__ is bytes:
        raise PlanError(f"field {{{field}}} is {'None' if value is None else 'bytes'}: expected text or a number")
    return str(value)


def _called(name: str, function: Callable[[Any], Any], row: Any) -> Any:
    try:
        return function(row)
    except Exception as error:
        raise PlanError(f"{name}=: {type(error).__name__}: {error}") from error


def _encoded(name: str, value: Any) -> bytes:
    """Encode a body as httpx does."""
    try:
        if name == "json":
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        if isinstance(value, (str, bytes)):
            return value.encode() if isinstance(value, str) else value
    except (TypeError, ValueError, RecursionError) as error:
        raise PlanError(f"{name}=: {error}") from None
    raise PlanError(f"{name}= must give text or bytes, not {type(value).__name__}")


# How a value is encoded, by its place.


def _is_plain(value: bytes) -> bool:
    """Whether a value is the same wherever it stands; most are, and this is the fastest way to see it."""
    return not value.translate(None, _PLAIN)


def _encode_path(value: str) -> bytes:
    return plain if _is_plain(plain := value.encode()) else quote(value, safe="").encode()


_encode_query = _encode_path


def _encode_form(value: str) -> bytes:
    return plain if _is_plain(plain := value.encode()) else quote_plus(value).encode()


def _encode_json(value: str) -> bytes:
    return plain if _is_plain(plain := value.encode()) else json.dumps(value, ensure_ascii=False)[1:-1].encode()


def _encode_text(value: str) -> bytes:
    return value.encode()


def _encode_header(value: str) -> bytes:
    if re.search(r"[\r\n\0]", value):
        raise PlanError("headers: a value has a line break or a null byte")
    return value.encode()


def _encode_header_name(value: str) -> bytes:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value):
        raise PlanError("headers: HTTP forbids a character in a name")
    return value.encode()


def _body_encoding(target: Target) -> Encode:
    kind = next((value for name, value in target.headers if name.lower() == b"content-type"), b"")
    if kind.startswith(b"application/json"):
        return _encode_json
    return _encode_form if kind.startswith(b"application/x-www-form-urlencoded") else _encode_text
