"""Secrets, kept out of messages."""

import base64
import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_plus

# A shorter value is hardly a secret, and occurs in any text.
_MIN_LENGTH = 4


# Words in names of headers and fields that hold secrets, and how secret values begin.
_SECRET_NAME = re.compile(
    r"auth|cookie|token|secret|passw|pwd|credential|session|signature|api-?_?key|access-?_?key|private-?_?key|csrf|xsrf"
    r"|jwt|^(key|sig|sid)$|-key$|_key$",
    re.IGNORECASE,
)
_NO_SECRETS = frozenset({"idempotency-key", "x-idempotency-key", "sec-websocket-key", ":authority", "author"})
_SECRET_VALUE = re.compile(r"(?i)(bearer|basic|digest|token|negotiate|apikey) \S|eyJ[\w-]+\.")


def secret_name(name: str, value: str = "") -> bool:
    """Whether a header or a field of a query looks as if it held a secret."""
    if name.lower() in _NO_SECRETS:
        return False
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.match(value))


def redact(text: str, secrets: Iterable[str], *, is_cut: bool = False) -> str:
    """Replace each secret, and each part of one, with ``[...]``; of a text that was cut, also a secret cut with it."""
    parts = {part for secret in secrets for part in _parts(secret)}
    spellings = {spelling for part in parts for spelling in (part, json.dumps(part)[1:-1])}
    ordered = sorted((each for each in spellings if len(each) >= _MIN_LENGTH), key=len, reverse=True)
    for spelling in ordered:
        text = text.replace(spelling, "[...]")
    return _without_cut(text, ordered) if is_cut else text


def _parts(secret: str) -> Iterator[str]:
    """Give a secret and its parts: a service may show the token without "Bearer", or one field of a form or of JSON."""
    yield secret
    for part in re.split(r"[\s;&=]+", secret):
        yield part
        if "%" in part or "+" in part:
            yield unquote_plus(part)
    if secret.startswith("Basic "):
        with contextlib.suppress(ValueError):
            login = base64.b64decode(secret[6:]).decode()
            yield from (login, login.partition(":")[2])
    if secret[:1] in {"{", "["}:
        with contextlib.suppress(ValueError, RecursionError):
            yield from _values(json.loads(secret))


def _values(value: object) -> Iterator[str]:
    """Give the texts and the numbers in JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _values(each)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
        yield str(value)


def _without_cut(text: str, secrets: Iterable[str]) -> str:
    """Replace the beginning of a secret at the end of a text."""
    for secret in secrets:
        begin = text.find(secret[:_MIN_LENGTH])
        while begin >= 0:
            if secret.startswith(text[begin:]):
                return f"{text[:begin]}[...]"
            begin = text.find(secret[:_MIN_LENGTH], begin + 1)
    return text


def without_password(address: str) -> str:
    """Return an address without what may be secret: what precedes the last @, and what follows ? or #."""
    shown = re.sub("^(.*?//)?.*@", r"\1", address, flags=re.DOTALL)
    return re.sub("([?#]).+", r"\1[...]", shown, flags=re.DOTALL)
