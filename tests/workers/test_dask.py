"""Loads on a Dask cluster: a real scheduler and real workers, each in its own process."""

import fcntl
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from distributed import Client

from pytest_loadgen import clock
from pytest_loadgen.clock import offset
from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators import built_in
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.command import Command
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.generators.fortio import Fortio
from pytest_loadgen.running import runner
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.options import Options, plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.request import get, post
from pytest_loadgen.workers import dask as cluster
from pytest_loadgen.workers import distributed
from pytest_loadgen.workers.distributed import Distributed
from tests.builders.recorder import Recorder
from tests.builders.shop import Shop
from tests.networks import Network, namespaces

ROOT = Path(__file__).parents[2]
# How long short waits may take on a busy machine, in seconds.
PATIENCE = 30.0


class Dask:
    """A scheduler and its workers; all end with the test."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        self._folder = folder
        self._files = ExitStack()
        with socket.create_server((host, 0)) as listening:
            port = listening.getsockname()[1]
        self.address = f"tcp://{host}:{port}"
        self.scheduler = self._start("scheduler", "--host", host, "--port", port)

    def worker(self, name: str, *args: str, network: Network | None = None) -> "Process":
        """Start a worker, on another network if one is given."""
        return self._start(
            *("worker", self.address, "--no-nanny", "--nthreads", "1", "--name", name),
            *("--host", network.there if network else "127.0.0.1", *args),
            inside=network.command if network else (),
        )

    @contextmanager
    def another(self, name: str, *args: str) -> Iterator["Process"]:
        """Start one more worker, and end it again."""
        with self.client() as client:
            before = len(client.nthreads())
        worker = self.worker(name, *args)
        self.wait_for(before + 1)
        yield worker
        _end(worker)
        self.wait_for(before)

    def wait_for(self, workers: int) -> "Dask":
        deadline = time.monotonic() + PATIENCE
        with self.client() as client:
            while len(client.nthreads()) != workers:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        return self

    def client(self) -> Any:
        return Client(self.address, timeout=PATIENCE, set_as_default=False)

    def _start(self, *args: object, inside: tuple[str, ...] = ()) -> "Process":
        command = [*inside, sys.executable, "-m", "dask", *map(str, args), "--no-dashboard"]
        log = self._files.enter_context((self._folder / f"{args[0]}.log").open("a"))
        environment = {**ENVIRONMENT, "DASK_TEMPORARY_DIRECTORY": str(self._folder)}
        process = subprocess.Popen(command, cwd=self._folder, env=environment, stdout=log, stderr=log)
        self._files.callback(_end, process)
        return process

    def close(self) -> None:
        self._files.close()


Process = subprocess.Popen[bytes]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def _end(process: Process) -> None:
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    """One cluster with two workers, for all tests that leave them alive."""
    dask = Dask(tmp_path_factory.mktemp("dask"))
    try:
        for name in ("one", "two"):
            dask.worker(name)
        yield dask.wait_for(2)
    finally:
        dask.close()


def plan(server: Server, **options: Any) -> Plan:
    return plan_of(server.url, cast(Options, {"rate": 301, "connections": 7, **options}))


def is_idle(server: Server) -> bool:
    """Wait until the workers have closed their connections; return whether they did."""
    deadline = time.monotonic() + PATIENCE
    while server.open and time.monotonic() < deadline:
        time.sleep(0.01)
    return not server.open


# One load.


def test_workers_share_a_plan_exactly(dask: Dask, server: Server) -> None:
    """Requests, rates and connections add up to the plan, second by second, while it runs."""
    seen: list[Interval] = []
    result = runner.run(plan(server, duration=2), Distributed(Embedded(), dask.address), seen.append)
    assert result.requests == server.requests.total() == 602
    assert [interval.requests for interval in result.intervals] == pytest.approx([301, 301], abs=10)
    assert result.intervals == tuple(seen)
    assert server.connections <= 1 + 7


def test_finish_reaches_the_workers(dask: Dask, server: Server) -> None:
    """A load that is finished after its first second sends little more, and all of it counts."""
    generator = Distributed(Embedded(), dask.address)
    result = runner.run(plan(server, duration=60), generator, lambda _: True)
    assert result.requests == server.requests.total()
    assert result.total.seconds < PATIENCE


def test_closing_stops_all_workers(dask: Dask, server: Server) -> None:
    """No request is sent once the load is closed."""
    intervals = Distributed(Embedded(), dask.address).run(plan(server, duration=60))
    next(intervals)
    intervals.close()
    sent = server.requests.total()
    assert is_idle(server)
    assert server.requests.total() == sent


def test_workers_stop_when_this_process_dies(dask: Dask, server: Server) -> None:
    """They notice it themselves."""
    script = (
        "import sys\n"
        "from pytest_loadgen.generators.embedded import Embedded\n"
        "from pytest_loadgen.traffic.options import plan_of\n"
        "from pytest_loadgen.workers.distributed import Distributed\n"
        "list(Distributed(Embedded(), sys.argv[1]).run(plan_of(sys.argv[2], {'duration': 60})))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, dask.address, server.url], env=ENVIRONMENT)
    deadline = time.monotonic() + PATIENCE
    while server.requests.total() < 50 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.requests.total() >= 50
    _end(process)
    assert is_idle(server)


def test_a_load_on_a_cluster_holds_the_lock(
    dask: Dask, server: Server, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other loads wait meanwhile; its objectives are judged over all workers."""
    monkeypatch.setattr(tempfile, "tempdir", str(pytester.path))
    had: set[bool] = set()

    def choose(path: str, _: int) -> str:
        had.add(is_locked(pytester.path / "pytest-loadgen.lock"))
        return path

    server.choose = choose
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.slo("errors == 0")
        def test_load(load):
            assert load("{server.url}/", rate=101, duration=1).requests == 101
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", f"--load-workers={dask.address}")
    result.assert_outcomes(passed=1)
    assert had == {True}
    assert not is_locked(pytester.path / "pytest-loadgen.lock")


def is_locked(path: Path) -> bool:
    """Return whether a load holds the lock that serializes loads."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# What goes wrong.


def test_a_lost_worker_ends_the_load_and_is_named(dask: Dask, server: Server) -> None:
    """The others are stopped."""
    generator = Distributed(Embedded(), dask.address)
    with dask.another("victim") as victim:
        with pytest.raises(GeneratorError, match=r"^worker victim \(tcp://127\.0\.0\.1:\d+\) was lost$"):
            runner.run(plan(server, duration=60), generator, lambda _: victim.send_signal(signal.SIGKILL))
        assert is_idle(server)


def test_a_lost_scheduler_ends_the_load(tmp_path: Path, server: Server) -> None:
    """The message names it, and the workers stop."""
    with closing(Dask(tmp_path)) as dask:
        dask.worker("one")
        dask.wait_for(1)
        generator = Distributed(Embedded(), dask.address)
        with pytest.raises(GeneratorError, match=rf"^the Dask scheduler {dask.address} was lost"):
            runner.run(plan(server, duration=60), generator, lambda _: dask.scheduler.kill())
        assert is_idle(server)


@pytest.mark.parametrize("who", ["scheduler", "worker"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_one_that_is_stopped_ends_the_load(
    who: str, interrupted: bool, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, and does not respond. Ctrl-C is not kept waiting by it, and no thread is left."""
    monkeypatch.setattr(cluster, "_TIMEOUT", 3.0)
    monkeypatch.setattr(distributed, "_SILENCE", 5.0)
    before = set(threading.enumerate())
    with closing(Dask(tmp_path)) as dask:
        worker = dask.worker("one")
        dask.wait_for(1)
        victim, ended = {"scheduler": dask.scheduler, "worker": worker}[who], 0.0

        def stop(_: object) -> None:
            nonlocal ended
            victim.send_signal(signal.SIGSTOP)
            ended = time.monotonic()
            if interrupted:
                raise KeyboardInterrupt

        reason = "was lost: it did not respond within 3 s" if who == "scheduler" else "does not respond"
        expected = pytest.raises(KeyboardInterrupt) if interrupted else pytest.raises(GeneratorError, match=reason)
        with expected:
            runner.run(plan(server, duration=60), Distributed(Embedded(), dask.address), stop)
        assert time.monotonic() - ended < (5 if interrupted else PATIENCE)
        victim.send_signal(signal.SIGCONT)
        assert is_idle(server)
        left = {thread for thread in set(threading.enumerate()) - before if "IO loop" in thread.name}
        assert not left


def test_a_scheduler_that_is_stopped_before(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts the connection, and does not respond; a password in its address is not shown."""
    monkeypatch.setattr(cluster, "_TIMEOUT", 2.0)
    with closing(Dask(tmp_path)) as dask:
        dask.worker("one")
        dask.wait_for(1)
        dask.scheduler.send_signal(signal.SIGSTOP)
        with pytest.raises(GeneratorError, match=r"^there is no Dask scheduler at tcp://127"):
            runner.run(plan(server), Distributed(Embedded(), dask.address))


def test_a_scheduler_without_workers(tmp_path: Path, server: Server) -> None:
    """That is another error than a scheduler that does not respond."""
    with (
        closing(Dask(tmp_path).wait_for(0)) as dask,
        pytest.raises(GeneratorError, match=rf"^the Dask scheduler {dask.address} has no workers: start some"),
    ):
        next(Distributed(Embedded(), dask.address).run(plan(server)))


def test_no_scheduler(server: Server) -> None:
    """If nothing listens, that is an error at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
    with pytest.raises(GeneratorError, match=rf"^there is no Dask scheduler at {address}: Connection refused$"):
        next(Distributed(Embedded(), address).run(plan(server)))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("tcp://u:geheim@127.0.0.1:1", "there is no Dask scheduler at tcp://127.0.0.1:1: "),
        ("tls://u:geheim#x@127.0.0.1:1", "tls://127.0.0.1:1 is not an address (expected 'tcp://host:port')"),
        ("tcp://127.0.0.1:geheim@1", "there is no Dask scheduler at tcp://1: "),
        ("tcp://127.0.0.1:1?geheim", "there is no Dask scheduler at tcp://127.0.0.1:1?[...]: "),
    ],
)
def test_what_is_secret_in_an_address_is_not_shown(address: str, message: str, server: Server) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(GeneratorError) as caught:
        next(Distributed(Embedded(), address).run(plan(server)))
    assert str(caught.value).startswith(message)
    assert "geheim" not in str(caught.value)


def test_without_dask(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how to install it."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(GeneratorError) as caught:
        next(Distributed(Embedded(), "tcp://127.0.0.1:1").run(plan(server)))
    message = "workers='tcp://127.0.0.1:1' needs Dask, which is not installed: pip install 'pytest-loadgen[dask]'"
    assert str(caught.value) == message


def test_a_worker_without_the_package(dask: Dask, server: Server, tmp_path: Path) -> None:
    """The message names the worker and what it lacks; the worker stays alive."""
    (tmp_path / "bare.py").write_text("import sys\nsys.modules['pytest_loadgen'] = None\n")
    message = (
        r"^worker bare \(tcp://127\.0\.0\.1:\d+\) did not start: ModuleNotFoundError: No module named 'pytest_load"
    )
    with dask.another("bare", "--preload", str(tmp_path / "bare.py")) as worker:
        with pytest.raises(GeneratorError, match=message):
            next(Distributed(Embedded(), dask.address).run(plan(server)))
        assert worker.poll() is None


def test_a_worker_with_another_version(dask: Dask, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures could mean something else."""
    monkeypatch.setattr(cluster, "version", lambda _: "9.9")
    with pytest.raises(
        GeneratorError, match=r"version mismatch: the worker has pytest-loadgen .*, this machine has 9\.9; install"
    ):
        next(Distributed(Embedded(), dask.address).run(plan(server)))


def test_a_worker_without_the_program(dask: Dask, server: Server) -> None:
    """No worker starts if one lacks the program; the message names that one."""
    generator = Fortio()
    generator.program = "/nowhere/fortio"
    message = r"^worker (one|two) \(tcp://127\.0\.0\.1:\d+\): fortio: '/nowhere/fortio' does not exist\. Install it"
    with pytest.raises(GeneratorError, match=message):
        next(Distributed(generator, dask.address).run(plan(server)))
    assert server.requests.total() == 0


def test_a_generator_that_cannot_be_sent(dask: Dask, server: Server) -> None:
    """The error says why."""

    class Local(Embedded):
        def __reduce__(self) -> Any:
            return super(Embedded, self).__reduce__()

    with pytest.raises(GeneratorError, match=r"^the generator cannot be sent to a worker: .*Local"):
        next(Distributed(Local(), dask.address).run(plan(server)))


@pytest.mark.parametrize("generator", built_in(), ids=lambda generator: generator.name)
def test_built_in_generators_can_be_sent(generator: LoadGenerator) -> None:
    """With their configuration."""
    if isinstance(generator, Command):
        generator.args = ["-a"]
    sent = pickle.loads(pickle.dumps(generator))
    assert (sent.name, getattr(sent, "args", [])) == (generator.name, getattr(generator, "args", []))


@pytest.mark.parametrize("worker", ["tcp://203.0.113.7:4000", "tls://[2001:db8::7]:4000"])
@pytest.mark.parametrize(("service", "refused"), [("127.0.0.1", True), ("::1", True), ("10.0.0.1", False)])
def test_a_service_on_loopback_is_refused_if_a_worker_is_on_another_machine(
    worker: str, service: str, refused: bool
) -> None:
    """Workers on other machines would look for it on their own."""
    target = plan_of("http://localhost", {}).target
    workers = [("tcp://127.0.0.1:1", "worker a"), (worker, "worker b")]
    if refused:
        with pytest.raises(PlanError, match=r"^http://localhost is reachable from this machine only, and worker b is"):
            cluster.check_reachable(replace(target, address=(service, 80)), workers)
    else:
        cluster.check_reachable(replace(target, address=(service, 80)), workers)


# Starting together.


class Moments(LoadGenerator):
    """Its only outcome is its start time, in µs of a clock that all processes of a machine share."""

    name = "moments"
    features = Embedded.features
    clock: Callable[[], float] = staticmethod(time.time)

    def run(self, plan: Plan) -> Generator[Interval]:
        assert plan.start_at
        time.sleep(plan.start_at - Moments.clock())
        yield Interval(0, 1, outcomes={str(time.monotonic_ns() // 1000): 1})


def apart(address: str, within: float) -> float:
    """Start the workers, and return how far apart they started, in seconds; a busy machine gets three tries."""
    found = [within]
    while min(found) >= within and len(found) <= 3:
        (interval,) = Distributed(Moments(), address).run(plan_of("http://localhost", {}))
        assert interval.requests == 2
        moments = [int(moment) for moment in interval.outcomes]
        found.append((max(moments) - min(moments)) / 1e6)
    return min(found)


@pytest.mark.parametrize(
    ("there", "back", "found"),
    [
        ([0.1], [0.1], 100),  # symmetric: exact
        ([0.1], [0.3], 99.9),  # off by half the difference
        ([0.5, 0.1, 0.2], [0.1, 0.1, 0.9], 100),  # the fastest reading counts
        ([0.0], [0.0], 100),
    ],
)
def test_the_offset_of_a_clock(there: list[float], back: list[float], found: float) -> None:
    """The fastest of several readings counts; its request and its response are taken to be equally fast."""
    now = 0.0
    tries = 0

    def read() -> float:
        nonlocal now, tries
        at = min(tries, len(there) - 1)
        tries += 1
        now += there[at]
        said = now + 100
        now += back[at]
        return said

    assert offset(read, lambda: now) == pytest.approx(found)


def test_workers_start_together(dask: Dask) -> None:
    """Even if the clock of one of them is an hour ahead."""
    with dask.client() as client:
        first = min(client.nthreads())
        client.run(turn_clock, 3600.0, workers=[first])
        try:
            assert apart(dask.address, 0.01) < 0.01
        finally:
            client.run(turn_clock, 0.0, workers=[first])


def turn_clock(seconds: float) -> None:
    """Put a worker's clock ahead; runs on the worker."""

    def now() -> float:
        return time.time() + seconds

    Moments.clock = staticmethod(now)
    clock.offset = partial(offset, now=now)


def test_workers_far_away_start_together(tmp_path: Path) -> None:
    """Packets take 20 ms to them, and they start within less."""
    with namespaces(2, delay=0.02) as networks, closing(Dask(tmp_path, networks[0].here)) as dask:
        for number, network in enumerate(networks):
            dask.worker(f"far-{number}", network=network)
        dask.wait_for(2)
        assert apart(dask.address, 0.01) < 0.01


def test_every_row_once_over_the_workers_of_a_cluster(dask: Dask) -> None:
    """Of a list and of a function, which go there; a check goes there, too."""
    with Recorder() as service:
        limit = 1000
        traffic = [
            get("/items/{}", each(range(1000)), weight=3, check=lambda response: response.text == "fine"),
            post("/orders", each(lambda number: {"id": number % limit}), json={"id": "{id}"}, name="order"),
        ]
        options: Options = {"rate": 100, "duration": 1, "connections": 8}
        plan = plan_of(traffic, options, lambda: service.url)
        result = runner.run(plan, Distributed(Embedded(), dask.address))
        assert result.outcomes == {"200": 100}
        assert {name: result[name].requests for name in result.names} == {"GET /items/{}": 75, "order": 25}
        assert service.paths() == {"/orders": 25, **{f"/items/{number}": 1 for number in range(75)}}
        bodies = {body for method, _, body in service.requests if method == "POST"}
        assert bodies == {b'{"id":"%d"}' % number for number in range(25)}


def test_an_iterator_cannot_be_sent_to_a_cluster(dask: Dask) -> None:
    with Recorder() as service:
        plan = plan_of(get("/{}", each(iter(range(1000)))), {"rate": 10, "duration": 1}, lambda: service.url)
        with pytest.raises(PlanError, match=r"each\(\) of an iterator cannot be sent to another process"):
            runner.run(plan, Distributed(Embedded(), dask.address))
        assert not service.requests


def test_journeys_on_the_workers_of_a_cluster(dask: Dask) -> None:
    """Each with a row, a token and a cookie of its own."""
    users = each(range(1000))

    async def shopper(client: Any) -> None:
        user = next(users)
        token = (await client.post("/login", json={"user": user})).json()["token"]
        cart = await client.get("/cart", headers={"Authorization": f"Bearer {token}"})
        assert cart.json()["user"] == user
        assert (await client.get("/me")).json()["user"] == user

    with Shop() as shop:
        plan = plan_of(shopper, {"rate": 40, "duration": 1}, lambda: shop.url)
        result = runner.run(plan, Distributed(Embedded(), dask.address))
        assert result.outcomes == {"OK": 40}
        assert sum(shop.logins.values()) == len(shop.logins) == 40
