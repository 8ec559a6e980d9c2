"""Descriptions of requests, and the mixes that they make."""

import re
from contextlib import nullcontext
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.request import delete, get, head, options, patch, post, put, request

BASE = "http://localhost:8000"


def plan(requests: Any, **others: Any) -> Plan:
    given: Any = others
    return plan_of(requests, given, lambda: BASE)


def test_each_method_has_a_function() -> None:
    described = [get("/"), post("/"), put("/"), patch("/"), delete("/"), head("/"), options("/"), request("BREW", "/")]
    names = [each.name for each in plan(described).mix]
    assert names == ["GET /", "POST /", "PUT /", "PATCH /", "DELETE /", "HEAD /", "OPTIONS /", "BREW /"]


def test_a_mix_is_of_what_can_be_an_address_too() -> None:
    found = plan(["/a", httpx.URL(f"{BASE}/b"), httpx.Request("PUT", f"{BASE}/c", json={"x": 1})]).mix
    assert [each.name for each in found] == ["GET /a", "GET /b", "PUT /c"]
    assert found[2].target.body == b'{"x":1}'


@pytest.mark.parametrize(
    ("weights", "whole"), [([1, 1], [1, 1]), ([8, 2], [4, 1]), ([0.5, 0.25], [2, 1]), ([1.5, 1], [3, 2])]
)
def test_weights_become_whole_numbers(weights: list[float], whole: list[int]) -> None:
    found = plan([get(f"/{number}", weight=weight) for number, weight in enumerate(weights)])
    assert [each.weight for each in found.mix] == whole


def test_a_load_adds_headers_cookies_and_params_to_those_of_requests() -> None:
    """As an httpx.Client does; those of the request win, and names of headers have no case."""
    found = plan(
        [
            get("/a?x=1", headers={"x-a": "mine"}, cookies={"c": "mine"}, params={"q": ["1", "2"]}),
            get("/{}", each(["b"]), name="row", headers=lambda row: {"X-Row": row}, params={"q": "{}"}),
        ],
        headers=[("X-A", "all"), ("X-B", "all")],
        cookies={"c": "all", "d": "all"},
        params="q=0&r=0",
    ).mix
    assert {(b"X-B", b"all"), (b"x-a", b"mine"), (b"Cookie", b"c=mine; d=all")} <= set(found[0].target.headers)
    assert (b"X-A", b"all") not in found[0].target.headers
    assert found[0].target.path == b"/a?r=0&q=1&q=2"
    assert found[1].template
    message = found[1].template.render("b")
    assert message.startswith(b"GET /b?r=0&q=b HTTP/1.1\r\n")
    assert b"X-Row: b\r\n" in message
    assert b"X-A: all\r\n" in message


def test_the_options_of_one_request_are_nearer_than_those_of_the_load() -> None:
    """A body replaces one of another kind; headers add up."""
    (found,) = plan(post("/a", content="mine", headers={"x": "1"}), json={"x": 1}, headers={"y": "2"}).mix
    assert found.target.body == b"mine"
    assert {(b"x", b"1"), (b"y", b"2")} <= set(found.target.headers)


class Flow(httpx.Auth):
    def auth_flow(self, request: httpx.Request) -> Any:
        yield request


def test_one_request_of_another_library() -> None:
    """Its Host header is not the address of another service."""
    one = httpx.Request("PUT", "http://localhost:8000/c?d", json={"x": 1}, headers={"X": "y"})
    (found,) = plan(one).mix
    assert (found.name, found.target.path, found.target.body) == ("PUT /c", b"/c?d", b'{"x":1}')
    assert [value for name, value in found.target.headers if name.lower() == b"host"] == [b"localhost:8000"]
    assert plan(urlsplit("http://localhost:8000/c?d")).target.path == b"/c?d"
    assert plan([get(urlsplit("http://localhost:8000/c?d")), get(PurePosixPath("/e"))]).target.path == b"/c?d"


def test_one_service_however_it_is_spelt() -> None:
    spelt = ["http://LOCALHOST/a", "http://localhost:80/b", get("http://localhost/c")]
    assert [each.target.path for each in plan(spelt).mix] == [b"/a", b"/b", b"/c"]


def test_options_of_the_load_are_those_of_requests_that_give_none() -> None:
    found = plan([get("/a", headers={"X": "mine"}), get("/b", expect=404)], headers={"X": "all"}, expect=201)
    assert [dict(each.target.headers)[b"X"] for each in found.mix] == [b"mine", b"all"]
    assert [each.expect for each in found.mix] == [("201",), ("404",)]


@pytest.mark.parametrize("listed", [False, True])
def test_what_a_single_request_expects_is_what_its_load_expects(listed: bool) -> None:
    one = post("/orders", expect=201)
    found = plan([one] if listed else one)
    assert [found.expects(status) for status in ("200", "201")] == [False, True]
    assert not found.expects_default
    assert plan([one, get("/")]).expects_default


def test_a_request_keeps_its_objectives() -> None:
    found = plan([get("/a", slo="p99 < 1s"), get("/b", slo=["p99 < 1s", "errors == 0"]), get("/c")])
    assert [each.slo for each in found.mix] == [("p99 < 1s",), ("p99 < 1s", "errors == 0"), ()]


def test_one_request_with_data_is_a_mix_of_one() -> None:
    found = plan(post("/orders", each([1, 2]), json={"id": "{}"}))
    assert [each.name for each in found.mix] == ["POST /orders"]
    assert found.needs == {"http", "rate", "body", "data"}


def test_a_plan_of_one_name_has_its_share() -> None:
    whole = plan([get("/a", weight=3), get("/b", name="other", expect=404)], rate=400, duration=5)
    assert whole.needs == {"http", "rate", "mix", "names"}
    part = whole.only("other")
    assert (float(part.rate), part.target.name, part.expect) == (100, "GET /b", ("404",))
    with pytest.raises(KeyError, match="did you mean 'other'"):
        whole.only("othr")


@pytest.mark.parametrize(
    ("expected", "of_load", "by_name"),
    [
        ((None, None), ("2xx", "3xx"), False),
        ((404, 404), ("404",), False),
        (([200, 404], [404, 200]), ("200", "404"), False),
        ((None, 404), ("2xx", "3xx"), True),
        ((200, 404), ("2xx", "3xx"), True),
    ],
)
def test_what_all_requests_expect_is_that_of_the_load(expected: Any, of_load: tuple[str, ...], by_name: bool) -> None:
    """The generator has to tell requests apart only if these differ."""
    found = plan([get("/a", expect=expected[0]), get("/b", expect=expected[1])])
    assert found.expect == of_load
    assert ("names" in found.needs) == by_name


def test_a_mix_can_be_recorded() -> None:
    whole = plan([get("/a", weight=3), get("/b?key=secret", expect=404)])
    assert "secret" not in str(whole.as_dict())
    again = Plan.from_dict(whole.as_dict())
    assert [(each.name, each.weight, each.expect) for each in again.mix] == [
        ("GET /a", 3, ("2xx", "3xx")),
        ("GET /b", 1, ("404",)),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plan([]), "load([]): a list of requests needs at least one"),
        (lambda: plan([5.5]), "5.5 is not a request: *"),
        (lambda: plan([get("/a"), get("/a")]), "two requests are named 'GET /a': give one of them name="),
        (lambda: plan([get("/a"), get("http://127.0.0.1:9/b")]), "GET /b: all requests of a load go to one service: *"),
        (
            lambda: plan([get("/a"), get("/b", verify=False)]),
            "GET /b: verify= has to be the same for all requests: give it to load()",
        ),
        (
            lambda: plan([get("/{}", each([1]), auth=Flow())]),
            "GET /{}: auth= with a flow of its own signs one request, not one for each row: *",
        ),
        (lambda: plan({"/a"}), "load() takes a list of requests, which can be read again, not a set"),
        (lambda: plan(get(5)), "5 is not a URL: *"),
        (lambda: plan(get(nullcontext())), "*nullcontext* is not a URL: write 'with … as url', which gives one"),
        (lambda: plan([get("/a", weight=0)]), "weight=0: expected a number from 0.001 to 1,000,000"),
        (lambda: plan([get("/a", weight=True)]), "weight=True: expected a number from 0.001 to *"),
        (lambda: plan([get("/a", wieght=2)]), "a request has no option 'wieght': *"),
        (lambda: plan([get("/a", name="")]), "name='': expected a name that can be printed"),
        (lambda: plan([get("/a", name="a\nb")]), "name='a\\nb': expected a name that can be printed"),
        (lambda: plan([get("/a", [1, 2])]), "the rows of a request are made by each(), *"),  # type: ignore[arg-type]
        (lambda: plan([get("/a", slo=5)]), "slo=5: expected an objective *"),
        (lambda: plan([get("/a", expect=99)]), "GET /a: expect='99': write a status *"),
        (lambda: plan([get("/a", check=5)]), "GET /a: check=5: expected a text, a compiled pattern or a function *"),
        (lambda: plan([{"url": "/a"}]), "dict is not a request: use get(), post(), …, or an address"),
        (lambda: plan(["/a"], json={}), "json= belongs to one request of the list, as in post('/orders', json=…)"),
    ],
)
def test_what_is_no_mix(make: Any, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        make()
    assert fnmatch(str(caught.value), message.replace("[", "[[]"))


def test_a_check_is_no_coroutine() -> None:
    """It would pass whatever it says: nobody awaits it."""

    async def check(response: Any) -> None:
        raise AssertionError

    with pytest.raises(PlanError, match="check=check: expected a plain function, not one with async or yield"):
        plan([get("/a", check=check)])


def test_a_check_is_a_text_a_pattern_or_a_function() -> None:
    for check in ("accepted", re.compile("acc"), lambda response: response.json()["ok"]):
        assert plan("/orders", check=check).mix[0].check
