"""The client of a journey: httpx.AsyncClient's methods on the engine's own connections."""

from __future__ import annotations

import asyncio
import json as json_module
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from time import perf_counter_ns as clock
from typing import TYPE_CHECKING, Any

import httpx

from pytest_loadgen.errors import PlanError
from pytest_loadgen.generators.embedded.head import WITH_LENGTH, Head, Jar
from pytest_loadgen.generators.embedded.http1 import read_whole
from pytest_loadgen.generators.embedded.pool import Exchange, Reply, RequestFailed
from pytest_loadgen.generators.embedded.session import NAME, Session
from pytest_loadgen.generators.embedded.transport import HttpxClient, Transport, raised, response
from pytest_loadgen.units import Duration

if TYPE_CHECKING:
    from pytest_loadgen.traffic.journey import Trip

# As httpx writes JSON; json.dumps would make an encoder for each text.
_as_json = json_module.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_JSON = b"Content-Type: application/json\r\n"


class Response:
    """A response, with the interface of httpx.Response; costly parts are built when they are used."""

    __slots__ = ("_address", "_full", "_head", "_method", "_reply", "status_code")

    def __init__(self, method: str, address: str, reply: Reply) -> None:
        """Take the reply to a request."""
        self.status_code = reply.status
        self._method, self._address, self._reply = method, address, reply
        end = reply.raw.find(b"\r\n\r\n")
        head = reply.raw[: end + 2].lower()
        # In small letters; empty where only a parser can read it: with interim responses, or lines that end with LF.
        self._head = head if end > 0 and head[9:10] != b"1" else b""
        self._full: httpx.Response | None = None

    @property
    def content(self) -> bytes:
        """The decoded body."""
        # One of the length that the head says, in no encoding, need not be parsed again.
        body = self._reply.raw[len(self._head) + 2 :]
        if b"\ncontent-length: %d\r\n" % len(body) in self._head and b"encoding:" not in self._head:
            return body
        return self.whole().content

    @property
    def sets_cookies(self) -> bool:
        """Whether it may set a cookie."""
        return not self._head or b"\nset-cookie:" in self._head

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
        """Return it as an httpx.Response."""
        if self._full is None:
            parts = read_whole(self._reply.raw, is_head=self._method == "HEAD")
            self._full = response(self._method, self._address, self._reply, *parts)
        return self._full


class Client:
    """Sends the requests of one journey, with the methods of httpx.AsyncClient, and a `name=` for their figures.

    Cookies and headers belong to the journey; connections are shared by all. Requests are counted by their name, by
    default their method and path with ``{}`` in place of numbers and other identifiers.
    """

    def __init__(self, session: Session, trip: Trip | None = None) -> None:
        """Begin without cookies; a client without a journey counts nothing."""
        self._session = session
        self._trip = trip
        # Made when they are used: what belongs to the journey, and httpx itself, for all but plain requests.
        self._headers: httpx.Headers | None = None
        self._cookies: httpx.Cookies | None = None
        self._full: httpx.AsyncClient | None = None
        # The headers and cookies of all requests that were written last, and as what.
        self._written: tuple[Any, bytes | None] | None = None
        self._head: Head | None = None

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
        params: Any = None,
        headers: Any = None,
        json: Any = None,
        content: Any = None,
        **others: Any,
    ) -> Any:
        """Send a request with httpx's options, and return its response when it is complete.

        It is counted as `name`. Raises what httpx raises: httpx.ConnectError, httpx.ReadTimeout, …
        """
        session = self._session
        # As httpx writes a query where there is none.
        address = f"{url}?{httpx.QueryParams(params)}" if params and "?" not in str(url) else url
        begin = None if others or (params is not None and address is url) else session.begin(method, address)
        message = begin and self._message(begin.line, method, headers, json, content)
        if not begin or not message:
            others |= {"params": params, "headers": headers, "json": json, "content": content}
            given = {key: value for key, value in others.items() if value is not None}
            extensions = {**given.pop("extensions", {}), NAME: name}
            return await self._client().request(method, url, extensions=extensions, **given)
        kind = session.kind(method, name) if name else begin.kind
        assert session.service
        try:
            reply = await session.pool.send(session.service, Exchange(self._trip, self.due(), kind, message))
        except RequestFailed as failed:
            raise raised(failed) from None
        found = Response(method, session.base_url + address, reply)
        if found.sets_cookies:
            self.cookies.extract_cookies(found.whole())
        return found

    @asynccontextmanager
    async def stream(self, method: str, url: Any, *, name: str | None = None, **options: Any) -> AsyncIterator[Any]:
        """Send a request whose response is read piece by piece; it is complete before the first piece."""
        async with self._client().stream(method, url, extensions={NAME: name}, **options) as response:
            yield response

    async def think(self, shortest: float | str, longest: float | str | None = None) -> None:
        """Wait, like a user who reads: for a time in seconds or as text, or a random time between two.

        No latency includes it. Raises PlanError.
        """
        low = float(Duration(shortest))
        high = low if longest is None else float(Duration(longest))
        if not 0 <= low <= high < float("inf"):
            raise PlanError(f"think({shortest!r}, {longest!r}): expected a time >= 0, or the shortest and the longest")
        if trip := self._trip:
            trip.think(1)
        try:
            await asyncio.sleep(low if low == high else random.uniform(low, high))  # noqa: S311  # no secret
        finally:
            if trip:
                trip.think(-1)

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        """The engine's connections, for code that has an httpx client of its own: httpx.AsyncClient(transport=…)."""
        return Transport(self._session, self._trip, self.due)

    def due(self) -> int:
        """Return when a request is due, in ns: the first one when the journey is, a later one now."""
        trip = self._trip
        if trip is None or trip.sent:
            return clock()
        trip.sent = True
        return trip.due

    # The state of the journey is kept in its httpx client.

    @property
    def base_url(self) -> httpx.URL:
        """The base URL of relative addresses: that of `load_target`."""
        return self._client().base_url

    @property
    def headers(self) -> httpx.Headers:
        """The headers of all requests of the journey."""
        if self._headers is None:
            self._headers = httpx.Headers(self._session.headers)
        return self._headers

    @headers.setter
    def headers(self, headers: Any) -> None:
        self._headers = None
        self.headers.update(headers)
        if self._full:
            self._full.headers = self.headers

    @property
    def cookies(self) -> httpx.Cookies:
        """The cookies of the journey."""
        if self._cookies is None:
            self._cookies = httpx.Cookies(Jar())
        return self._cookies

    @cookies.setter
    def cookies(self, cookies: Any) -> None:
        self._cookies = None
        self.cookies.update(cookies)
        if self._full:
            self._full.cookies = self.cookies.jar  # a jar is not copied

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

    def _message(self, line: bytes, method: str, headers: Any, json: Any, content: Any) -> bytes | None:
        """Build a request of which httpx would make the same; None where httpx has to."""
        is_own = self._headers is not None or self._cookies is not None or self._full is not None
        head = self._write_head() if is_own else self._session.head
        if headers and head:
            head = head.with_headers(headers) if headers.__class__ is dict else None
        body = _body(json, content)
        if head is None or body is None:
            return None
        if not body and method not in WITH_LENGTH:
            return b"%b%b\r\n" % (line, head.text)
        kind = _JSON if json is not None and b"content-type" not in head.lines else b""
        return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (line, head.text, kind, len(body), body)

    def _write_head(self) -> Head | None:
        """Write the headers and cookies that httpx would send with all requests; None where more is to be done."""
        session, full = self._session, self._full
        if full and (full.follow_redirects or full.auth or full.params or full.timeout.read is not None):
            return None
        headers = session.headers if self._headers is None else self._headers.raw
        cookies: bytes | None = b""
        if self._cookies is not None:
            jar = self._cookies.jar
            cookies = jar.header(session.domains, tls=session.tls) if isinstance(jar, Jar) else None
        # To compare them takes a fifth of the time that it takes to write them.
        if (headers, cookies) != self._written:
            self._written = headers, cookies
            self._head = None if cookies is None else session.head_of(headers, cookies)
        return self._head

    def _client(self) -> httpx.AsyncClient:
        """Return the httpx client of this journey, which has its headers, cookies and so on."""
        if self._full is None:
            session = self._session
            self._full = HttpxClient(
                transport=self.transport,
                base_url=session.base_url,
                cookies=self.cookies.jar,  # a jar is not copied
                follow_redirects=session.follow_redirects,
                trust_env=False,
                timeout=httpx.Timeout(None),  # the journey has one
            )
            self._full.headers = self.headers
        return self._full


def _body(json: Any, content: Any) -> bytes | None:
    """Encode a body as httpx does; None if only httpx can."""
    if json is None:
        if content is None or content.__class__ is bytes:
            return content or b""
        return str(content).encode() if content.__class__ is str else None
    if content is not None:
        return None
    return _as_json(json).encode()
