"""Splitting a plan among workers that are threads of this process."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count

import pytest

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.workers import distributed
from pytest_loadgen.workers.distributed import Distributed
from pytest_loadgen.workers.hub import Cancelled, Message, Signal, WorkerConnection
from pytest_loadgen.workers.local import LocalHub, _LocalConnection
from tests.conftest import wait_for

# How long short waits may take on a busy machine, in seconds.
PATIENCE = 30.0
PLAN = plan_of("http://localhost", {"rate": 90, "duration": 3})


class Script(LoadGenerator):
    """Yields, or raises, what its first part and its other parts were given."""

    name = "script"
    features = frozenset({"http", "rate"})

    def __init__(self, first: list[Interval | Exception], others: list[Interval | Exception]) -> None:
        self.first, self.others = first, others
        self.stopped = threading.Semaphore(0)

    def run(self, plan: Plan) -> Generator[Interval]:
        try:
            for each in self.others if plan.part else self.first:
                if isinstance(each, Exception):
                    raise each
                yield each
        finally:
            self.stopped.release()


def second(start: float, requests: int = 1) -> Interval:
    return Interval(start, 1, outcomes={"200": requests})


def test_intervals_of_the_same_second_are_merged() -> None:
    """Even if a worker has no interval for that second, or one that starts a little later."""
    generator = Script([second(0, 1), second(2, 1)], [second(0.1, 10), second(1.1, 10), second(2.1, 10)])
    found = list(Distributed(generator, 3).run(PLAN))
    assert [(interval.start, interval.requests) for interval in found] == [(0, 21), (1.1, 20), (2, 21)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (GeneratorError("no luck"), "worker 1 of 2: no luck"),
        (ZeroDivisionError("by zero"), "worker 1 of 2 was lost: ZeroDivisionError: by zero"),
    ],
)
def test_an_error_of_one_worker_ends_the_load(error: Exception, message: str) -> None:
    """The message names the worker, and all workers are stopped."""
    generator = Script([second(0), error], [second(0), *map(second, range(1, 1000))])
    with pytest.raises(GeneratorError) as caught:
        list(Distributed(generator, 2).run(PLAN))
    assert str(caught.value) == message
    assert generator.stopped.acquire(timeout=0)
    assert generator.stopped.acquire(timeout=0)


def test_no_worker_starts_if_one_lacks_the_program() -> None:
    """The message names the worker and the program."""

    class Missing(Script):
        def version(self) -> str:
            raise GeneratorError("script: there is no 'script' on PATH")

    generator = Missing([], [])
    with pytest.raises(GeneratorError, match=r"^worker \d of 2: script: there is no 'script' on PATH$"):
        list(Distributed(generator, 2).run(PLAN))
    assert not generator.stopped.acquire(timeout=0)


@contextmanager
def connecting(hub: LocalHub) -> Iterator[list[WorkerConnection]]:
    """Let a thread connect as the first worker, and say that it is ready."""
    connected: list[WorkerConnection] = []

    def connect() -> None:
        with suppress(Cancelled):
            connected.append(hub.connector(0)())
            connected[0].send(Signal.READY)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        yield connected
    finally:
        hub.close()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        for each in connected:
            each.close()


def messages(hub: LocalHub) -> list[tuple[int, Message]]:
    """Wait for the next messages."""
    deadline = time.monotonic() + PATIENCE
    while not (found := list(hub.receive())):
        assert time.monotonic() < deadline
    return found


@pytest.mark.parametrize("greeting", [b"", b"\0", b"x" * 35, b"x" * 36, b"x" * 4000])
@pytest.mark.parametrize("callers", [2, 120])
def test_strangers_are_not_waited_for(greeting: bytes, callers: int) -> None:
    """Whatever they send, and however many they are: the worker gets in meanwhile, and they are told nothing."""
    with closing(LocalHub(1)) as hub, ExitStack() as strangers:
        found = [strangers.enter_context(socket.create_connection(hub.address)) for _ in range(callers // 2)]
        with connecting(hub):
            found += [strangers.enter_context(socket.create_connection(hub.address)) for _ in range(callers // 2)]
            for stranger in found:
                with suppress(OSError):
                    stranger.sendall(greeting)
            assert messages(hub) == [(0, Signal.READY)]
        for stranger in found:
            with suppress(ConnectionError):
                assert stranger.recv(1) == b""


def test_a_worker_does_not_believe_a_stranger_at_the_port() -> None:
    """It unpickles nothing of one who listens where the hub was, and does not wait for it."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:

        def answer() -> None:
            connection, _ = stranger.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"y" * 32 + b"\0\0\0\1.")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Cancelled):
            _LocalConnection(stranger.getsockname(), b"x" * 64, 0)
        thread.join()


def test_a_forked_process_holds_no_socket_of_the_hub() -> None:
    """An executor's process that is forked meanwhile cannot connect to itself, nor keep a connection open."""
    context = multiprocessing.get_context("fork")
    with closing(LocalHub(2)) as hub, connecting(hub) as connected:
        assert messages(hub) == [(0, Signal.READY)]
        second_worker = hub.connector(1)
        go_on, waiting = context.Pipe()
        child = context.Process(target=waiting.recv)
        child.start()
        hub.close()
        with pytest.raises(Cancelled):
            connected[0].receive()
        with pytest.raises(Cancelled):
            second_worker()
        go_on.send("end")
        child.join(PATIENCE)
        assert child.exitcode == 0


def test_an_executor_with_too_few_places_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process has waited for the second worker's turn; after the error, it ends."""
    monkeypatch.setattr(distributed, "_START_TIMEOUT", 1.0)
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    with pytest.raises(GeneratorError, match=r"^worker \d of 2 did not start within 1 s; does the executor have free"):
        list(Distributed(Quiet(), [pool, pool]).run(PLAN))
    processes = list(pool._processes.values())
    pool.shutdown(wait=False)
    for process in processes:
        # The pool's own thread waits for it, too, and may be the one that learns how it ended.
        wait_for(lambda process=process: process.exitcode is not None, PATIENCE)  # type: ignore[misc]
        assert process.exitcode == 0


def test_an_executor_that_is_shut_down_is_an_error() -> None:
    """The message names the worker."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(GeneratorError, match=r"^worker 1 of 1: its executor takes no work: cannot schedule"):
        list(Distributed(Quiet(), [pool]).run(PLAN))


def test_a_worker_that_is_stopped_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is alive and says nothing any more."""
    monkeypatch.setattr(distributed, "_SILENCE", 3.0)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        running = Distributed(Endlessly(), [pool]).run(PLAN)
        next(running)
        (process,) = pool._processes.values()
        assert process.pid
        os.kill(process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(
                GeneratorError, match=r"^worker 1 of 1 does not respond: nothing was heard of it for 3 s"
            ):
                for _ in running:
                    pass
        finally:
            os.kill(process.pid, signal.SIGCONT)


def test_a_worker_that_does_not_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it is there, and goes on for ever."""
    monkeypatch.setattr(distributed, "_GRACE", 1.0)
    plan = plan_of("http://localhost", {"rate": 90, "duration": 0.5, "timeout": 0.1})
    with pytest.raises(GeneratorError, match=r"^worker 1 of 1 did not end within 1\.7 s"):
        list(Distributed(Endlessly(), 1).run(plan))


class Quiet(LoadGenerator):
    """Sends nothing."""

    name = "quiet"
    features = frozenset({"http", "rate"})

    def run(self, plan: Plan) -> Generator[Interval]:
        yield from ()


class Endlessly(Quiet):
    """Goes on until it is closed."""

    def run(self, plan: Plan) -> Generator[Interval]:
        for number in count():
            yield second(number)
            time.sleep(0.05)


def test_another_thread_may_close_the_load() -> None:
    """The thread that iterates sees the load end, and the workers stop."""

    class Endless(Script):
        def run(self, plan: Plan) -> Generator[Interval]:
            try:
                for number in count():
                    yield second(number)
                    time.sleep(0.01)
            finally:
                self.stopped.release()

    running = Distributed(endless := Endless([], []), 2).run(PLAN)
    next(running)
    threading.Timer(0.2, running.close).start()
    for _ in running:
        pass
    assert endless.stopped.acquire(timeout=5)
    assert endless.stopped.acquire(timeout=5)
