"""The engine's connections as an httpx transport."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx

from pytest_loadgen.generators.embedded.head import OF_BODY, WITH_LENGTH, Head
from pytest_loadgen.generators.embedded.http1 import read_whole
from pytest_loadgen.generators.embedded.pool import Exchange, Reply, RequestFailed
from pytest_loadgen.generators.embedded.session import NAME, Session, name_of

if TYPE_CHECKING:
    from pytest_loadgen.traffic.journey import Trip

_FAILURES: dict[str, type[httpx.TransportError]] = {
    "timeout": httpx.ReadTimeout,
    "closed": httpx.RemoteProtocolError,
    "protocol": httpx.RemoteProtocolError,
    "reset": httpx.ReadError,
}


class Transport(httpx.AsyncBaseTransport):
    """Sends requests that httpx has built, on the engine's connections."""

    def __init__(self, session: Session, trip: Trip | None, due: Callable[[], int]) -> None:
        """Belong to a journey; `due` returns when its next request is due, in ns."""
        self._session, self._trip, self._due = session, trip, due

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return its response when it is complete."""
        session = self._session
        service = session.service_of(request.url)
        message = _message(request, await request.aread())
        path = request.url.path
        if service is session.service and path.startswith(f"{session.prefix}/"):
            path = path.removeprefix(session.prefix)  # it is written without that of the base URL
        name = request.extensions.get(NAME) or name_of(request.method, path)
        exchange = Exchange(self._trip, self._due(), session.kind(request.method, name), message)
        limit = (request.extensions.get("timeout") or {}).get("read")
        try:
            reply = await session.pool.send(service, exchange, limit)
        except RequestFailed as failed:
            raise raised(failed, request) from None
        headers, body = read_whole(reply.raw, is_head=request.method == "HEAD")
        return httpx.Response(reply.status, headers=_shown(headers), stream=httpx.ByteStream(body), request=request)


class HttpxClient(httpx.AsyncClient):
    """httpx's client, with headers that are those of the journey, and no copy of them."""

    headers: httpx.Headers = httpx.Headers()  # type: ignore[override]  # where httpx has a property that copies


def response(method: str, url: str, reply: Reply, headers: list[tuple[bytes, bytes]], body: bytes) -> httpx.Response:
    """Build an httpx.Response from a reply."""
    request = httpx.Request(method, url)
    built = httpx.Response(reply.status, headers=_shown(headers), content=body, request=request)
    built.elapsed = timedelta(microseconds=(reply.ended - reply.sent) / 1000)
    return built


def raised(failed: RequestFailed, request: httpx.Request | None = None) -> httpx.TransportError:
    """Return the exception that httpx raises for a kind of failure."""
    error = _FAILURES.get(failed.kind, httpx.ConnectError)(failed.reason or failed.kind, request=request)
    error.load_outcome = failed.kind  # type: ignore[attr-defined]  # see outcome_of
    return error


def _shown(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    # The body is no longer chunked; httpx decodes its content encoding.
    return [pair for pair in headers if pair[0].lower() != b"transfer-encoding"]


def _message(request: httpx.Request, body: bytes) -> bytes:
    """Write an httpx request for HTTP/1.1."""
    head = Head.of(pair for pair in request.headers.raw if pair[0].lower() not in OF_BODY)
    if head is None:
        raise httpx.LocalProtocolError("a header has a character that HTTP forbids", request=request)
    line = b"%b %b HTTP/1.1\r\n%b" % (request.method.encode(), request.url.raw_path, head.text)
    if body or request.method in WITH_LENGTH:
        line += b"Content-Length: %d\r\n" % len(body)
    return line + b"\r\n" + body
