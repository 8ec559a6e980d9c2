"""Responses whose bytes are known are not parsed again: the outcome is that of parsing them."""

import random
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from pytest_loadgen.generators.embedded import http1
from pytest_loadgen.generators.embedded.http1 import IDLE, Connection, Endpoint, read_whole
from pytest_loadgen.generators.embedded.readiness import Poller
from pytest_loadgen.traffic.check import Check
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.target import Target

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
LENIENT = OK.replace(b"\r", b"")
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
NO_LENGTH = b"HTTP/1.1 200 OK\r\n\r\nok"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
READS = [OK, OK, OK, BAD, CLOSE, HEAD, b"ok", LENIENT, INTERIM, INTERIM + OK, CHUNKED, NO_LENGTH, SWITCHING, b"\r\n"]
READS += [OK + OK, OK + BAD, OK + b"\r\n", OK[:9], OK[9:], CHUNKED[:-5], CHUNKED[-5:], b"", b"nonsense"]


class Reads:
    """A socket that gives what is read from it, one piece after another."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def recv(self, size: int) -> bytes:
        return self.pieces.pop(0)

    def send(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None:
        pass

    def getsockopt(self, *_: int) -> int:
        raise OSError


class Owner:
    """Records what becomes of requests."""

    poller = cast(Poller, type("Silent", (), {"remove": lambda *_: None, "change": lambda *_, **__: None})())
    retried = closed_after_first = 0
    reuse_seen = reuse = True

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[], None]] = {}
        self.seen: list[tuple[object, ...]] = []

    def on_response(self, connection: Connection, outcome: int | str, reusable: bool, *_: bytes) -> None:
        self.seen.append((outcome, reusable, connection.received))
        connection.due = IDLE
        connection.received = 0
        if not reusable:
            connection.close()

    def on_failure(self, connection: Connection, kind: str, reason: str) -> None:
        self.seen.append((kind, reason, connection.received))

    def on_idle_close(self, connection: Connection) -> None:
        self.seen.append(("idle",))


class Client:
    """Sends requests of two names, and reads given pieces."""

    def __init__(self, check: str | None = None) -> None:
        targets = [Target.of("http://127.0.0.1:1/", method=method) for method in ("GET", "HEAD")]
        checked = None if check is None else Check.of(check)
        requests = [NamedRequest(target.method, target, check=checked) for target in targets]
        self.endpoint = Endpoint(targets[0], requests)
        self.owner = Owner()
        self.connection: Any = None

    def read(self, pieces: Sequence[bytes], *, is_head: bool = False) -> list[tuple[object, ...]]:
        """Send a request where none is on its way, and read; give what happened."""
        before = len(self.owner.seen)
        for piece in pieces:
            if self.connection is None or self.connection._socket is None:
                self.connection = Connection(self.endpoint, self.owner)
                self.connection._socket = Reads()
                self.connection._established()
            if self.connection.due == IDLE:
                kind = self.endpoint.kinds[is_head]
                self.connection.take(kind, kind.message)
                self.connection.due = 0
            self.connection._socket.pieces.append(piece)
            self.connection._read()
        return self.owner.seen[before:]

    @property
    def remembered(self) -> bytes:
        return self.endpoint.kinds[0].response


def test_a_response_that_came_before_is_not_parsed() -> None:
    client = Client()
    client.read([OK])
    client.connection._feed = None
    assert client.read([OK] * 3) == [(200, True, len(OK))] * 3


@pytest.mark.parametrize("pieces", [[OK, BAD] * 3, [OK, OK, CLOSE, OK, CLOSE]])
def test_alternating_responses_are_told_apart(pieces: list[bytes]) -> None:
    expected = {OK: (200, True), BAD: (500, True), CLOSE: (200, False)}
    assert Client().read(pieces) == [(*expected[piece], len(piece)) for piece in pieces]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([CLOSE], id="ends the connection"),
        pytest.param([OK + OK], id="more than one"),
        pytest.param([OK + b"x"], id="followed by something"),
        pytest.param([OK[:9], OK[9:]], id="in pieces"),
        pytest.param([INTERIM, OK], id="after an interim one"),
        pytest.param([LENIENT, OK], id="by the lenient parser"),
        pytest.param([SWITCHING], id="another protocol"),
        pytest.param([NO_LENGTH, b""], id="without an end"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000], id="large"),
    ],
)
def test_other_responses_are_not_remembered(pieces: list[bytes]) -> None:
    client = Client()
    client.read(pieces)
    assert client.remembered == b""


def test_a_response_that_is_checked_is_not_remembered() -> None:
    client = Client(check="ok")
    assert [outcome for outcome, *_ in client.read([OK, OK])] == [200, 200]
    assert client.remembered == b""


def test_known_bytes_in_the_middle_of_a_response_are_its_body() -> None:
    client = Client()
    outer = b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n" % (2 * len(OK))
    assert client.read([OK, outer, OK, OK, OK]) == [
        (200, True, len(OK)),
        (404, True, len(outer) + 2 * len(OK)),
        (200, True, len(OK)),
    ]


def test_a_response_to_head_is_another_one() -> None:
    client = Client()
    assert client.read([HEAD, HEAD], is_head=True) == [(200, True, len(HEAD))] * 2
    assert client.read([HEAD, b"ok"]) == [(200, True, len(OK))]
    assert client.read([OK]) == [(200, True, len(OK))]
    assert client.read([OK], is_head=True) == [(200, False, len(OK))]


@pytest.mark.parametrize("seed", range(100))
def test_the_outcome_is_that_of_parsing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is read in whatever order."""
    draw = random.Random(seed)
    some = [*draw.sample(READS, 4), OK]
    reads = [(draw.choice(some), draw.random() < 0.2) for _ in range(60)]
    found = []
    for most in (http1._REMEMBERED, -1):
        monkeypatch.setattr(http1, "_REMEMBERED", most)
        client = Client()
        found.append([client.read([piece], is_head=is_head) for piece, is_head in reads])
    assert found[0] == found[1]


def test_of_two_responses_the_first_is_read() -> None:
    """Not what follows it, nor an interim response before it."""
    first = b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 3\r\n\r\none"
    whole = (
        b"HTTP/1.1 103 Early Hints\r\nX: 0\r\n\r\n" + first + b"HTTP/1.1 500 No\r\nX: 2\r\nContent-Length: 3\r\n\r\ntwo"
    )
    headers, body = read_whole(whole, is_head=False)
    assert (b"X", b"1") in headers
    assert (b"X", b"0") not in headers
    assert body == b"one"
