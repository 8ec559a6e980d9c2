"""Remote generators, with servers on this machine."""

import asyncio
import datetime
import re
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from pytest_loadgen.errors import GeneratorError, LoadError, PlanError, ServiceError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.problems import explained
from pytest_loadgen.generators import channel
from pytest_loadgen.generators import remote as remote_module
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.channel import SERVICE
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.generators.remote import Remote
from pytest_loadgen.running import runner
from pytest_loadgen.running.rounds import Rounds
from pytest_loadgen.testing import GeneratorTests
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.request import get, post
from pytest_loadgen.workers.distributed import Distributed
from tests.builders.recorder import Recorder
from tests.conftest import needs, wait_for
from tests.serving.builders import TOKEN, GeneratorServer, plan_for, serving, tls_options

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
pb = pytest.importorskip("pytest_loadgen.generators.loadgen_pb2", reason="protobuf is not installed")
messages = pytest.importorskip("pytest_loadgen.generators.messages")

DESCRIPTION = pb.Description(
    interface_version=1, name="stand-in", latency_from=pb.LATENCY_FROM_SCHEDULED, features=["http", "rate"]
)


@pytest.fixture(scope="module")
def generator_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratorServer]:
    with serving(tmp_path_factory.mktemp("server"), "--allowed-hosts", "*/open.sock") as generator_server:
        yield generator_server


class TestRemote(GeneratorTests):
    """The embedded generator on a server passes what every generator has to pass."""

    @pytest.fixture
    def generator(self, generator_server: GeneratorServer) -> LoadGenerator:
        return generator_server.remote()


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOADGEN_TOKEN", raising=False)


# Mixes.


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mix_is_sent_from_there(generator_server: GeneratorServer, workers: int) -> None:
    """With its weights, the statuses that each request expects, and figures by name."""
    with Recorder() as service:
        traffic = [get("/a", weight=3), post("/b", json={"x": 1}), get("/status/404", name="gone", expect=404)]
        options: Any = {"rate": 100, "duration": 1, "connections": 4}
        remote = generator_server.remote()
        plan = plan_of(traffic, options, lambda: service.url)
        result = runner.run(plan, Distributed(remote, workers) if workers > 1 else remote)
        assert result.errors == 0
        assert {name: result[name].requests for name in result.names} == {"GET /a": 60, "POST /b": 20, "gone": 20}
        assert service.paths() == {"/a": 60, "/b": 20, "/status/404": 20}


@needs("wrk")
def test_a_mix_by_a_generator_that_does_not_tell_requests_apart(generator_server: GeneratorServer) -> None:
    """There are figures of the whole only, and an expect= of one request is refused."""
    remote = generator_server.remote("wrk")
    options: Any = {"rate": "max", "duration": 1, "connections": 4}
    with Recorder() as service:
        plan = plan_of([get("/a", weight=3), get("/b")], options, lambda: service.url)
        result = runner.run(plan, remote)
        assert result.names == ()
        assert result.requests > result.errors == 0
        assert service.paths().keys() == {"/a", "/b"}
        plan = plan_of([get("/a"), get("/b", expect=404)], options, lambda: service.url)
        with pytest.raises(PlanError, match="remote cannot tell the requests of a mix apart"):
            runner.run(plan, remote)


def test_rounds_of_a_mix_go_on_there(generator_server: GeneratorServer) -> None:
    """A request that is sent once in a load is not left out of each of its rounds."""
    with Recorder() as service:
        traffic = [get("/often", weight=19), get("/seldom")]
        options: Any = {"rate": 20, "duration": 1, "connections": 4}
        plan = plan_of(traffic, options, lambda: service.url)
        runner.run(plan, Rounds(generator_server.remote(), plan, 4))
        assert service.paths() == {"/often": 19, "/seldom": 1}


@pytest.mark.parametrize("workers", [1, 2])
def test_reasons_of_failures_are_sent(generator_server: GeneratorServer, workers: int) -> None:
    """By name, and without what the request has."""
    with Recorder() as service:
        traffic = [
            get("/fine"),
            post("/status/503", content="token geheim-1", name="order"),
            post("/status/404", content="gone", expect=404),
        ]
        plan = plan_of(traffic, {"rate": 60, "duration": 1, "connections": 4}, lambda: service.url)
        remote = generator_server.remote()
        result = runner.run(plan, Distributed(remote, workers) if workers > 1 else remote)
    said = ["One of 20 responses with status 503: its body is '[...]' (order)."]
    assert explained(result) == explained(result["order"]) == said
    assert explained(result["GET /fine"]) == []


@pytest.mark.parametrize(
    ("traffic", "what"),
    [(get("/{}", each(range(3))), r"data \(each\(\)\)"), (get("/", check="x"), r"checks of responses \(check=\)")],
)
def test_data_and_checks_are_not_sent_there(generator_server: GeneratorServer, traffic: Any, what: str) -> None:
    with Recorder() as service:
        plan = plan_of(traffic, {}, lambda: service.url)
        with pytest.raises(PlanError, match=rf"^remote does not support: {what}\."):
            runner.run(plan, generator_server.remote())
        assert not service.requests


# Descriptions and plans.


def test_it_has_the_properties_of_the_generator_on_the_server(generator_server: GeneratorServer) -> None:
    """Except its name, and client certificates, which are not sent."""
    remote = generator_server.remote()
    assert remote.name == "remote"
    assert remote.version().startswith("embedded ")
    assert "cert" not in remote.features
    assert {"http", "rate", "max", "stages", "poisson"} <= remote.features
    assert [remote.latency_from, remote.added_latency, remote.streams_intervals, remote.max_duration] == [
        "scheduled",
        0,
        True,
        float("inf"),
    ]
    assert Distributed(remote, 2).remote
    another = pb.Description(
        interface_version=1, name="another", latency_from=pb.LATENCY_FROM_SENT, features=["http", "rate"]
    )
    with stand_in_server(lambda request, context: another) as address:
        sent = Registry([])[f"remote://{address}/another"]
        assert sent.latency_from == "sent"
        assert not sent.streams_intervals
        assert sent.features == {"http", "rate"}


def test_sent_from_is_the_server(generator_server: GeneratorServer) -> None:
    """So results of different machines are not compared with each other."""
    assert generator_server.remote().sent_from == f"{generator_server.address}/embedded"


def test_the_default_is_the_first_generator(generator_server: GeneratorServer) -> None:
    assert generator_server.remote("").description.name == "embedded"


@pytest.mark.parametrize(
    ("name", "address", "label"),
    [
        ("remote", "user:geheim@127.0.0.1:1", "remote (127.0.0.1:1)"),
        ("remote://user:geheim@127.0.0.1:1/fortio", "127.0.0.1:1", "remote://127.0.0.1:1/fortio"),
    ],
)
def test_a_password_in_the_address_is_not_shown(name: str, address: str, label: str) -> None:
    remote = Remote()
    remote.name, remote.address = name, address
    assert remote._label == label


def test_a_server_does_not_offer_remote_generators(generator_server: GeneratorServer) -> None:
    """Otherwise it could become its own client."""
    assert "remote" not in generator_server.remote().description.generators


def test_the_description_is_requested_once(server: Server) -> None:
    """And only when it is needed."""
    asked: list[Any] = []

    def describe(request: Any, context: Any) -> Any:
        asked.append(request)
        return DESCRIPTION

    with stand_in_server(describe) as address:
        remote = Registry([])[f"remote://{address}/stand-in"]
        assert asked == []
        assert remote.features == {"http", "rate"}
        assert remote.version() == "stand-in"
        assert asked == [pb.DescribeRequest(generator="stand-in")]


def test_the_request_is_sent_completely(generator_server: GeneratorServer, server: Server) -> None:
    """With its method, query, headers and body."""
    plan = plan_for(
        server, "/?of=orders", method="PUT", headers={"X-A": "b"}, content=b"\x00 body", rate=10, duration=0.2
    )
    result = runner.run(plan, generator_server.remote())
    assert (result.requests, result.errors) == (2, 0)
    head, _, body = server.last_request.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /?of=orders HTTP/1.1\r\n")
    assert b"X-A: b" in head
    assert body == b"\x00 body"


def test_ca_certificates_are_sent(
    generator_server: GeneratorServer, authority: trustme.CA, authority_file: Path, tmp_path: Path
) -> None:
    """The file in verify= is read here and trusted on the server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Server(tls=context) as service:
        plan = plan_for(service, verify=str(authority_file), rate=5, duration=0.2)
        assert runner.run(plan, generator_server.remote()).errors == 0
        with pytest.raises(ServiceError, match=r"^remote \(.*\): the certificate of https://.* is not trusted"):
            runner.run(plan_for(service, rate=5), generator_server.remote())


# Errors.


def test_a_server_that_is_not_running() -> None:
    remote = Registry([])["remote://127.0.0.1:1/fortio"]
    message = (
        "remote://127.0.0.1:1/fortio is not available: connection refused. "
        "Is 'python -m pytest_loadgen serve' running there?"
    )
    with pytest.raises(GeneratorError) as caught:
        _ = remote.features
    assert str(caught.value).lower() == message.lower()


@pytest.mark.parametrize(
    "url", ["remote://", "remote://a:b", "remote://user:geheim@a:1/b", "remote://a:1/b?c", "remote://a:70000/b"]
)
def test_an_invalid_address(url: str) -> None:
    with pytest.raises(PlanError, match="write 'remote://host:port/NAME'") as caught:
        Registry([])[url]
    assert "geheim" not in str(caught.value)


def test_an_unknown_generator(generator_server: GeneratorServer) -> None:
    message = "there is no load generator 'fortoi' on that machine: did you mean 'fortio'?"
    with pytest.raises(PlanError) as caught:
        generator_server.remote("fortoi").version()
    assert str(caught.value) == f"remote ({generator_server.address}): {message}"


def test_a_program_that_is_not_installed() -> None:
    """The hint names the embedded generator of the same server."""

    def describe(request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.INTERNAL, "there is no 'wrk'. Install it, or use --load-generator=embedded.")

    with stand_in_server(describe) as address:
        remote = Registry([])[f"remote://{address}/wrk"]
        with pytest.raises(GeneratorError, match=rf"or use --load-generator=remote://{address}/embedded\.$"):
            remote.version()


def test_an_unsupported_plan_is_refused(generator_server: GeneratorServer, server: Server) -> None:
    """By the client, and by the server."""
    plan = plan_for(server, rate=50, http2=True)
    with pytest.raises(PlanError, match="remote does not support: http2"):
        runner.run(plan, generator_server.remote())
    with pytest.raises(PlanError, match=r"remote \(.*\): embedded does not support: http2. Supported by: fortio, "):
        list(generator_server.remote().run(plan))
    assert server.connections == 0


def test_a_service_that_is_not_allowed_or_not_running(
    generator_server: GeneratorServer, server: Server, tmp_path: Path
) -> None:
    """The server decides."""
    plan = plan_for(server)
    documentation = replace(plan.target, url="http://192.0.2.1/", host="192.0.2.1", port=80)
    with pytest.raises(ServiceError, match=r"^remote \(.*\): 192.0.2.1 .* harm others.* serve --allowed-hosts 192"):
        runner.run(replace(plan, target=documentation), generator_server.remote())
    server.die()
    with pytest.raises(
        ServiceError, match=r"^remote \(.*\): http://127.0.0.1:\d+ does not accept connections after 100ms"
    ):
        runner.run(plan_for(server, ready_timeout=0.1), generator_server.remote())


def test_unix_sockets_have_to_be_allowed(generator_server: GeneratorServer, tmp_path: Path) -> None:
    """The service behind one may trust everybody on its machine."""
    with Server(unix=str(tmp_path / "open.sock")) as service:
        assert runner.run(plan_for(service, rate=5, duration=0.2), generator_server.remote()).errors == 0
    with Server(unix=str(tmp_path / "other.sock")) as service:
        with pytest.raises(ServiceError, match=r"other\.sock is a unix socket that may not be loaded"):
            runner.run(plan_for(service, rate=5), generator_server.remote())
        assert service.connections == 0


def test_a_start_in_the_far_future_is_refused(generator_server: GeneratorServer, server: Server) -> None:
    """The clocks of the two machines seem to differ."""
    with pytest.raises(PlanError, match=r"would start in .*: do the clocks of both machines agree\?"):
        list(generator_server.remote().run(replace(plan_for(server), start_at=time.time() + 3600)))


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("INVALID_ARGUMENT", PlanError, "remote (ADDRESS): so it is"),
        ("NOT_FOUND", PlanError, "remote (ADDRESS): so it is"),
        ("PERMISSION_DENIED", ServiceError, "remote (ADDRESS): so it is"),
        ("FAILED_PRECONDITION", ServiceError, "remote (ADDRESS): so it is"),
        ("UNAUTHENTICATED", GeneratorError, "remote (ADDRESS) requires a token (LOADGEN_TOKEN or token=/token_env=)"),
        ("RESOURCE_EXHAUSTED", GeneratorError, "remote (ADDRESS): so it is"),
        ("INTERNAL", GeneratorError, "remote (ADDRESS): so it is"),
        ("UNIMPLEMENTED", GeneratorError, f"remote (ADDRESS) does not offer {SERVICE}: is it *"),
        ("CANCELLED", GeneratorError, "remote (ADDRESS) is not available: it is shutting down"),
        ("UNAVAILABLE", GeneratorError, "remote (ADDRESS) is not available: so it is. Is *"),
    ],
)
def test_status_codes_become_exceptions(code: str, kind: type[LoadError], message: str, server: Server) -> None:
    """They say whether the plan, the service or the generator is at fault; headers are in no message."""

    def run(plan: Any, context: Any) -> Iterator[Any]:
        context.abort(grpc.StatusCode[code], "so\nit is" if code != "INTERNAL" else "so it is: Bearer geheim-7f3a")
        yield pb.Interval()

    with stand_in_server(run=run) as address:
        remote = Remote()
        remote.address = address
        with pytest.raises(kind) as caught:
            runner.run(plan_for(server, headers={"Authorization": "Bearer geheim-7f3a"}), remote)
    text = str(caught.value).replace(address, "ADDRESS")
    assert type(caught.value) is kind
    assert text.startswith(message.rstrip("*"))
    assert "geheim" not in text


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (
            pb.Description(interface_version=2, latency_from=pb.LATENCY_FROM_SCHEDULED),
            " has interface version 2, this machine has 1: install",
        ),
        (pb.Description(interface_version=1), ": invalid description: "),
    ],
)
def test_another_interface_version_is_refused(description: Any, message: str) -> None:
    with stand_in_server(lambda request, context: description) as address:
        remote = Remote()
        remote.address = address
        with pytest.raises(GeneratorError) as caught:
            remote.version()
        assert str(caught.value).startswith(f"remote ({address}){message}")


def test_a_server_of_something_else(server: Server) -> None:
    """Another gRPC service, an HTTP server, and a server that does not respond are errors."""
    with stand_in_server(service="another.Service") as address:
        remote = Registry([])[f"remote://{address}"]
        with pytest.raises(GeneratorError, match=f"does not offer {SERVICE}: is it a pytest-loadgen server"):
            remote.version()
    remote = Registry([])[server.url.replace("http", "remote")]
    with pytest.raises(GeneratorError, match=r"^remote://127\.0\.0\.1:\d+ is not available: \w"):
        remote.version()
    with stand_in_server(lambda request, context: time.sleep(1)) as address:
        remote = Remote.at(f"remote://{address}")
        remote.describe_timeout = 0.5
        with pytest.raises(GeneratorError, match="does not respond: is it a pytest-loadgen server"):
            remote.version()


def test_a_corrupt_interval_ends_the_load(server: Server) -> None:
    """Earlier intervals remain."""

    def run(plan: Any, context: Any) -> Iterator[Any]:
        yield pb.Interval(seconds=1, outcomes={"refused": 50})
        yield pb.Interval(start=1, seconds=1, latency={"hdr": b"no histogram"})

    seen: list[Interval] = []
    with stand_in_server(run=run) as address:
        remote = Registry([])[f"remote://{address}"]
        with pytest.raises(GeneratorError, match="sent an invalid interval"):
            runner.run(plan_for(server, duration=2), remote, seen.append)
    assert [interval.requests for interval in seen] == [50]


def test_a_server_that_tells_secrets(server: Server) -> None:
    """What the request has is left out here, too."""
    said = pb.Interval(seconds=1, outcomes={"refused": 100}, reasons={"refused": "no \x1b[2J place for geheim-1"})
    with stand_in_server(run=lambda plan, context: iter([said])) as address:
        plan = plan_for(server, duration=2, headers={"X-Key": "geheim-1"})
        found = runner.run(plan, Registry([])[f"remote://{address}"])
    assert found.total.reasons == {"refused": r"no \x1b[2J place for [...]"}


def reported(start: float, number: int, seconds: float = 1, **more: Any) -> Any:
    """Return the message of an interval with a number of responses."""
    latency = Histogram({1 << 20: number})
    return messages.write_interval(Interval(start, seconds, latency, latency, {"200": number}, **more))


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ([reported(1, 50), reported(0, 50)], "it spans 0 s to 1 s, the one before ended at 2 s"),
        ([reported(0, 50), reported(0.4, 50)], "it spans 0.4 s to 1.4 s, the one before ended at 1 s"),
        ([reported(14.1, 50, 0)], "it spans 14.1 s to 14.1 s"),
        ([reported(0, 100, 15)], "it spans 0 s to 15 s"),
        ([reported(0, 100, throttled=1e6)], "it has 100 requests and was throttled for 1e+06 s"),
        ([reported(0, 1 << 40)], "it has 1,099,511,627,776 requests and was throttled for 0 s"),
    ],
)
def test_intervals_that_contradict_the_plan(intervals: list[Any], message: str, server: Server) -> None:
    """They follow one another, and the last one ends in time."""
    with stand_in_server(run=lambda plan, context: iter(intervals)) as address:
        remote = Registry([])[f"remote://{address}"]
        with pytest.raises(GeneratorError, match=f"sent an invalid interval: {re.escape(message)}"):
            runner.run(plan_for(server, duration=2), remote)


@pytest.mark.parametrize(
    ("intervals", "options", "streams", "enough"),
    [
        ([], {}, True, False),
        ([reported(0, 100)], {}, True, True),
        ([reported(0, 93)], {}, True, True),
        ([reported(0, 92)], {}, True, False),
        # By chance there may be this few.
        ([reported(0, 43)], {"arrivals": "poisson"}, True, True),
        ([reported(0, 42)], {"arrivals": "poisson"}, True, False),
        # A program does not report requests in flight at its end.
        ([reported(0, 91)], {}, False, True),
        ([reported(0, 90)], {}, False, False),
        # The lag explains the others.
        ([reported(0, 10, lag=Histogram({1 << 26: 90}))], {}, True, True),
        # The closed model has no planned number.
        ([reported(0, 1)], {"rate": "max"}, True, True),
    ],
)
def test_missing_requests_are_an_error(
    intervals: list[Any], options: dict[str, Any], streams: bool, enough: bool, server: Server
) -> None:
    """The missing ones may be the slow ones."""
    features = ["http", "rate", "max", "poisson"]
    description = pb.Description(
        interface_version=1,
        name="x",
        latency_from=pb.LATENCY_FROM_SCHEDULED,
        features=features,
        streams_intervals=streams,
    )
    with stand_in_server(lambda request, context: description, lambda plan, context: iter(intervals)) as address:
        remote = Registry([])[f"remote://{address}"]
        expectation = (
            nullcontext() if enough else pytest.raises(GeneratorError, match=r"reported \d+ of 100 planned requests")
        )
        with expectation:
            runner.run(plan_for(server, **{"duration": 2, **options}), remote)


def test_a_server_that_freezes_or_dies(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client notices, earlier intervals remain, and the load stops."""
    quick = tuple((name, min(value, 2000) if name.endswith("_ms") else value) for name, value in channel.OPTIONS)
    monkeypatch.setattr(channel, "OPTIONS", quick)
    with serving(tmp_path) as generator_server:
        for number in signal.SIGSTOP, signal.SIGKILL:
            seen: list[Interval] = []

            def watch(interval: Interval, seen: list[Interval] = seen, number: signal.Signals = number) -> None:
                seen.append(interval)
                generator_server.process.send_signal(number)

            with pytest.raises(GeneratorError, match=r"^remote \(.*\) was lost during the load: \w"):
                runner.run(plan_for(server, duration=10), generator_server.remote(), watch)
            assert seen
            generator_server.process.send_signal(signal.SIGCONT)
        wait_for(lambda: server.open == 0)


def test_a_server_that_sends_no_end_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither empty intervals nor silence keep a load going; before its first interval it may wait in the queue."""
    monkeypatch.setattr(remote_module, "_SHUTDOWN_TIME", 0.5)

    def quickly(plan: Any, context: Any) -> Iterator[Any]:
        while context.is_active():
            yield pb.Interval()

    def slowly(plan: Any, context: Any) -> Iterator[Any]:
        while context.is_active():
            yield pb.Interval()
            time.sleep(0.3)

    def once(plan: Any, context: Any) -> Iterator[Any]:
        yield pb.Interval()
        while context.is_active():
            time.sleep(0.1)

    for run, message in (
        (quickly, "it is the"),
        (slowly, "did not end the load in time"),
        (once, "did not end the load"),
    ):
        with stand_in_server(run=run) as address, pytest.raises(GeneratorError, match=message):
            runner.run(plan_for(server, duration=1, timeout=0.5), Registry([])[f"remote://{address}"])


def test_a_token_that_a_server_repeats_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are characters that a terminal would obey."""
    monkeypatch.setenv("LOADGEN_TOKEN", "geheim-5b1c")

    def describe(request: Any, context: Any) -> Any:
        given = dict(context.invocation_metadata())["authorization"]
        context.abort(grpc.StatusCode.INTERNAL, f"\x1b[2J\n::error::{given}")

    with stand_in_server(describe) as address, pytest.raises(GeneratorError) as caught:
        Registry([])[f"remote://{address}"].version()
    assert "geheim" not in str(caught.value)
    assert "[...]" in str(caught.value)
    assert str(caught.value).isprintable()


# Authentication.


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[GeneratorServer]:
    """A server with TLS that requires a token."""
    folder = tmp_path_factory.mktemp("guarded")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    with serving(
        folder, *tls_options(folder, authority), "--token-env", "MINE", env={"MINE": TOKEN}
    ) as generator_server:
        yield generator_server


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[GeneratorServer]:
    """A server that requires client certificates."""
    folder = tmp_path_factory.mktemp("mutual")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    with serving(
        folder, *tls_options(folder, authority), "--tls-client-ca", folder / "authority.pem"
    ) as generator_server:
        yield generator_server


def test_a_token_is_accepted(
    guarded: GeneratorServer, authority_file: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a setting or from the environment; it is in no log and no description."""
    monkeypatch.setenv("LOADGEN_TOKEN", TOKEN)
    monkeypatch.setenv("OF_LAB", TOKEN)
    for name, value in ("token", ""), ("token", TOKEN), ("token_env", "OF_LAB"):
        remote = guarded.remote(tls=str(authority_file), **{name: value})
        assert runner.run(plan_for(server, rate=5, duration=0.2), remote).errors == 0
        assert TOKEN not in repr(vars(remote)["description"])
    assert TOKEN not in guarded.log


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"tls": "CA"}, GeneratorError, "remote (ADDRESS) requires a token (LOADGEN_TOKEN or token=/token_env=)"),
        (
            {"tls": "CA", "token": "guessed"},
            GeneratorError,
            "remote (ADDRESS) does not accept this token (LOADGEN_TOKEN or token=/token_env=)",
        ),
        ({"tls": "CA", "token": "a\nb"}, PlanError, "remote (ADDRESS): the token must be one line of ASCII"),
        (
            {"tls": "CA", "token_env": "NOWHERE"},
            GeneratorError,
            "remote: the environment variable NOWHERE (token_env=) is not set",
        ),
        (
            {"tls": True, "token": TOKEN},
            GeneratorError,
            "remote (ADDRESS) is not available: its certificate is not trusted: unable to get local issuer "
            "certificate (tls=). Is 'python -m pytest_loadgen serve' running there?",
        ),
        (
            {"token": TOKEN},
            GeneratorError,
            "remote (ADDRESS) is not available: it closed the connection; does it require TLS (tls=)?",
        ),
        ({"tls": "no.pem"}, PlanError, "remote (ADDRESS): tls, cert: cannot use no.pem (No such file or directory)"),
    ],
)
def test_wrong_credentials_are_refused(
    settings: dict[str, Any], kind: type[LoadError], message: str, guarded: GeneratorServer, server: Server
) -> None:
    """By both calls, and nothing is sent to the service."""
    if settings.get("tls") == "CA":
        settings = {**settings, "tls": str(guarded.log_file.with_name("authority.pem"))}
    remote = guarded.remote(**settings)
    for call in remote.version, lambda: list(remote.run(plan_for(server))):
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value).replace(guarded.address, "ADDRESS") == message
    assert server.connections == 0


def test_a_server_without_tls(generator_server: GeneratorServer) -> None:
    with pytest.raises(GeneratorError, match="it does not speak TLS"):
        generator_server.remote(tls=True).version()


def test_an_expired_certificate_or_one_for_another_host(
    authority: trustme.CA, authority_file: Path, tmp_path: Path
) -> None:
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    expired, other = tmp_path / "expired", tmp_path / "other"
    expired.mkdir()
    other.mkdir()
    message = "its certificate is not trusted: certificate has expired"
    with (
        serving(expired, *tls_options(expired, authority, not_after=yesterday)) as generator_server,
        pytest.raises(GeneratorError, match=message),
    ):
        generator_server.remote(tls=str(authority_file)).version()
    with (
        serving(other, *tls_options(other, authority, "elsewhere.example")) as generator_server,
        pytest.raises(GeneratorError, match="its certificate is for another host"),
    ):
        generator_server.remote(tls=str(authority_file)).version()


def test_client_certificates(
    mutual: GeneratorServer, authority: trustme.CA, authority_file: Path, server: Server, tmp_path: Path
) -> None:
    """Only valid ones of the right CA are accepted; the log names them."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    pem = str(authority_file)
    tls_options(tmp_path, authority, "ci.example")
    cert = [str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")]
    assert runner.run(plan_for(server, rate=5, duration=0.2), mutual.remote(tls=pem, cert=cert)).errors == 0
    assert "ci.example" in mutual.log
    connections = server.connections
    wrong = "it closed the connection; does it require a client certificate"
    with pytest.raises(GeneratorError, match=wrong):
        mutual.remote(tls=pem).version()
    tomorrow = yesterday + datetime.timedelta(days=2)
    for issuer, until in (authority, yesterday), (trustme.CA(), tomorrow):
        tls_options(tmp_path, issuer, "ci.example", not_after=until)
        remote = mutual.remote(tls=pem, cert=cert)
        for call in remote.version, lambda remote=remote: list(remote.run(plan_for(server))):
            with pytest.raises(GeneratorError, match=wrong):
                call()
    assert server.connections == connections


def test_no_token_is_sent_unencrypted_to_another_machine() -> None:
    """TLS is the default there."""
    remote = Remote()
    remote.address, remote.tls, remote.token = "192.0.2.1:1", False, TOKEN
    with pytest.raises(PlanError, match=r"192\.0\.2\.1:1.*refusing to send a token unencrypted to another machine"):
        remote.version()
    assert channel.Channel("192.0.2.1:1").encrypted
    assert not channel.Channel("[::1]:1").encrypted
    assert not channel.Channel("localhost").encrypted


# Stopping, and several loads.


def test_a_load_that_ends_early_is_stopped_on_the_server(generator_server: GeneratorServer, server: Server) -> None:
    result = runner.run(plan_for(server, duration=9), generator_server.remote(), lambda interval: True)
    assert 1 <= len(result.intervals) <= 2
    assert wait_for(lambda: server.open == 0) < 2  # one, and one for a busy machine
    wait_for(lambda: generator_server.log.rstrip().endswith("cancelled by the client"))


def test_the_parts_of_a_plan_run_together(generator_server: GeneratorServer, server: Server) -> None:
    """Although a server runs one load at a time: they are one load."""
    begun = time.monotonic()
    result = runner.run(plan_for(server, rate=100), Distributed(generator_server.remote(), 2))
    assert time.monotonic() - begun < 2.5  # and not one after the other
    assert (result.requests, result.errors) == (100, 0)


def test_chosen_by_address_and_by_configuration(
    generator_server: GeneratorServer,
    guarded: GeneratorServer,
    pytester: pytest.Pytester,
    server: Server,
    authority_file: Path,
) -> None:
    """On the command line, and two servers in one test; the list of generators says which are available."""
    pytester.makeini(f"[pytest]\nload_target = {server.url}\n")
    pytester.path.joinpath("ca.pem").write_bytes(authority_file.read_bytes())
    pytester.makepyprojecttoml(
        f"""
        [tool.pytest-loadgen.generators.lab]
        use = "remote"
        address = "{guarded.address}"
        token_env = "OF_LAB"
        tls = "ca.pem"

        [tool.pytest-loadgen.generators.gone]
        use = "remote"
        address = "127.0.0.1:1"
        """
    )
    name = f"remote://{generator_server.address}/embedded"
    pytester.makepyfile(
        f"""
        import pytest
        from pytest_loadgen import GeneratorError, PlanError

        def test_all(load):
            result = load("/", rate=10, duration=0.2)
            assert (result.generator, result.requests) == ({name!r}, 2)
            assert result.version.startswith("embedded ")

        def test_each(load):
            results = load("/", rate=20, duration=0.2, generator=[{name!r}, "lab"])
            assert [results[name].requests for name in ({name!r}, "lab")] == [4, 4]

        def test_gone(load):
            with pytest.raises(GeneratorError, match="gone .127.0.0.1:1. is not available"):
                load("/", generator="gone")

        def test_cannot(load):
            with pytest.raises(PlanError, match="does not support: cert. Supported by: embedded"):
                load("/", cert="client.pem")
        """
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OF_LAB", TOKEN)
        result = pytester.runpytest_inprocess(f"--load-generator={name}", "-p", "no:cacheprovider")
        result.assert_outcomes(passed=4)
        listed = pytester.run(sys.executable, "-m", "pytest_loadgen", "generators")
    listed.stdout.fnmatch_lines(
        [
            f"lab *{guarded.address} *embedded * scheduled *rate*",
            "gone *gone (127.0.0.1:1) is not available: *onnection refused*",
        ]
    )


def test_the_delay_to_the_server_is_in_no_latency(generator_server: GeneratorServer, server: Server) -> None:
    """The load is sent from the server."""
    with slow(generator_server.address, 0.02) as address:
        remote = generator_server.remote(address=address)
        result = runner.run(plan_for(server, warmup=0.2), remote)
    assert result.errors == 0
    assert result.requests == 50
    assert result.p50 < "20ms"


# Stand-ins for other servers, and for a network.


@contextmanager
def stand_in_server(
    describe: Callable[[Any, Any], Any] = lambda request, context: DESCRIPTION,
    run: Callable[[Any, Any], Iterator[Any]] = lambda plan, context: iter(()),
    service: str = SERVICE,
) -> Iterator[str]:
    """Start a server with these methods, and yield its address."""
    server = grpc.server(ThreadPoolExecutor(4))
    methods = {
        "Describe": grpc.unary_unary_rpc_method_handler(
            describe, pb.DescribeRequest.FromString, pb.Description.SerializeToString
        ),
        "Run": grpc.unary_stream_rpc_method_handler(run, pb.Plan.FromString, pb.Interval.SerializeToString),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, methods)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def slow(address: str, delay: float) -> Iterator[str]:
    """Forward connections to an address with a delay in each direction, in seconds."""
    host, _, port = address.rpartition(":")
    loop = asyncio.new_event_loop()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            loop.call_later(delay, writer.write, data)
        loop.call_later(delay, writer.close)

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(carry(reader, back), carry(there, writer))

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(connect, "127.0.0.1", 0)

    async def end(listening: asyncio.Server) -> None:
        listening.close()
        while len(asyncio.all_tasks()) > 1 or loop._scheduled:  # type: ignore[attr-defined]  # until everything has been forwarded
            await asyncio.sleep(0.01)

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listening = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    try:
        yield "{}:{}".format(*listening.sockets[0].getsockname())
    finally:
        asyncio.run_coroutine_threadsafe(end(listening), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
