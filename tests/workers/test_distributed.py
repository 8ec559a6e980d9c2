"""Splitting a plan among workers that are threads of this process."""

import socket
import threading
import time
from collections.abc import Generator
from contextlib import closing
from itertools import count

import pytest

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.workers.distributed import Distributed
from pytest_loadgen.workers.hub import Signal
from pytest_loadgen.workers.local import LocalHub

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


@pytest.mark.parametrize("greeting", [b"", b"x" * 40, b"x" * 4000])
def test_a_connection_without_the_token_is_ignored(greeting: bytes) -> None:
    """Whatever it sends, the workers still get in."""
    with closing(LocalHub(1, handshake_timeout=0.05)) as hub, socket.create_connection(hub.address) as stranger:
        stranger.sendall(len(greeting).to_bytes(4) + greeting)
        assert list(hub.receive()) == []
        with closing(hub.connector(0)()) as worker:
            worker.send(Signal.READY)
            received = list(hub.receive()) or list(hub.receive())
    assert received == [(0, Signal.READY)]


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
