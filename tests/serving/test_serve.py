"""What ``python -m pytest_loadgen serve`` promises, of real processes of it."""

import os
import shutil
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
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.plan import Plan, hold
from tests.conftest import wait_for
from tests.lending import TOKEN, Lent, lending, plan_for, tls

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
CLIENT = """
import sys
from pytest_loadgen.running import runner
from pytest_loadgen.generators.remote import Remote
from pytest_loadgen.traffic.options import plan_of

remote = Remote()
remote.address, remote.tls, remote.token, url, duration = sys.argv[1:]
remote.tls = remote.tls or None
options = {"rate": 50, "duration": float(duration), "connections": 4, "timeout": 2, "warmup": 0.2}
print(runner.run(plan_of(url, options), remote))
"""


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lent]:
    """One that wants a token."""
    folder = tmp_path_factory.mktemp("lent")
    (folder / "token").write_text(f"{TOKEN}\n")
    with lending(folder, "--token-file", folder / "token") as lent:
        yield lent


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADGEN_TOKEN", TOKEN)


def client(lent: Lent, service: Server, duration: float) -> subprocess.Popen[bytes]:
    """Start another process that loads."""
    return subprocess.Popen([sys.executable, "-c", CLIENT, lent.address, "", "", service.url, str(duration)])


# What is not started.


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINE", TOKEN)
    monkeypatch.setenv("TWO_LINES", "a\nb")
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")
    tls(tmp_path, authority)
    authority.cert_pem.write_to_path("ca.pem")
    Path("empty").touch()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--bind 0.0.0.0:0", "other machines reach 0.0.0.0: load generators are lent to them by TLS only"),
        ("--bind [::]:0", "other machines reach ::: load generators are lent to them by TLS only"),
        ("--bind 192.0.2.1:0 --token-env MINE", "other machines reach 192.0.2.1"),
        ("--bind 0.0.0.0:0 --tls-cert cert.pem --tls-key key.pem", "and only where they have a token"),
        ("--tls-cert cert.pem", "a certificate needs its key: give both --tls-cert and --tls-key"),
        ("--tls-client-ca cert.pem", "callers can have certificates where there is TLS only"),
        ("--tls-cert cert.pem --tls-key ca.pem", "cannot use cert.pem, ca.pem for TLS"),
        ("--tls-cert cert.pem --tls-key nowhere.pem", "cannot use cert.pem, nowhere.pem for TLS (No such file"),
        ("--token-env NOTHING", "the environment has no NOTHING: export NOTHING=$(openssl rand -hex 32)"),
        ("--token-env TWO_LINES", "the environment's TWO_LINES has no token: write one line of ASCII"),
        ("--token-file nowhere", "--token-file nowhere: "),
        ("--token-file empty", "the file empty has no token: write one line of ASCII"),
        ("--bind a:b:c", "--bind a:b:c: write HOST:PORT"),
        ("--bind foo", "--bind foo: write HOST:PORT"),
        ("--bind [::1]", "--bind [::1]: write HOST:PORT"),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_would_not_be_safe_is_not_started(args: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence says what is missing."""
    assert main(["serve", *args.split()]) == 1
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert said in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("files")
def test_a_port_is_not_shared(lent: Lent, capsys: pytest.CaptureFixture[str]) -> None:
    """Callers of one server never get to another."""
    assert main(["serve", "--bind", lent.address]) == 1
    assert f"cannot listen at {lent.address}: is it taken" in capsys.readouterr().err


# Whose turn it is.


def test_loads_wait_in_turn(lent: Lent, server: Server) -> None:
    """The second starts when the first has ended, and is no shorter for that."""
    begun = time.monotonic()
    ended: list[float] = []

    def load(_: int) -> Result:
        result = runner.run(plan_for(server), lent.remote())
        ended.append(time.monotonic() - begun)
        return result

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(load, range(2)))
    assert [result.requests for result in results] == [50, 50]
    assert max(ended) > 2
    assert max(ended) - min(ended) > 0.9


@contextmanager
def lending_here(generator: LoadGenerator) -> Iterator[Remote]:
    """Lend one by this process."""
    from pytest_loadgen.serving import server as serving
    from pytest_loadgen.serving.generator_service import Lender

    here = serving.Server(serving.Access("127.0.0.1", 0), Lender(Registry([generator]), wait=0.2))
    here.start()
    remote = Remote()
    remote.address = here.address
    try:
        yield remote
    finally:
        here.stop().wait()


@pytest.mark.parametrize(
    ("most", "said"),
    [(1, "other loads had this machine for 200ms, and this one"), (0, "0 loads wait for this machine already")],
)
def test_a_load_waits_for_so_long_only(most: int, said: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then, or where too many wait, it is refused with a sentence, and the one before is not disturbed."""
    monkeypatch.setattr("pytest_loadgen.serving.generator_service._MOST_WAITING", most)
    with closing(Embedded()) as embedded, lending_here(embedded) as remote, ThreadPoolExecutor(1) as threads:
        first = threads.submit(runner.run, plan_for(server), remote)
        wait_for(lambda: server.requests["/"] > 0)
        with pytest.raises(GeneratorError, match=rf"^remote .*: {said}"):
            runner.run(plan_for(server), remote)
        assert first.result().requests == 50


def test_only_so_many_may_wait() -> None:
    """The parts of the load that has the machine come in all the same."""
    from pytest_loadgen.serving.queue import Full, Line

    line = Line(1)
    with line.turn("a", 0, lambda: False) as first, line.turn("b", 0, lambda: False) as second:
        assert (first, second) == (True, False)
        with pytest.raises(Full), line.turn("c", 0, lambda: False):
            pass
        with line.turn("a", 0, lambda: False) as part:
            assert part


def test_who_goes_away_loses_its_turn(lent: Lent, server: Server) -> None:
    """A caller that is killed: its load ends within a second, and that of the next one comes whole."""
    with client(lent, server, 15) as first, Server() as other:
        wait_for(lambda: server.requests["/"] > 10, 30)
        with client(lent, other, 15) as second, ThreadPoolExecutor(1) as threads:
            third = threads.submit(runner.run, plan_for(other), lent.remote())
            # One that waits in vain is gone without a trace.
            second.kill()
            first.kill()
            assert wait_for(lambda: server.open == 0) < 2  # one, and one for a busy machine
            assert third.result(10).requests == 50
    assert "ended by the caller" in lent.said


# How it ends.


def test_it_ends_when_the_load_has_ended(server: Server, tmp_path: Path) -> None:
    """At the first signal it takes no more loads, and finishes the one under way."""
    with lending(tmp_path) as lent, ThreadPoolExecutor(2) as threads:
        first = threads.submit(runner.run, plan_for(server, duration=2), lent.remote())
        wait_for(lambda: server.requests["/"] > 0)
        waiting = threads.submit(runner.run, plan_for(server), lent.remote())
        time.sleep(0.2)  # most likely it is in line by then; if not, it is refused at the door
        lent.process.send_signal(signal.SIGTERM)
        with pytest.raises(GeneratorError, match="is not available"):
            waiting.result(1.5)
        with pytest.raises(GeneratorError, match="is not available"):
            runner.run(plan_for(server), lent.remote())
        assert first.result(10).requests == 100
        assert lent.process.wait(10) == 0


def test_the_second_signal_ends_it_at_once(server: Server, tmp_path: Path) -> None:
    """Who loads is told so, and nothing goes on."""
    with lending(tmp_path) as lent, ThreadPoolExecutor(1) as threads:
        load = threads.submit(runner.run, plan_for(server, duration=15), lent.remote())
        wait_for(lambda: server.requests["/"] > 0)
        lent.process.send_signal(signal.SIGINT)
        wait_for(lambda: "taking no more loads" in lent.said)
        lent.process.send_signal(signal.SIGINT)
        assert lent.process.wait(5) == 1
        with pytest.raises(GeneratorError, match=r"^remote "):
            load.result(5)
        wait_for(lambda: server.open == 0)


# What it tells.


def test_each_load_is_a_line_in_the_log(lent: Lent, server: Server) -> None:
    """Who, by which generator, what, where, and what came of it; and not a word that may be secret."""
    headers = {"Authorization": "Bearer geheim-7f3a"}
    runner.run(plan_for(server, "/503?key=geheim-7f3a", rate=5, headers=headers), lent.remote())
    with pytest.raises(GeneratorError):
        lent.remote("fortio", address="127.0.0.1:1").version()
    line = lent.said.splitlines()[-1]
    assert f"GET {server.url}; 5 requests (5 × 503); done" in line
    assert ": embedded; 5/s for 1s, " in line
    assert "ipv4:127.0.0.1:" in line
    assert "geheim" not in lent.said


def test_a_line_of_the_log_has_an_end(server: Server) -> None:
    """However long a plan is, or what is said of it; a rate that goes on is one stage."""
    from pytest_loadgen.serving.generator_service import _Call

    long = replace(plan_for(server), stages=tuple(hold(rate, 1) for rate in range(1, 1000)))
    assert len(str(_Call("me", "embedded", long, ended="no" * 1000))) == 500 + 2 + 500
    lengthened = plan_for(server, duration=3).lengthened(6)
    assert str(_Call("me", "embedded", lengthened)).startswith("me: embedded; 50/s for 9s, GET http")


def test_where_it_went_wrong_is_in_the_log_only(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets a sentence."""

    class Broken(Embedded):
        def run(self, plan: Plan) -> NoReturn:
            raise GeneratorError('broken: no\nTraceback (most recent call last):\n  File "/home/it.py"')

    with closing(Broken()) as broken, lending_here(broken) as remote:
        with pytest.raises(GeneratorError, match=r"^remote .*: broken: no$"):
            runner.run(plan_for(server), remote)
        assert "/home/it.py" in caplog.text


def test_health_and_reflection(lent: Lent) -> None:
    """Anybody may ask how it is; what there is, only who has the token."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    with grpc.insecure_channel(lent.address) as channel:
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
        assert "refused, as it has no token" in lent.said


# From one network to another.


def namespaces(stack: ExitStack, delay: str) -> list[str]:
    """Make two networks that are joined, with a delay each way; skip, by name, where that cannot be."""
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("making networks takes root, and ip")
    names = [f"loadgen{os.getpid()}{side}" for side in "ab"]
    for name in names:
        if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
            pytest.skip("ip netns does not work here")
        stack.callback(subprocess.run, ["ip", "netns", "del", name], check=True)
    ends = [f"lg{os.getpid()}{side}" for side in "ab"]
    within = dict(zip(ends, names, strict=True))
    made = ["link", "add", ends[0], "netns", names[0], "type", "veth", "peer", "name", ends[1], "netns", names[1]]
    if subprocess.run(["ip", *made], capture_output=True, check=False).returncode:
        pytest.skip("there is no veth here")
    for number, (end, name) in enumerate(within.items(), 1):
        for command in f"addr add 10.213.7.{number}/24 dev {end}", f"link set {end} up", "link set lo up":
            subprocess.run(["ip", "-n", name, *command.split()], check=True)
        netem = ["tc", "-n", name, "qdisc", "add", "dev", end, "root", "netem", "delay", delay]
        if delay and (not shutil.which("tc") or subprocess.run(netem, capture_output=True, check=False).returncode):
            pytest.skip("netem is not here")
    return names


@pytest.mark.parametrize("delay", ["", "20ms"], ids=["near", "far"])
def test_from_another_network(delay: str, tmp_path: Path, authority: trustme.CA) -> None:
    """The load is sent from where the server is, at a service that only it can reach; the way there is in no figure."""
    serve = "import sys; from pytest_loadgen.testing.service import Server\n"
    serve += "with Server() as server: print(server.url, flush=True); sys.stdin.read()"
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with ExitStack() as stack:
        here, there = namespaces(stack, delay)
        within = ["ip", "netns", "exec", there]
        service = stack.enter_context(
            subprocess.Popen(
                [*within, sys.executable, "-c", serve], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        assert service.stdout
        url = service.stdout.readline().strip()
        args = [*tls(tmp_path, authority, "10.213.7.2"), "--token-env", "MINE"]
        lent = stack.enter_context(lending(tmp_path, *args, bind="10.213.7.2:0", within=within, env={"MINE": TOKEN}))
        ask = [sys.executable, "-c", CLIENT, lent.address, str(tmp_path / "ca.pem"), TOKEN, url, "1"]
        done = subprocess.run(["ip", "netns", "exec", here, *ask], capture_output=True, text=True, check=False)
        stack.callback(service.communicate)
    assert done.returncode == 0, done.stderr
    assert "50 requests, 50/s" in done.stdout
    assert "0 errors" in done.stdout
    unit = done.stdout.partition("p50 ")[2].partition(",")[0]
    assert unit.endswith("us") or float(unit.removesuffix("ms")) < 20
