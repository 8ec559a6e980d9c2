"""What a call asks for: addresses of two services, bodies that can be read once, values of other libraries."""

import io
import numbers
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import httpx
import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.plugin.order import Order, check
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.request import get
from pytest_loadgen.units import Duration


def order(url: Any, base: Any = "http://new:8000", **options: Any) -> Order:
    return Order.of(url, lambda: base, [options], [])  # type: ignore[list-item]


def path(plan: Plan | None) -> bytes:
    assert plan
    return plan.target.path


@pytest.mark.parametrize(
    ("url", "against", "mine", "theirs"),
    [
        ("/teas?q=1", "http://old:1", b"/teas?q=1", b"/teas?q=1"),
        ("/teas", "http://old:1/v1", b"/teas", b"/v1/teas"),
        ("http://new/teas?q=1", "http://old:1", b"/teas?q=1", b"/teas?q=1"),
        ("http://new/teas", "http://old:1/", b"/teas", b"/teas"),
        ("http://new//teas", "http://old:1/", b"//teas", b"//teas"),
        ("http://new?q=1", "http://old:1", b"/?q=1", b"/?q=1"),
        ("http://new/teas", "http://old:1/teas", b"/teas", b"/teas"),
        ("http://new/teas", "http://old:1/v1/teas?all", b"/teas", b"/v1/teas?all"),
        ("http://new/", "http://old:1/teas", b"/", b"/teas"),
        (httpx.URL("http://new/teas"), httpx.URL("http://old:1"), b"/teas", b"/teas"),
    ],
)
def test_against(url: Any, against: Any, mine: bytes, theirs: bytes) -> None:
    """Two whole addresses are loaded as they are; a path is taken from the call where `against` has none."""
    found = order(url, against=against)
    assert (path(found.plan), path(found.other)) == (mine, theirs)
    assert found.other
    assert found.other.target.host == "old"


@pytest.mark.parametrize(
    ("traffic", "against", "mine", "theirs"),
    [
        (["/a", get("/b?q")], "http://old:1", [b"/a", b"/b?q"], [b"/a", b"/b?q"]),
        (["http://new/a", get("http://new/b?q")], "http://old:1/v1", [b"/a", b"/b?q"], [b"/v1/a", b"/v1/b?q"]),
        (get("http://new/a"), "http://old:1", [b"/a"], [b"/a"]),
        (httpx.Request("PUT", "http://new/a"), "http://old:1", [b"/a"], [b"/a"]),
        (
            [httpx.URL("http://new/a"), httpx.Request("PUT", "http://new/")],
            "http://old:1",
            [b"/a", b"/"],
            [b"/a", b"/"],
        ),
    ],
)
def test_requests_against(traffic: Any, against: Any, mine: list[bytes], theirs: list[bytes]) -> None:
    """All go to the other service, also those with a whole address; no Host header is left of the first."""
    found = order(traffic, against=against)
    assert found.other
    assert [each.path for each in found.plan.targets] == mine
    assert [each.path for each in found.other.targets] == theirs
    assert {each.host for each in found.plan.targets} == {"new"}
    assert {each.host for each in found.other.targets} == {"old"}
    hosts = [value for each in found.other.targets for name, value in each.headers if name.lower() == b"host"]
    assert hosts == [b"old:1"] * len(theirs)


def test_a_query_of_the_other_base_is_refused() -> None:
    with pytest.raises(PlanError, match=r"^against='http://old/.*has a query, which would swallow '/teas'"):
        order("/teas", against="http://old/?token=5")


class Pipe(io.BytesIO):
    """A stream that cannot go back."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise OSError("not seekable")


ONCE: list[tuple[str, Callable[[], Any]]] = [
    ("content", lambda: (part for part in [b"hel", b"lo"])),
    ("content", lambda: iter(["hel", "lo"])),
    ("content", lambda: Pipe(b"hello")),
    ("headers", lambda: iter([("X-Cup", "two")])),
    ("files", lambda: {"upload": Pipe(b"hello")}),
    ("files", lambda: [("upload", ("hello.txt", Pipe(b"hello"), "text/plain"))]),
    ("expect", lambda: iter([201, 409])),
]


@pytest.mark.parametrize(("name", "make"), ONCE)
def test_what_can_be_read_once_is_read_for_both_services(name: str, make: Callable[[], Any]) -> None:
    found = order("/x", against="http://old", **{name: make()})
    assert found.other
    for plan in (found.plan, found.other):
        assert (b"hello" in plan.target.body) == (name in {"content", "files"})
        assert ((b"X-Cup", b"two") in plan.target.headers) == (name == "headers")
        assert plan.expect == (("201", "409") if name == "expect" else ("2xx", "3xx"))


@pytest.mark.parametrize(("name", "make"), [each for each in ONCE if each[0] != "files"])
def test_what_was_read_is_refused(name: str, make: Callable[[], Any]) -> None:
    """An empty request is never sent instead."""
    once = make()
    order("/x", **{name: once})
    with pytest.raises(PlanError, match=rf"^{name}= gave nothing: .* can be read only once"):
        order("/x", **{name: once})


@pytest.mark.parametrize(("name", "make"), ONCE)
def test_what_many_loads_share_is_read_for_all(name: str, make: Callable[[], Any]) -> None:
    """A mark is read at collection and for each load."""
    shared: Any = {name: make()}
    check([shared], [])
    for _ in range(2):
        plan = Order.of("http://new", lambda: None, [{}, shared], []).plan
        assert (b"hello" in plan.target.body) == (name in {"content", "files"})
        assert ((b"X-Cup", b"two") in plan.target.headers) == (name == "headers")
        assert plan.expect == (("201", "409") if name == "expect" else ("2xx", "3xx"))


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({"content": io.BytesIO(b"hello")}, b"hello"),
        ({"content": io.StringIO("hello")}, b"hello"),
        ({"content": [b"hel", b"lo"]}, b"hello"),
        ({"files": {"f": io.BytesIO(b"hello")}}, b"hello"),
    ],
)
def test_files_are_read_for_each_load(options: Any, body: bytes) -> None:
    """From where they are, and left there."""
    check([options], [])
    for _ in range(2):
        found = order("/x", against="http://old", **options)
        assert found.other
        assert body in found.plan.target.body
        assert body in found.other.target.body


def test_a_function_that_signs_is_not_called_at_collection() -> None:
    """It may log in, and the service need not run yet."""
    check([{"auth": lambda _: pytest.fail("it was called")}], [])


class Int64:
    """A whole number as NumPy has them: registered as one, and no `int`."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value

    def __float__(self) -> float:
        return float(self._value)

    def __lt__(self, other: int) -> bool:
        return self._value < other

    def __str__(self) -> str:
        return str(self._value)


class Array:
    """Is neither true nor false, nor equal to anything."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


numbers.Integral.register(Int64)
NUMBERS = [Int64(4), Decimal("4.0"), Fraction(4)]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
def test_numbers_of_other_libraries(number: Any) -> None:
    """They are numbers like others."""
    found = order("/x", rate=number, duration=number, timeout=number, warmup=number, ready_timeout=number)
    assert found.plan.requests == 16
    assert found.plan.timeout == found.plan.warmup == Duration("4s")


def test_whole_numbers_of_other_libraries() -> None:
    found = order("/x", connections=Int64(4), workers=Int64(2), rounds=Int64(2), expect=[Int64(201)])
    assert [type(each) for each in (found.plan.connections, found.arrangement.workers, found.arrangement.rounds)] == [
        int,
        int,
        int,
    ]
    assert found.plan.expect == ("201",)


@pytest.mark.parametrize("value", [Array(), 1 + 2j, Decimal("sNaN"), float("nan"), b"5s", True])
@pytest.mark.parametrize(
    "name", ["rate", "duration", "connections", "workers", "rounds", "timeout", "arrivals", "cert"]
)
def test_what_is_no_number(name: str, value: Any) -> None:
    with pytest.raises(PlanError, match=f"^{name}"):
        order("/x", **{name: value})


@pytest.mark.parametrize("name", ["duration", "timeout", "warmup", "ready_timeout", "max_duration"])
@pytest.mark.parametrize("value", [1e300, "25h", 86_401])
def test_times_beyond_a_day_are_refused(name: str, value: Any) -> None:
    with pytest.raises(PlanError, match=f"^{name}=.*: must be 24h or less"):
        order("/x", **{name: value})


def test_more_connections_than_ports_are_refused() -> None:
    with pytest.raises(PlanError, match=r"^connections=1000000000: write 65,535 or less"):
        order("/x", connections=10**9)


@pytest.mark.parametrize("base", [httpx.URL("http://new/api"), "http://new/api/"])
def test_addresses_of_other_libraries(base: Any) -> None:
    assert path(order(PurePosixPath("/teas"), base).plan) == b"/api/teas"
    assert path(order(httpx.URL("/teas"), base).plan) == b"/api/teas"


# Objectives that come with requests.


@pytest.mark.parametrize(
    ("requests", "objectives"),
    [
        ([get("/", slo="p99 < 80ms"), get("/tea")], ["p99 of GET / < 80ms"]),
        ([get("/", name="order", slo=["p99 < 80ms", "errors == 0"])], ["p99 of order < 80ms", "errors of order == 0"]),
        (get("/", name="order", slo="first byte p99<80ms"), ["first byte p99 of order <80ms"]),
        ([get("/", name="a", slo="p99 of a < 1s"), get("/", name="b", slo="p99 < 2s")],
         ["p99 of a < 1s", "p99 of b < 2s"]),
        ([get("/{id}", each([{"id": 5}]), slo="max < 1s over any 5s")], ["max of GET /{id} < 1s over any 5s"]),
        ([get("/", name=" two   words ", slo="p99 < 1s")], ["p99 of two words < 1s"]),
    ],
)  # fmt: skip
def test_objectives_of_requests(requests: Any, objectives: list[str]) -> None:
    """They are about the requests that they came with, and join those of marks and of the call."""
    found = Order.of(requests, lambda: "http://new", [{"slo": "errors < 5%"}], ["max < 9s"])
    assert [str(slo) for slo in found.gate.objectives] == ["max < 9s", *objectives, "errors < 5%"]
    found.gate.lengthened(found.plan)
    assert "slo" not in str(found.plan.as_dict())


@pytest.mark.parametrize(
    ("slo", "message"),
    [
        ("p99 < 80", "GET /: 'p99 < 80': 80 needs a unit: did you mean p99 < 80ms?"),
        ("p99 of b < 1s", "GET /: 'p99 of b < 1s' is about other requests: give it to load(), not to a request"),
        ("lag < 1s", "GET /: 'lag of GET / < 1s': lag is about the generator, not about a request: leave out 'of'"),
        ([5], "GET /: 5 is not an objective: write a string such as 'p99 < 200ms'"),
    ],
)
def test_wrong_objectives_of_requests(slo: Any, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        order([get("/", slo=slo), get("/tea")])
    assert str(caught.value) == message


async def looks(client: Any) -> None:
    """A journey."""


@pytest.mark.parametrize(
    ("workers", "said"), [(2, "workers=2"), ("tcp://10.0.0.5:8786", "workers='tcp://10.0.0.5:8786'")]
)
def test_journeys_of_the_test_process_have_no_workers(workers: Any, said: str) -> None:
    """Refused before any load; workers=1 is allowed."""
    with pytest.raises(PlanError, match=f"looks: process=False runs .* so {said} cannot run them: use workers=1, or"):
        order(looks, rate=1, process=False, workers=workers)
    with ThreadPoolExecutor() as executor, pytest.raises(PlanError, match=r"workers='\[…\]' cannot run"):
        order(looks, rate=1, process=False, workers=[executor])
    order(looks, rate=1, process=False, workers=1)
