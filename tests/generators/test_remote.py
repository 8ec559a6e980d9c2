"""Generators elsewhere, with real servers of them on this machine."""

import asyncio
import datetime
import re
import signal
import ssl
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
from pytest_loadgen.generators import channel
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.channel import SERVICE
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.generators.remote import Remote
from pytest_loadgen.running import runner
from pytest_loadgen.testing import GeneratorTests
from pytest_loadgen.testing.service import Server
from pytest_loadgen.workers.distributed import Distributed
from tests.conftest import wait_for
from tests.lending import TOKEN, Lent, lending, plan_for, tls

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
pb = pytest.importorskip("pytest_loadgen.generators.loadgen_pb2", reason="protobuf is not installed")
wire = pytest.importorskip("pytest_loadgen.generators.messages")

DESCRIPTION = pb.Description(
    interface_version=1, name="stand-in", latency_from=pb.LATENCY_FROM_SCHEDULED, features=["http", "rate"]
)


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lent]:
    with lending(tmp_path_factory.mktemp("lent"), "--allowed-hosts", "*/open.sock") as lent:
        yield lent


class TestRemote(GeneratorTests):
    """What every generator keeps, the embedded one keeps through a server, too."""

    @pytest.fixture
    def generator(self, lent: Lent) -> LoadGenerator:
        return lent.remote()


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOADGEN_TOKEN", raising=False)


# What it is, and what is sent.


def test_it_is_what_is_lent(lent: Lent) -> None:
    """All but its name is the other one's; client certificates stay here."""
    remote = lent.remote()
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
    with standing_in(lambda request, context: another) as address:
        sent = Registry([])[f"remote://{address}/another"]
        assert sent.latency_from == "sent"
        assert not sent.streams_intervals
        assert sent.features == {"http", "rate"}


def test_it_says_from_where_it_loads(lent: Lent) -> None:
    """So that what another machine measured is not compared with what this one did."""
    assert lent.remote().sent_from == f"{lent.address}/embedded"


def test_without_a_name_it_is_the_first(lent: Lent) -> None:
    assert lent.remote("").description.name == "embedded"


@pytest.mark.parametrize(
    ("name", "address", "who"),
    [
        ("remote", "user:geheim@127.0.0.1:1", "remote (127.0.0.1:1)"),
        ("remote://user:geheim@127.0.0.1:1/fortio", "127.0.0.1:1", "remote://127.0.0.1:1/fortio"),
    ],
)
def test_a_password_in_its_address_is_kept(name: str, address: str, who: str) -> None:
    remote = Remote()
    remote.name, remote.address = name, address
    assert remote._who == who


def test_a_remote_one_is_not_lent_on(lent: Lent) -> None:
    """A server that lent others' generators could be its own caller."""
    assert "remote" not in lent.remote().description.generators


def test_it_is_asked_once(server: Server) -> None:
    """And not before somebody wants to know."""
    asked: list[Any] = []

    def describe(request: Any, context: Any) -> Any:
        asked.append(request)
        return DESCRIPTION

    with standing_in(describe) as address:
        remote = Registry([])[f"remote://{address}/stand-in"]
        assert asked == []
        assert remote.features == {"http", "rate"}
        assert remote.version() == "stand-in"
        assert asked == [pb.DescribeRequest(generator="stand-in")]


def test_the_request_is_sent_whole(lent: Lent, server: Server) -> None:
    """Method, query, headers and body are those that were asked for."""
    plan = plan_for(
        server, "/?of=orders", method="PUT", headers={"X-A": "b"}, content=b"\x00 body", rate=10, duration=0.2
    )
    result = runner.run(plan, lent.remote())
    assert (result.requests, result.errors) == (2, 0)
    head, _, body = server.last_request.partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /?of=orders HTTP/1.1\r\n")
    assert b"X-A: b" in head
    assert body == b"\x00 body"


def test_certificates_are_sent(lent: Lent, authority: trustme.CA, authority_file: Path, tmp_path: Path) -> None:
    """The file in verify= is this machine's, and trusted on the other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Server(tls=context) as service:
        assert (
            runner.run(plan_for(service, verify=str(authority_file), rate=5, duration=0.2), lent.remote()).errors == 0
        )
        with pytest.raises(ServiceError, match=r"^remote \(.*\): the certificate of https://.* is not to be trusted"):
            runner.run(plan_for(service, rate=5), lent.remote())


# What goes wrong.


def test_a_server_that_is_not_there() -> None:
    remote = Registry([])["remote://127.0.0.1:1/fortio"]
    said = (
        "remote://127.0.0.1:1/fortio is not available: connection refused. "
        "Is 'python -m pytest_loadgen serve' running there?"
    )
    with pytest.raises(GeneratorError) as caught:
        _ = remote.features
    assert str(caught.value).lower() == said.lower()


@pytest.mark.parametrize(
    "url", ["remote://", "remote://a:b", "remote://user:geheim@a:1/b", "remote://a:1/b?c", "remote://a:70000/b"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(PlanError, match="write 'remote://host:port/NAME'") as caught:
        Registry([])[url]
    assert "geheim" not in str(caught.value)


def test_a_generator_that_is_not_there(lent: Lent) -> None:
    said = f"remote ({lent.address}): there is no load generator 'fortoi' at that machine: did you mean 'fortio'?"
    with pytest.raises(PlanError) as caught:
        lent.remote("fortoi").version()
    assert str(caught.value) == said


def test_a_program_that_is_not_there() -> None:
    """What is there is at the same machine."""

    def describe(request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.INTERNAL, "there is no 'wrk'. Install it, or use --load-generator=embedded.")

    with standing_in(describe) as address:
        remote = Registry([])[f"remote://{address}/wrk"]
        with pytest.raises(GeneratorError, match=rf"or use --load-generator=remote://{address}/embedded\.$"):
            remote.version()


def test_a_plan_that_it_cannot_do_is_not_sent(lent: Lent, server: Server) -> None:
    """Neither by who asks, nor, where that was not asked, by who lends."""
    plan = plan_for(server, rate=50, http2=True)
    with pytest.raises(PlanError, match="remote does not support: http2"):
        runner.run(plan, lent.remote())
    with pytest.raises(PlanError, match=r"remote \(.*\): embedded does not support: http2. Supported by: fortio, "):
        list(lent.remote().run(plan))
    assert server.connections == 0


def test_a_service_that_is_forbidden_or_not_there(lent: Lent, server: Server, tmp_path: Path) -> None:
    """It is found and refused from where the generator is."""
    plan = plan_for(server)
    documentation = replace(plan.target, url="http://192.0.2.1/", host="192.0.2.1", port=80)
    with pytest.raises(ServiceError, match=r"^remote \(.*\): 192.0.2.1 .* harm others.* serve --allowed-hosts 192"):
        runner.run(replace(plan, target=documentation), lent.remote())
    server.die()
    with pytest.raises(ServiceError, match=r"^remote \(.*\): http://127.0.0.1:\d+ accepts no connections for 100ms"):
        runner.run(plan_for(server, ready_timeout=0.1), lent.remote())


def test_sockets_are_lent_by_name(lent: Lent, tmp_path: Path) -> None:
    """Behind a unix socket may be who trusts everybody on that machine."""
    with Server(unix=str(tmp_path / "open.sock")) as service:
        assert runner.run(plan_for(service, rate=5, duration=0.2), lent.remote()).errors == 0
    with Server(unix=str(tmp_path / "other.sock")) as service:
        with pytest.raises(ServiceError, match=r"other\.sock is a socket that is not lent"):
            runner.run(plan_for(service, rate=5), lent.remote())
        assert service.connections == 0


def test_clocks_that_differ(lent: Lent, server: Server) -> None:
    """A start that is far off is no start together."""
    with pytest.raises(PlanError, match=r"to start in .*: do the clocks of both machines agree\?"):
        list(lent.remote().run(replace(plan_for(server), start_at=time.time() + 3600)))


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("INVALID_ARGUMENT", PlanError, "remote (ADDRESS): so it is"),
        ("NOT_FOUND", PlanError, "remote (ADDRESS): so it is"),
        ("PERMISSION_DENIED", ServiceError, "remote (ADDRESS): so it is"),
        ("FAILED_PRECONDITION", ServiceError, "remote (ADDRESS): so it is"),
        ("UNAUTHENTICATED", GeneratorError, "remote (ADDRESS): it wants a token (LOADGEN_TOKEN or token=/token_env=)"),
        ("RESOURCE_EXHAUSTED", GeneratorError, "remote (ADDRESS): so it is"),
        ("INTERNAL", GeneratorError, "remote (ADDRESS): so it is"),
        ("UNIMPLEMENTED", GeneratorError, f"remote (ADDRESS) does not know {SERVICE}: is it *"),
        ("CANCELLED", GeneratorError, "remote (ADDRESS) is not available: it is going down. Is *"),
        ("UNAVAILABLE", GeneratorError, "remote (ADDRESS) is not available: so it is. Is *"),
    ],
)
def test_what_a_status_means(code: str, kind: type[LoadError], said: str, server: Server) -> None:
    """Each tells whether the plan, the service or the generator is at fault; headers are in no message."""

    def run(plan: Any, context: Any) -> Iterator[Any]:
        context.abort(grpc.StatusCode[code], "so\nit is" if code != "INTERNAL" else "so it is: Bearer geheim-7f3a")
        yield pb.Interval()

    with standing_in(run=run) as address:
        remote = Remote()
        remote.address = address
        with pytest.raises(kind) as caught:
            runner.run(plan_for(server, headers={"Authorization": "Bearer geheim-7f3a"}), remote)
    text = str(caught.value).replace(address, "ADDRESS")
    assert type(caught.value) is kind
    assert text.startswith(said.rstrip("*"))
    assert "geheim" not in text


@pytest.mark.parametrize(
    ("description", "said"),
    [
        (
            pb.Description(interface_version=2, latency_from=pb.LATENCY_FROM_SCHEDULED),
            "speaks version 2 of the interface, and this is ver",
        ),
        (pb.Description(interface_version=1), "does not say what it is: "),
    ],
)
def test_an_interface_that_is_another(description: Any, said: str) -> None:
    with standing_in(lambda request, context: description) as address:
        remote = Remote()
        remote.address = address
        with pytest.raises(GeneratorError) as caught:
            remote.version()
        assert str(caught.value).startswith(f"remote ({address}) {said}")


def test_a_server_of_something_else(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither another gRPC service is taken for one, nor what speaks HTTP, nor what says nothing."""
    monkeypatch.setattr(channel, "_PATIENCE", 0.5)
    with standing_in(service="another.Service") as address:
        remote = Registry([])[f"remote://{address}"]
        with pytest.raises(GeneratorError, match=f"does not know {SERVICE}: is it a server of load generators"):
            remote.version()
    remote = Registry([])[server.url.replace("http", "remote")]
    with pytest.raises(GeneratorError, match=r"^remote://127\.0\.0\.1:\d+ is not available: \w"):
        remote.version()
    with standing_in(lambda request, context: time.sleep(1)) as address:
        remote = Registry([])[f"remote://{address}"]
        with pytest.raises(GeneratorError, match="does not answer: is it a server of load generators"):
            remote.version()


def test_intervals_that_are_none(server: Server) -> None:
    """What came before stays."""

    def run(plan: Any, context: Any) -> Iterator[Any]:
        yield pb.Interval(seconds=1, outcomes={"refused": 50})
        yield pb.Interval(start=1, seconds=1, latency={"hdr": b"no histogram"})

    seen: list[Interval] = []
    with standing_in(run=run) as address:
        remote = Registry([])[f"remote://{address}"]
        with pytest.raises(GeneratorError, match="sent an interval that cannot be read"):
            runner.run(plan_for(server, duration=2), remote, seen.append)
    assert [interval.requests for interval in seen] == [50]


def _told(start: float, number: int, seconds: float = 1, **more: Any) -> Any:
    """Make what a server says of a second in which there were so many answers."""
    latency = Histogram({1 << 20: number})
    return wire.write_interval(Interval(start, seconds, latency, latency, {"200": number}, **more))


@pytest.mark.parametrize(
    ("intervals", "said"),
    [
        ([_told(1, 50), _told(0, 50)], "it goes from 0 s to 1 s, and the one before to 2 s"),
        ([_told(0, 50), _told(0.4, 50)], "it goes from 0.4 s to 1.4 s, and the one before to 1 s"),
        ([_told(14.1, 50, 0)], "it goes from 14.1 s to 14.1 s"),
        ([_told(0, 100, 15)], "it goes from 0 s to 15 s"),
        ([_told(0, 100, throttled=1e6)], "it counts 100 requests, and 1e+06 s without CPU"),
        ([_told(0, 1 << 40)], "it counts 1,099,511,627,776 requests, and 0 s without CPU"),
    ],
)
def test_intervals_that_cannot_be_of_this_plan(intervals: list[Any], said: str, server: Server) -> None:
    """One follows another, and the last of them ends when the load has to have ended."""
    with standing_in(run=lambda plan, context: iter(intervals)) as address:
        remote = Registry([])[f"remote://{address}"]
        with pytest.raises(GeneratorError, match=f"sent an interval that cannot be read: {re.escape(said)}"):
            runner.run(plan_for(server, duration=2), remote)


@pytest.mark.parametrize(
    ("told", "options", "live", "enough"),
    [
        ([], {}, True, False),
        ([_told(0, 100)], {}, True, True),
        ([_told(0, 93)], {}, True, True),
        ([_told(0, 92)], {}, True, False),
        # By chance there may be so few.
        ([_told(0, 43)], {"arrivals": "poisson"}, True, True),
        ([_told(0, 42)], {"arrivals": "poisson"}, True, False),
        # What a program had under way at its end.
        ([_told(0, 91)], {}, False, True),
        ([_told(0, 90)], {}, False, False),
        # It says itself that it was too late for the others.
        ([_told(0, 10, lag=Histogram({1 << 26: 90}))], {}, True, True),
        # As fast as it can, it may be slow.
        ([_told(0, 1)], {"rate": "max"}, True, True),
    ],
)
def test_all_requests_have_to_be_told_of(
    told: list[Any], options: dict[str, Any], live: bool, enough: bool, server: Server
) -> None:
    """What is missing may be what was slow."""
    features = ["http", "rate", "max", "poisson"]
    description = pb.Description(
        interface_version=1, name="x", latency_from=pb.LATENCY_FROM_SCHEDULED, features=features, streams_intervals=live
    )
    with standing_in(lambda request, context: description, lambda plan, context: iter(told)) as address:
        remote = Registry([])[f"remote://{address}"]
        expectation = nullcontext() if enough else pytest.raises(GeneratorError, match=r"was to make 100 requests and")
        with expectation:
            runner.run(plan_for(server, **{"duration": 2, **options}), remote)


def test_a_server_that_is_frozen_or_killed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed; what it told before stays, and nothing goes on there."""
    quick = tuple((name, min(value, 500) if name.endswith("_ms") else value) for name, value in channel.OPTIONS)
    monkeypatch.setattr(channel, "OPTIONS", quick)
    with lending(tmp_path) as lent:
        for number in signal.SIGSTOP, signal.SIGKILL:
            seen: list[Interval] = []

            def watch(interval: Interval, seen: list[Interval] = seen, number: signal.Signals = number) -> None:
                seen.append(interval)
                lent.process.send_signal(number)

            with pytest.raises(GeneratorError, match=r"^remote \(.*\) was lost in the middle of the load: \w"):
                runner.run(plan_for(server, duration=10), lent.remote(), watch)
            assert seen
            lent.process.send_signal(signal.SIGCONT)
        wait_for(lambda: server.open == 0)


# Who is let in.


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Lent]:
    """One that speaks TLS, and wants a token."""
    folder = tmp_path_factory.mktemp("guarded")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    with lending(folder, *tls(folder, authority), "--token-env", "MINE", env={"MINE": TOKEN}) as lent:
        yield lent


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Lent]:
    """One that wants certificates of its callers."""
    folder = tmp_path_factory.mktemp("mutual")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    with lending(folder, *tls(folder, authority), "--tls-client-ca", folder / "authority.pem") as lent:
        yield lent


def test_a_token_lets_in(guarded: Lent, authority_file: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given as it is, or by the environment; and it is in nothing that is said."""
    monkeypatch.setenv("LOADGEN_TOKEN", TOKEN)
    monkeypatch.setenv("OF_LAB", TOKEN)
    for name, value in ("token", ""), ("token", TOKEN), ("token_env", "OF_LAB"):
        remote = guarded.remote(tls=str(authority_file), **{name: value})
        assert runner.run(plan_for(server, rate=5, duration=0.2), remote).errors == 0
        assert TOKEN not in repr(vars(remote)["description"])
    assert TOKEN not in guarded.said


@pytest.mark.parametrize(
    ("settings", "kind", "said"),
    [
        ({"tls": "CA"}, GeneratorError, "remote (ADDRESS): it wants a token (LOADGEN_TOKEN or token=/token_env=)"),
        (
            {"tls": "CA", "token": "guessed"},
            GeneratorError,
            "remote (ADDRESS): it does not take this token (LOADGEN_TOKEN or token=/token_env=)",
        ),
        ({"tls": "CA", "token": "a\nb"}, PlanError, "remote (ADDRESS): the token is to be one line of ASCII"),
        (
            {"tls": "CA", "token_env": "NOWHERE"},
            GeneratorError,
            "remote: the environment has no NOWHERE, where the token is to be",
        ),
        (
            {"tls": True, "token": TOKEN},
            GeneratorError,
            "remote (ADDRESS) is not available: its certificate is not to be trusted: unable to get local issuer "
            "certificate (tls=). Is 'python -m pytest_loadgen serve' running there?",
        ),
        (
            {"token": TOKEN},
            GeneratorError,
            "remote (ADDRESS) is not available: it closed the connection; does it speak TLS (tls=)?",
        ),
        ({"tls": "no.pem"}, PlanError, "remote (ADDRESS): tls, cert: cannot use no.pem (No such file or directory)"),
    ],
)
def test_who_is_not_let_in(
    settings: dict[str, Any], kind: type[LoadError], said: str, guarded: Lent, server: Server
) -> None:
    """Not by one call nor by the other, and nothing is sent to the service."""
    if settings.get("tls") == "CA":
        settings = {**settings, "tls": str(guarded.log.with_name("authority.pem"))}
    remote = guarded.remote(**settings)
    for call in remote.version, lambda: list(remote.run(plan_for(server))):
        with pytest.raises(kind) as caught:
            call()
        assert str(caught.value).replace(guarded.address, "ADDRESS") == said
    assert server.connections == 0


def test_tls_where_there_is_none(lent: Lent) -> None:
    with pytest.raises(GeneratorError, match="it does not speak TLS"):
        lent.remote(tls=True).version()


def test_a_certificate_that_has_expired_or_is_anothers(
    authority: trustme.CA, authority_file: Path, tmp_path: Path
) -> None:
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    expired, anothers = tmp_path / "expired", tmp_path / "another's"
    expired.mkdir()
    anothers.mkdir()
    said = "its certificate is not to be trusted: certificate has expired"
    with (
        lending(expired, *tls(expired, authority, not_after=yesterday)) as lent,
        pytest.raises(GeneratorError, match=said),
    ):
        lent.remote(tls=str(authority_file)).version()
    with (
        lending(anothers, *tls(anothers, authority, "elsewhere.example")) as lent,
        pytest.raises(GeneratorError, match="its certificate is another host's"),
    ):
        lent.remote(tls=str(authority_file)).version()


def test_certificates_of_callers(
    mutual: Lent, authority: trustme.CA, authority_file: Path, server: Server, tmp_path: Path
) -> None:
    """Only those whose certificate is of the right authority, and not too old, are let in; they are in the log."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    pem = str(authority_file)
    tls(tmp_path, authority, "ci.example")
    cert = [str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")]
    assert runner.run(plan_for(server, rate=5, duration=0.2), mutual.remote(tls=pem, cert=cert)).errors == 0
    assert "ci.example" in mutual.said
    connections = server.connections
    wrong = "it closed the connection; does it want a certificate"
    with pytest.raises(GeneratorError, match=wrong):
        mutual.remote(tls=pem).version()
    tomorrow = yesterday + datetime.timedelta(days=2)
    for issuer, until in (authority, yesterday), (trustme.CA(), tomorrow):
        tls(tmp_path, issuer, "ci.example", not_after=until)
        remote = mutual.remote(tls=pem, cert=cert)
        for call in remote.version, lambda remote=remote: list(remote.run(plan_for(server))):
            with pytest.raises(GeneratorError, match=wrong):
                call()
    assert server.connections == connections


def test_no_token_goes_out_unencrypted() -> None:
    """To another machine TLS is spoken unless that is forbidden; and then there is no token for it."""
    remote = Remote()
    remote.address, remote.tls, remote.token = "192.0.2.1:1", False, TOKEN
    with pytest.raises(PlanError, match=r"192\.0\.2\.1:1 is another machine, where no token is sent unencrypted"):
        remote.version()
    assert channel.Channel("192.0.2.1:1").encrypted
    assert not channel.Channel("[::1]:1").encrypted
    assert not channel.Channel("localhost").encrypted


# Ends, and several at once.


def test_a_load_that_ends_early_is_stopped_there(lent: Lent, server: Server) -> None:
    result = runner.run(plan_for(server, duration=9), lent.remote(), lambda interval: True)
    assert 1 <= len(result.intervals) <= 2
    assert wait_for(lambda: server.open == 0) < 2  # one, and one for a busy machine
    wait_for(lambda: lent.said.rstrip().endswith("ended by the caller"))


def test_the_parts_of_a_plan_run_together(lent: Lent, server: Server) -> None:
    """Though there is one load at a time: they are one."""
    begun = time.monotonic()
    result = runner.run(plan_for(server, rate=100), Distributed(lent.remote(), 2))
    assert time.monotonic() - begun < 2.5  # and not one after the other
    assert (result.requests, result.errors) == (100, 0)


def test_chosen_by_address_and_by_configuration(
    lent: Lent, guarded: Lent, pytester: pytest.Pytester, server: Server, authority_file: Path
) -> None:
    """On the command line, and from two servers for one test; what is listed tells whether they are there."""
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
    name = f"remote://{lent.address}/embedded"
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
        listed = pytester.run(__import__("sys").executable, "-m", "pytest_loadgen", "generators")
    listed.stdout.fnmatch_lines(
        [
            f"lab *{guarded.address} *embedded * when due *rate*",
            "gone *gone (127.0.0.1:1) is not available: *onnection refused*",
        ]
    )


def test_a_slow_way_there_is_in_no_figure(lent: Lent, server: Server) -> None:
    """20 ms to the server of generators, and 20 back: the load is sent from there."""
    with slow(lent.address, 0.02) as address:
        remote = lent.remote(address=address)
        result = runner.run(plan_for(server, warmup=0.2), remote)
    assert result.errors == 0
    assert result.requests == 50
    assert result.p50 < "20ms"


# What stands in for servers, and for a network.


@contextmanager
def standing_in(
    describe: Callable[[Any, Any], Any] = lambda request, context: DESCRIPTION,
    run: Callable[[Any, Any], Iterator[Any]] = lambda plan, context: iter(()),
    service: str = SERVICE,
) -> Iterator[str]:
    """Start a server that another program may be, and give its address."""
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
    """Lead to an address by a way that takes so many seconds, there and back."""
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
        while len(asyncio.all_tasks()) > 1 or loop._scheduled:  # type: ignore[attr-defined]  # until all is carried
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
