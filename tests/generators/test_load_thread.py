"""Journeys that stay in the test process (process=False), against a shop that checks what its users do."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator
from typing import Any

import freezegun
import pytest

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.running import runner
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan
from tests.builders.shop import Shop
from tests.conftest import wait_for


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        yield shop


def here(shop: Shop | None, journey: Any, **options: Any) -> Plan:
    """A plan whose journeys run in this process."""
    given: Any = {"process": False, "rate": 50, "duration": 0.3, **options}
    return plan_of(journey, given, lambda: shop.url if shop else None)


def run(shop: Shop | None, journey: Any, **options: Any) -> Result:
    result = runner.run(here(shop, journey, **options), Embedded())
    assert not left()
    return result


def left() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pytest-loadgen"]


async def waits(client: Any) -> None:
    await asyncio.sleep(60)


def test_what_cannot_be_sent_is_used_as_it_is(shop: Shop) -> None:
    """The function is the test's own: its locks, its threads and its contextvars are there, and nothing is copied."""
    lock, threads, setting = threading.Lock(), set(), contextvars.ContextVar[str]("setting")
    setting.set("of the test")

    async def looks(client: Any) -> None:
        with lock:
            threads.add((threading.get_ident(), setting.get()))
        (await client.get("/items/1")).raise_for_status()

    result = run(shop, looks)
    assert result.outcomes == {"OK": 15}
    assert shop.requests["GET /items/1"] == 15
    ((thread, set_to),) = threads
    assert thread != threading.get_ident()
    assert set_to == "of the test"


def test_each_load_has_all_rows(shop: Shop) -> None:
    """Each row once, also in a second load."""
    users, seen = each(range(10), exhausted="stop"), []

    async def logs_in(client: Any) -> None:
        seen.append(next(users))

    assert run(shop, logs_in).requests == 10
    assert run(shop, logs_in).requests == 10
    assert sorted(seen) == sorted([*range(10), *range(10)])


def test_any_thread_stops_it() -> None:
    """A load whose journeys hang ends when it is closed, and no thread is left."""
    running = Embedded().run(here(None, waits, duration=60, timeout=60))
    timer = threading.Timer(0.3, running.close)
    timer.start()
    began = time.monotonic()
    list(running)
    timer.join()
    assert time.monotonic() - began < 20
    assert not left()


def test_any_thread_finishes_it() -> None:
    """Journeys that have begun run to their end."""

    async def rests(client: Any) -> None:
        await asyncio.sleep(0.2)

    running = Embedded().run(here(None, rests, duration=60, rate=None, users=2))
    timer = threading.Timer(0.5, running.finish)
    timer.start()
    outcomes = [interval.outcomes for interval in running]
    timer.join()
    assert set().union(*outcomes) == {"OK"}
    assert not left()


def test_a_load_that_is_stopped_does_not_wait_for_its_setup() -> None:
    running = Embedded().run(here(None, waits, setup=waits, duration=60))
    timer = threading.Timer(0.3, running.close)
    timer.start()
    began = time.monotonic()
    assert [interval.requests for interval in running] in ([], [0])
    timer.join()
    assert time.monotonic() - began < 20
    assert not left()


def test_an_error_of_setup_ends_it() -> None:
    async def connect(client: Any) -> None:
        raise ConnectionError("no database")

    with pytest.raises(GeneratorError, match=r"setup= failed: test_load_thread\.py:\d+ in connect\(\): Connection"):
        run(None, waits, setup=connect)


def test_code_that_does_not_return_is_reported() -> None:
    """Nothing can stop it; the warning names the line."""
    go_on = threading.Event()

    async def blocks(client: Any) -> None:
        go_on.wait(60)

    running = Embedded().run(here(None, blocks, duration=60, users=1, rate=None, warmup=60))
    timer = threading.Timer(0.3, running.close)
    timer.start()
    try:
        with pytest.warns(RuntimeWarning, match=r"blocks still runs .* test_load_thread\.py:\d+ in blocks\(\)"):
            list(running)
    finally:
        go_on.set()
    wait_for(lambda: not left())


def test_a_test_that_stops_the_time() -> None:
    """Nothing could be measured, so the load is refused at once."""
    with freezegun.freeze_time("2020-01-01"), pytest.raises(PlanError, match="restore the clock during the load"):
        run(None, waits)


def test_what_pytest_raises_is_a_failed_check() -> None:
    """pytest.fail() raises a BaseException, and is counted, too."""

    async def fails(client: Any) -> None:
        pytest.fail("not this one")

    result = run(None, fails)
    assert result.outcomes == {"check": 15}
    assert "not this one" in result.total.reasons["check"]
