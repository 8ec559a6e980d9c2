"""The embedded generator against real services, good and bad ones."""

import os
import re
import signal
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self, cast

import pytest
import trustme

from pytest_loadgen.errors import GeneratorError, ServiceError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.generators.embedded.worker import Worker
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.reports.summary import remarks
from pytest_loadgen.running import runner
from pytest_loadgen.running.failure import raise_failure
from pytest_loadgen.testing.service import ANSWERS, Server
from pytest_loadgen.traffic.options import Options, plan_of
from pytest_loadgen.traffic.plan import Plan, hold, ramp
from pytest_loadgen.workers.distributed import Distributed

Run = Callable[..., Result]


OK_BYTES = ANSWERS["/"]
# What a service does with a request: bytes to send, seconds to wait, None to close, "reset" to reset the connection.
OK, CLOSE, SLOW = [OK_BYTES], [None], [0.2, OK_BYTES]
WORK_AND_CLOSE, WORK_AND_RESET = [0.1, None], [0.1, "reset"]


class Peculiar:
    """A service with a thread for each connection, which treats each request of each connection as it is told."""

    def __init__(
        self, act: Callable[[int, int], Sequence[Any]], tls: ssl.SSLContext | None = None, idle: float | None = None
    ) -> None:
        self._act, self._tls, self._idle = act, tls, idle
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listening.getsockname()[1]}/"
        self.connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for each in [self._listening, *self.connections]:
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection = self._listening.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection, len(self.connections)), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            connection.settimeout(self._idle)
            with connection:
                for request in count(1):
                    if not connection.recv(65_536):
                        return
                    for step in self._act(number, request):
                        if isinstance(step, bytes):
                            connection.sendall(step)
                        elif isinstance(step, float):
                            time.sleep(step)
                        else:
                            if step:
                                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            return


@pytest.fixture
def run(embedded: Embedded, server: Server) -> Run:
    """Load a path of the server with a small, short load by default."""

    def run(url: str = "/", /, watch: Callable[[Interval], None] = lambda _: None, **options: Any) -> Result:
        chosen = cast(Options, {"rate": 200, "duration": 0.25, "timeout": 2, **options})
        if "stages" in options:
            del chosen["rate"], chosen["duration"]
        plan = plan_of(url if "://" in url else server.url + url, chosen)
        return runner.run(plan, embedded, watch)

    return run


# Of a service that closes connections without saying so: on a busy machine the first few requests that meet the end of
# theirs see it too late to be sent again. Then connections are no longer reused.
_TOO_LATE = ("closed", "reset")

# Responses and failures.


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/", "200"),
        ("/503", "503"),
        ("/404", "404"),
        ("/302", "302"),
        ("/204", "204"),
        ("/304", "304"),
        ("/chunked", "200"),
        ("/hints", "200"),
        ("/large", "200"),
        ("/close", "200"),
        ("/until-close", "200"),
        ("/silent-close", "200"),
        ("/delay/0.01", "200"),
        ("/garbage", "protocol"),
        ("/long-head", "protocol"),
        ("/cut-short", "closed"),
        ("/cut-chunk", "closed"),
        ("/cut-head", "closed"),
        ("/hang-up", "closed"),
        ("/hints-until-close", "200"),
        ("/hints-then-cut", "closed"),
        ("/hints-then-nothing", "closed"),
        ("/reset", "reset"),
    ],
)
@pytest.mark.parametrize("model", ["open", "closed"])
def test_each_outcome_is_counted_by_name(run: Run, path: str, outcome: str, model: str) -> None:
    # A head of a megabyte takes a busy machine a while.
    result = run(path, rate=100 if model == "open" else "max", connections=4, timeout=30)
    if path == "/silent-close":
        assert set(result.outcomes) <= {outcome, *_TOO_LATE}
        assert result.errors <= 4
    else:
        assert set(result.outcomes) == {outcome}


@pytest.mark.parametrize("path", ["/silent", "/endless"])
@pytest.mark.parametrize("model", ["open", "closed"])
def test_a_response_that_never_ends_is_a_timeout(run: Run, path: str, model: str) -> None:
    begun = time.monotonic()
    result = run(path, rate=50 if model == "open" else "max", timeout=0.3, connections=4)
    assert set(result.outcomes) == {"timeout"}
    assert str(result.p50) == ">300ms"
    assert time.monotonic() - begun < 0.25 + 0.3 + 1 + 1  # duration, timeout, one second, a slow start


def test_each_request_is_counted_once(run: Run, server: Server) -> None:
    paths = ["/", "/503", "/reset", "/close", "/cut-short", "/chunked", "/garbage", "/hang-up"]
    server.choose = lambda path, count: paths[count % len(paths)]
    result = run(rate=400, duration=1)
    assert result.requests == 400
    assert set(result.outcomes) == {"200", "503", "reset", "closed", "protocol"}
    assert result.total.latency.count == result.requests - result.total.unanswered


def test_a_response_to_head_has_no_body(run: Run, server: Server) -> None:
    result = run("/head", method="HEAD", connections=1)
    assert result.outcomes == {"200": 50}
    assert server.connections <= 2  # the check that it is ready, and one that is reused


def test_an_unrequested_response_is_not_counted(run: Run, server: Server) -> None:
    assert run("/twice", connections=1).requests == 50
    assert server.requests["/twice"] == 50


def test_a_response_on_an_idle_connection_is_not_counted(run: Run, server: Server) -> None:
    result = run("/408", rate=10, duration=1, connections=1)
    assert result.outcomes == {"200": server.requests.total()} == {"200": 10}


def test_an_early_response_to_a_large_body_is_read(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            for _ in range(4):  # the check that it is ready, and three requests
                connection, _ = listening.accept()
                with connection:
                    if connection.recv(1000):
                        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        result = run(url, rate=3, duration=1, connections=1, content=bytes(20_000_000))
        thread.join()
    assert result.outcomes == {"413": 3}


def test_one_early_close_does_not_disable_reuse(run: Run, server: Server) -> None:
    # The check that it is ready sends no request: the first request is of the load.
    server.choose = lambda path, count: "/silent-close" if count == 0 else "/"
    result = run(rate="max", connections=4, duration=0.5)
    assert set(result.outcomes) <= {"200", "closed", "reset"}
    assert server.connections <= 1 + 4 + 4


def test_an_overload_ends_in_time_and_counts_all_requests(run: Run) -> None:
    result = run(rate=2_000_000, duration=0.5, timeout=0.5)
    assert result.requests == 1_000_000
    assert result.total.never_sent > 500_000
    assert result.fell_behind


def test_received_bytes_are_counted(run: Run) -> None:
    result = run("/large", rate=20, duration=0.5)
    assert result.total.received == pytest.approx(10 * 1_000_000, rel=0.01)


def test_the_request_is_sent_as_httpx_builds_it(run: Run, server: Server) -> None:
    run("/?a=1", params={"b": "2 3"}, method="PUT", json={"x": 1}, headers={"X-Test": "yes"}, auth=("me", "secret"))
    head, _, body = server.last_request.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /?b=2%203 HTTP/1.1\r\n") or head.startswith(b"PUT /?b=2+3 HTTP/1.1\r\n")
    assert b"X-Test: yes" in head
    assert b"Authorization: Basic bWU6c2VjcmV0" in head
    assert body == b'{"x":1}'


def test_a_body_larger_than_the_socket_buffers_arrives(run: Run, server: Server) -> None:
    body = os.urandom(5_000_000)
    result = run("/", rate=4, duration=0.5, content=body, timeout=10)
    assert result.outcomes == {"200": 2}
    assert server.last_request.endswith(body)


# The schedule.


def test_each_scheduled_request_is_sent_once(run: Run, server: Server) -> None:
    result = run(rate=1000, duration=1.5)
    assert result.requests == server.requests.total() == 1500
    assert result.rate == pytest.approx(1000, rel=1e-6)


def test_intervals_are_seconds(run: Run) -> None:
    seen: list[Interval] = []
    result = run(rate=100, duration=2.4, watch=seen.append)
    assert [interval.start for interval in seen] == [0, 1]
    assert [interval.seconds for interval in seen] == pytest.approx([1, 1.4])
    assert result.intervals == tuple(seen)


def test_stages_follow_one_another(run: Run) -> None:
    result = run(stages=[hold(100, 1), ramp(100, 500, 1), hold(500, 1)])
    assert [interval.requests for interval in result.intervals] == pytest.approx([100, 300, 500], abs=30)


def test_the_warmup_is_not_counted(run: Run, server: Server) -> None:
    result = run(rate=200, duration=1, warmup=0.5)
    assert result.requests == 200
    assert server.requests.total() == 300


def test_the_warmup_of_the_closed_model_is_not_counted(run: Run, server: Server) -> None:
    result = run("/delay/0.01", rate="max", duration=0.5, warmup=0.5, connections=2)
    assert 0 < result.requests < server.requests.total()


def test_poisson_arrivals_have_the_rate(run: Run) -> None:
    assert run(rate=500, duration=2, arrivals="poisson").requests == pytest.approx(1000, rel=0.2)


def test_latency_counts_from_when_a_request_was_due(run: Run) -> None:
    # One connection, 100 ms per response, 20 requests due in a second: each waits for the earlier ones.
    result = run("/delay/0.1", rate=20, duration=1, connections=1, timeout=10)
    assert result.requests == 20
    assert result.max > 0.9
    assert result.total.service_time.percentile(50) < result.p50 / 2
    assert result.rate == pytest.approx(10, rel=0.25)


def test_a_stall_is_in_the_latency_of_all_requests_that_were_due_in_it(run: Run, server: Server) -> None:
    stalled = threading.Event()
    begun = count()

    def stall(path: str, _: int) -> str:
        if next(begun) == 100:
            stalled.set()
            time.sleep(1.0)  # blocks the service's only thread
        return path

    server.choose = stall
    result = run(rate=200, duration=3, timeout=5)
    assert stalled.is_set()
    # Of 600 requests, the 200 due during the stall waited, evenly from 1 s down to 0.
    assert result.total.latency.over(0.5) == pytest.approx(100, abs=15)
    assert result.total.latency.over(0.1) == pytest.approx(180, abs=25)


def test_open_connections_are_counted(run: Run) -> None:
    """At the end of each interval; those that the service has closed are not open."""
    assert [each.connections for each in run(rate="max", duration=2, connections=3).intervals] == [3, 3]
    assert run("/missing/path", rate=10, duration=1, connections=4).total.connections in range(1, 5)


def test_connections_are_reused(run: Run, server: Server) -> None:
    run(rate=200, duration=1, connections=3)
    assert server.connections <= 1 + 3


def test_all_connections_are_used_in_turn(run: Run) -> None:
    """One bad server behind a balancer of connections is found: each fifth connection is slow."""
    with Peculiar(lambda connection, request: SLOW if connection % 5 == 0 else OK) as service:
        result = run(service.url, rate=200, duration=2, connections=50)
        assert len(service.connections) == 1 + 50
    assert result.total.latency.over(0.1) > 0.1 * result.requests


def test_connections_are_used_again_at_a_low_rate(run: Run) -> None:
    """A service that cannot answer a second request on a connection is found, however many there may be."""
    with Peculiar(lambda connection, request: OK if request == 1 else WORK_AND_CLOSE) as service:
        result = run(service.url, rate=10, duration=1, connections=100)
    assert result.outcomes["closed"] > 2


def test_the_closed_model_keeps_all_connections_busy(run: Run) -> None:
    result = run("/delay/0.05", rate="max", connections=5, duration=1)
    # At most what each connection can do, and nearly that.
    assert 50 <= result.requests <= 105
    assert result.total.service_time == result.total.latency


# Services that stop or close connections.


def test_a_service_that_stops_and_starts_again(run: Run, server: Server) -> None:
    seconds = count()

    def watch(_: Interval) -> None:
        match next(seconds):
            case 0:
                server.die()
            case 1:
                server.come_back()

    result = run(rate=100, duration=4, watch=watch)
    assert result.requests == 400
    assert result.outcomes["refused"] == pytest.approx(100, abs=30)
    assert set(result.outcomes) <= {"200", "refused", "reset", "closed"}
    assert set(result.intervals[-1].outcomes) == {"200"}


def test_a_dead_service_is_not_flooded(run: Run, server: Server) -> None:
    server.choose = lambda path, count: "/reset"
    result = run(rate="max", connections=5, duration=0.5)
    assert result.requests <= 5 * 51


def test_a_close_after_each_response_is_not_an_error(run: Run, server: Server) -> None:
    result = run("/silent-close", rate="max", connections=2, duration=0.5)
    assert set(result.outcomes) <= {"200", *_TOO_LATE}
    assert result.errors <= 4


@pytest.mark.parametrize("last", [WORK_AND_CLOSE, CLOSE, WORK_AND_RESET], ids=["works", "closes", "resets"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_service_that_reads_a_request_and_ends_the_connection_has_failed_it(
    run: Run, authority: trustme.CA, last: Sequence[Any], tls: bool
) -> None:
    """Even if the connection was idle for long before."""
    context = _server_context(authority) if tls else None
    with Peculiar(lambda connection, request: last if request == 2 else OK, context) as service:
        result = run(service.url, rate=2, duration=2, connections=1, verify=False)
    assert result.outcomes["200"] == 2
    assert result.total.retried == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_service_that_closes_idle_connections_is_healthy(run: Run, authority: trustme.CA, tls: bool) -> None:
    """Each connection is closed before its next request is due, and that is no error."""
    context = _server_context(authority) if tls else None
    with Peculiar(lambda connection, request: OK, context, idle=0.1) as service:
        result = run(service.url, rate=3, duration=2, connections=1, verify=False)
        assert len(service.connections) >= 6
    assert result.outcomes == {"200": 6}


def test_requests_that_are_not_idempotent_are_not_retried(run: Run, server: Server) -> None:
    result = run("/silent-close", rate="max", connections=2, duration=0.5, content=b"order")
    assert result.total.retried == 0
    assert result.errors <= 4  # after three failures connections are not reused; two requests may be in flight


def test_a_service_that_is_not_running(run: Run, server: Server) -> None:
    server.die()
    with pytest.raises(ServiceError, match=r"does not accept connections after 100ms: connection refused"):
        run(ready_timeout=0.1)


# Responses as services should not give them.


ENDS = b"\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX: one\r\n two\r\n\tthree" + ENDS, id="folded"),
        pytest.param(b"HTTP/1.1 200 OK\r\n folded: first" + ENDS, id="folded status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length:\r\n 2\r\n\r\nok", id="folded length"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", id="bare LF"),
        pytest.param(b"HTTP/1.1 200 OK\nX: y\r\nContent-Length: 2\n\r\nok", id="mixed line ends"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2" + ENDS, id="length twice"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 02\r\n\r\nok", id="lengths in a list"),
        pytest.param(CHUNKED + b"Content-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n", id="length beside chunks"),
        pytest.param(CHUNKED + b"\r\n2 \r\nok\r\n0\r\n\r\n", id="space after a chunk's size"),
        pytest.param(CHUNKED + b'\r\n2 ; a="b"\r\nok\r\n0;\r\nT: x\r\n\r\n', id="space before an extension"),
        pytest.param(CHUNKED.replace(b"\r", b"") + b"\n2\nok\n0\n\n", id="chunks with bare LF"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity" + ENDS, id="identity"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + ENDS, id="head of 1 MB"),
        pytest.param(b"HTTP/1.1  200 OK" + ENDS, id="two spaces"),
        pytest.param(b"HTTP/1.1 200" + ENDS, id="no reason"),
        pytest.param(b"HTTP/1.2 200 OK" + ENDS, id="HTTP/1.2"),
        pytest.param(b"\r\nHTTP/1.1 200 OK\r\nX : y\1\xe9\r\nX(Y): z" + ENDS, id="odd characters"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\nX: y\n\nHTTP/1.1 200 OK" + ENDS, id="interim"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2c" + ENDS, id="upgrade offered"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_client_may_take_it(run: Run, answer: bytes, pieces: int) -> None:
    """The connection is kept: the response ends where its head says."""
    size = -(-len(answer) // pieces)
    parts = [answer[at : at + size] for at in range(0, len(answer), size)]
    steps = [step for part in parts for step in (part, 0.002)]
    with Peculiar(lambda connection, request: steps) as service:
        result = run(service.url, rate=20, duration=0.5, connections=1)
        assert len(service.connections) == 2
    assert result.outcomes == {"200": 10}


@pytest.mark.parametrize(
    "head", [b"Content-Length: 9\r\nTransfer-Encoding: chunked", b"Content-Length: 9\r\nContent-Length: 9", b"X:\r\n y"]
)
def test_a_client_may_take_it_for_head(run: Run, head: bytes) -> None:
    with Peculiar(lambda connection, request: [b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n"]) as service:
        result = run(service.url, rate=20, duration=0.5, connections=1, method="HEAD")
        assert len(service.connections) == 2
    assert result.outcomes == {"200": 10}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\n\nuntil the end",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\nuntil the end",
    ],
)
def test_a_body_that_ends_with_the_connection(run: Run, answer: bytes) -> None:
    with Peculiar(lambda connection, request: [answer, None]) as service:
        assert run(service.url, rate=20, duration=0.5).outcomes == {"200": 10}


def test_without_tls_end_a_body_that_ends_with_the_connection_is_cut(run: Run, authority: trustme.CA) -> None:
    """Anyone on the way can end the TCP connection."""
    answer = [b"HTTP/1.1 200 OK\r\n\r\nhalf of the", None]
    with Peculiar(lambda connection, request: answer, _server_context(authority)) as service:
        assert run(service.url, rate=20, duration=0.5, verify=False).outcomes == {"closed": 10}


def test_switching_protocols_is_a_response(run: Run) -> None:
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx"
    with Peculiar(lambda connection, request: [answer]) as service:
        assert run(service.url, rate=20, duration=0.5, expect=101).outcomes == {"101": 10}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x1b[31mno HTTP\n", """it does not begin with "HTTP/"; it begins '\\x1b[31mno HTTP\\n'"""),
        (b"HTTP/1.1 000 No" + ENDS, "its first line is 'HTTP/1.1 000 No'; it begins 'HTTP/1.1 000 No\\r\\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3" + ENDS, "its Content-Length is '2' and '3'; it begins 'HTTP/1.1 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "its Content-Length is '-1'; it begins"),
        (b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "its Content-Length is ''; it begins"),
        (b"HTTP/1.1 200 OK\r\nno name" + ENDS, "it has a header line without a name: 'no name'; it begins"),
        (b"HTTP/1.1 200 OK\r\nX: a\0b" + ENDS, "it has a header with a NUL: 'X: a\\x00b'; it begins"),
        (CHUNKED + b"\r\nxyz\r\n", "a chunk's size is 'xyz'; it begins 'HTTP/1.1 200 OK"),
        (CHUNKED + b"\r\n2\r\nokay\r\n", "a chunk is longer than its size; it begins"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_100_000, "its head is larger than 1 MiB; it begins 'HTTP/1.1 200 OK"),
    ],
    ids=["garbage", "status", "lengths", "negative", "empty", "name", "NUL", "size", "chunk", "head"],
)
def test_what_is_wrong_with_a_response_is_said(run: Run, answer: bytes, reason: str) -> None:
    with Peculiar(lambda connection, request: [answer]) as service:
        result = run(service.url, rate=20, duration=0.5)
    assert result.outcomes == {"protocol": 10}
    said = f"One of 10 requests that failed as protocol: {reason}"
    assert any(said in remark for remark in remarks(result))
    with pytest.raises(ServiceError, match=re.escape(said)):
        raise_failure(JudgedResult(result.plan, result.generator, result.intervals), strict=False)


BAD = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        pytest.param([BAD + OK_BYTES], "500", id="in one read"),
        pytest.param([OK_BYTES + BAD], "200", id="the other way"),
        pytest.param([BAD + OK_BYTES[:9]], "500", id="cut"),
        pytest.param([BAD.replace(b"\r", b"") + OK_BYTES], "500", id="lenient"),
        pytest.param([BAD, 0.01, OK_BYTES], "500", id="later"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n" + BAD + OK_BYTES * 2], "500", id="interim"),
    ],
)
def test_the_first_of_several_responses_counts(run: Run, answer: Sequence[Any], outcome: str) -> None:
    with Peculiar(lambda connection, request: answer) as service:
        assert run(service.url, rate=20, duration=1, connections=1, expect=[200, 500]).outcomes == {outcome: 20}
        assert len(service.connections) == 21  # nobody knows what comes next on one that was answered twice


# TLS, IPv6 and unix sockets.


def _server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    with Server(tls=context) as server:
        yield server


def test_tls_is_verified_with_the_given_ca(run: Run, tls_server: Server, authority_file: Path) -> None:
    for path in ("/", "/large", "/chunked"):
        assert set(run(tls_server.url + path, verify=str(authority_file), rate=20).outcomes) == {"200"}


def test_an_untrusted_certificate_is_an_error_before_the_load(run: Run, tls_server: Server) -> None:
    with pytest.raises(ServiceError, match=r"is not trusted: .*\. Use verify='ca\.pem'"):
        run(tls_server.url)


def test_verify_false_trusts_any_certificate(run: Run, tls_server: Server) -> None:
    assert set(run(tls_server.url, verify=False).outcomes) == {"200"}


def test_a_certificate_for_another_host_is_refused(run: Run, authority: trustme.CA, authority_file: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    with Server(tls=context) as server, pytest.raises(ServiceError, match="is not trusted"):
        run(server.url, verify=str(authority_file))


def test_the_client_certificate_is_sent(run: Run, authority: trustme.CA, authority_file: Path, tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    cert, key = tmp_path / "client.pem", tmp_path / "client.key"
    client = authority.issue_cert("client@example.org")
    client.cert_chain_pems[0].write_to_path(cert)
    client.private_key_pem.write_to_path(key)
    with Server(tls=context) as server:
        given = run(server.url, verify=str(authority_file), cert=(str(cert), str(key)), rate=20)
        without = run(server.url, verify=str(authority_file), rate=20)
    assert set(given.outcomes) == {"200"}
    assert set(without.outcomes) <= {"tls", "reset", "closed"}


def test_a_service_without_tls_is_an_error_before_the_load(run: Run, server: Server) -> None:
    with pytest.raises(ServiceError, match=r"accepts no TLS connection.*wrong version number"):
        run(server.url.replace("http", "https"), verify=False, ready_timeout=0)


def test_ipv6(run: Run) -> None:
    with Server(host="::1") as server:
        assert set(run(server.url).outcomes) == {"200"}


def test_localhost(run: Run, server: Server) -> None:
    assert set(run(server.url.replace("127.0.0.1", "localhost")).outcomes) == {"200"}


def test_a_unix_socket(run: Run, tmp_path: Path) -> None:
    with Server(unix=str(tmp_path / "Service.sock")) as server:
        assert set(run(server.url + "/chunked").outcomes) == {"200"}


# The worker process.


def test_the_process_is_reused(run: Run, embedded: Embedded) -> None:
    run()
    first = [worker._process.pid for worker in embedded._idle]
    run()
    assert [worker._process.pid for worker in embedded._idle] == first


def test_closing_the_iterator_stops_the_load(embedded: Embedded, server: Server) -> None:
    intervals = embedded.run(small_plan(server, duration=60))
    next(intervals)
    intervals.close()
    sent = server.requests.total()
    time.sleep(0.2)  # in which a load that goes on would send
    assert server.requests.total() <= sent + 1


def test_an_interrupted_load_leaves_no_intervals_for_the_next_one(server: Server) -> None:
    generator = Embedded()
    intervals = generator.run(small_plan(server, duration=60))
    next(intervals)
    worker = intervals._worker
    assert worker

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_settle", interrupt)  # a second Ctrl-C, while the first one is handled
        with pytest.raises(KeyboardInterrupt):
            intervals.close()
    result = runner.run(small_plan(server, duration=0.2), generator)
    generator.close()
    assert result.requests == 10
    assert not worker.alive


def test_a_killed_process_is_an_error(embedded: Embedded, server: Server) -> None:
    intervals = embedded.run(small_plan(server, duration=60))
    next(intervals)
    assert intervals._worker
    os.kill(intervals._worker._process.pid, signal.SIGKILL)
    with pytest.raises(GeneratorError, match="its process was killed by SIGKILL"):
        list(intervals)
    assert embedded.run(small_plan(server, duration=0.1))


def test_a_process_whose_parent_dies_ends(server: Server, tmp_path: Path) -> None:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    parent = context.Process(target=_start_a_load, args=(server.url, theirs))
    parent.start()
    theirs.close()
    pid = ours.recv()
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 5
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(pid)


def _start_a_load(url: str, pipe: Any) -> None:
    intervals = Embedded().run(plan_of(url, {"duration": 60}))
    next(intervals)
    assert intervals._worker
    pipe.send(intervals._worker._process.pid)
    list(intervals)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A zombie is dead, too.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_running_out_of_file_handles_is_a_generator_problem(server: Server) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, _few_file_handles) as pool:
        outcomes, problems = pool.submit(_load_with_many_connections, server.url).result()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    assert "filehandles" in outcomes
    assert any("ran out of file handles" in problem for problem in problems)


@pytest.mark.parametrize(("rate", "seconds", "timeout"), [(100, 0.5, 5), (100, 1.5, 0.5), ("max", 1, 5)])
def test_a_stopped_process_is_a_generator_problem(
    embedded: Embedded, server: Server, rate: Any, seconds: float, timeout: float
) -> None:
    """The service is not to blame, whether the process goes on in time or after the end of the load."""
    running = embedded.run(plan_of(server.url, {"rate": rate, "duration": 2, "timeout": timeout, "connections": 5}))
    intervals = [next(running)]
    assert running._worker
    pid = running._worker._process.pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    intervals += running
    assert sum(each.stalled for each in intervals) == pytest.approx(seconds, abs=0.4)


def test_more_connections_than_file_handles_are_not_needed(server: Server) -> None:
    with ProcessPoolExecutor(1, get_context("spawn"), _few_file_handles) as pool:
        assert pool.submit(_load_fast_service, server.url).result() == {"200": 250}


def _load_fast_service(url: str) -> dict[str, int]:
    generator = Embedded()
    result = runner.run(plan_of(url, {"rate": 250, "duration": 1, "connections": 200}), generator)
    generator.close()
    return dict(result.outcomes)


def test_paths_in_the_module_search_path(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.path", [tmp_path, *sys.path, os.fsencode(tmp_path), cast(str, None)])
    assert _load(server.url) == {"200": 20}


def test_a_full_disk_does_not_matter(server: Server) -> None:
    with ProcessPoolExecutor(1, get_context("spawn"), _full_disk) as pool:
        assert pool.submit(_load, server.url).result() == {"200": 20}


def _full_disk() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _load(url: str) -> dict[str, int]:
    generator = Embedded()
    result = runner.run(plan_of(url, {"rate": 100, "duration": 0.2}), generator)
    generator.close()
    return dict(result.outcomes)


def _few_file_handles() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))


def _load_with_many_connections(url: str) -> tuple[dict[str, int], tuple[str, ...]]:
    generator = Embedded()
    plan = plan_of(url + "/delay/0.3", {"rate": 500, "duration": 0.5, "connections": 200})
    result = runner.run(plan, generator)
    generator.close()
    return dict(result.outcomes), result.problems


def test_memory_does_not_grow_with_requests(embedded: Embedded, server: Server) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    intervals = embedded.run(small_plan(server, rate=1000, duration=4))
    sizes = []
    for _ in intervals:
        assert intervals._worker
        sizes.append(int(Path(f"/proc/{intervals._worker._process.pid}/statm").read_text().split()[1]))
    assert sizes[-1] < sizes[1] * 1.1


def small_plan(server: Server, **options: Any) -> Plan:
    return plan_of(server.url, cast(Options, {"rate": 50, **options}))


# Several workers (see also tests/workers).


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_split_a_plan_exactly(embedded: Embedded, server: Server, workers: int) -> None:
    plan = plan_of(server.url, {"rate": 301, "duration": 2, "connections": 7})
    result = runner.run(plan, Distributed(embedded, workers))
    assert result.requests == server.requests.total() == 602
    assert [interval.requests for interval in result.intervals] == pytest.approx([301, 301], abs=5)


def test_workers_may_be_processes_of_an_executor(embedded: Embedded, server: Server) -> None:
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context) as one, ProcessPoolExecutor(1, context) as two:
        result = runner.run(plan_of(server.url, {"rate": 100, "duration": 1}), Distributed(embedded, [one, two]))
    assert result.requests == server.requests.total() == 100


def test_the_error_names_the_lost_worker(server: Server) -> None:
    class Watched(Embedded):
        def acquire(self) -> Worker:
            workers.append(super().acquire())
            return workers[-1]

    workers: list[Worker] = []
    generator = Watched()

    def kill(_: Interval) -> None:
        os.kill(workers[0]._process.pid, signal.SIGKILL)

    with pytest.raises(GeneratorError, match=r"worker \d of 2: embedded: its process was killed by SIGKILL"):
        runner.run(plan_of(server.url, {"duration": 30}), Distributed(generator, 2), kill)
    generator.close()
    assert len(workers) == 2
    assert not any(worker.alive for worker in workers)


def test_closing_stops_all_workers(embedded: Embedded, server: Server) -> None:
    intervals = Distributed(embedded, 2).run(small_plan(server, duration=60))
    next(intervals)
    begun = time.monotonic()
    intervals.close()
    assert time.monotonic() - begun < 5
    sent = server.requests.total()
    time.sleep(0.2)  # in which a load that goes on would send
    assert server.requests.total() <= sent + 2
