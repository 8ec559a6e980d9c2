"""What strangers, and clients that do not say what they want, can do to ``serve``."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.errors import ServiceError
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.running import runner
from pytest_loadgen.testing.service import Server
from tests.serving.builders import TOKEN, GeneratorServer, plan_for, serving

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
PATIENCE = 30.0
METADATA = [("authorization", f"Bearer {TOKEN}")]


@pytest.fixture(scope="module")
def generator_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratorServer]:
    """A server that requires a token."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "token").write_text(f"{TOKEN}\n")
    with serving(folder, "--token-file", folder / "token") as generator_server:
        yield generator_server


@contextmanager
def silent_calls(address: str, method: str, number: int, metadata: Any = ()) -> Iterator[list[Any]]:
    """Open calls over four connections, and send nothing."""
    done = threading.Event()

    def nothing() -> Iterator[bytes]:
        done.wait(2 * PATIENCE)
        yield from ()

    with ExitStack() as stack:
        channels = [
            stack.enter_context(grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]))
            for _ in range(4)
        ]
        calls = [
            channels[index % 4].stream_stream(method)(nothing(), timeout=2 * PATIENCE, metadata=metadata)
            for index in range(number)
        ]
        try:
            for call in calls:
                call.initial_metadata()  # it has been accepted, or refused
            yield calls
        finally:
            done.set()
            for call in calls:
                call.cancel()


@pytest.mark.parametrize(
    "method",
    [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/pytest_loadgen.v1.LoadGenerator/Run",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_strangers_take_no_place(method: str, generator_server: GeneratorServer, server: Server) -> None:
    """Whatever they call, and whether they say what they want or not."""
    with silent_calls(generator_server.address, method, 200):
        remote = generator_server.remote(token=TOKEN)
        assert runner.run(plan_for(server, rate=20, duration=0.2), remote).errors == 0


def test_the_health_check_is_answered_to_strangers(generator_server: GeneratorServer) -> None:
    """Also while others call it and say nothing; it does not read what they send."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with (
        silent_calls(generator_server.address, "/grpc.health.v1.Health/Check", 200),
        grpc.insecure_channel(generator_server.address) as channel,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(service="x" * 1_000_000), timeout=PATIENCE).status == 1
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="x"), timeout=PATIENCE, metadata=METADATA)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("method", ["Run", "Describe"])
def test_unfinished_calls_are_limited_and_given_up(method: str, server: Server) -> None:
    """Of one host; it is told so, the others are not kept out, and after a while there is place again."""
    from pytest_loadgen.serving import calls as module
    from pytest_loadgen.serving import server as serving_server
    from pytest_loadgen.serving.generator_service import GeneratorService

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving_server, "Calls", lambda token: module.Calls(token, 3.0))
        running = serving_server.Server(serving_server.Access("127.0.0.1", 0), GeneratorService(Registry([Embedded()])))
    running.start()
    here = GeneratorServer(None, running.address, Path())  # type: ignore[arg-type]  # it is in this process
    try:
        with silent_calls_unaccepted(running.address, f"/pytest_loadgen.v1.LoadGenerator/{method}", 64) as calls:
            codes = [call.code() for call in calls]
            assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 64 - module._MAX_UNFINISHED
            assert codes.count(grpc.StatusCode.CANCELLED) == module._MAX_UNFINISHED
        assert runner.run(plan_for(server, rate=20, duration=0.2), here.remote()).errors == 0
    finally:
        running.stop().wait(PATIENCE)


@contextmanager
def silent_calls_unaccepted(address: str, method: str, number: int) -> Iterator[list[Any]]:
    """Open calls that send nothing, without waiting for a sign of the server."""
    done = threading.Event()

    def nothing() -> Iterator[bytes]:
        done.wait(2 * PATIENCE)
        yield from ()

    with grpc.insecure_channel(address) as channel:
        try:
            yield [channel.stream_stream(method)(nothing(), timeout=2 * PATIENCE) for _ in range(number)]
        finally:
            done.set()


def test_only_the_sockets_that_were_lent_are_loaded(tmp_path: Path) -> None:
    """Neither by way of .., nor of a symbolic link, nor in a folder below."""
    lent = tmp_path / "app"
    (lent / "below").mkdir(parents=True)
    (lent / "link.sock").symlink_to(tmp_path / "secret.sock")
    (tmp_path / "alias").symlink_to(lent)
    places = [lent / ".." / "secret.sock", lent / "link.sock", lent / "below" / "x.sock", tmp_path / "secret.sock"]
    with (
        Server(unix=str(tmp_path / "secret.sock")) as secret,
        Server(unix=str(lent / "below" / "x.sock")) as below,
        Server(unix=str(lent / "open.sock")) as service,
        serving(tmp_path, "--allowed-hosts", f"{tmp_path}/alias/*") as generator_server,
    ):
        for place in places:
            plan = plan_for(service, rate=5, duration=0.2)
            url = f"http+unix://{str(place).replace('/', '%2F')}/"
            with pytest.raises(ServiceError, match="is a unix socket that may not be loaded"):
                runner.run(plan_of_url(url), generator_server.remote())
        assert runner.run(plan, generator_server.remote()).errors == 0
        assert secret.connections == below.connections == 0


@pytest.mark.parametrize(
    ("pattern", "allowed"), [("*", False), ("/*/*/*/*/*/*/*", False), ("*/open.sock", True), ("open.sock", False)]
)
def test_patterns_without_a_slash_are_about_hosts(pattern: str, allowed: bool, tmp_path: Path) -> None:
    """So * lends no socket."""
    from pytest_loadgen.serving.generator_service import allowed_socket

    path = str(tmp_path / "a" / "b" / "c" / "d" / "e" / "f" / "g" / "open.sock")
    assert allowed_socket(path, [pattern]) == (path if allowed else "")


def plan_of_url(url: str) -> Any:
    from pytest_loadgen.traffic.options import plan_of

    return plan_of(url, {"rate": 5, "duration": 0.2, "timeout": 2})


def test_connections_that_say_nothing_are_closed(generator_server: GeneratorServer, server: Server) -> None:
    """They do not keep others out meanwhile."""
    host, _, port = generator_server.address.rpartition(":")
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection((host, int(port))))
        remote = generator_server.remote(token=TOKEN)
        assert runner.run(plan_for(server, rate=20, duration=0.2), remote).errors == 0
