"""What sharing a plan promises, whatever the generator; with workers that are threads."""

import socket
import threading
from collections.abc import Generator

import pytest

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.workers import local as loopback
from pytest_loadgen.workers.distributed import Distributed
from pytest_loadgen.workers.hub import Sign

PLAN = plan_of("http://localhost", {"rate": 90, "duration": 3})


class Script(LoadGenerator):
    """Does what its first part, or any other, is told to."""

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


def test_the_same_second_is_added_up() -> None:
    """Also where a worker has none of it, or one that begins a little later."""
    generator = Script([second(0, 1), second(2, 1)], [second(0.1, 10), second(1.1, 10), second(2.1, 10)])
    found = list(Distributed(generator, 3).run(PLAN))
    assert [(interval.start, interval.requests) for interval in found] == [(0, 21), (1.1, 20), (2, 21)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GeneratorError("no luck"), "worker 1 of 2: no luck"),
        (ZeroDivisionError("by zero"), "worker 1 of 2 was lost: ZeroDivisionError: by zero"),
    ],
)
def test_what_one_raises_ends_all(error: Exception, said: str) -> None:
    """It is named, and nothing runs on."""
    generator = Script([second(0), error], [second(0), *map(second, range(1, 1000))])
    with pytest.raises(GeneratorError) as caught:
        list(Distributed(generator, 2).run(PLAN))
    assert str(caught.value) == said
    assert generator.stopped.acquire(timeout=0)
    assert generator.stopped.acquire(timeout=0)


def test_no_worker_starts_where_one_is_without_the_generator() -> None:
    """What it is without is told with its name."""

    class Missing(Script):
        def version(self) -> str:
            raise GeneratorError("script: there is no 'script' on PATH")

    generator = Missing([], [])
    with pytest.raises(GeneratorError, match=r"^worker \d of 2: script: there is no 'script' on PATH$"):
        list(Distributed(generator, 2).run(PLAN))
    assert not generator.stopped.acquire(timeout=0)


@pytest.mark.parametrize("said", [b"", b"x" * 40, b"x" * 4000])
def test_strangers_are_not_listened_to(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not know the token is no worker, whatever it says."""
    monkeypatch.setattr(loopback, "_STRANGER", 0.05)
    hub = loopback.Loopback(1)
    with socket.create_connection(hub._server.getsockname()) as stranger:
        stranger.sendall(len(said).to_bytes(4) + said)
        assert list(hub.hear()) == []
        line = hub.entrance(0)()
        line.send(Sign.HERE)
        heard = list(hub.hear()) or list(hub.hear())
        assert heard == [(0, Sign.HERE)]
    line.close()
    hub.close()
