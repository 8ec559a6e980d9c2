"""The requests with data: every row once over all parts, in the order of the whole plan."""

from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_loadgen.errors import PlanError
from pytest_loadgen.running.rounds import cut
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.feed import filled_requests, order
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.pacing import schedule
from pytest_loadgen.traffic.plan import Plan, consecutive
from pytest_loadgen.traffic.request import get

BASE = "http://localhost:8000"


def plan(*requests: Any, **options: Any) -> Plan:
    given: Any = {"rate": 100, "connections": 100, **options}
    return plan_of(list(requests), given, lambda: BASE)


def paths(part: Plan, number: int) -> list[str]:
    """Give the paths of the requests with data among the first ones that a part sends."""
    return [message.split(b" ", 2)[1].decode() for message in islice(filled_requests(part), number) if message]


@given(st.integers(1, 5), st.lists(st.integers(1, 9), min_size=2, max_size=4), st.booleans())
def test_every_row_once_over_all_parts(parts: int, weights: list[int], poisson: bool) -> None:
    """Whatever the weights, how many parts there are, and whether requests without data come between."""
    requests = [get(f"/{number}/{{}}", each(range(1000)), weight=weight) for number, weight in enumerate(weights)]
    whole = plan(*requests, get("/plain"), arrivals="poisson" if poisson else "constant")
    found = [path for part in whole.split(parts) for path in paths(part, 60 // parts)]
    assert sorted(found) == sorted(paths(whole, 60 // parts * parts))
    assert len(set(found)) == len(found)


def test_rows_come_in_sequence() -> None:
    whole = plan(get("/a/{}", each(["x", "y", "z"]), weight=2), get("/b"), get("/c/{}", each(range(9))))
    assert paths(whole, 8) == ["/a/x", "/c/0", "/a/y", "/a/z", "/c/1", "/a/x"]


def test_rows_run_out() -> None:
    """The load ends there, or fails, as is asked for."""
    assert paths(plan(get("/{}", each([1, 2], exhausted="stop"))), 9) == ["/1", "/2"]
    for rows in (each([1, 2], exhausted="error"), each(iter([1, 2]))):
        with pytest.raises(PlanError, match=r"^GET /\{\}: its data has only 2 rows: exhausted='stop' ends the load"):
            paths(plan(get("/{}", rows)), 9)


def test_a_row_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(PlanError, match=r"^GET /: row 2: headers: a value has a line break"):
        paths(plan(get("/", each(iter(["a", "b", "c\r\nd"])), headers={"X": "{}"})), 9)


def test_a_list_is_tried_before_the_load() -> None:
    rows = [{"id": 1}] * 500 + [{}]
    with pytest.raises(PlanError, match=r"^GET /\{id\}: row 500: no field \{id\}"):
        plan(get("/{id}", each(rows)))


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([0, "0.1s", "330ms"]),
    st.builds(Fraction, st.integers(7, 500), st.integers(1, 7)),
)
def test_parts_that_follow_one_another_go_on_with_the_rows(
    weights: list[int], rounds: int, workers: int, warmup: Any, rate: Any
) -> None:
    """Each row once, none that no request is due for, and weights that are exact whatever the warm-ups send."""
    requests = [get(f"/{number}/{{}}", each(range(10_000)), weight=weight) for number, weight in enumerate(weights)]
    whole = plan(*requests, rate=rate, duration=3, warmup=warmup)
    turns = consecutive([replace(part, warmup=whole.warmup) for part in cut(whole, 3 / rounds)])
    found: list[str] = []
    measured: list[str] = []
    for turn in turns:
        sent = [paths(part, 10_000) for part in turn.split(workers)]
        assert [len(each) for each in sent] == [part.warmup_requests + part.requests for part in turn.split(workers)]
        for part, mine in zip(turn.split(workers), sent, strict=True):
            assert [f"/{number}" for number in islice(order(part), len(mine))] == [path[:2] for path in mine]
            measured += [path[:2] for path in mine[part.warmup_requests :]]
        found += [path for each in sent for path in each]
    assert len(set(found)) == len(found)
    for number, _ in enumerate(weights):
        rows = [path for path in found if path.startswith(f"/{number}/")]
        assert sorted(rows) == sorted(f"/{number}/{row}" for row in range(len(rows)))
    assert sorted(measured) == sorted(
        f"/{number}" for number in islice(order(plan(*requests, rate=rate, duration=3)), len(measured))
    )


@pytest.mark.parametrize("exhausted", ["stop", "error"])
def test_the_end_of_the_rows_ends_all_parts(exhausted: Any) -> None:
    """Also those that never send a request of that name: otherwise the others would go on with other weights."""
    whole = plan(get("/a/{}", each(range(5), exhausted=exhausted)), get("/b/{}", each(range(100))))
    for part, first in zip(whole.split(2), ("/a/0", "/b/0"), strict=True):
        sent: list[str] = []
        with pytest.raises(PlanError, match="its data has only 5 rows") if exhausted == "error" else nullcontext():
            sent.extend(paths(part, 1))
            sent.extend(paths(part, 9))
        assert sent[0] == first
        assert len(sent) == (1 if exhausted == "error" else 6)


def test_short_parts_without_a_schedule_send_all_requests() -> None:
    """Each begins elsewhere in the mix."""
    whole = plan(*(get(f"/{number}") for number in range(12)), rate="max", duration=6)
    turns = consecutive(cut(whole, 1))
    sent = [number for turn in turns for part in turn.split(2) for number in islice(order(part), 1)]
    assert sorted(sent) == list(range(12))


def test_parts_without_a_schedule_share_the_rows() -> None:
    turns = consecutive(cut(plan(get("/{}", each(range(600))), rate="max", duration=3), 1))
    found = [path for turn in turns for part in turn.split(2) for path in paths(part, 100)]
    assert len(set(found)) == 600


def test_random_arrivals_use_no_row_again() -> None:
    whole = plan(get("/{}", each(range(100_000))), rate=50, duration=3, arrivals="poisson", warmup=1)
    turns = consecutive([replace(part, warmup=whole.warmup) for part in cut(whole, 1)])
    found = [path for turn in turns for path in paths(turn, sum(1 for _ in schedule(turn)))]
    assert len(found) > 200
    assert len(set(found)) == len(found)
