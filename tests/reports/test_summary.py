"""Remarks: what a reader of the figures has to know."""

from dataclasses import replace
from typing import Any

import pytest

from pytest_loadgen.figures.interval import NamedFigures
from pytest_loadgen.reports.summary import COLUMNS, remarks, rows, service
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.target import Target
from tests.builders.figures import interval, resources, result
from tests.builders.traffic import plan
from tests.reports.examples import MIX, WELL, judged, verdict


def test_what_the_service_used() -> None:
    """In a line, with how its memory changed; nothing where that is not known."""
    used = resources(0.99, 118e6), resources(0.97, 120e6, threads=1, files=1_033, throttled=0.2)
    both = result(*(interval({"200": 9}, start=at, service=each) for at, each in enumerate(used)))
    assert service(both) == "shop: 0.98 of 2 cores, 120 MB (+2 MB), 4 threads, 1,033 files, CPU-throttled for 200ms"
    shrunk = replace(both, intervals=both.intervals[::-1])
    assert "120 MB (-2 MB)" in service(shrunk)
    alone = resources(0.2, cores=1.0, threads=1, files=1)
    assert service(result(interval({"200": 9}, service=alone))) == "shop: 0.20 of 1 core, 100 MB, 1 thread, 1 file"
    assert service(result(interval({"200": 9}, service=resources(cores=1.5)))).startswith("shop: 0.50 of 1.5 cores")
    assert service(result(interval({"200": 9}))) == ""


@pytest.mark.parametrize(
    ("outcomes", "expect", "said"),
    [
        ({"302": 100}, None, ["all responses were redirects (100 × 302); load the address that they lead to."]),
        ({"301": 60, "302": 40}, None, ["all responses were redirects (60 × 301, 40 × 302); load the address *"]),
        ({"3xx": 100}, None, ["all responses were redirects (100 × 3xx); load the address *"]),
        ({"302": 99, "200": 1}, None, []),
        ({"304": 100}, None, []),
        ({"302": 100}, 302, []),
        ({}, None, []),
    ],
)
def test_redirects(outcomes: dict[str, int], expect: Any, said: list[str]) -> None:
    """A load of nothing but redirects says so, unless that is what was expected."""
    found = [each for each in remarks(result(interval(outcomes), plan=plan(expect=expect))) if "redirects" in each]
    assert len(found) == len(said)
    assert all(each.startswith(start.rstrip("*")) for each, start in zip(found, said, strict=True))


def repeated(*statuses: dict[str, int], method: str = "POST", name: str = "", data: bool = False) -> list[str]:
    target = Target.of("http://127.0.0.1/orders", method=method)
    made = replace(plan(), target=target)
    if name or data:
        made = replace(made, mix=(NamedRequest(name or target.name, target, data="9 rows" if data else ""),))
    found = remarks(result(*(interval(each, start=at) for at, each in enumerate(statuses)), plan=made))
    return [each for each in found if "each()" in each]


def test_the_same_body_again() -> None:
    """Where all but the first few of the same requests are refused, a remark names what gives each its own data."""
    (said,) = repeated({"201": 1, "409": 99}, {"409": 100})
    assert said == (
        "199 of 200 responses to POST /orders were 409: the service may refuse the same body twice; "
        "give each request data of its own with each()."
    )
    assert repeated({"201": 4, "400": 50, "409": 46}, method="PUT", name="order")[0].startswith(
        "96 of 100 responses to order were 400 or 409"
    )
    assert repeated({"200": 1, "422": 99}, method="PATCH")
    # Of few, the first is one in twenty, or more.
    assert repeated({"201": 1, "409": 5})
    # Refused by what an earlier session left.
    assert repeated({"409": 100})


@pytest.mark.parametrize(
    "load",
    [
        {"statuses": {"201": 1, "409": 99}, "data": True},
        {"statuses": {"201": 1, "409": 99}, "method": "GET"},
        {"statuses": {"201": 10, "409": 90}},
        {"statuses": {"201": 1, "409": 4}},
        {"statuses": {"201": 2, "409": 18}},
        {"statuses": {"201": 1, "429": 99}},
        {"statuses": {"201": 1, "503": 99}},
        {"statuses": {"400": 100}},
    ],
)
def test_refused_for_another_reason(load: Any) -> None:
    assert repeated(load.pop("statuses"), **load) == []


def test_by_name() -> None:
    """Below the row of a mix is one for each name, with its figures and its objectives."""
    made = rows([MIX])
    assert [COLUMNS["request"](row) for row in made] == [
        "mix of 3 requests",
        *(f"- {name}" for name in MIX.result.names),
    ]
    assert [COLUMNS["requests"](row) for row in made] == ["600", "420", "120", "60"]
    assert [COLUMNS["errors"](row) for row in made] == [
        "1.5%: 6 × 503, 3 × check",
        "0",
        "7.5%: 6 × 503, 3 × check",
        "0",
    ]
    assert [COLUMNS["objectives"](row) for row in made] == ["1 missed, 1 met", "", "", ""]
    assert [COLUMNS["CPU"](row) for row in made] == ["12%", "", "", ""]
    assert COLUMNS["first byte p99"](made[1]) == str(MIX.result["GET /search"].by_first_byte.p99)
    assert COLUMNS["first byte p99"](rows([WELL])[0]) == "-"


def test_objectives_of_a_name() -> None:
    """An objective that is of one name counts in that row only; one of a name that the load lacks, in its own row."""
    named = [verdict("p99 of order < 100ms", "met", "36ms"), verdict("errors of x < 1%", "missed", "2%")]
    assert [COLUMNS["objectives"](row) for row in rows([judged(MIX, *named)])] == ["1 missed", "", "1 met", ""]


def test_remarks_of_a_mix() -> None:
    """Redirects and failing responses are told by name."""
    figures = NamedFigures(outcomes={"302": 100})
    made = replace(
        MIX.result, verdicts=(), intervals=(replace(interval({"302": 100}), names={"GET /search": figures}),)
    )
    assert "all responses to GET /search were redirects (100 × 302); load the address that they lead to." in remarks(
        made
    )
    broken = {"a": NamedFigures(outcomes={"500": 60, "200": 40}), "b": NamedFigures(outcomes={"200": 100})}
    requests = tuple(NamedRequest(name, Target.of("http://127.0.0.1/")) for name in broken)
    half = result(interval({"500": 60, "200": 140}, names=broken), plan=replace(plan(), mix=requests))
    assert "most requests to a (60 of 100) failed." in remarks(half)
    assert "One of 6 responses with status 503: its body is 'no capacity' (order)." in remarks(MIX.result)


def test_a_name_that_failed_among_many() -> None:
    """A name with a few requests, all of which failed, is named, however many others there were."""
    names = {"a": NamedFigures(outcomes={"200": 9997}), "b": NamedFigures(outcomes={"404": 3})}
    requests = tuple(NamedRequest(name, Target.of("http://127.0.0.1/")) for name in names)
    reasons = {"404": "its body is empty (b)"}
    found = result(interval({"200": 9997, "404": 3}, names=names, reasons=reasons), plan=replace(plan(), mix=requests))
    assert remarks(found) == [
        "most requests to b (3 of 3) failed.",
        "One of 3 responses with status 404: its body is empty (b).",
    ]


def test_a_scaled_load() -> None:
    """The objectives that a scaled load is too short for are named."""
    scaled = replace(WELL.result, not_judged=("p99 < 200ms (needs 299 requests)", "errors < 1% (needs 4s)"))
    assert remarks(scaled) == [
        "not judged, because of --load-scale: p99 < 200ms (needs 299 requests), errors < 1% (needs 4s)."
    ]


def test_a_load_that_went_on() -> None:
    """A load that lasted longer than planned says what for."""
    longer = replace(result(interval({"200": 100})), went_on="was extended to 15s while p99 < 1s was unclear")
    assert remarks(longer) == ["the load was extended to 15s while p99 < 1s was unclear."]
