"""The client of a journey: httpx.AsyncClient's methods on the engine's own connections."""

from __future__ import annotations

import asyncio
import json as json_module
import random
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from time import perf_counter_ns as clock
from typing import TYPE_CHECKING, Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.generators.embedded.http1 import read_whole
from pytest_loadgen.generators.embedded.pool import Reply, RequestFailed, Sent
from pytest_loadgen.generators.embedded.session import NAME, Headers, Session
from pytest_loadgen.units import Duration

if TYPE_CHECKING:
    import httpx

    from pytest_loadgen.traffic.journey import Trip

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~]*")
_SET_COOKIE = re.compile(rb"\nset-cookie:", re.IGNORECASE)
_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})
_OF_BODY = frozenset({"content-length", "transfer-encoding"})


class Response:
    """A response, with the interface of httpx.Response; what is costly is built when it is used."""

    __slots__ = ("_address", "_full", "_head", "_method", "_reply", "status_code")

    def __init__(self, method: str, address: str, reply: Reply) -> None:
        """Take what came."""
        self.status_code = reply.status
        self._method, self._address, self._reply = method, address, reply
        self._head: tuple[list[tuple[bytes, bytes]], bytes] | None = None
        self._full: httpx.Response | None = None

    @property
    def content(self) -> bytes:
        """The body, without its encoding."""
        headers, body = self._parts()
        for name, _ in headers:
            if name.lower() == b"content-encoding":
                return self.whole().content
        return body

    def json(self, **options: Any) -> Any:
        """Read the body as JSON. Raises ValueError."""
        return json_module.loads(self.content, **options)

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300

    def raise_for_status(self) -> Response:
        """Return the response if its status is 2xx. Raises httpx.HTTPStatusError."""
        if not self.is_success:
            self.whole().raise_for_status()
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.whole(), name)

    def __repr__(self) -> str:
        return repr(self.whole())

    def whole(self) -> httpx.Response:
        """Give it as httpx's response."""
        if self._full is None:
            from pytest_loadgen.generators.embedded.transport import response

            self._full = response(self._method, self._address, self._reply, *self._parts())
        return self._full

    def _parts(self) -> tuple[list[tuple[bytes, bytes]], bytes]:
        if self._head is None:
            self._head = read_whole(self._reply.raw, is_head=self._method == "HEAD")
        return self._head


class Client:
    """Sends the requests of one journey, with the methods of httpx.AsyncClient, and a `name=` for their figures.

    Cookies and headers belong to the journey; connections are shared by all. Requests are counted by their name, by
    default their method and path with ``{}`` in place of numbers and other identifiers.
    """

    def __init__(self, session: Session, trip: Trip | None = None) -> None:
        """Begin without cookies; a client of no journey counts nothing."""
        self._session = session
        self._trip = trip
        # Made when it is used: httpx itself, for all but plain requests.
        self._full: httpx.AsyncClient | None = None

    def get(self, url: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        """Send a GET request; see `request`."""
        return self.request("GET", url, **options)

    def options(self, url: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        """Send an OPTIONS request; see `request`."""
        return self.request("OPTIONS", url, **options)

    def head(self, url: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        """Send a HEAD request; see `request`."""
        return self.request("HEAD", url, **options)

    def post(self, url: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        """Send a POST request; see `request`."""
        return self.request("POST", url, **options)

    def put(self, url: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        """Send a PUT request; see `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        """Send a PATCH request; see `request`."""
        return self.request("PATCH", url, **options)

    def delete(self, url: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        """Send a DELETE request; see `request`."""
        return self.request("DELETE", url, **options)

    async def request(
        self,
        method: str,
        url: Any,
        *,
        name: str | None = None,
        headers: Any = None,
        json: Any = None,
        content: Any = None,
        **others: Any,
    ) -> Any:
        """Send a request with httpx's options, and return its response when all of it is there.

        `name` is what it is counted as. Raises what httpx raises: httpx.ConnectError, httpx.ReadTimeout, …
        """
        session = self._session
        message = None if others else self._message(method, url, headers, json, content)
        if message is None:
            others |= {"headers": headers, "json": json, "content": content}
            given = {key: value for key, value in others.items() if value is not None}
            extensions = {**given.pop("extensions", {}), NAME: name}
            return await self._client().request(method, url, extensions=extensions, **given)
        sent = Sent(name or session.name(method, url), self.due(), session.kinds[method], message)
        try:
            reply = await session.pool.send(session.service, self._trip, sent)
        except RequestFailed as failed:
            from pytest_loadgen.generators.embedded.transport import raised

            raise raised(failed) from None
        response = Response(method, session.base_url + url, reply)
        if _SET_COOKIE.search(reply.raw, 0, max(0, reply.raw.find(b"\r\n\r\n"))):
            self._client().cookies.extract_cookies(response.whole())
        return response

    @asynccontextmanager
    async def stream(self, method: str, url: Any, *, name: str | None = None, **options: Any) -> AsyncIterator[Any]:
        """Send a request whose response is read piece by piece; all of it is there before the first piece."""
        async with self._client().stream(method, url, extensions={NAME: name}, **options) as response:
            yield response

    async def think(self, shortest: float | str, longest: float | str | None = None) -> None:
        """Wait, as a user who reads does: for a time in seconds or as text, or one drawn evenly between two.

        It counts in no latency. Raises PlanError.
        """
        low = float(Duration(shortest))
        high = low if longest is None else float(Duration(longest))
        if not 0 <= low <= high < float("inf"):
            raise PlanError(f"think({shortest!r}, {longest!r}): expected a time >= 0, or the shortest and the longest")
        trip, began = self._trip, clock()
        if trip:
            trip.pausing = True
        try:
            await asyncio.sleep(low if low == high else random.uniform(low, high))  # noqa: S311  # no secret
        finally:
            if trip:
                trip.pausing = False
                trip.paused += clock() - began

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        """The engine's connections, for code that has an httpx client of its own: httpx.AsyncClient(transport=…)."""
        from pytest_loadgen.generators.embedded.transport import Transport

        return Transport(self._session, self._trip, self.due)

    def due(self) -> int:
        """Give when a request is due, in ns: the first one when the journey is, a later one when it gets there."""
        trip = self._trip
        if trip is None or trip.sent:
            return clock()
        trip.sent = True
        return trip.due

    # What belongs to the journey is that of httpx's client.

    @property
    def base_url(self) -> httpx.URL:
        """What relative addresses are relative to: that of `load_target`."""
        return self._client().base_url

    @property
    def headers(self) -> httpx.Headers:
        """The headers of all requests of the journey."""
        return self._client().headers

    @headers.setter
    def headers(self, headers: Any) -> None:
        self._client().headers = headers

    @property
    def cookies(self) -> httpx.Cookies:
        """The cookies of the journey."""
        return self._client().cookies

    @cookies.setter
    def cookies(self, cookies: Any) -> None:
        self._client().cookies = cookies

    @property
    def params(self) -> httpx.QueryParams:
        """The query of all requests of the journey."""
        return self._client().params

    @params.setter
    def params(self, params: Any) -> None:
        self._client().params = params

    @property
    def auth(self) -> httpx.Auth | None:
        """How all requests of the journey are authenticated."""
        return self._client().auth

    @auth.setter
    def auth(self, auth: Any) -> None:
        self._client().auth = auth

    @property
    def timeout(self) -> httpx.Timeout:
        """How long each request may take; by default, as long as the journey may."""
        return self._client().timeout

    @timeout.setter
    def timeout(self, timeout: Any) -> None:
        self._client().timeout = timeout

    @property
    def follow_redirects(self) -> bool:
        """Whether redirects are followed."""
        return self._client().follow_redirects

    @follow_redirects.setter
    def follow_redirects(self, follow: bool) -> None:
        self._client().follow_redirects = follow

    def _message(self, method: str, url: Any, headers: Any, json: Any, content: Any) -> bytes | None:
        """Build a request of which httpx would make the same bytes; None where httpx has to."""
        session = self._session
        if not session.is_plain(method, url):
            return None
        own = session.headers if self._full is None else self._full_headers(self._full)
        found = own if own is None or headers is None else _with(own, headers)
        body = _body(json, content)
        if found is None or body is None:
            return None
        lines = [f"{method} {session.prefix}{url} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in found.values()]
        if body or method in _WITH_LENGTH:
            lines.append(f"Content-Length: {len(body)}")
            if json is not None and "content-type" not in found:
                lines.append("Content-Type: application/json")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def _full_headers(self, full: httpx.AsyncClient) -> Headers | None:
        """Give the headers and cookies that httpx would send; None where more is to be done."""
        if full.follow_redirects or full.auth or full.params or full.timeout.read is not None:
            return None
        session = self._session
        found = {name: (name, value) for name, value in full.headers.items()}
        if host := session.headers.get("host"):
            found["host"] = host
        cookies = []
        for cookie in full.cookies.jar:
            known = not cookie.domain or cookie.domain in session.domains
            if not known or cookie.path != "/" or cookie.secure or cookie.expires is not None:
                return None
            cookies.append(f"{cookie.name}={cookie.value}")
        if cookies:
            if "cookie" in found:
                return None
            found["cookie"] = ("Cookie", "; ".join(cookies))
        return found

    def _client(self) -> httpx.AsyncClient:
        """Give httpx's client for this journey, which has what the journey sets."""
        if self._full is None:
            import httpx

            session = self._session
            self._full = httpx.AsyncClient(
                transport=self.transport,
                base_url=session.base_url,
                headers={name: value for name, value in session.headers.values() if name.lower() != "host"},
                follow_redirects=session.follow_redirects,
                trust_env=False,
                timeout=httpx.Timeout(None),  # that of the journey
            )
        return self._full


def _with(own: Headers, headers: Any) -> Headers | None:
    """Add the headers of a request to those of all; None where httpx has to."""
    if not isinstance(headers, dict):
        return None
    found = dict(own)
    for name, value in headers.items():
        if not (value.__class__ is name.__class__ is str and _NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            return None
        found[name.lower()] = (name, value)
    return None if found.keys() & _OF_BODY else found


def _body(json: Any, content: Any) -> bytes | None:
    """Encode a body as httpx does; None where httpx has to."""
    if json is None:
        if content is None or content.__class__ is bytes:
            return content or b""
        return str(content).encode() if content.__class__ is str else None
    if content is not None:
        return None
    return json_module.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
