"""Each load is compared with the saved load of the same test and number, or a message says why it is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.records.baseline_finder import BaselineFinder
from pytest_loadgen.records.differences import differences
from pytest_loadgen.records.store import BaselineStore
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import hold, ramp
from pytest_loadgen.traffic.request import get, post, request
from tests.builders.records import FAST, HERE, SLOW, THERE, record
from tests.builders.traffic import plan

LOAD = replace(FAST, intervals=())
"""A load before it runs."""


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path)


def missing(store: BaselineStore, number: int = 0) -> str:
    return BaselineFinder(store, "main", HERE).find("x", number, LOAD).missing


def test_by_number(store: BaselineStore) -> None:
    """A test's first load is compared with its first, its second with its second."""
    store.save("main", record(("x", FAST), ("x", SLOW)))
    finder = BaselineFinder(store, "main", HERE)
    for number, saved in enumerate((FAST, SLOW)):
        found = finder.find("x", number, LOAD).result
        assert found
        assert found.intervals == saved.intervals
    assert missing(store, 2) == "the baseline 'main' has no entry for this load: add it with --load-save=main"


def test_gaps(store: BaselineStore) -> None:
    """Where the second load was not saved, it is not compared with the third."""
    saved = record(("x", FAST), ("x", FAST), ("x", SLOW))
    store.save("main", replace(saved, runs=(saved.runs[0], saved.runs[2])))
    assert "has no entry for this load" in missing(store, 1)
    found = BaselineFinder(store, "main", HERE).find("x", 2, LOAD).result
    assert found
    assert found.p50 == SLOW.p50


def test_several_runs(store: BaselineStore) -> None:
    """A load is compared with all kept runs of the same load, the oldest first, each with its commit and date."""
    for day, saved in enumerate((FAST, SLOW, FAST), 1):
        store.save("main", record(("x", saved), day=day))
    found = BaselineFinder(store, "main", HERE).find("x", 0, LOAD)
    assert [run.result.p50 for run in found.runs] == [FAST.p50, SLOW.p50, FAST.p50]
    assert [(run.commit, run.date and run.date.day) for run in found.runs] == [("abc", 1), ("abc", 2), ("abc", 3)]


def test_runs_of_this_session(store: BaselineStore) -> None:
    """A session is not compared with the runs that it saves itself."""
    store.save("main", record(("x", FAST)))
    finder = BaselineFinder(store, "main", HERE)
    store.save("main", record(("x", SLOW), day=2))
    assert len(finder.find("x", 0, LOAD).runs) == 1


def test_no_baseline(store: BaselineStore) -> None:
    """Without a baseline of this name, the message says how to create it."""
    assert missing(store) == "there is no baseline 'main' yet: create it with --load-save=main"


def test_another_name(store: BaselineStore) -> None:
    """A name that nothing was saved under: the nearest one is proposed, or all are listed, of any machine."""
    store.save("mian", record(("x", FAST)))
    remedy = "create it with --load-save=main"
    assert missing(store) == f"there is no baseline 'main' (did you mean 'mian'?): {remedy}"
    store.save("nightly", record(("x", FAST), machine=THERE))
    found = BaselineFinder(store, "release", HERE).find("x", 0, LOAD).missing
    assert found.startswith("there is no baseline 'release' (saved: mian, nightly): create it with ")


def test_different_machine(store: BaselineStore) -> None:
    """A baseline from another machine is not used, and the message says how that machine differs."""
    store.save("main", record(("x", FAST), machine=THERE))
    assert missing(store) == (
        "the baseline 'main' is from a different machine (processor was Slow 100, now Quick 9000, cores were 4, "
        "now 2): create it with --load-save=main"
    )


@pytest.mark.parametrize(
    ("saved", "difference"),
    [
        ({"generator": "fortio"}, "generator was fortio, now mine"),
        ({"latency_from": "sent"}, "latency from was sent, now scheduled"),
        ({"plan": plan(rate=50)}, "rate and duration were 50/s for 5s, now 100/s for 5s"),
        (
            {"plan": plan(stages=[hold(100, 2), ramp(100, 0, 3)])},
            "rate and duration were 100/s for 2s, 100/s to 0/s for 3s, now 100/s for 5s",
        ),
        ({"plan": plan(arrivals="poisson")}, "arrivals were poisson, now constant"),
        ({"plan": plan(connections=7)}, "connections were 7, now 100"),
        ({"plan": plan(timeout=1)}, "timeout was 1s, now 5s"),
        ({"plan": plan(rate="100.1/s")}, "rate and duration were 100.1/s for 5s, now 100/s for 5s"),
        ({"plan": plan(warmup=1)}, "warmup was 1s, now 0s"),
        ({"plan": plan(expect=200)}, "expect was 200, now 2xx 3xx"),
        ({"sent_from": "lab:50051"}, "sent from was lab:50051, now this machine"),
    ],
)
def test_different_load(store: BaselineStore, saved: dict[str, Any], difference: str) -> None:
    """A different load is not compared, and the message says how it differs."""
    store.save("main", record(("x", replace(FAST, **saved))))
    assert (
        missing(store) == f"the baseline 'main' is of a different load ({difference}): replace it with --load-save=main"
    )
    assert differences(FAST, LOAD) == []


def test_scaled_load(store: BaselineStore) -> None:
    """A load that --load-scale makes shorter is not compared, and is not to replace the full one."""
    store.save("main", record(("x", FAST)))
    scaled = replace(LOAD, plan=LOAD.plan.stretched(0.1))
    assert BaselineFinder(store, "main", HERE, scaled=True).find("x", 0, scaled).missing == (
        "the baseline 'main' is of a different load (rate and duration were 100/s for 5s, now 100/s for 0.5s): "
        "leave --load-scale out, or save loads of this scale under another name"
    )


def shop(*requests: Any) -> Any:
    """Make a load of these requests, as it is and as it is read from a record."""
    load = replace(FAST, plan=plan_of(list(requests) if len(requests) > 1 else requests[0], {}, lambda: "http://shop"))
    return load, type(load).from_dict(load.as_dict())


def order(method: str = "POST", **options: Any) -> Any:
    return request(method, "/orders", **{"name": "order", "weight": 2, "json": {"tea": 1}, **options})


@pytest.mark.parametrize(
    ("saved", "load", "said"),
    [
        ([get("/"), order()], [get("/"), order()], []),
        ([order(), get("/")], [get("/"), order()], []),
        ([get("/"), order(weight=3)], [get("/"), order()], ["order: weight was 3, now 2"]),
        (
            [get("/"), order()],
            [get("/"), order(), get("/new", weight=5), get("/newer")],
            ["request was http mix of 2 requests, now http mix of 4 requests", "GET /new, GET /newer are new"],
        ),
        (
            [get("/"), get("/old"), order()],
            [get("/"), order(weight=4), get("/new")],
            ["GET /new is new", "GET /old is gone"],
        ),
        ([get("/"), order()], [get("/"), order("PUT")], ["order: request was POST /orders, now PUT /orders"]),
        ([get("/"), order()], [get("/"), order(json={"tea": 2})], ["order: query or body changed"]),
        ([get("/?q=a"), order()], [get("/?q=b"), order()], ["GET /: query or body changed"]),
        ([get("/"), order()], [get("/"), order(expect=201)], ["order: expect was 2xx 3xx, now 201"]),
        ([get("/"), order()], [get("/"), order(headers={"Authorization": "Bearer another"})], []),
        ([get("/")], [get("/"), order()], ["request was http GET /, now http mix of 2 requests"]),
        ([get("/")], [get("/", name="home", weight=7)], []),
        ([get("/")], [get("http://other:9/")], []),
        ([post("/", json={"a": 1})], [post("/", json={"a": 2})], ["query or body changed"]),
        ([post("/", files={"a": b"x"})], [post("/", files={"a": b"x"})], []),
    ],
)
def test_different_requests(saved: list[Any], load: list[Any], said: list[str]) -> None:
    """Mixes are told apart by names, weights, methods, paths, queries, bodies and statuses; not by headers."""
    now, _ = shop(*load)
    _, then = shop(*saved)
    assert differences(then, now) == said


ROWS = [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("saved", "load", "said"),
    [
        (get("/{id}", each(ROWS)), get("/{id}", each([{"id": 3}, {"id": 4}])), []),
        (get("/{id}", each(ROWS)), get("/{id}", each(ROWS * 2)), ["data was 2 rows, now 4 rows"]),
        (
            get("/{id}", each(ROWS, order="random")),
            get("/{id}", each(iter(ROWS))),
            ["data was 2 rows, in random order, now rows of an iterator"],
        ),
        (get("/"), get("/", each(ROWS)), ["data was none, now 2 rows"]),
        (get("/?q={id}", each(ROWS)), get("/?q=x{id}", each(ROWS)), ["query or body changed"]),
        (post("/", each(ROWS), json={"a": "{id}"}), post("/", each(ROWS), json={"a": "{id}"}), []),
        (
            post("/", each(ROWS), json={"a": "{id}"}),
            post("/", each(ROWS), json={"b": "{id}"}),
            ["query or body changed"],
        ),
        (post("/", each(ROWS), json=lambda row: row), post("/", each(ROWS), json=lambda row: [row]), []),
        (get("/", each(ROWS), params=lambda row: {"a": 1}), get("/", each(ROWS), params=lambda row: {"a": 2}), []),
    ],
)
def test_different_data(saved: Any, load: Any, said: list[str]) -> None:
    """Requests with data differ by the number of rows and by where they go, not by their contents."""
    assert differences(shop(saved)[1], shop(load)[0]) == said
