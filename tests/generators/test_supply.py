"""How filled requests get to the process that sends them."""

import marshal
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.generators.embedded import Embedded, worker
from pytest_loadgen.generators.embedded.protocol import FILLED_END, NEED, RAN_OUT
from pytest_loadgen.generators.embedded.supply import Feed, Supply
from pytest_loadgen.running import runner
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.request import get, post
from tests.builders.recorder import Recorder


def plan(*requests: Any, **options: Any) -> Plan:
    given: Any = {"rate": 1000, "connections": 8, **options}
    return plan_of(list(requests), given, lambda: "http://localhost:8000")


class Ends:
    """Both ends in one process; the test says when requested blocks are filled."""

    def __init__(self, plan: Plan) -> None:
        self.feed = Feed(plan)
        self.said: list[bytes] = []
        sent = replace(plan, mix=tuple(request.without_rows() for request in plan.mix))
        self.supply = Supply(sent, self.said.append)
        self.blocks: list[list[bytes]] = []

    def deliver(self, blocks: int | None = None) -> None:
        """Fill this many of the requested blocks, or all."""
        while blocks is None or blocks > 0:
            while self.said and self.said[0].startswith(NEED):
                self.feed.ask(self.said.pop(0)[1])
            if not self.feed.wanted:
                return
            message = self.feed.block()
            self.blocks.append(marshal.loads(message[4:]))
            self.supply.add(self.blocks[-1][:], last=message.startswith(FILLED_END))
            blocks = None if blocks is None else blocks - 1


def path(request: bytes) -> str:
    return request.split(b" ", 2)[1].decode()


@given(st.integers(1, 5000), st.integers(1, 400), st.integers(0, 2**32))
def test_every_row_in_its_order_whenever_blocks_come(rate: int, rows: int, seed: int) -> None:
    """A request that has not arrived comes with the next block, unless it was left out."""
    draw = random.Random(seed)
    ends = Ends(plan(get("/{}", each(range(rows), exhausted="stop")), get("/plain"), rate=rate, duration=1000))
    ends.supply.begin()
    sent: list[tuple[int, str]] = []
    place = 0
    while RAN_OUT not in ends.said:
        what = draw.choice(["deliver", "skip", "take"])
        if what == "deliver":
            ends.deliver(1)
        elif what == "skip":
            place += ends.supply.skip()
        else:
            for request in islice(iter(ends.supply.take, None), draw.randrange(300)):
                sent.append((place, path(request) if request else "/plain"))
                place += 1
    assert place >= 2 * rows
    assert all(name == ("/plain" if at % 2 else f"/{at // 2}") for at, name in sent)


def test_a_second_is_ahead() -> None:
    """Whenever a block is used up, another one is requested, before the last one is used."""
    ends = Ends(plan(get("/{}", each(count())), rate=1000))
    ends.supply.begin()
    assert ends.said == [NEED + b"\x01"]
    ends.deliver()
    assert ends.supply.full
    assert [len(block) for block in ends.blocks] == [100] * 10
    for _ in range(100):
        ends.supply.take()
    assert ends.said == [NEED + b"\x01"]


@pytest.mark.parametrize(("rate", "length"), [(1, 1), (15, 2), (1000, 100), (50_000, 128), ("max", 512)])
def test_a_block_is_a_tenth_of_a_second(rate: Any, length: int) -> None:
    """Slow rows do not delay the start, and reading a block does not take long."""
    ends = Ends(plan(get("/{}", each(count())), rate=rate, duration=100))
    ends.supply.begin()
    ends.deliver(1)
    assert len(ends.blocks[0]) == length


def test_large_requests_are_limited_by_their_size() -> None:
    """A worker keeps a few MB of them, whatever the rate."""
    ends = Ends(plan(post("/", each(count()), content=lambda row: b"x" * 100_000), rate="max"))
    ends.supply.begin()
    ends.deliver()
    assert ends.supply.full
    assert sum(len(request) for block in ends.blocks for request in block) < 20e6


def test_a_row_that_cannot_be_filled_fails_the_load_only_if_it_gets_there() -> None:
    ends = Ends(plan(get("/", each(iter(["a", "b", "c\r\nd"])), headers={"X": "{}"}), rate=1000))
    ends.supply.begin()
    ends.deliver()
    assert str(ends.feed.error).startswith("GET /: row 2: headers: a value has a line break")
    assert ends.supply.take()
    assert ends.supply.take()
    assert not ends.said
    assert ends.supply.take() is None
    assert ends.said == [RAN_OUT]


@pytest.fixture
def service() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


def test_responses_do_not_wait_for_rows(service: Recorder, embedded: Embedded) -> None:
    """While a row takes longer than the supply lasts, responses are read; late rows are sent, each once."""

    def row(number: int) -> int:
        if number == 55:
            threading.Event().wait(2)
        return number

    traffic = post("/stream/0.2", each(row), content="{}")
    options: Any = {"rate": 50, "duration": 1.5, "connections": 100}
    found = runner.run(plan_of(traffic, options, lambda: service.url), embedded)
    assert found.outcomes == {"200": 75}
    assert sorted(int(body) for _, _, body in service.requests) == list(range(75))
    assert found.total.lag.over(0.5)
    assert not found.total.service_time.over(0.7)


def test_a_worker_that_hangs_is_given_up(service: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while there are rows for it that do not fit into the pipe."""
    monkeypatch.setattr(worker, "_LATEST", 1)

    def check(_: object) -> None:
        threading.Event().wait()

    traffic = post("/", each(lambda _: "x" * 200_000), content="{}", check=check)
    options: Any = {"rate": 200, "duration": 1, "timeout": 0.5}
    with pytest.raises(GeneratorError, match=r"^embedded: its process did not respond and was killed; does a check="):
        runner.run(plan_of(traffic, options, lambda: service.url), Embedded())


def test_rows_may_take_longer_than_a_worker_may(service: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_LATEST", 1)

    def row(number: int) -> int:
        threading.Event().wait(2.5 if number == 5 else 0)
        return number

    options: Any = {"rate": 50, "duration": 0.5, "timeout": 0.3}
    found = runner.run(plan_of(get("/{}", each(row)), options, lambda: service.url), Embedded())
    assert found.requests == 25
