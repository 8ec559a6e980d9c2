"""A journey's client: what it writes itself has to be what httpx would send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import pytest
from httptools import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_loadgen.generators.embedded.client import Client
from pytest_loadgen.generators.embedded.http1 import Endpoint
from pytest_loadgen.generators.embedded.pool import Exchange, Reply, Service
from pytest_loadgen.generators.embedded.session import METHODS, Session
from pytest_loadgen.traffic.options import plan_of

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Request(NamedTuple):
    """What a service reads."""

    method: bytes
    path: bytes
    headers: list[tuple[bytes, bytes]]
    """In small letters, sorted."""
    body: bytes


class Read:
    """A request as a parser reads it."""

    def __init__(self, message: bytes) -> None:
        self.path = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = 0
        parser = HttpRequestParser(self)
        parser.feed_data(message)
        assert self.complete == 1
        self.request = Request(parser.get_method(), self.path, sorted(self.headers), self.body)

    def on_url(self, path: bytes) -> None:
        self.path += path

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


class Recording:
    """Takes requests as a pool of connections does, and gives each the same response."""

    def __init__(self, response: bytes = RESPONSE) -> None:
        self.messages: list[bytes] = []
        self._response = response

    def service(self, endpoint: Endpoint) -> Service:
        return Service(endpoint)

    async def send(self, _: Service, exchange: Exchange, seconds: float | None = None) -> Reply:
        self.messages.append(exchange.message)
        return Reply(int(self._response[9:12]), self._response, 0, 1)


async def journey(_: Any) -> None: ...


def client_of(pool: Recording, url: str = "http://127.0.0.1:80/api?q=1", **options: Any) -> Client:
    chosen: Any = {"users": 1, **options}
    fake: Any = pool
    return Client(Session(plan_of(journey, chosen, lambda: url), fake))


def sent(prepare: Callable[[Client], object], method: str, url: str, by_httpx: bool, **options: Any) -> object:
    """Send a request, and return what a service reads, or the kind of error."""
    pool = Recording()
    client = client_of(pool, headers={"X-All": "yes"})
    prepare(client)
    if by_httpx:
        options["extensions"] = {}  # all that is not plain goes to httpx
    try:
        asyncio.run(client.request(method, url, **options))
    except (ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error)
    return Read(pool.messages[0]).request


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["Authorization", "accept", "Content-Type", "X-All", "Host", "Cookie", "X Y", "x-ü", ""])
VALUES = st.text(st.sampled_from("aB1 ,;=\t\r\n\0é€"), max_size=6) | st.sampled_from(["Bearer abc", "text/plain"])
HEADERS = st.dictionaries(NAMES | st.text("aX-", min_size=1, max_size=3), VALUES, max_size=3)
URLS = st.text(st.sampled_from("/a.%2~:@?&=+#[] é\\"), max_size=8).map("/{}".format) | st.sampled_from(["", "//a", "a"])
COOKIES = st.dictionaries(st.text("ab", min_size=1, max_size=2), st.text("c1=. ", max_size=4), max_size=2)
PARAMS = st.none() | st.dictionaries(
    st.text("a &é", max_size=3), st.text("b%+= ", max_size=3) | st.integers(), max_size=2
)
BODIES = st.fixed_dictionaries({}, optional={"json": JSON}) | st.fixed_dictionaries(
    {"content": st.binary(max_size=9) | st.text(max_size=5)}
)


@given(st.sampled_from(sorted(METHODS)), URLS, PARAMS, HEADERS, BODIES, HEADERS, COOKIES)
@example("POST", "/a", None, {"content-type": "a/b"}, {"json": {"a": 1}}, {}, {})
@example("GET", "/a?b=1", {}, {}, {}, {}, {})
@example("GET", "/a", None, {}, {}, {"Host": "b"}, {"a": "1", "b": "2"})
@example("GET", "/a", None, {"Cookie": "c=1"}, {}, {}, {"a": "1"})
@example("GET", "/a", None, {}, {}, {"Cookie": "c=1"}, {"a": "1"})
def test_a_request_is_the_one_that_httpx_would_send(  # noqa: PLR0917  # hypothesis gives them
    method: str, url: str, params: Any, headers: Any, body: Any, own: dict[str, str], cookies: dict[str, str]
) -> None:
    def prepare(client: Client) -> None:
        for name, value in own.items():
            try:
                client.headers[name] = value
            except ValueError:
                continue  # httpx does not take it
        for name, value in cookies.items():
            client.cookies.set(name, value)

    one, other = (
        sent(prepare, method, url, by_httpx, params=params, headers=headers, **body) for by_httpx in (False, True)
    )
    assert one == other


@pytest.mark.parametrize(
    "prepare",
    [
        lambda client: client.headers.update({"Authorization": "Bearer 1"}),
        lambda client: client.cookies.set("a", "b"),
        lambda client: setattr(client, "headers", {"X-A": "b"}),
        lambda client: setattr(client, "cookies", {"a": "b"}),
    ],
)
def test_what_belongs_to_the_journey_needs_no_httpx(prepare: Callable[[Client], object]) -> None:
    """A journey with a token or a session is as fast as one without."""
    client = client_of(Recording())
    prepare(client)
    asyncio.run(client.post("/a", json={"a": 1}, headers={"Accept": "a/b"}))
    assert client._full is None


def test_headers_and_cookies_change_between_requests() -> None:
    """Each request has those that the journey has then, whoever sends it."""
    pool = Recording()
    client = client_of(pool)
    headers = client.headers

    async def steps() -> None:
        await client.get("/a")
        headers["X-A"] = "1"
        await client.get("/a")
        client.cookies.set("c", "1")
        await client.get("/a", params={"b": 1})
        headers["X-A"] = "2"
        client.cookies.set("c", "2")
        await client.get("/a", params={"b": 1})
        await client.get("/a")
        del headers["X-A"]
        client.cookies.delete("c")
        await client.get("/a")
        client.headers, client.cookies = {"X-A": "3"}, {"c": "3"}
        await client.get("/a")
        await client.get("/a", params={"b": 1})

    asyncio.run(steps())
    found = [dict(Read(message).request.headers) for message in pool.messages]
    assert [each.get(b"x-a") for each in found] == [None, b"1", b"1", b"2", b"2", None, b"3", b"3"]
    assert [each.get(b"cookie") for each in found] == [None, None, b"c=1", b"c=2", b"c=2", None, b"c=3", b"c=3"]


@pytest.mark.parametrize(
    ("attributes", "first", "second"),
    [
        ("", b"a=1", b"a=1"),
        ("; Path=/", b"a=1", b"a=1"),
        ("; Max-Age=60", b"a=1", b"a=1"),
        ("; Max-Age=0", None, None),
        ("; Secure", None, None),
        ("; Path=/api/b", None, b"a=1"),
        ("; Domain=example.com", None, None),
    ],
)
def test_a_cookie_goes_where_it_belongs(attributes: str, first: bytes | None, second: bytes | None) -> None:
    """A service's cookie is sent again as http.cookiejar decides."""
    pool = Recording(f"HTTP/1.1 200 OK\r\nset-cookie: a=1{attributes}\r\nContent-Length: 0\r\n\r\n".encode())
    client = client_of(pool)

    async def steps() -> None:
        await client.get("/login" if "Path" in attributes else "/../api/login")
        await client.get("/a")
        await client.get("/b")

    asyncio.run(steps())
    _, *found = (dict(Read(message).request.headers).get(b"cookie") for message in pool.messages)
    assert found == [first, second]


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    ],
)
def test_the_body_is_that_of_the_response(response: bytes) -> None:
    """However its length is said, and whatever comes before it."""
    client = client_of(Recording(response))
    assert asyncio.run(client.get("/a")).content == b"ok"
