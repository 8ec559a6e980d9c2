"""HAR files, as browsers and proxies record them, as requests of a load.

HTTP Archive 1.2: http://www.softwareishard.com/blog/har-12-spec/
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote_plus, unquote_plus, urlsplit

from pytest_loadgen.errors import PlanError
from pytest_loadgen.redaction import secret_name
from pytest_loadgen.traffic.request import Request, named_apart, request
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.wording import one_line

# Recordings have the responses' bodies in them.
_LARGEST = 256 << 20
_MOST_ENTRIES = 100_000
_MOST_REQUESTS = 1000
# What belongs to a connection, and what a browser adds to each request for itself.
_OF_CONNECTION = re.compile(
    "connection|content-length|expect|host|http2-settings|keep-alive|proxy-authorization|proxy-connection|te|trailer"
    "|transfer-encoding|upgrade|:.*"
)
_OF_BROWSER = re.compile(
    "sec-.*|x-devtools-.*|x-client-data|accept-encoding|dnt|origin|priority|referer|traceparent|tracestate"
    "|upgrade-insecure-requests|if-(none-)?match|if-(un)?modified-since|if-range"
)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_METHOD = re.compile("[A-Z]{1,30}")
_FORM = "application/x-www-form-urlencoded"


def from_har(path: str | os.PathLike[str], *, keep: str | Collection[str] = ()) -> list[Request]:
    """Read the requests of a browser's recording, for `load()`; identical ones become one, with its weight.

    Only those to the service of the first one are kept, with addresses relative to `load_target`. Cookies,
    authorization, and headers, query and form parameters and top-level fields of JSON whose names look as if they
    held a secret are left out, unless `keep` has their names. Raises PlanError.
    """
    keep = (keep,) if isinstance(keep, str) else keep
    if not isinstance(keep, Collection) or not all(isinstance(name, str) for name in keep):
        raise PlanError(f"from_har(keep={keep!r}): expected a list of names of headers, parameters and fields")
    return _Recording(Path(path), frozenset(name.lower() for name in keep)).requests()


@dataclass(frozen=True)
class _Recording:
    path: Path
    keep: frozenset[str]

    def requests(self) -> list[Request]:
        log = self._log()
        if not isinstance(entries := log.get("entries", []), list):
            self._refuse(f"log.entries: expected a list, not {_kind(entries)}")
        if len(entries) > _MOST_ENTRIES:
            self._refuse(f"more than {_MOST_ENTRIES:,} entries")
        service = None
        found: Counter[str] = Counter()
        for number, entry in enumerate(entries):
            where = f"log.entries[{number}]"
            try:
                if (recorded := _sent(entry, where)) is None:
                    continue
                url = _text(recorded, "url", f"{where}.request")
                service = service or _service(url)
                if _service(url) != service:
                    continue
                key = json.dumps(self._request(recorded, url, where))
                # Of too many, it is enough to count them.
                if key not in found and len(found) < _MOST_REQUESTS:
                    _check(json.loads(key), f"{where}.request")
                found[key] += 1
            except (PlanError, RecursionError) as error:
                self._refuse(str(error) or "it is nested too deeply")
        if not found:
            self._refuse("it has no HTTP request")
        if len(found) > _MOST_REQUESTS:
            self._refuse(f"it has {len(found):,} different requests, more than {_MOST_REQUESTS:,}: record less")
        return named_apart(_described(text, times) for text, times in found.items())

    def _log(self) -> Any:
        try:
            with self.path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except (OSError, ValueError) as error:
            raise PlanError(f"cannot read {self.path}: {getattr(error, 'strerror', None) or error}") from None
        if len(content) > _LARGEST:
            self._refuse(f"more than {_LARGEST >> 20} MiB: record it without contents")
        try:
            document = json.loads(content.decode("utf-8-sig"))
        except RecursionError:
            self._refuse("it is nested too deeply")
        except ValueError as error:
            self._refuse(f"not JSON ({error})")
        if not isinstance(document, Mapping) or not isinstance(document.get("log"), Mapping):
            self._refuse("it has no log: a HAR file is {'log': {'entries': [...]}}")
        return document["log"]

    def _refuse(self, why: str) -> NoReturn:
        raise PlanError(f"{one_line(str(self.path))} is not a recording that can be loaded: {one_line(why)}")

    def _request(self, recorded: Mapping[str, Any], url: str, where: str) -> dict[str, Any]:
        """Give what `request` takes, without secrets, as values of JSON."""
        method = _text(recorded, "method", f"{where}.request")
        if not _METHOD.fullmatch(method):
            raise PlanError(f"{where}.request.method: {method[:40]!r} is not an HTTP method")
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise PlanError(f"{where}.request.url: {error}") from None
        query = "&".join(self._kept(parts.query.split("&")))
        kind, content = self._content(recorded, where)
        headers = list(self._headers(recorded, where))
        if not content:
            headers = [(name, value) for name, value in headers if name.lower() != "content-type"]
        elif kind and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("content-type", kind))
        address = (parts.path or "/") + (f"?{query}" if query else "")
        return {"method": method, "url": address, "headers": headers, **({"content": content} if content else {})}

    def _headers(self, recorded: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
        for number, header in enumerate(_list(recorded, "headers", f"{where}.request")):
            here = f"{where}.request.headers[{number}]"
            name, value = (_text(_mapping(header, here), key, here) for key in ("name", "value"))
            lower = name.lower()
            if _OF_CONNECTION.fullmatch(lower) or self._secret(name, value):
                continue
            if _OF_BROWSER.fullmatch(lower) and lower not in self.keep:
                continue
            if not _TOKEN.fullmatch(name) or re.search(r"[\r\n\0]", value):
                raise PlanError(f"{here}: HTTP forbids a character in the name or value of {name[:40]!r}")
            yield name, value

    def _secret(self, name: str, value: str = "") -> bool:
        return name.lower() not in self.keep and secret_name(name, value)

    def _kept(self, pairs: list[str]) -> Iterator[str]:
        """Leave secrets out of a query or a form; the others stay as they are encoded."""
        for pair in pairs:
            name, _, value = pair.partition("=")
            if pair and not self._secret(_decoded(name), _decoded(value)):
                yield pair

    def _content(self, recorded: Mapping[str, Any], where: str) -> tuple[str, str]:
        """Give the type and the text of the body."""
        if (posted := recorded.get("postData")) is None:
            return "", ""
        here = f"{where}.request.postData"
        posted = _mapping(posted, here)
        kind = str(posted.get("mimeType") or "")
        if re.search(r"[\r\n\0]", kind):
            raise PlanError(f"{here}.mimeType has a line break")
        text = posted.get("text")
        if text is not None and not isinstance(text, str):
            raise PlanError(f"{here}.text: expected text, not {type(text).__name__}")
        if text and posted.get("encoding") == "base64":
            try:
                text = base64.b64decode(text).decode()
            except ValueError:
                raise PlanError(f"{here}: its text is base64, and not of text") from None
        if kind.startswith(_FORM):
            return kind, "&".join(self._kept((text or "&".join(_pairs(posted, here))).split("&")))
        if not text:
            if posted.get("params") or _size(recorded) > 0:
                raise PlanError(f"{here} has no text: the body of this request was not recorded")
            return "", ""
        if boundary := re.match(r'multipart/.*boundary="?([^";]+)', kind):
            return kind, self._multipart(text, boundary[1])
        return kind, self._json(text) if "json" in kind else text

    def _multipart(self, text: str, boundary: str) -> str:
        """Leave secrets out of the parts of a form."""
        begin, *parts = text.split(f"--{boundary}")
        kept = [part for part in parts if not any(map(self._secret, re.findall(r'\bname="([^"]*)"', part)))]
        return f"--{boundary}".join([begin, *kept])

    def _json(self, text: str) -> str:
        """Leave secrets out of the top level of JSON; anything else stays as it is."""
        try:
            if not isinstance(json.loads(text), dict):
                return text
        except ValueError:
            return text
        fields = list(_fields(text))
        kept = [written for name, value, written in fields if not self._secret(name, _shown(value))]
        return text if len(kept) == len(fields) else f"{{{','.join(kept)}}}"


def _described(text: str, times: int) -> Request:
    given = json.loads(text)
    method, url = given.pop("method"), given.pop("url")
    return request(method, url, weight=times, **given)


def _sent(entry: Any, where: str) -> Mapping[str, Any] | None:
    """Give the request of an entry, if it went to a service: not data:, ws:, or what the browser had already."""
    entry = _mapping(entry, where)
    recorded = _mapping(entry.get("request"), f"{where}.request")
    http = re.match("https?://", _text(recorded, "url", f"{where}.request"))
    return recorded if http and not entry.get("_fromCache") and recorded.get("method") != "CONNECT" else None


def _check(given: dict[str, Any], where: str) -> None:
    """Refuse what cannot be sent, while it is known where it is in the file. Raises PlanError."""
    url = given.pop("url")
    try:
        Target.of(f"http://localhost{url}", **given)
    except PlanError as error:
        raise PlanError(f"{where}: {error}") from None


def _service(url: str) -> tuple[str, str]:
    """Give scheme and host; what is wrong with the rest is found where it is read."""
    scheme, _, rest = url.partition("://")
    host = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2].lower()
    return scheme, host.removesuffix(":443" if scheme == "https" else ":80")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PlanError(f"{where}: expected an object, not {_kind(value)}")
    return value


def _list(parent: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = parent.get(key, [])
    if not isinstance(value, list):
        raise PlanError(f"{where}.{key}: expected a list, not {_kind(value)}")
    return value


def _text(parent: Mapping[str, Any], key: str, where: str) -> str:
    value = parent.get(key)
    if not isinstance(value, str):
        raise PlanError(f"{where}.{key}: expected text, not {_kind(value)}")
    return value


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _size(recorded: Mapping[str, Any]) -> float:
    size = recorded.get("bodySize")
    return size if isinstance(size, (int, float)) else 0


def _pairs(posted: Mapping[str, Any], where: str) -> Iterator[str]:
    """Write the parameters of a form whose text was not recorded."""
    for number, parameter in enumerate(_list(posted, "params", where)):
        here = f"{where}.params[{number}]"
        name, value = (_text(_mapping(parameter, here), key, here) for key in ("name", "value"))
        yield f"{quote_plus(name)}={quote_plus(value)}"


def _fields(text: str) -> Iterator[tuple[str, Any, str]]:
    """Give the fields of a JSON object: name, value and their text, as not every number survives being written anew."""
    decode, space = json.JSONDecoder().raw_decode, re.compile(r"[\s,:]*")
    at = text.index("{") + 1
    while text[at := space.match(text, at).end()] != "}":  # type: ignore[union-attr]  # it may be empty
        name, colon = decode(text, at)
        value, end = decode(text, space.match(text, colon).end())  # type: ignore[union-attr]
        yield name, value, text[at:end]
        at = end


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="replace")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else ""
