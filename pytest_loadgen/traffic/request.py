"""Requests of a load, described with httpx's names: ``get("/items/{id}", each(items), weight=8)``."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count
from math import gcd, lcm
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.check import Check
from pytest_loadgen.traffic.data import Data
from pytest_loadgen.traffic.expected import read_expected
from pytest_loadgen.traffic.journey import AsyncFunction
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.target import URL, Target, absolute, after_origin, join, text_of
from pytest_loadgen.traffic.template import Template
from pytest_loadgen.wording import did_you_mean, printable

if TYPE_CHECKING:
    import httpx

REQUEST_OPTIONS = frozenset(
    {"method", "params", "headers", "cookies", "content", "data", "files", "json", "auth", "verify", "cert", "http2"}
)
# Those that a load may set for all its requests; the others belong to one request.
SHARED_OPTIONS = frozenset({"params", "headers", "cookies", "auth", "verify", "cert", "http2"})
# This many rows are tried before the load; of a longer list, the first ones.
_TRIED = 1000
_LOWEST_WEIGHT, _HIGHEST_WEIGHT = 0.001, 1_000_000
_OF_LOAD = frozenset({"rate", "duration", "stages", "connections", "timeout", "warmup", "arrivals", "generator"})


@dataclass(frozen=True)
class Request:
    """The description of a request, made by `get`, `post`, … or `request`."""

    method: str | None
    url: URL
    rows: Data | None = None
    name: str | None = None
    weight: Fraction = Fraction(1)
    expect: Any = None
    check: Any = None
    slo: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


Described: TypeAlias = "Request | URL | httpx.Request"
"""What describes one request."""
Traffic: TypeAlias = "Described | Sequence[Described] | AsyncFunction"
"""What a load sends: one request, a list of them, or the journey that it calls."""


def is_list(traffic: Traffic) -> TypeGuard[Sequence[Described]]:
    """Whether it is a list of requests; the parts of an address are not one."""
    return isinstance(traffic, (list, tuple)) and not hasattr(traffic, "geturl")


def is_request(traffic: object) -> bool:
    """Whether it describes a request, and not only its address."""
    # Without httpx being imported, there is no httpx.Request; another thread may be importing it.
    theirs = getattr(sys.modules.get("httpx"), "Request", None)
    return isinstance(traffic, Request) or (theirs is not None and isinstance(traffic, theirs))


def request(
    method: str | None,
    url: Any,
    rows: Data | None = None,
    /,
    *,
    name: str | None = None,
    weight: float = 1,
    expect: Any = None,
    check: Any = None,
    slo: str | Sequence[str] = (),
    **options: Any,
) -> Request:
    """Describe a request with httpx's options; with rows, fields such as ``{id}`` are filled from the next row.

    `name` stands for it in figures and objectives (default: method and path), `weight` says how often it is sent
    relative to the others, `expect` which statuses are right, `check` what a response has to have, and `slo` the
    objectives for the requests of this name. Raises PlanError.
    """
    if rows is not None and not isinstance(rows, Data):
        raise PlanError(f"the rows of a request are made by each(), as in get({url!r}, each([...]))")
    if name is not None and (not isinstance(name, str) or not name.strip() or not name.isprintable()):
        raise PlanError(f"name={name!r}: expected a name that can be printed")
    for option in options:
        if option in _OF_LOAD:
            raise PlanError(f"{option}= belongs to the load, not to a request: load([…], {option}=…)")
        if option not in REQUEST_OPTIONS - {"method"}:
            raise PlanError(f"a request has no option {option!r}: {did_you_mean(option, REQUEST_OPTIONS - {'method'})}")
    if not isinstance(slo, (str, list, tuple)):
        raise PlanError(f"slo={slo!r}: expected an objective ('p99 < 200ms') or a list of them")
    return Request(
        method,
        text_of(url),
        rows,
        None if name is None else " ".join(name.split()),
        _weight(weight),
        expect,
        check,
        (slo,) if isinstance(slo, str) else tuple(slo),
        options,
    )


def get(url: Any, rows: Data | None = None, /, **options: Any) -> Request:
    """Describe a GET request; see `request`."""
    return request("GET", url, rows, **options)


def post(url: Any, rows: Data | None = None, /, **options: Any) -> Request:
    """Describe a POST request; see `request`."""
    return request("POST", url, rows, **options)


def put(url: Any, rows: Data | None = None, /, **options: Any) -> Request:
    """Describe a PUT request; see `request`."""
    return request("PUT", url, rows, **options)


def patch(url: Any, rows: Data | None = None, /, **options: Any) -> Request:
    """Describe a PATCH request; see `request`."""
    return request("PATCH", url, rows, **options)


def delete(url: Any, rows: Data | None = None, /, **options: Any) -> Request:
    """Describe a DELETE request; see `request`."""
    return request("DELETE", url, rows, **options)


def head(url: Any, rows: Data | None = None, /, **options: Any) -> Request:
    """Describe a HEAD request; see `request`."""
    return request("HEAD", url, rows, **options)


def options(url: Any, rows: Data | None = None, /, **options: Any) -> Request:
    """Describe an OPTIONS request; see `request`."""
    return request("OPTIONS", url, rows, **options)


def named_apart(requests: Iterable[Request]) -> list[Request]:
    """Name requests by method and path, and number those that would have the same name: ``GET /search #2``."""
    found: dict[str, Request] = {}
    for one in requests:
        path = after_origin(one.url) if absolute(one.url) else text_of(one.url)
        base = printable(f"{one.method} /{re.split('[?#]', path)[0].lstrip('/')}")
        numbers = (base if number == 1 else f"{base} #{number}" for number in count(1))
        name = next(name for name in numbers if name not in found)
        found[name] = replace(one, name=name)
    return list(found.values())


def mix(
    requests: Iterable[Any],
    base: Callable[[], URL | None],
    shared: Mapping[str, Any],
    check: Any = None,
    expect: Any = None,
) -> tuple[NamedRequest, ...]:
    """Build the requests of a load; options, check and expected statuses are those of requests that give none.

    They all go to one service. Raises PlanError.
    """
    wanted = [described(each) for each in requests]
    if not wanted:
        raise PlanError("load([]): a list of requests needs at least one")
    weights = _whole([each.weight for each in wanted])
    found: dict[str, NamedRequest] = {}
    for one, weight in zip(wanted, weights, strict=True):
        complete = replace(
            one,
            options=combined(shared, one.options),
            check=check if one.check is None else one.check,
            expect=expect if one.expect is None else one.expect,
        )
        built = _build(complete, weight, base)
        if built.name in found:
            raise PlanError(f"two requests are named {built.name!r}: give one of them name=")
        _check_same_service(next(iter(found.values()), built).target, built)
        found[built.name] = built
    return tuple(found.values())


def _check_same_service(first: Target, other: NamedRequest) -> None:
    """Refuse a request that cannot use the connections of the first one. Raises PlanError."""
    target = other.target
    if (first.scheme, first.host, first.port) != (target.scheme, target.host, target.port):
        raise PlanError(
            f"{other.name}: all requests of a load go to one service: {first.origin}, and not {target.origin} too"
        )
    for option in ("verify", "cert", "http2"):
        if getattr(first, option) != getattr(target, option):
            raise PlanError(f"{other.name}: {option}= has to be the same for all requests: give it to load()")


def combined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Add options of a load to those of a request, as an httpx.Client does: headers, cookies and params add up."""
    found = {**shared, **own}
    for name in {"headers", "cookies", "params"} & shared.keys() & own.keys():
        found[name] = _added(name, shared[name], own[name])
    return found


def _added(name: str, shared: Any, own: Any) -> Any:
    """Add the headers, cookies or params of a load to those of a request, which win; either may be a function."""
    if callable(shared) or callable(own):

        def of_row(row: Any) -> Any:
            return _added(name, *(each(row) if callable(each) else each for each in (shared, own)))

        return of_row
    if shared is None or own is None:
        return shared if own is None else own
    if name == "cookies":
        return {**shared, **own}
    pairs = [_pairs(each) for each in (shared, own)]
    known = {_spelt(name, key) for key, _ in pairs[1]}
    return [pair for pair in pairs[0] if _spelt(name, pair[0]) not in known] + pairs[1]


def _pairs(given: Any) -> list[tuple[Any, Any]]:
    """Give names and values; one that has several values occurs as often."""
    if isinstance(given, (str, bytes)):
        import httpx

        given = httpx.QueryParams(given)
    listed = getattr(given, "multi_items", None) or getattr(given, "items", None)
    found = [tuple(pair) for pair in (listed() if listed else given)]
    return [(key, each) for key, value in found for each in (value if isinstance(value, (list, tuple)) else [value])]


def _spelt(name: str, key: Any) -> str:
    text = key.decode("latin-1") if isinstance(key, bytes) else str(key)
    return text.lower() if name == "headers" else text


def _build(one: Request, weight: int, base: Callable[[], URL | None]) -> NamedRequest:
    given = dict(one.options)
    if one.method is not None:
        given["method"] = one.method
    try:
        url = text_of(one.url if absolute(one.url) else join(base(), one.url))
        template = None if one.rows is None else Template(url, given, one.rows.rows.example())
        if template and one.rows:
            _try(template, one.rows)
        target = template.target if template else Target.of(url, **given)
        if template and target.login:
            raise PlanError(
                "auth= with a flow of its own signs one request, not one for each row: "
                "log in before the load, and pass what it gives as headers="
            )
        return NamedRequest(
            name=one.name or target.name,
            target=target,
            weight=weight,
            expect=read_expected(one.expect, target),
            check=None if one.check is None else Check.of(one.check),
            rows=one.rows,
            template=template,
            slo=one.slo,
            data="" if one.rows is None else str(one.rows),
        )
    except PlanError as error:
        name = one.name or " ".join(str(each) for each in (one.method, one.url) if each)
        raise PlanError(f"{name}: {error}") from error


def _try(template: Template, rows: Data) -> None:
    """Build requests of rows that can be read twice, so that what cannot be built fails before the load."""
    for number in range(min(rows.rows.size or 0, _TRIED)):
        try:
            template.render(rows.rows.row(number))
        except PlanError as error:
            raise PlanError(f"row {number:,}: {error}") from error


def described(one: Described) -> Request:
    """Take a description, an address, or a request of httpx's. Raises PlanError."""
    if isinstance(one, Request):
        return one
    import httpx

    if isinstance(one, httpx.Request):
        try:
            content = one.read()
        except (httpx.StreamError, RuntimeError, TypeError) as error:
            raise PlanError(f"{one.method} {one.url.path}: cannot read its content: {error}") from None
        # httpx has written the address there, which may become another one.
        host = one.url.netloc
        headers = [pair for pair in one.headers.raw if pair[0].lower() != b"host" or pair[1] != host]
        return request(one.method, one.url, content=content or None, headers=headers)
    anything: object = one
    if callable(anything):
        name = getattr(anything, "__name__", type(anything).__name__)
        raise PlanError(
            f"{name} is not a request: a list has requests only. A journey is a load of its own, load({name}, rate=…); "
            "one function can choose among several"
        )
    if is_list(one) or isinstance(one, Mapping):
        raise PlanError(f"{type(one).__name__} is not a request: use get(), post(), …, or an address")
    if isinstance(one, (int, float)):
        raise PlanError(f"{one!r} is not a request: use get(), post(), …, or an address")
    return request(None, one)


def _weight(weight: Any) -> Fraction:
    # NumPy's numbers are numbers, too; True is not meant as one.
    is_number = isinstance(weight, Real) and not isinstance(weight, bool)
    if not is_number or not _LOWEST_WEIGHT <= weight <= _HIGHEST_WEIGHT:
        raise PlanError(f"weight={weight!r}: expected a number from {_LOWEST_WEIGHT} to {_HIGHEST_WEIGHT:,}")
    return Fraction(str(float(weight))).limit_denominator(1000)


def _whole(weights: Sequence[Fraction]) -> list[int]:
    """Give the smallest whole numbers in the ratio of the weights."""
    scale = lcm(*(weight.denominator for weight in weights))
    whole = [int(weight * scale) for weight in weights]
    divisor = gcd(*whole)
    return [weight // divisor for weight in whole]
