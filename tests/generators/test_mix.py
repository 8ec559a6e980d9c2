"""Mixes, data and checks, against a service that records what it gets."""

import re
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.generators.wrk import Wrk
from pytest_loadgen.generators.wrk2 import Wrk2
from pytest_loadgen.running import runner
from pytest_loadgen.running.rounds import Rounds
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.request import get, head, post
from pytest_loadgen.workers.distributed import Distributed
from tests.builders.recorder import Recorder
from tests.conftest import needs


@pytest.fixture
def service() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


def run(service: Recorder, generator: LoadGenerator, traffic: Any, workers: int = 1, **options: Any) -> Result:
    given: Any = {"rate": 100, "duration": 1, "connections": 8, **options}
    plan = plan_of(traffic, given, lambda: service.url)
    return runner.run(plan, Distributed(generator, workers) if workers > 1 else generator)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_weights_are_exact_and_every_row_comes_once(service: Recorder, embedded: Embedded, workers: int) -> None:
    traffic = [
        get("/items/{id}", each([{"id": number} for number in range(1000)]), weight=3),
        post("/orders", each(range(1000)), json={"order": "{}"}, name="order"),
    ]
    result = run(service, embedded, traffic, workers)
    assert result.errors == 0
    assert [result[name].requests for name in result.names] == [75, 25]
    assert service.paths() == {"/orders": 25, **{f"/items/{number}": 1 for number in range(75)}}
    assert {body for method, _, body in service.requests if method == "POST"} == {
        b'{"order":"%d"}' % number for number in range(25)
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_in_the_closed_model_too(service: Recorder, embedded: Embedded, workers: int) -> None:
    """No row twice, whoever is faster."""
    traffic = [get("/a/{}", each(count())), get("/b")]
    result = run(service, embedded, traffic, workers, rate="max", duration=0.5)
    assert result.errors == 0
    assert max(times for path, times in service.paths().items() if path != "/b") == 1
    assert abs(result["GET /a/{}"].requests - result["GET /b"].requests) <= workers * 8


def test_each_name_has_figures_of_its_own(service: Recorder, embedded: Embedded) -> None:
    traffic = [get("/fine"), get("/status/503", name="broken"), head("/status/404", expect=404)]
    result = run(service, embedded, traffic, rate=99)
    assert result["GET /fine"].outcomes == {"200": 33}
    assert result["broken"].outcomes == {"503": 33}
    assert result["HEAD /status/404"].errors == 0
    assert result.errors == 33
    assert result.outcomes == {"200": 33, "503": 33, "404": 33}
    assert sum(result[name].total.latency.count for name in result.names) == result.total.latency.count == 99
    assert sum(result[name].total.received for name in result.names) == result.total.received > 0
    with pytest.raises(KeyError, match="did you mean 'broken'"):
        _ = result["borken"]


@pytest.mark.parametrize("kind", ["stream", "chunked", "events"])
def test_the_first_byte_counts_from_when_a_request_was_due(service: Recorder, embedded: Embedded, kind: str) -> None:
    """A streamed response begins long before it ends; one that comes at once begins when it ends."""
    result = run(service, embedded, [get(f"/{kind}/0.2", name="streamed"), get("/fine")], rate=20)
    streamed, whole = result["streamed"], result["GET /fine"]
    assert streamed.p50 > 0.2
    assert streamed.total.first_byte.count == whole.total.first_byte.count == 10
    assert float(streamed.total.latency.percentile(50)) - float(streamed.total.first_byte.percentile(50)) > 0.15
    assert whole.total.first_byte == whole.total.latency


@pytest.mark.parametrize(
    ("check", "passes"),
    [
        ("fine", True),
        ("broken", False),
        (re.compile("f.ne"), True),
        (re.compile(b"f.nd"), False),
        (lambda response: response.text == "fine", True),
        (lambda response: response.headers["content-length"] == "5", False),
    ],
)
def test_a_check_decides_what_is_right(service: Recorder, embedded: Embedded, check: Any, passes: bool) -> None:
    """A response that fails its check is an error, and no fast answer."""
    result = run(service, embedded, "/", rate=20, check=check)
    assert result.outcomes == ({"200": 20} if passes else {"check": 20})
    assert result.errors == (0 if passes else 20)
    assert result.total.latency.count == (20 if passes else 0)


def test_an_assert_in_a_check(service: Recorder, embedded: Embedded) -> None:
    limit = 3

    def check(response: Any) -> None:
        assert int(response.content) < limit

    result = run(service, embedded, post("/", each(range(10)), content="{}", check=check), rate=10)
    assert result.outcomes == {"check": 7, "200": 3}


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (lambda response: pytest.fail("no tea"), "Failed: no tea"),
        (lambda response: sys.exit(3), "SystemExit: 3"),
        (lambda response: 0, "returned 0"),
    ],
)
def test_a_check_fails_in_every_way_that_a_function_has(
    service: Recorder, embedded: Embedded, check: Any, why: str
) -> None:
    """The process of the generator survives what is no Exception."""
    result = run(service, embedded, "/", rate=5, check=check)
    assert result.outcomes == {"check": 5}
    assert result.total.reasons["check"].startswith(f"{why}; its status is 200 and its body is 'fine'")


def test_a_check_that_cannot_be_sent_is_refused(service: Recorder, embedded: Embedded) -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(PlanError, match=r"^check='<lambda>' cannot be sent to the process of the load generator"):
        run(service, embedded, "/", check=lambda response: lock)
    assert not service.requests


def test_a_wrong_status_is_not_checked(service: Recorder, embedded: Embedded) -> None:
    assert run(service, embedded, "/status/503", rate=20, check="broken").outcomes == {"503": 20}


def test_data_that_runs_out_ends_the_load(service: Recorder, embedded: Embedded) -> None:
    result = run(service, embedded, get("/{}", each(range(5), exhausted="stop")), duration=30)
    assert result.requests == 5
    assert service.paths() == {f"/{number}": 1 for number in range(5)}


def test_data_that_must_not_run_out_fails_the_load(service: Recorder, embedded: Embedded) -> None:
    seen: list[int] = []
    plan = plan_of(
        get("/{}", each(range(5), exhausted="error")),
        {"rate": 100, "duration": 30, "connections": 8},
        lambda: service.url,
    )
    with pytest.raises(PlanError, match="its data has only 5 rows"):
        runner.run(plan, embedded, lambda interval: seen.append(interval.requests))


def test_a_row_that_cannot_be_sent_ends_the_load_with_its_number(service: Recorder, embedded: Embedded) -> None:
    rows = iter([*range(3000), "a\r\nb"])
    with pytest.raises(PlanError, match=r"^GET /: row 3,000: headers: a value has a line break"):
        run(service, embedded, get("/", each(rows), headers={"X": "{}"}), rate=2000, duration=10)


# wrk and wrk2.


@pytest.mark.parametrize(
    ("generator", "options", "workers", "rounds"),
    [
        pytest.param(Wrk(), {"rate": "max"}, 1, 1, marks=needs("wrk")),
        pytest.param(Wrk(), {"rate": "max"}, 2, 1, marks=needs("wrk")),
        pytest.param(Wrk2(), {"rate": 120}, 1, 1, marks=needs("wrk2")),
        pytest.param(Wrk2(), {"rate": 120}, 2, 1, marks=needs("wrk2")),
        pytest.param(Wrk2(), {"rate": 60, "duration": 2}, 1, 2, marks=needs("wrk2")),
        # So many that wrk2 has two threads, each with the weights; the service answers as many as it can.
        pytest.param(Wrk2(), {"rate": 20_001, "timeout": 1}, 1, 1, marks=needs("wrk2")),
    ],
)
def test_wrk_and_wrk2_keep_the_weights(
    service: Recorder, generator: LoadGenerator, options: dict[str, Any], workers: int, rounds: int
) -> None:
    """Each request as often as its weight says, in one process or several; all statuses are counted together."""
    traffic = [get("/a", weight=5), post("/b?c=d", json={"x": 1}, weight=3, name="order"), get("/status/404")]
    connections = 8
    given: Any = {"duration": 1, "connections": connections, **options}
    plan = plan_of(traffic, given, lambda: service.url)
    shared = Distributed(generator, workers) if workers > 1 else generator
    result = runner.run(plan, Rounds(shared, plan, rounds))
    sent = service.requests
    assert sent.keys() == {("GET", "/a", b""), ("POST", "/b?c=d", b'{"x":1}'), ("GET", "/status/404", b"")}
    # Those that are in flight at the end of each run may be of any name.
    in_flight = connections * rounds
    for (_, path, _), times in sent.items():
        assert times == pytest.approx(sent.total() * {"/a": 5, "/b?c=d": 3}.get(path, 1) / 9, abs=2 + in_flight)
    answered = {status: result.outcomes[status] for status in ("200", "404")}
    assert sum(answered.values()) == pytest.approx(sent.total(), abs=2 * in_flight)
    assert answered["404"] == pytest.approx(sum(answered.values()) / 9, abs=2 + in_flight)
    assert result.names == ()
    with pytest.raises(KeyError, match=f"no figures of 'order': {generator.name} does not tell the requests of a mix"):
        _ = result["order"]


@needs("wrk2")
def test_rounds_of_wrk2_go_on_with_the_mix(service: Recorder) -> None:
    """A request that is sent once in a load is not left out of each of its rounds."""
    traffic = [get("/often", weight=29), get("/seldom")]
    plan = plan_of(traffic, {"rate": 10, "duration": 3, "connections": 1}, lambda: service.url)
    runner.run(plan, Rounds(Wrk2(), plan, 3))
    assert service.paths()["/seldom"] == 1


@needs("wrk")
@pytest.mark.parametrize(("of_each", "of_all", "right"), [(404, None, True), (None, 404, True), (None, None, False)])
def test_wrk_expects_the_same_of_all_requests(service: Recorder, of_each: Any, of_all: Any, right: bool) -> None:
    traffic = [get("/status/404", expect=of_each), post("/status/404", expect=of_each)]
    result = run(service, Wrk(), traffic, rate="max", expect=of_all)
    assert result.requests > result.errors == 0 if right else result.all_failed
