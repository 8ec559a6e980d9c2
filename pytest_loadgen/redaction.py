"""Secrets, kept out of messages."""

import json
import re
from collections.abc import Iterable

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


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace each secret, and each part of one, with ``[...]``."""
    # The parts, too: a program may show the token without "Bearer", or one cookie of several.
    parts = {part for secret in secrets for part in (secret, *re.split(r"[\s;&=]+", secret))}
    spellings = {spelling for part in parts for spelling in (part, json.dumps(part)[1:-1])}
    for spelling in sorted(spellings, key=len, reverse=True):
        if len(spelling) >= _MIN_LENGTH:
            text = text.replace(spelling, "[...]")
    return text


def without_password(address: str) -> str:
    """Return an address without what may be secret: what precedes the last @, and what follows ? or #."""
    shown = re.sub("^(.*?//)?.*@", r"\1", address, flags=re.DOTALL)
    return re.sub("([?#]).+", r"\1[...]", shown, flags=re.DOTALL)
