"""Journeys of the embedded generator, against a shop that checks what its users do."""

import asyncio
import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.running import runner
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.journey import step
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import hold, ramp
from pytest_loadgen.workers.distributed import Distributed
from tests.builders.shop import Shop


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        yield shop


def run(shop: Shop | None, generator: Embedded, journey: Any, workers: int = 1, **options: Any) -> Result:
    given: Any = dict(options)
    if not given.keys() & {"users", "stages", "rate"}:
        given["rate"] = 50
    if not given.keys() & {"duration", "stages", "iterations"}:
        given["duration"] = 0.5
    plan = plan_of(journey, given, lambda: shop.url if shop else None)
    return runner.run(plan, Distributed(generator, workers) if workers > 1 else generator)


users = each(range(1000))


async def shopper(client: Any) -> None:
    user = next(users)
    token = (await client.post("/login", json={"user": user})).json()["token"]
    cart = await client.get("/cart", headers={"Authorization": f"Bearer {token}"}, name="cart")
    assert cart.json()["user"] == user
    me = await client.get("/me")
    assert me.json()["user"] == user
    async with step("checkout"):
        order = await client.post("/orders", json={"items": cart.json()["items"]})
        assert order.json() == {"accepted": True, "order": {"items": [1, 2]}}


async def looks(client: Any) -> None:
    await client.get("/items/1")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("options", [{"rate": 50, "duration": 1}, {"users": 4, "iterations": 50}], ids=str)
def test_each_journey_logs_in_with_a_user_of_its_own(
    shop: Shop, embedded: Embedded, options: dict[str, Any], workers: int
) -> None:
    """Token, cookie and row belong to the journey, over all workers; connections are shared."""
    result = run(shop, embedded, shopper, workers, **options)
    assert result.outcomes == {"OK": 50}
    assert set(result.names) == {"POST /login", "cart", "GET /me", "checkout", "POST /orders"}
    assert {result[name].requests for name in result.names} == {50}
    assert {result[name].errors for name in result.names} == {0}
    assert len(shop.logins) == 50
    assert set(shop.logins.values()) == {1}
    assert shop.connections < 50


def test_the_figures_are_those_of_journeys(shop: Shop, embedded: Embedded) -> None:
    """Steps have figures of their own, and each is shorter than the journey."""
    result = run(shop, embedded, shopper)
    assert result.requests == result["shopper"].requests == 25
    assert result["shopper"].names == ()
    assert result.p50 > result["checkout"].p50 >= result["POST /orders"].p50
    assert result.total.received > 0
    assert result.total.connections
    assert result["cart"].total.first_byte.count in {0, 25}
    with pytest.raises(KeyError, match="did you mean 'cart'"):
        _ = result["carts"]


def test_users_make_one_journey_after_another(shop: Shop, embedded: Embedded) -> None:
    async def waits(client: Any) -> None:
        await client.get("/delay/0.1")

    result = run(shop, embedded, waits, users=3, duration=1)
    # In a second each user has time for ten, and the last ones may end later.
    assert 3 <= result.requests <= 33
    # One request checked that the service can be reached.
    assert shop.connections == 4


def test_thinking_counts_in_no_latency(shop: Shop, embedded: Embedded) -> None:
    async def thinks(client: Any) -> None:
        await client.get("/items/1")
        async with step("pause"):
            await client.think("200ms")
            await client.think(0.1, 0.2)

    result = run(shop, embedded, thinks)
    assert result.requests == 25
    assert result.p50 < "100ms"
    assert result["pause"].p50 < "100ms"


@pytest.mark.parametrize(
    "options",
    [{"stages": [hold(20, 0.5), ramp(20, 60, 0.5)]}, {"rate": 30, "duration": 1, "warmup": 0.5}],
    ids=["stages", "warmup"],
)
def test_the_schedule_is_that_of_requests(shop: Shop, embedded: Embedded, options: dict[str, Any]) -> None:
    result = run(shop, embedded, looks, **options)
    assert result.requests == result.plan.requests == 30
    assert result["GET /items/{}"].requests == 30


def test_arrivals_can_be_random(shop: Shop, embedded: Embedded) -> None:
    result = run(shop, embedded, looks, rate=200, duration=1, arrivals="poisson")
    assert 100 < result.requests < 300
    assert result.errors == 0


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("traffic", ["/items/1", looks], ids=["requests", "journeys"])
@pytest.mark.parametrize("pace", ["rate", "closed"])
def test_iterations_are_exact(shop: Shop, embedded: Embedded, traffic: Any, pace: str, workers: int) -> None:
    closed: dict[str, Any] = {"users": 4} if traffic is looks else {"rate": "max", "connections": 4}
    options = {"rate": 70} if pace == "rate" else closed
    result = run(shop, embedded, traffic, workers, iterations=50, **options)
    assert result.requests == 50
    assert result.errors == 0
    assert shop.requests == {"GET /items/1": 50}


# Failures.


def test_failures_are_outcomes_of_their_kinds(shop: Shop, embedded: Embedded) -> None:
    async def fails(client: Any) -> None:
        kind = next(kinds)
        if kind == 0:
            assert (await client.get("/items/1")).status_code == 201, "not created"
        elif kind == 1:
            (await client.get("/status/503")).raise_for_status()
        elif kind == 2:
            (await client.get("/items/1")).json()["price"]
        elif kind == 3:
            await client.get("/status/404")
        elif kind == 4:
            await client.get("/delay/1", timeout=0.05)
        elif kind == 5:
            await client.get("http://127.0.0.1:1/", name="elsewhere")

    kinds = each(range(7))
    result = run(shop, embedded, fails, rate=70, duration=1)
    expected = {"check": 10, "503": 10, "KeyError": 10, "404": 10, "timeout": 10, "refused": 10, "OK": 10}
    assert result.outcomes == expected
    assert result.errors == 60
    assert result["GET /status/{}"].outcomes == {"503": 10, "404": 10}
    assert result["elsewhere"].outcomes == {"refused": 10}
    reasons = result.total.reasons
    assert "test_journeys.py:" in reasons["check"]
    assert "in fails(): AssertionError: not created" in reasons["check"]
    assert "in fails(): KeyError: 'price'" in reasons["KeyError"]
    assert reasons["503"] == """its body is '{"path": "/status/503"}' (GET /status/{})"""


def test_expected_statuses_are_not_errors(shop: Shop, embedded: Embedded) -> None:
    async def looks_for_nothing(client: Any) -> None:
        assert (await client.get("/status/404")).status_code == 404

    result = run(shop, embedded, looks_for_nothing, expect=["2xx", 404])
    assert result.errors == 0
    assert result["GET /status/{}"].outcomes == {"404": 25}
    assert result["GET /status/{}"].errors == 0


def test_a_login_that_has_expired_is_seen() -> None:
    """What the service refuses is an error, as for a real user."""

    async def comes_back_late(client: Any) -> None:
        token = (await client.post("/login", json={"user": next(users)})).json()["token"]
        await client.think("150ms")
        await client.get("/cart", headers={"Authorization": f"Bearer {token}"})

    with Shop(token_life=0.05) as shop:
        result = run(shop, Embedded(), comes_back_late, rate=20)
    assert result.outcomes == {"401": 10}
    assert result["POST /login"].errors == 0
    assert result["GET /cart"].errors == 10


@pytest.mark.parametrize("options", [{"rate": 20}, {"users": 4}], ids=str)
def test_a_journey_that_hangs_times_out(shop: Shop, embedded: Embedded, options: dict[str, Any]) -> None:
    """In a request or outside of one; all are in the figures."""

    async def hangs(client: Any) -> None:
        if next(numbers) % 2:
            await client.get("/silent")
        else:
            await asyncio.Event().wait()

    numbers = each(lambda number: number)
    result = run(shop, embedded, hangs, timeout=0.2, **options)
    assert result.outcomes.keys() == {"timeout"}
    assert result.requests == 10 if "rate" in options else result.requests >= 8
    assert result["GET /silent"].outcomes.keys() == {"timeout"}


@pytest.mark.parametrize("pace", [{"rate": 20, "duration": 0.5}, {"users": 10, "iterations": 10}], ids=str)
def test_a_journey_that_catches_its_end_timed_out(shop: Shop, embedded: Embedded, pace: dict[str, Any]) -> None:
    """All that were due are in the figures, also those that never end."""

    async def goes_on(client: Any) -> None:
        while True:
            with contextlib.suppress(BaseException):
                await asyncio.sleep(1000)

    assert run(shop, embedded, goes_on, timeout=0.1, **pace).outcomes == {"timeout": 10}


class Unusual(BaseException):
    pass


async def raises_something_unusual(client: Any) -> None:
    raise Unusual


async def is_cancelled(client: Any) -> None:
    raise asyncio.CancelledError


async def cancels_itself_at_its_end(client: Any) -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()


async def fails_in_a_group(client: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(1000))
        group.create_task(is_wrong(client))


async def is_wrong(client: Any) -> None:
    await client.get("/items/1")
    pytest.fail("wrong")


async def asks_and_forgets(client: Any) -> None:
    asyncio.create_task(client.get("/status/503"))  # noqa: RUF006


async def ignores_what_failed(client: Any) -> None:
    await asyncio.gather(client.get("http://127.0.0.1:1/"), client.get("/items/1"), return_exceptions=True)


async def never_hears_of_it(client: Any) -> None:
    asyncio.create_task(client.get("/silent"))  # noqa: RUF006


async def thinks_meanwhile(client: Any) -> None:
    await asyncio.gather(client.think(1000), client.get("/silent"))


@pytest.mark.parametrize(
    ("journey", "outcome"),
    [
        (raises_something_unusual, "Unusual"),
        (is_cancelled, "cancelled"),
        (cancels_itself_at_its_end, "OK"),
        (fails_in_a_group, "check"),
        (asks_and_forgets, "503"),
        (ignores_what_failed, "refused"),
        (never_hears_of_it, "timeout"),
        (thinks_meanwhile, "timeout"),
    ],
)
@pytest.mark.parametrize("pace", [{"rate": 20, "duration": 0.5}, {"users": 2, "iterations": 10}], ids=str)
def test_no_journey_escapes_its_outcome(
    shop: Shop, embedded: Embedded, journey: Any, outcome: str, pace: dict[str, Any]
) -> None:
    """However it fails, and whoever waits for its requests."""
    assert run(shop, embedded, journey, timeout=0.1, **pace).outcomes == {outcome: 10}


def test_a_request_that_the_journey_gives_up_is_in_its_figures(shop: Shop, embedded: Embedded) -> None:
    async def gives_up(client: Any) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.get("/silent")

    result = run(shop, embedded, gives_up)
    assert result["GET /silent"].outcomes == {"cancelled": result.requests}
    assert result.outcomes == {"OK": result.requests}


def test_a_step_that_hangs_timed_out(shop: Shop, embedded: Embedded) -> None:
    async def hangs(client: Any) -> None:
        async with step("wait"):
            await asyncio.sleep(1000)

    result = run(shop, embedded, hangs, timeout=0.1)
    assert result["wait"].outcomes == {"timeout": result.requests}


def test_only_pauses_are_thinking(shop: Shop, embedded: Embedded) -> None:
    """Thinking twice at a time is one pause, and none while a response is awaited."""

    async def thinks_and_asks(client: Any) -> None:
        await asyncio.gather(client.think(0.2), client.think(0.2), client.get("/delay/0.2"))

    assert run(shop, embedded, thinks_and_asks).percentile(1) > "190ms"


def test_a_journey_that_is_cancelled_at_the_end_is_not_an_error(shop: Shop, embedded: Embedded) -> None:
    async def thinks_long(client: Any) -> None:
        await client.get("/items/1")
        await client.think("1h")

    result = run(shop, embedded, thinks_long, users=3, timeout=0.3)
    assert result.errors == result.requests == 0
    assert result["GET /items/{}"].outcomes == {"200": 3}


def test_a_blocked_loop_is_lag(shop: Shop, embedded: Embedded) -> None:
    """Journeys that were due meanwhile are late, and the message names the line that blocked the loop."""

    async def blocks(client: Any) -> None:
        await client.get("/items/1")
        time.sleep(0.15)  # what it must not do

    result = run(shop, embedded, blocks, rate=5, duration=2)
    assert result.total.lag.percentile(90) > 0.02
    assert "test_journeys.py:" in result.total.reasons["lag"]
    assert "in blocks()" in result.total.reasons["lag"]
    assert "blocked the event loop, longest at test_journeys.py:" in result.problems[0]


# The client.


async def uses_all_of_httpx(client: Any) -> None:
    moved = await client.get("/moved")
    assert moved.status_code == 302
    assert moved.headers["location"] == "/items/1"
    assert moved.is_redirect
    followed = await client.get("/moved", follow_redirects=True)
    assert followed.url.path == "/items/1"
    assert (await client.get("/items/1", params={"q": "green tea"})).json() == {"path": "/items/1"}
    client.headers["X-Mine"] = "yes"
    client.cookies.set("session", "nobody")
    assert (await client.get("/me")).status_code == 401
    assert (await client.head("/items/1")).content == b""
    for method in ("put", "patch"):
        assert (await getattr(client, method)("/items/1", json={"a": 1})).is_success
    assert (await client.delete("/items/1")).text == '{"path": "/items/1"}'
    assert (await client.post("/form", data={"a": "1"}, auth=("ann", "secret"))).elapsed.total_seconds() > 0
    async with client.stream("GET", "/items/2") as response:
        assert b"".join([part async for part in response.aiter_bytes()]) == b'{"path": "/items/2"}'
    async with httpx.AsyncClient(transport=client.transport, base_url=client.base_url) as real:
        assert (await real.get("/items/3")).json() == {"path": "/items/3"}
    with pytest.raises(httpx.HTTPStatusError):
        (await client.get("/status/404")).raise_for_status()
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/silent", timeout=0.05)
    with pytest.raises(httpx.ConnectError):
        await client.get("http://127.0.0.1:1/")


def test_the_client_has_the_interface_of_httpx(shop: Shop, embedded: Embedded) -> None:
    result = run(shop, embedded, uses_all_of_httpx, iterations=1, rate=10, expect=["2xx", "3xx", 401, 404])
    assert result["GET /silent"].outcomes == {"timeout": 1}
    assert {"HEAD /items/{}", "PUT /items/{}", "DELETE /items/{}", "POST /form"} <= set(result.names)
    assert result.outcomes == {"timeout": 1}, result.total.reasons  # that of /silent, which it catches


def test_the_host_rule_applies_to_other_hosts(shop: Shop, embedded: Embedded) -> None:
    async def goes_elsewhere(client: Any) -> None:
        await client.get("http://192.0.2.1/")

    with pytest.raises(Exception, match=r"192\.0\.2\.1 .* is neither this machine nor in a private network"):
        run(shop, embedded, goes_elsewhere)


def test_options_of_the_load_apply_to_its_clients(shop: Shop, embedded: Embedded) -> None:
    async def follows(client: Any) -> None:
        response = await client.get("/moved")
        assert response.url.path == "/items/1"
        assert response.request.headers["x-all"] == "yes"

    result = run(shop, embedded, follows, rate=10, follow_redirects=True, headers={"X-All": "yes"})
    assert result.outcomes == {"OK": 5}, result.total.reasons


# Any awaitable.


def test_a_function_without_a_service(embedded: Embedded) -> None:
    """It needs no base URL, and is measured as a whole and by its steps."""

    async def sleeps(_: Any) -> None:
        async with step("nap"):
            await asyncio.sleep(0.02)

    result = run(None, embedded, sleeps)
    assert result.outcomes == {"OK": 25}
    assert result["nap"].p50 >= "20ms"


def test_a_step_outside_of_a_load_does_nothing() -> None:
    async def steps() -> int:
        async with step("alone"):
            return 5

    assert asyncio.run(steps()) == 5


# Where it runs.


def test_setup_and_teardown_run_once_in_each_worker(shop: Shop, embedded: Embedded) -> None:
    """Journeys can use what setup creates; its requests are not counted."""
    found: dict[str, Any] = {}

    async def connect(client: Any) -> None:
        found["token"] = (await client.post("/login", json={"user": "all"})).json()["token"]

    async def buys(client: Any) -> None:
        await client.get("/cart", headers={"Authorization": f"Bearer {found['token']}"})

    async def leave(client: Any) -> None:
        await client.get("/left")

    result = run(shop, embedded, buys, 2, setup=connect, teardown=leave)
    assert result.outcomes == {"OK": 25}
    assert result.names == ("GET /cart",)
    assert shop.logins == {"all": 2}
    assert shop.requests["GET /left"] == 2


@pytest.mark.parametrize("which", ["setup", "teardown"])
def test_a_setup_that_fails_fails_the_load(shop: Shop, embedded: Embedded, which: str) -> None:
    async def breaks(client: Any) -> None:
        raise KeyError("pool")

    options: Any = {which: breaks}
    with pytest.raises(GeneratorError, match=rf"looks: {which}= failed: test_journeys.py:\d+ in breaks"):
        run(shop, embedded, looks, **options)


def test_what_cannot_be_sent_is_named(shop: Shop, embedded: Embedded) -> None:
    lock = threading.Lock()

    async def locks(client: Any) -> None:
        with lock:
            await client.get("/items/1")

    with pytest.raises(PlanError, match=r"^'lock' \(a lock\), which locks\(\) uses, cannot be sent to .*setup="):
        run(shop, embedded, locks)
    assert not shop.requests


def test_a_load_after_a_refused_one_works(shop: Shop, embedded: Embedded) -> None:
    test_what_cannot_be_sent_is_named(shop, embedded)
    assert run(shop, embedded, looks).outcomes == {"OK": 25}


def test_rows_that_run_out_end_the_load(shop: Shop, embedded: Embedded) -> None:
    """With exhausted="stop" the load is shorter; with "error" it fails, and says how many rows there were."""
    few = each([1, 2, 3], exhausted="stop")

    async def takes(client: Any) -> None:
        await client.get(f"/items/{next(few)}")

    assert run(shop, embedded, takes).outcomes == {"OK": 3}
    assert run(shop, embedded, takes, users=1, iterations=10).outcomes == {"OK": 3}

    strict = each([1, 2, 3], exhausted="error")

    async def takes_more(client: Any) -> None:
        await client.get(f"/items/{next(strict)}")

    with pytest.raises(PlanError, match=r"takes_more: each\(\) has only 3 rows: exhausted='stop' ends the load there"):
        run(shop, embedded, takes_more)


def test_what_a_journey_prints_is_printed_here(
    shop: Shop, embedded: Embedded, capsys: pytest.CaptureFixture[str]
) -> None:
    async def prints(client: Any) -> None:
        print("hello from a journey")  # noqa: T201

    run(shop, embedded, prints, iterations=3, rate=10)
    assert capsys.readouterr().out == "hello from a journey\n" * 3


def test_what_goes_past_print_holds_nothing_up(shop: Shop, embedded: Embedded) -> None:
    async def writes(client: Any) -> None:
        os.write(2, b"x" * 100_000)

    assert run(shop, embedded, writes).errors == 0


def test_threads_can_print(shop: Shop, embedded: Embedded, capsys: pytest.CaptureFixture[str]) -> None:
    async def prints(client: Any) -> None:
        await asyncio.gather(*(asyncio.to_thread(print, "x" * 500) for _ in range(8)))

    assert run(shop, embedded, prints, users=2, iterations=10).outcomes == {"OK": 10}
    assert capsys.readouterr().out.count("x") == 40_000


def test_a_thread_that_blocks_does_not_hold_up_the_end(shop: Shop, embedded: Embedded) -> None:
    async def blocks(client: Any) -> None:
        await asyncio.to_thread(time.sleep, 1000)

    assert run(shop, embedded, blocks, iterations=1, users=1, timeout=0.1).outcomes == {"timeout": 1}


def test_a_process_that_a_journey_forks_sends_no_load(shop: Shop, embedded: Embedded) -> None:
    """And one that it starts ends with the generator."""

    async def forks(client: Any) -> None:
        os.fork()
        await client.get("/items/1")

    assert run(shop, embedded, forks, users=1, iterations=5).outcomes == {"OK": 5}
    assert run(shop, embedded, looks, users=1, iterations=5).outcomes == {"OK": 5}


@pytest.mark.parametrize("process", [True, False])
def test_a_task_that_ends_the_loop_fails_the_load(shop: Shop, embedded: Embedded, process: bool) -> None:
    async def ends(client: Any) -> None:
        await asyncio.create_task(leaves())

    with pytest.raises(GeneratorError, match=r"ends: its event loop was ended by .*: SystemExit: 3"):
        run(shop, embedded, ends, process=process)


async def leaves() -> None:
    raise SystemExit(3)


def test_what_journeys_start_ends_with_the_generator(shop: Shop, tmp_path: Path) -> None:
    async def starts(client: Any) -> None:
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        (tmp_path / "pid").write_text(str(process.pid))

    with closing(Embedded()) as generator:
        run(shop, generator, starts, users=1, iterations=1)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while has_process(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_process(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_step_has_one_name_below_a_base_url(shop: Shop, embedded: Embedded) -> None:
    async def asks_twice(client: Any) -> None:
        await client.get("/items/1")
        await client.get("/items/2", params={"q": 1})

    plan = plan_of(asks_twice, {"users": 1, "iterations": 1}, lambda: f"{shop.url}/items")
    assert runner.run(plan, embedded).names == ("GET /items/{}",)


def test_a_worker_that_dies_during_a_journey_is_an_error(shop: Shop, embedded: Embedded) -> None:
    async def dies(client: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(GeneratorError, match="SIGKILL"):
        run(shop, embedded, dies)


@pytest.mark.parametrize(
    ("journey", "message"),
    [
        (lambda client: None, "<lambda> is not an async function: write 'async def shopper(client): …'"),
        (asyncio.sleep, None),
        (len, "len is not an async function"),
    ],
)
def test_what_is_not_a_journey(journey: Any, message: str | None) -> None:
    if message is None:
        assert plan_of(journey, {"users": 1}).name == "sleep"
        return
    with pytest.raises(PlanError) as caught:
        plan_of(journey, {"users": 1})
    assert message in str(caught.value)


async def takes_nothing() -> None:
    """Take no client."""


async def yields(client: Any) -> Any:
    yield client


@pytest.mark.parametrize(
    ("journey", "options", "message"),
    [
        (takes_nothing, {"users": 1}, "takes_nothing must take one argument, the client"),
        (yields, {"users": 1}, "yields contains yield: a journey is an async function without it"),
        (looks, {}, "looks: say how many journeys begin each second (rate=50), or how many users"),
        (looks, {"users": 2, "rate": 5}, "give either users= or rate=: users make one journey after another"),
        (looks, {"users": 0}, "users=0: write a whole number, 1 or more"),
        (looks, {"rate": 5, "json": {}}, "json= belongs to a request of the journey: as in client.post(…, json=…)"),
        (looks, {"rate": 5, "check": "a"}, "check= belongs to a request of the journey: assert it in the function"),
        (looks, {"rate": 5, "headers": {"a": "b"}}, "looks: headers= needs a base URL: define a load_target fixture"),
        (looks, {"rate": 5, "iterations": 5, "duration": 1}, "give either iterations= or duration="),
        (looks, {"rate": 5, "iterations": 5, "arrivals": "poisson"}, "iterations= needs arrivals='constant'"),
        (looks, {"stages": [hold(1, 1)], "iterations": 5}, "give either stages= or iterations="),
        ("http://localhost", {"users": 5}, "users= is for journeys (async functions)"),
        ("http://localhost", {"setup": looks}, "setup= is for journeys: load(shopper, setup=…)"),
    ],
)
def test_wrong_options(journey: Any, options: Any, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan_of(journey, options)
    assert message in str(caught.value)


def test_setup_and_journeys_share_nonlocal_variables(shop: Shop, embedded: Embedded) -> None:
    token = ""

    async def connect(client: Any) -> None:
        nonlocal token
        token = (await client.post("/login", json={"user": 1})).json()["token"]

    async def buys(client: Any) -> None:
        await client.get("/cart", headers={"Authorization": f"Bearer {token}"})

    assert run(shop, embedded, buys, setup=connect).outcomes == {"OK": 25}


def test_a_step_that_is_named_like_the_function(embedded: Embedded) -> None:
    """Its figures are had by that name; those of the whole are the result itself."""

    async def lookup(_: Any) -> None:
        async with step("lookup"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    result = run(None, embedded, lookup)
    assert result["lookup"].p50 < result.p50


def test_a_partial_of_a_function(shop: Shop, embedded: Embedded) -> None:
    assert run(shop, embedded, functools.partial(looks_at, number=7)).outcomes == {"OK": 25}
    assert shop.requests == {"GET /items/7": 25}


async def looks_at(client: Any, number: int) -> None:
    await client.get(f"/items/{number}")


def test_a_forgotten_await_is_a_failure(shop: Shop, embedded: Embedded) -> None:
    """Nothing was sent, so nothing was right."""

    async def forgets(client: Any) -> None:
        client.get("/items/1")

    result = run(shop, embedded, forgets)
    assert result.outcomes == {"unawaited": 25}
    assert "in forgets(): coroutine 'Client.request' was never awaited" in result.total.reasons["unawaited"]
    assert not shop.requests


def test_the_request_that_failed_before_is_told(shop: Shop, embedded: Embedded) -> None:
    """With its body, which an exception in the function does not show."""

    async def logs_in(client: Any) -> None:
        (await client.get("/cart")).json()["token"]

    reason = run(shop, embedded, logs_in).total.reasons["KeyError"]
    assert "KeyError: 'token'; before that, the outcome of GET /cart was 401" in reason
    assert "log in first" in reason


def test_a_timeout_tells_the_line_that_waited(shop: Shop, embedded: Embedded) -> None:
    async def inner() -> None:
        await asyncio.sleep(10)

    async def waits(client: Any) -> None:
        await inner()

    reason = run(shop, embedded, waits, timeout=0.2).total.reasons["timeout"]
    assert "in inner(), after 200ms (timeout=)" in reason


def test_intervals_end_at_whole_seconds(shop: Shop, embedded: Embedded) -> None:
    """Even if no journey runs at that moment."""
    result = run(shop, embedded, looks, rate="42/m", duration=4)
    assert [each.start for each in result.intervals] == [0, 1, 2, 3]


def test_a_journey_that_fails_in_its_third_step(shop: Shop, embedded: Embedded) -> None:
    """The steps before it are counted, and those after it are not made."""

    async def buys(client: Any) -> None:
        await client.get("/items/1", name="first")
        await client.get("/items/2", name="second")
        async with step("third"):
            (await client.get("/status/503", name="broken")).raise_for_status()
        await client.get("/items/4", name="fourth")

    result = run(shop, embedded, buys)
    assert result.outcomes == {"503": 25}
    assert {name: result[name].errors for name in result.names} == {"first": 0, "second": 0, "broken": 25, "third": 25}
