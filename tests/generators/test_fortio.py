"""fortio: its access log, its result, the program and its server."""

import json
import math
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import trustme

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.fortio import Fortio
from pytest_loadgen.generators.fortio_result import interval
from pytest_loadgen.generators.fortio_server import FortioServer
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.running import runner
from pytest_loadgen.running.rounds import Rounds
from pytest_loadgen.testing import GeneratorTests
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan
from tests.conftest import needs, recording

# How long short waits may take on a busy machine, in seconds.
PATIENCE = 30.0
START = 1_700_000_000
HEAD = "Starting at 10 qps with 2 thread(s) [gomax 2] for 2s : 10 calls each (total 20) with access logger mode json"


def plan(url: str = "http://127.0.0.1:9/", **options: Any) -> Plan:
    chosen: Any = {"rate": 10, "duration": 2, "connections": 2, "timeout": 1, **options}
    return plan_of(url, chosen)


def call(thread: int, number: int, began: float, latency: float = 0.01, details: str = "200") -> str:
    """A line of the access log, for a call that began this many seconds after the start."""
    entry = {"latency": latency, "timestamp": round((START + began) * 1e9), "thread": thread, "iter": number}
    return json.dumps({**entry, "ok": details == "200", "details": details})


def due(thread: int, number: int) -> float:
    """When a call is due: ten in each of two threads in two seconds, the last one at the end."""
    return thread / 10 + (number + number / 9) / 5


def parsed(tmp_path: Path, lines: list[str], stderr: str = HEAD, asked: Plan | None = None, **figures: Any) -> Result:
    (tmp_path / "access.log").write_text("\n".join(lines))
    result = {"StartTime": "2023-11-14T22:13:20Z", "NumThreads": 2, "RequestedQPS": "10", "DurationHistogram": {}}
    result |= figures
    output = CommandOutput(
        json.dumps(result), stderr, 0, 2.5, 0.2, tmp_path, interrupted=bool(asked and asked.duration < 2)
    )
    asked = asked or plan()
    return Result(asked, "fortio", tuple(Fortio().parse(output, asked)))


ON_TIME = [call(thread, number, due(thread, number)) for thread in range(2) for number in range(10)]


def test_on_time(tmp_path: Path) -> None:
    """The latency of calls that begin on time is their duration."""
    found = parsed(tmp_path, ON_TIME)
    assert found.outcomes == {"200": 20}
    assert [each.requests for each in found.intervals] == [10, 8, 2]  # by when they ended
    assert [(each.start, each.seconds) for each in found.intervals] == [(0, 1), (1, 1), (2, 0)]
    assert found.percentile(0) == pytest.approx(0.01, rel=0.01)
    assert found.max == pytest.approx(0.01, rel=0.01)
    assert found.total.lag.percentile(100) < 1e-6
    assert found.intervals[0].cpu == pytest.approx(0.08)


def test_late(tmp_path: Path) -> None:
    """A call that waits for the one before it on its thread has the wait in its latency; that is not lag."""
    rest = [call(0, number, due(0, number)) for number in range(2, 10)]
    slow = call(0, 0, 0, latency=0.5)
    late = [call(0, number, 0.5 + 0.01 * number) for number in (1, 2)]
    found = parsed(tmp_path, [slow, *late, *rest[1:], *ON_TIME[10:]])
    waited = 0.51 - due(0, 1) + 0.01
    assert found.total.latency.over(waited - 0.001) == 2  # this one, and the slow one itself
    assert found.total.service_time.over(0.02) == 1
    assert found.total.lag.percentile(90) < 1e-3


def test_its_own_lateness(tmp_path: Path) -> None:
    """A call that begins late on a thread that was free is lag of the generator."""
    found = parsed(tmp_path, [call(0, 0, 0.3), *ON_TIME[1:]])
    assert found.total.lag.percentile(100) == pytest.approx(0.3, rel=0.01)


def test_what_was_never_sent(tmp_path: Path) -> None:
    """Calls that were due and never made are timeouts, and never_sent."""
    found = parsed(tmp_path, [*ON_TIME[:3], *ON_TIME[10:]])
    assert found.outcomes == {"200": 13, "timeout": 6}  # and one that was just due
    assert found.total.never_sent == 6


def test_what_was_just_due(tmp_path: Path) -> None:
    """A thread that is busy at the end does not make its last call, which is not a failure."""
    slow = [call(0, number, due(0, number), latency=0.15) for number in range(9)]
    found = parsed(tmp_path, [*slow, *ON_TIME[10:]])
    assert found.outcomes == {"200": 19}


def test_slow_calls_hide_nothing(tmp_path: Path) -> None:
    """However long its calls are, a thread skips at most one; all others that were due are failures."""
    found = parsed(tmp_path, [call(thread, 0, thread / 10, latency=2.2) for thread in range(2)], asked=plan(timeout=9))
    assert found.outcomes == {"200": 2, "timeout": 16}
    assert found.total.never_sent == 16


def test_interrupted(tmp_path: Path) -> None:
    """Calls that were due after the end of an interrupted load are not missing."""
    asked = plan().between(0, 1)
    found = parsed(tmp_path, [*ON_TIME[:5], *ON_TIME[10:15]], asked=asked)
    assert found.requests == 10


def error(text: str, thread: int = 0, at: float = 0.005) -> str:
    return json.dumps(
        {"ts": START + at, "level": "err", "msg": "Unable to send request", "err": text, "thread": thread}
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("dial tcp 127.0.0.1:1: connect: connection refused", "refused"),
        ("read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer", "reset"),
        ('Get "http://x": EOF', "closed"),
        ("write: broken pipe", "closed"),
        ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "timeout"),
        ("read tcp 127.0.0.1:1->127.0.0.1:2: i/o timeout", "timeout"),
        ("net/http: HTTP/1.x transport connection broken: malformed HTTP status code", "protocol"),
        ("tls: first record does not look like a TLS handshake", "tls"),
        ("dial tcp: lookup nowhere: no such host", "dns"),
        ("socket: too many open files", "filehandles"),
        ("connect: cannot assign requested address", "ports"),
        ("connect: network is unreachable", "unreachable"),
        ("something else", "protocol"),
    ],
)
def test_failures_are_named(tmp_path: Path, text: str, kind: str) -> None:
    """The log shows only that a call failed; the message that fortio prints at that moment shows how."""
    stderr = "\n".join([error("warming up", at=-1), HEAD, "no JSON", error("connection refused", 1, 0.5), error(text)])
    found = parsed(tmp_path, [call(0, 0, 0, details="-1"), *ON_TIME[1:]], stderr)
    assert found.outcomes == {"200": 19, kind: 1}


def test_failures_without_a_message(tmp_path: Path) -> None:
    """They are timeouts if they took that long, otherwise of the most frequent kind."""
    stderr = f"{HEAD}\n{error('connection reset', at=9)}"
    calls = [call(0, 0, 0, 1.0, "-1"), call(0, 1, 1.0, details="-1"), *ON_TIME[2:]]
    assert parsed(tmp_path, calls, stderr).outcomes == {"200": 18, "timeout": 1, "reset": 1}
    assert parsed(tmp_path, calls).outcomes == {"200": 18, "timeout": 1, "closed": 1}


@pytest.mark.parametrize("status", ["204", "201", "404"])
def test_a_response_cut_short_is_a_failure(tmp_path: Path, status: str) -> None:
    """fortio logs a 200 as 204 and others as they are, and prints an error; a real 204 has no error."""
    calls = [call(0, 0, 0, details=status), call(0, 1, due(0, 1), details=status), *ON_TIME[2:]]
    found = parsed(tmp_path, calls, f"{HEAD}\n{error('unexpected EOF')}")
    assert found.outcomes == {"200": 18, status: 1, "closed": 1}


# Clocks.


@pytest.mark.parametrize("jump", [3600, -3600, 365 * 86400, 1.0, -1.0, 0.3])
def test_a_clock_that_jumps(tmp_path: Path, jump: float) -> None:
    """Latencies are differences on a clock that does not jump: the date of a call only orders it."""
    many = plan(rate=50, duration=2)
    stretched = [call(t, n, (t + (n + n / 49) * 2) / 50 + (jump if n >= 20 else 0)) for n in range(50) for t in (0, 1)]
    found = parsed(tmp_path, stretched, HEAD.replace("10 calls each", "50 calls each"), many, RequestedQPS="50")
    assert found.outcomes == {"200": 100}
    assert found.total.latency.percentile(99) < 0.05
    assert found.total.lag.percentile(99) < 0.05
    assert len(found.intervals) <= 3


@pytest.mark.parametrize(
    ("details", "outcome"),
    [
        ("503", "503"),
        ("SERVING", "SERVING"),
        ("NOT_SERVING", "NOT_SERVING"),
        ("OK", "OK"),
        ("ERROR", "closed"),
        ("read tcp 127.0.0.1:40112->127.0.0.1:9: i/o timeout", "timeout"),
        ("read not echoing writes", "protocol"),
    ],
)
def test_outcomes(tmp_path: Path, details: str, outcome: str) -> None:
    found = parsed(tmp_path, [call(0, 0, 0, details=details), *ON_TIME[1:]])
    assert found.outcomes[outcome] == 1


def test_the_timeout_counts_from_when_a_call_was_due(tmp_path: Path) -> None:
    found = parsed(tmp_path, [call(0, 0, 0.9, latency=0.2), *ON_TIME[1:]])
    assert found.outcomes == {"200": 19, "timeout": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "no DurationHistogram"),
        ('{"message": "url is required"}', "url is required"),
        ('{"DurationHistogram": {}, "error": true, "message": "Aborted before"}', "could not run: Aborted before"),
    ],
)  # fmt: skip
def test_a_malformed_result_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((GeneratorError, ValueError)) as caught:
        Fortio().parse(CommandOutput(text, HEAD, 0, 1, 1, tmp_path), plan())
    assert fnmatch(str(caught.value), message)


@pytest.mark.parametrize("each", [7, 10**9])
def test_another_load_than_requested_is_an_error(tmp_path: Path, each: int) -> None:
    stderr = HEAD.replace("10 calls each", f"{each} calls each")
    with pytest.raises(GeneratorError, match=f"^planned {2 * each:,} calls instead of 20: check that its args"):
        parsed(tmp_path, ON_TIME, stderr)


@pytest.mark.parametrize("wrong", [{"latency": -1}, {"latency": math.nan}, {"iter": 0.5}, {"thread": -1}])
def test_an_invalid_call_is_an_error(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(GeneratorError, match=r"^its access log has an invalid line: access.log, line 20 \(it"):
        parsed(tmp_path, [*ON_TIME[1:], json.dumps(json.loads(ON_TIME[0]) | wrong)])


@pytest.mark.parametrize("line", ["[" * 60_000, "9" * 60_000, '{"latency": 0.01', "\0" * 200_000, "[]"])
def test_a_log_that_cannot_be_read_is_an_error(tmp_path: Path, line: str) -> None:
    """It names the file and the line, whatever is there, and quotes no more than its beginning."""
    with pytest.raises(GeneratorError, match=r"^its access log has an invalid line: access.log, line 1 \(") as caught:
        parsed(tmp_path, [line, *ON_TIME])
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"DurationHistogram": NaN}', '{"DurationHistogram": 0, "RetCodes": 0}']
)
def test_a_malformed_response_of_a_server_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FortioServer, "call", lambda *_, **__: text.encode())
    with pytest.raises(GeneratorError, match=r"^fortio-server: its response is not a fortio result: ."):
        list(FortioServer().run(plan()))


@pytest.mark.parametrize(
    ("sockets", "method", "unseen"),
    [([1, 1], "GET", 0), ([3, 2], "GET", 3), ([4, 1], "POST", 0), ([11, 11], "GET", 20), ([99, 99], "HEAD", 20)],
)
def test_requests_that_were_sent_again(tmp_path: Path, sockets: list[int], method: str, unseen: int) -> None:
    """Go's client says nothing of them; it opens a connection for each. Only of such it may send again."""
    found = parsed(tmp_path, ON_TIME, asked=plan(method=method), Sockets=sockets)
    assert found.outcomes == {"200": 20}
    assert found.total.unseen == unseen


def test_connections_after_failures_are_no_mystery(tmp_path: Path) -> None:
    stderr = "\n".join([error("warming up", at=-1), HEAD, error("EOF"), error("EOF", 1, 0.105)])
    calls = [call(0, 0, 0, details="-1"), *ON_TIME[1:10], call(1, 0, 0.1, details="-1"), *ON_TIME[11:]]
    found = parsed(tmp_path, calls, stderr, Sockets=[3, 3])
    assert found.outcomes == {"200": 18, "closed": 2}
    assert found.total.unseen == 1


# Arguments.


@pytest.mark.parametrize(
    ("url", "options", "wanted"),
    [
        ("http://localhost:8000/tea?q=1", {}, "-stdclient -X GET * http://localhost:8000/tea?q=1"),
        ("http://[::1]:8000/", {}, "* http://[::1]:8000/"),
        ("http://localhost", {"json": 1}, "*-X POST *-payload-file body *"),
        ("http://a", {"rate": 9, "timeout": 0.25}, "*-timeout 0.250000s -t 2.000000s -c 2 -qps 9.25 -uniform=true *"),
        ("http://localhost", {"rate": "max"}, "*-c 2 -qps 0 -uniform=false -stdclient*"),
        ("https://localhost", {"verify": False}, "* -k https://localhost:443/"),
        ("https://localhost", {}, "* https://localhost:443/"),
        ("https://localhost", {"http2": True}, "*-stdclient -h2 *"),
        ("grpc://localhost:8079", {}, "*-grpc localhost:8079"),
        ("grpc://a:8079/shop.Orders", {"headers": {"k": "v"}}, "*-grpc -healthservice shop.Orders -H k: v a:8079"),
        ("grpc://localhost:8079/fgrpc.PingServer/Ping", {}, "*-grpc -ping localhost:8079"),
        ("grpcs://localhost:8079", {}, "*-grpc https://localhost:8079"),
        ("tcp://localhost:8078", {"content": "x"}, "*-payload-file body tcp://localhost:8078"),
        ("udp://localhost:8078", {}, "*-udp-timeout 1.000000s *udp://localhost:8078"),
    ],
)  # fmt: skip
def test_arguments(url: str, options: Any, wanted: str) -> None:
    words = " ".join(Fortio().argv(plan(url, **options)))
    assert words.startswith("load -json - ")
    assert fnmatch(words, f"*{wanted}".replace("[", "[[]"))


@pytest.mark.parametrize(
    ("rate", "duration", "connections", "shape"),
    [
        (100, 5, 100, (100, 500)),
        (333, 5, 100, (99, 1683)),
        (101, 1, 100, (34, 102)),
        (7, 5, 100, (12, 36)),
        (7, 5, 10, (7, 35)),
        (10, 1, 100, (5, 10)),
        (2, 1, 9, (1, 2)),
        (50, 1, 4, (3, 51)),
        (7, 1, 4, (2, 8)),
        (33.3, 3, 10, (10, 100)),
    ],
)
def test_shape(rate: float, duration: float, connections: int, shape: tuple[int, int]) -> None:
    """At least half as many threads as connections, and at most 2 % more requests than planned, or the fewest."""
    words = Fortio().argv(plan(rate=rate, duration=duration, connections=connections))
    count, qps = words[words.index("-c") + 1], words[words.index("-qps") + 1]
    planned = int(float(qps) * duration)
    assert (int(count), planned) == shape
    assert planned % int(count) == 0


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://localhost", {"rate": 1, "duration": 1}, "fortio sends at least 2 requests (this load has 1)"),
        ("http://localhost", {"content": "{uuid}"}, "fortio would replace {uuid} in the URL or body by a new UUID *"),
        ("https://localhost", {"verify": "/nowhere"}, "verify='/nowhere': fortio needs a file of CA certificates"),
        ("https://localhost", {"cert": ("a", "b", "c")}, "cert: fortio does not support a key with a password"),
    ],
)
def test_a_plan_that_it_cannot_run_is_refused(url: str, options: Any, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        Fortio().argv(plan(url, **options))
    assert fnmatch(str(caught.value), message)


@pytest.mark.parametrize("arg", ["{}", "-{}", "{}=1", "-{}=1"])
@pytest.mark.parametrize(
    ("flag", "hint"),
    [
        ("-qps", "use rate= of load()"),
        ("-t", "use duration= of load()"),
        ("-c", "use connections= of load()"),
        ("-n", "use rate= and duration= of load()"),
        ("-timeout", "use timeout= of load()"),
        *((f"-{name}", "the figures depend on it") for name in ("json", "uniform", "r", "nocatchup")),
        *((f"-access-log-{name}", "the figures depend on it") for name in ("file", "format")),
    ],
)
def test_reserved_arguments_are_refused(flag: str, hint: str, arg: str) -> None:
    """Even if fortio is not installed; the message names the option to use instead."""
    generator = Fortio()
    generator.args, generator.program = ["-connection-reuse", "10:20", arg.format(flag)], "/nowhere"
    with pytest.raises(PlanError) as caught:
        list(generator.run(plan()))
    assert str(caught.value) == f"fortio: args: {flag} is reserved; {hint}"


def test_it_connects_to_the_address_that_was_checked() -> None:
    """A name may have another address a moment later; TLS verifies the name all the same."""
    for scheme, words in [
        ("grpcs", "-H host: svc.example:8443 https://10.0.0.7:8443"),
        ("grpc", "10.0.0.7:8443"),
        ("https", "-resolve 10.0.0.7 https://svc.example:8443/"),
        ("tcp", "tcp://10.0.0.7:8443"),
    ]:
        asked = plan(f"{scheme}://svc.example:8443")
        asked = replace(asked, target=replace(asked.target, address=("10.0.0.7", 8443)))
        assert " ".join(Fortio().argv(asked)).endswith(words)


@pytest.mark.parametrize(
    ("url", "options", "name"),
    [
        ("http://a", {"headers": {"Authorization": "Bearer geheim"}}, "the header Authorization"),
        ("http://u:geheim@a", {}, "the header Authorization"),
        ("http://a", {"cookies": {"id": "geheim"}}, "the header Cookie"),
        ("http://a", {"headers": {"X-Api-Key": "geheim"}}, "the header X-Api-Key"),
        ("http://a", {"headers": {"X-Mine": "Bearer geheim"}}, "the header X-Mine"),
        ("http://a/?access_token=geheim", {}, "the field 'access_token' of the query"),
        ("grpc://a", {"headers": {"x-auth": "geheim"}}, "the header x-auth"),
    ],
)
def test_no_secret_is_in_the_list_of_processes(url: str, options: Any, name: str) -> None:
    """Everyone on the machine can read it; fortio takes headers in no other way. It has to be allowed."""
    with pytest.raises(PlanError) as caught:
        Fortio().argv(plan(url, **options))
    assert f"and {name} looks secret: use another generator" in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert Fortio().configured("fortio", {"secrets_in_arguments": True}).argv(plan(url, **options))
    assert Fortio().argv(plan("http://a/?q=tea&page=2", headers={"X-Request-Id": "7", "Accept-Language": "de"}))


# The real program.


def run(url: str, generator: Any = None, **options: Any) -> Result:
    asked = plan(url, **options)
    return runner.run(asked, Rounds(generator or Fortio(), asked))


@needs("fortio")
def test_requests_arrive_unchanged(server: Server) -> None:
    """Method, path, query, headers and body are those of the plan."""
    result = run(
        f"{server.url}/tea?q=1", method="PUT", headers={"X-Cup": "two, please"}, content=b"a\r\n\0{}'\"\xff", expect=404
    )
    assert result.requests
    head, _, body = server.last_request.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /tea?q=1 HTTP/1.1\r\n")
    assert b"X-Cup: two, please" in head
    assert f"Host: {server.url.removeprefix('http://')}".encode() in head
    assert body == b"a\r\n\0{}'\"\xff"


@needs("fortio")
@pytest.mark.parametrize("path", ["/cut-short", "/cut-chunk"])
def test_a_real_response_cut_short_is_a_failure(server: Server, path: str) -> None:
    assert run(server.url + path).outcomes == {"closed": 20}


@needs("fortio")
def test_tls(authority: trustme.CA, authority_file: Path) -> None:
    """Certificates are verified with the authority given."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Server(tls=context) as server:
        assert run(server.url, verify=authority_file).outcomes == {"200": 20}
        assert run(server.url, verify=False).outcomes == {"200": 20}
        asked = plan(server.url, rate=5, duration=1)
        assert {outcome for each in Fortio().run(asked) for outcome in each.outcomes} == {"tls"}


@needs("fortio")
def test_as_fast_as_it_can(server: Server) -> None:
    result = run(server.url, rate="max", duration=1)
    assert result.errors == 0
    assert result.rate > 100
    assert result.total.lag.count == 0


@pytest.fixture(scope="module")
def fortio_server() -> Iterator[dict[str, str]]:
    """Start fortio's own server; gives its addresses by protocol."""
    arguments = [f"-{kind}-port" for kind in ("http", "grpc", "tcp", "udp")]
    ports = [word for name in arguments for word in (name, "127.0.0.1:0")]
    command = ["fortio", "server", *ports, "-redirect-port", "disabled", "-logger-no-color"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr
        found: dict[str, str] = {}
        for line in process.stderr:
            if match := re.search(r"Fortio \S+ (\w+).* listening on \w+ (127\.0\.0\.1:\d+)", line):
                found[match[1]] = match[2]
            if len(found) >= 4:
                break
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        yield found
        process.terminate()
        drain.join(5)


@needs("fortio")
@pytest.mark.parametrize(
    ("address", "options", "outcomes"),
    [
        ("grpc://{grpc}", {}, {"SERVING"}),
        ("grpc://{grpc}/fgrpc.PingServer/Ping", {}, {"SERVING"}),
        ("grpc://{grpc}/no.Such", {}, {"closed", "protocol"}),
        ("tcp://{tcp}", {"content": "tea"}, {"OK"}),
        ("tcp://{tcp}", {}, {"OK"}),
        ("udp://{udp}", {}, {"OK"}),
    ],
)
def test_other_protocols(fortio_server: dict[str, str], address: str, options: Any, outcomes: set[str]) -> None:
    """gRPC health checks and pings, and echoes over TCP and UDP, are measured like HTTP."""
    result = run(address.format(**fortio_server), rate=20, duration=1, **options)
    assert result.requests == 20
    assert result.outcomes.keys() <= outcomes
    if outcomes <= {"OK", "SERVING"}:
        assert result.errors == 0
        assert result.total.latency.count == 20


@needs("fortio")
def test_a_grpc_service_that_never_answers_has_failed(server: Server) -> None:
    """It is not the failure of fortio, which has no timeout for gRPC and waits for the first calls."""
    server.choose = lambda path, before: "/silent"
    generator = Fortio()
    generator.grace = 0.5
    result = run(f"grpc{server.url.removeprefix('http')}", generator, rate=10, duration=1, timeout=0.5)
    assert result.requests == 10
    assert result.errors == 10


def test_fortio_that_hung_has_what_was_answered(tmp_path: Path) -> None:
    """Of a load in which the service stopped to respond, what was due since then are timeouts."""
    (tmp_path / "access.log").write_text("\n".join([*ON_TIME[:4], *ON_TIME[10:14]]))
    output = CommandOutput("", HEAD, -9, 8.0, 0.2, tmp_path, hung=True)
    found = Result(plan(), "fortio", tuple(Fortio().parse(output, plan())))
    assert found.outcomes["200"] == 8
    assert found.outcomes["timeout"] >= 10


@needs("fortio")
def test_grpc_methods_need_a_newer_fortio(fortio_server: dict[str, str]) -> None:
    asked = plan(f"grpc://{fortio_server['grpc']}/fgrpc.PingServer/Other", json={"a": 1})
    if Fortio().version() < "1.71":
        with pytest.raises(PlanError, match=r"cannot call gRPC methods: that needs 1\.71 or newer"):
            list(Fortio().run(asked))


# The server.


@pytest.fixture
def by_server(fortio_server: dict[str, str]) -> FortioServer:
    generator = FortioServer()
    generator.address = f"http://{fortio_server['http']}"
    return generator


@needs("fortio")
class TestFortioServer(GeneratorTests):
    @pytest.fixture
    def generator(self, by_server: FortioServer) -> FortioServer:
        return by_server


@needs("fortio")
def test_requests_by_a_server_arrive_unchanged(server: Server, by_server: FortioServer) -> None:
    options = {"method": "PUT", "headers": {"X-Cup": "two"}, "content": "tea", "expect": 404, "rate": 20, "duration": 1}
    result = run(f"{server.url}/404?q=1", by_server, **options)
    assert result.outcomes == {"404": 20}
    assert server.last_request.startswith(b"PUT /404?q=1 HTTP/1.1\r\n")
    assert b"X-Cup: two" in server.last_request
    assert server.last_request.endswith(b"\r\n\r\ntea")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "http://127.0.0.1:1",
            "fortio-server: http://127.0.0.1:1: connection refused. Is 'fortio server' running there?",
        ),
        ("http://u:geheim@127.0.0.1:1", "fortio-server: http://127.0.0.1:1: connection refused. *"),
        ("http://a b", "fortio-server: http://a b*"),
        ("{server}", "fortio-server: {server} is not a fortio server (its status is 404)"),
    ],
)
def test_a_missing_server_is_an_error(server: Server, address: str, message: str) -> None:
    server.choose = lambda path, before: "/404"
    generator = FortioServer()
    generator.address = address.format(server=server.url)
    for use in generator.version, lambda: list(generator.run(plan())):
        with pytest.raises(GeneratorError) as caught:
            use()
        assert fnmatch(str(caught.value), message.format(server=server.url).replace("[", "[[]"))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://[::1", "http://[::1"),
        ("http://u:geheim@[::1", "http://[::1"),
        ("http://u:geheim//@h:port", "http://h:port"),
        ("u:geheim@h", "h"),
    ],
)
def test_an_invalid_address_is_shown_without_its_password(address: str, shown: str) -> None:
    generator = FortioServer()
    generator.address = address
    with pytest.raises(PlanError) as caught:
        list(generator.run(plan()))
    assert str(caught.value) == f"fortio-server: {shown} is not a URL (expected 'http://host:port')"


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[FortioServer]:
    """Start what accepts connections, and answers what this function sends, after it has read something."""

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        generator = FortioServer()
        generator.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            yield generator
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def trickle(start: bytes) -> Callable[[socket.socket], None]:
    """Return what sends this, and then a byte every moment."""

    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    return send


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"],
)
def test_a_server_that_trickles_is_given_up(start: bytes) -> None:
    """Although it never lets a read time out; and it is not asked for long to stop the load."""
    began = time.monotonic()
    with (
        answering(trickle(start)) as generator,
        pytest.raises(GeneratorError, match="did not respond completely within"),
    ):
        generator.call("GET", "status", 1.0)
    assert time.monotonic() - began < PATIENCE


def test_an_interrupt_is_not_kept_waiting_by_a_server() -> None:
    """Which has received the load, and answers nothing any more."""
    with answering(lambda connection: time.sleep(PATIENCE)) as generator:
        running, began = generator.run(plan()), 0.0

        def interrupt(*_: object) -> None:
            nonlocal began
            began = time.monotonic()
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        try:
            with pytest.raises(KeyboardInterrupt):
                next(running)
            running.close()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert began
        assert time.monotonic() - began < 3


def test_an_endless_response_is_given_up() -> None:
    """Before it fills the memory."""

    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 65_536)

    with answering(send) as generator, pytest.raises(GeneratorError, match="sent more than 16 MiB"):
        generator.call("GET", "status", PATIENCE)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"DurationHistogram": {}, "RetCodes": {"5\x1b[2J\n::error::x": 1}}),
        '{"DurationHistogram": {}, "error": 1, "message": "\\u001b[2J\\n::error::"}',
    ],
)
def test_what_a_server_says_is_one_printable_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is printed, also where lines have a meaning."""
    monkeypatch.setattr(FortioServer, "call", lambda *_, **__: text.encode())
    with pytest.raises(GeneratorError) as caught:
        list(FortioServer().run(plan()))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("options", [{"verify": "ca.pem"}, {"cert": "a.pem"}])
def test_a_server_uses_its_own_certificates(options: Any) -> None:
    with pytest.raises(PlanError, match="uses certificates of its own"):
        FortioServer().options(plan("https://localhost", **options), "label")


# Published results.


def published(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(recording(f"fortio/{name}").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    ("name", "resolution", "outcomes", "percentiles"),
    [
        ("fortio-1.57.3-lib-n100.json", 0.001, {"200": 100}, [50, 90]),
        ("smp-test-results-0.json", 0.001, None, [50, 99]),
        ("smp-test-results-2.json", 0.001, {"failed": 300}, []),
        ("istio-1.2.0-2019-07-10-165728_193ff770_qps_1000_c_1_1024_serveronly.json", 0.00005, None, [50, 90, 99]),
    ],
)
def test_published_results(name: str, resolution: float, outcomes: Any, percentiles: list[float]) -> None:
    """fortio interpolates percentiles within a bucket; they are between the bounds that we give."""
    result = published(name)
    result.setdefault("ErrorsDurationHistogram", {"Data": None, "Min": 0, "Max": 0})
    found = interval(result, plan(rate="max", timeout=3), resolution)
    assert found.requests == result["DurationHistogram"]["Count"]
    if outcomes:
        assert found.outcomes == outcomes
    best, worst = found.latency.best_and_worst()
    for percent in percentiles:
        published_value = next(
            each["Value"] for each in result["DurationHistogram"]["Percentiles"] if each["Percentile"] == percent
        )
        assert best.percentile(percent) * 0.998 <= published_value <= worst.percentile(percent) * 1.002


@pytest.mark.parametrize(("made", "never_sent"), [(20, 0), (19, 0), (18, 0), (17, 3), (4, 16)])
def test_a_server_skips_at_most_one_call_of_each_thread(made: int, never_sent: int) -> None:
    """However long the calls are, all others that were due are failures."""
    result = {
        "RetCodes": {"200": made},
        "NumThreads": 2,
        "RequestedQPS": "10.25",
        "DurationHistogram": {"Data": [{"Start": 0.6, "End": 0.7, "Count": made}], "Min": 0.6, "Max": 0.7, "Sum": made},
        "ErrorsDurationHistogram": {"Data": None, "Min": 0, "Max": 0},
    }
    found = interval(result, plan(), 0.000_02)
    assert found.outcomes.get("timeout", 0) == found.never_sent == never_sent


def test_wrong_statuses_and_failures_together() -> None:
    """If fortio does not say which were which, no response looks faster than it may have been."""
    buckets = [{"Start": 0.0001, "End": 0.00012, "Count": 5}, {"Start": 0.0006, "End": 0.0007, "Count": 5}]
    result = {
        "RetCodes": {"200": 4, "503": 3, "-1": 3},
        "NumThreads": 2,
        "ActualDuration": 2_000_000_000,
        "DurationHistogram": {"Data": buckets, "Min": 0.0001, "Max": 0.0007, "Sum": 0.004},
        "ErrorsDurationHistogram": {
            "Data": [{"Start": 0.0001, "End": 0.00012, "Count": 6}],
            "Min": 0.0001,
            "Max": 0.0001,
        },
    }
    found = interval(result, plan(rate="max"), 0.000_02)
    assert found.outcomes == {"200": 4, "503": 3, "failed": 3}
    assert found.latency.over(0.0005) == 5
    assert found.latency.count == 7
