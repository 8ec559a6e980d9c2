"""``python -m pytest_loadgen serve`` in a process of its own."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import trustme

from pytest_loadgen.__main__ import main
from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.generators.remote import Remote
from pytest_loadgen.running import runner
from pytest_loadgen.serving.log import LogEntry
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan, hold
from tests.conftest import wait_for
from tests.networks import namespaces
from tests.serving.builders import TOKEN, GeneratorServer, plan_for, serving, tls_options

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
CLIENT = """
import sys
from pytest_loadgen.running import runner
from pytest_loadgen.generators.remote import Remote
from pytest_loadgen.traffic.options import plan_of

remote = Remote()
remote.address, url, duration = sys.argv[1:]
runner.run(plan_of(url, {"rate": 50, "duration": float(duration), "connections": 4, "timeout": 2}), remote)
"""


@pytest.fixture(scope="module")
def generator_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratorServer]:
    """A server that requires a token."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "token").write_text(f"{TOKEN}\n")
    with serving(folder, "--token-file", folder / "token") as generator_server:
        yield generator_server


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADGEN_TOKEN", TOKEN)


def client(generator_server: GeneratorServer, service: Server, duration: float) -> subprocess.Popen[bytes]:
    """Start a client in another process."""
    return subprocess.Popen([sys.executable, "-c", CLIENT, generator_server.address, service.url, str(duration)])


# Settings that are refused.


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINE", TOKEN)
    monkeypatch.setenv("TWO_LINES", "a\nb")
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")
    tls_options(tmp_path, authority)
    authority.cert_pem.write_to_path("ca.pem")
    Path("empty").touch()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--bind 0.0.0.0:0", "0.0.0.0 is reachable from other machines: this requires TLS"),
        ("--bind [::]:0", ":: is reachable from other machines: this requires TLS"),
        ("--bind 192.0.2.1:0 --token-env MINE", "192.0.2.1 is reachable from other machines"),
        ("--bind 0.0.0.0:0 --tls-cert cert.pem --tls-key key.pem", "and a token (--token-env, --token-file) or client"),
        ("--tls-cert cert.pem", "--tls-cert and --tls-key must be given together"),
        ("--tls-client-ca cert.pem", "--tls-client-ca needs TLS: give --tls-cert and --tls-key, too"),
        ("--tls-cert cert.pem --tls-key ca.pem", "cannot use cert.pem, ca.pem for TLS"),
        ("--tls-cert cert.pem --tls-key nowhere.pem", "cannot use cert.pem, nowhere.pem for TLS (No such file"),
        (
            "--token-env NOTHING",
            "the environment variable NOTHING is not set: export NOTHING=$(openssl rand -hex 32)",
        ),
        ("--token-env TWO_LINES", "the environment variable TWO_LINES does not contain a token: write one line of"),
        ("--token-file nowhere", "--token-file nowhere: "),
        ("--token-file empty", "the file empty does not contain a token: write one line of ASCII"),
        ("--bind a:b:c", "--bind a:b:c: expected HOST:PORT"),
        ("--bind foo", "--bind foo: expected HOST:PORT"),
        ("--bind [::1]", "--bind [::1]: expected HOST:PORT"),
    ],
)
@pytest.mark.usefixtures("files")
def test_unsafe_or_invalid_settings_are_refused(args: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what is missing."""
    assert main(["serve", *args.split()]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("files")
def test_a_port_in_use_is_refused(generator_server: GeneratorServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Two servers would share the clients of one port."""
    assert main(["serve", "--bind", generator_server.address]) == 1
    assert f"cannot listen on {generator_server.address}: it is in use" in capsys.readouterr().err


# The queue.


def test_loads_run_one_after_another(generator_server: GeneratorServer, server: Server) -> None:
    """The second starts when the first has ended, and is as long as planned."""
    begun = time.monotonic()
    ended: list[float] = []

    def load(_: int) -> Result:
        result = runner.run(plan_for(server), generator_server.remote())
        ended.append(time.monotonic() - begun)
        return result

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(load, range(2)))
    assert [result.requests for result in results] == [50, 50]
    assert max(ended) > 2
    assert max(ended) - min(ended) > 0.9


@contextmanager
def serving_here(generator: LoadGenerator, **limits: Any) -> Iterator[Remote]:
    """Serve a generator from this process."""
    from pytest_loadgen.serving.generator_service import GeneratorService
    from pytest_loadgen.serving.server import Access
    from pytest_loadgen.serving.server import Server as GrpcServer

    grpc_server = GrpcServer(Access("127.0.0.1", 0), GeneratorService(Registry([generator]), **limits))
    grpc_server.start()
    remote = Remote()
    remote.address = grpc_server.address
    try:
        yield remote
    finally:
        grpc_server.stop().wait()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"queue_timeout": 0.2}, "timed out after 200ms waiting for other loads"),
        ({"max_waiting": 0}, "0 loads are waiting already"),
    ],
)
def test_a_load_that_cannot_wait_is_refused(limits: dict[str, Any], message: str, server: Server) -> None:
    """After the timeout, or if too many wait; the running load is not disturbed."""
    with (
        closing(Embedded()) as embedded,
        serving_here(embedded, **limits) as remote,
        ThreadPoolExecutor(1) as threads,
    ):
        first = threads.submit(runner.run, plan_for(server), remote)
        wait_for(lambda: server.requests["/"] > 0)
        with pytest.raises(GeneratorError, match=rf"^remote .*: {message}"):
            runner.run(plan_for(server), remote)
        assert first.result().requests == 50


def test_a_full_queue_still_takes_the_parts_of_the_running_load() -> None:
    from pytest_loadgen.serving.queue import LoadQueue, QueueFull

    loads = LoadQueue(max_waiting=1)
    with (
        loads.wait_for_turn("a", 0, lambda: False) as first,
        loads.wait_for_turn("b", 0, lambda: False) as second,
    ):
        assert (first, second) == (True, False)
        with pytest.raises(QueueFull), loads.wait_for_turn("c", 0, lambda: False):
            pass
        with loads.wait_for_turn("a", 0, lambda: False) as part:
            assert part


def test_a_client_that_dies_leaves_the_queue(generator_server: GeneratorServer, server: Server) -> None:
    """Its load ends within a second, and the next one in the queue runs completely."""
    with client(generator_server, server, 15) as first, Server() as other:
        wait_for(lambda: server.requests["/"] > 10, 30)
        with client(generator_server, other, 15) as second, ThreadPoolExecutor(1) as threads:
            third = threads.submit(runner.run, plan_for(other), generator_server.remote())
            # One that is still waiting leaves no trace.
            second.kill()
            first.kill()
            assert wait_for(lambda: server.open == 0) < 2  # one, and one for a busy machine
            assert third.result(10).requests == 50
    assert "cancelled by the client" in generator_server.log


# Signals.


def test_the_first_signal_lets_the_load_end(server: Server, tmp_path: Path) -> None:
    """The server takes no more loads, finishes the current one and exits."""
    with serving(tmp_path) as generator_server, ThreadPoolExecutor(2) as threads:
        first = threads.submit(runner.run, plan_for(server, duration=2), generator_server.remote())
        wait_for(lambda: server.requests["/"] > 0)
        waiting = threads.submit(runner.run, plan_for(server), generator_server.remote())
        time.sleep(0.2)  # by then it most likely waits; if not, it is refused as well
        generator_server.process.send_signal(signal.SIGTERM)
        with pytest.raises(GeneratorError, match="is not available"):
            waiting.result(1.5)
        with pytest.raises(GeneratorError, match="is not available"):
            runner.run(plan_for(server), generator_server.remote())
        assert first.result(10).requests == 100
        assert generator_server.process.wait(10) == 0


def test_the_second_signal_stops_the_load(server: Server, tmp_path: Path) -> None:
    """The client gets an error, and no request is sent afterwards."""
    with serving(tmp_path) as generator_server, ThreadPoolExecutor(1) as threads:
        load = threads.submit(runner.run, plan_for(server, duration=15), generator_server.remote())
        wait_for(lambda: server.requests["/"] > 0)
        generator_server.process.send_signal(signal.SIGINT)
        wait_for(lambda: "taking no more loads" in generator_server.log)
        generator_server.process.send_signal(signal.SIGINT)
        assert generator_server.process.wait(5) == 1
        with pytest.raises(GeneratorError, match=r"^remote "):
            load.result(5)
        wait_for(lambda: server.open == 0)


# The log, and what may be asked without a load.


def test_each_load_is_one_line_of_the_log(generator_server: GeneratorServer, server: Server) -> None:
    """Client, generator, plan, target and outcomes, without secrets."""
    headers = {"Authorization": "Bearer geheim-7f3a"}
    runner.run(plan_for(server, "/503?key=geheim-7f3a", rate=5, headers=headers), generator_server.remote())
    with pytest.raises(GeneratorError):
        generator_server.remote("fortio", address="127.0.0.1:1").version()
    line = generator_server.log.splitlines()[-1]
    assert f"GET {server.url}; 5 requests (5 × 503); done" in line
    assert ": embedded; 5/s for 1s, " in line
    assert "ipv4:127.0.0.1:" in line
    assert "geheim" not in generator_server.log


def test_lines_of_the_log_are_short(server: Server) -> None:
    """However long the plan or the message is; a constant rate is one stage."""
    long = replace(plan_for(server), stages=tuple(hold(rate, 1) for rate in range(1, 1000)))
    assert len(str(LogEntry("me", "embedded", long, ended="no" * 1000))) == 500 + 2 + 500
    lengthened = plan_for(server, duration=3).lengthened(6)
    assert str(LogEntry("me", "embedded", lengthened)).startswith("me: embedded; 50/s for 9s, GET http")


def test_tracebacks_are_in_the_log_only(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets one line."""

    class Broken(Embedded):
        def run(self, plan: Plan) -> NoReturn:
            raise GeneratorError('broken: no\nTraceback (most recent call last):\n  File "/home/it.py"')

    with closing(Broken()) as broken, serving_here(broken) as remote:
        with pytest.raises(GeneratorError, match=r"^remote .*: broken: no$"):
            runner.run(plan_for(server), remote)
        assert "/home/it.py" in caplog.text


def test_health_and_reflection(generator_server: GeneratorServer) -> None:
    """The health check needs no token, reflection does."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    with grpc.insecure_channel(generator_server.address) as channel:
        service = "pytest_loadgen.v1.LoadGenerator"
        health: Any = health_pb2_grpc.HealthStub(channel)
        for name in "", service:
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == 1
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as caught:
            list(reflection.ServerReflectionInfo(iter([request])))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        (answer,) = reflection.ServerReflectionInfo(iter([request]), metadata=[("authorization", f"Bearer {TOKEN}")])
        assert service in {each.name for each in answer.list_services_response.service}
        assert "refused: no token" in generator_server.log


# Across networks.


@pytest.mark.parametrize("delay", [0.0, 0.1], ids=["near", "far"])
def test_from_another_network(delay: float, tmp_path: Path, authority: trustme.CA, authority_file: Path) -> None:
    """The server loads a service that only it can reach; the delay between client and server is in no latency."""
    script = "import sys; from pytest_loadgen.testing.service import Server\n"
    script += "with Server() as server: print(server.url, flush=True); sys.stdin.read()"
    with ExitStack() as stack:
        (network,) = stack.enter_context(namespaces(1, delay))
        command = [*network.command, sys.executable, "-c", script]
        service = stack.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(service.communicate)
        assert service.stdout
        url = service.stdout.readline().strip()
        args = [*tls_options(tmp_path, authority, network.there), "--token-env", "MINE"]
        generator_server = stack.enter_context(
            serving(tmp_path, *args, bind=f"{network.there}:0", command=network.command, env={"MINE": TOKEN})
        )
        plan = plan_of(url, {"rate": 50, "duration": 1, "connections": 4, "timeout": 2, "warmup": 0.2})
        result = runner.run(plan, generator_server.remote(tls=str(authority_file)))
    assert (result.requests, result.errors) == (50, 0)
    assert result.p50 < "100ms"
