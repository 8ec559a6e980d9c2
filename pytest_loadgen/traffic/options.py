"""The options of a load, as calls, marks and profiles give them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypedDict, cast

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.expected import Status
from pytest_loadgen.traffic.plan import Plan, Stage
from pytest_loadgen.traffic.request import REQUEST_OPTIONS, SHARED_OPTIONS, Request, mix
from pytest_loadgen.traffic.target import Target, absolute, join
from pytest_loadgen.wording import did_you_mean


class OneLoad(TypedDict, total=False):
    """The options of a load by one generator; durations are seconds or text, rates numbers or text."""

    rate: float | str
    stages: Iterable[Stage]
    duration: float | str
    arrivals: str
    connections: int
    warmup: float | str
    timeout: float | str
    expect: Status | Sequence[Status]
    check: Any
    ready_timeout: float | str
    against: str
    workers: int | str | Sequence[Executor]
    rounds: int
    slo: str | Sequence[str]
    max_duration: float | str
    stop_early: bool
    abort_if: str
    # Those of the request, with their names and meaning in httpx.
    method: str
    params: Any
    headers: Any
    cookies: Any
    content: str | bytes
    data: Mapping[str, Any]
    files: Any
    json: Any
    auth: Any
    http2: bool
    verify: bool | str | os.PathLike[str]
    cert: str | tuple[str, ...]


class Options(OneLoad, total=False):
    """The options of a load."""

    generator: str | list[str] | tuple[str, ...]


_NAMES = frozenset(Options.__annotations__)
PLAN_OPTIONS = frozenset(
    {"rate", "stages", "duration", "arrivals", "connections", "warmup", "timeout", "expect", "ready_timeout"}
)
RUN_OPTIONS = frozenset({"generator", "against", "workers", "rounds"})
GATE_OPTIONS = frozenset({"slo", "max_duration", "stop_early", "abort_if"})
# What other tools call them, and what they were called here.
_ALIASES = {
    "ready": "ready_timeout",
    "abort": "abort_if",
    **dict.fromkeys(("concurrency", "clients", "users", "vus", "threads"), "connections"),
    **dict.fromkeys(("qps", "rps"), "rate"),
    **dict.fromkeys(("time", "seconds", "length"), "duration"),
    **dict.fromkeys(("body", "payload"), "content"),
    **dict.fromkeys(("engine", "tool"), "generator"),
}
# An option replaces those of the other set that are given further away.
_EXCLUSIVE = (
    ({"stages"}, {"rate", "duration"}),
    ({"rate", "duration"}, {"stages"}),
    ({"json"}, {"content", "data", "files"}),
    ({"content"}, {"json", "data", "files"}),
    ({"data", "files"}, {"json", "content"}),
)


def check(options: Mapping[str, Any], where: str) -> Options:
    """Refuse an option that does not exist. Raises PlanError."""
    for name in options:
        if name not in _NAMES:
            raise PlanError(f"{where} has no option {name!r}: {did_you_mean(_ALIASES.get(name, name), _NAMES)}")
    return cast(Options, options)


def merge(layers: Iterable[Options]) -> Options:
    """Merge layers of options, the nearest first: an option replaces the same one of a layer further away.

    Objectives add up.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        replaced = {name for group, others in _EXCLUSIVE if group & merged.keys() for name in others}
        objectives = [*_listed(layer.get("slo", ())), *_listed(merged.get("slo", ()))]
        merged = {name: value for name, value in layer.items() if name not in replaced} | merged
        if objectives:
            merged["slo"] = objectives
    return cast(Options, merged)


def _listed(slo: Any) -> list[Any]:
    # Anything else is refused where it is parsed.
    return list(slo) if isinstance(slo, (list, tuple)) else [slo]


def plan_of(traffic: Any, options: Options, base: Callable[[], str | None] = lambda: None) -> Plan:
    """Make the plan for an address, a request, or a list of them; `base` gives the base URL of relative ones.

    Raises PlanError.
    """
    of_plan: Any = {name: value for name, value in options.items() if name in PLAN_OPTIONS}
    of_request: Any = {name: value for name, value in options.items() if name in REQUEST_OPTIONS}
    check, listed = options.get("check"), isinstance(traffic, (list, tuple))
    if not listed and not isinstance(traffic, Request) and check is None:
        url = traffic if absolute(traffic) else join(base(), traffic)
        return Plan.of(Target.of(url, **of_request), **of_plan)
    if listed and (wrong := min(of_request.keys() - SHARED_OPTIONS, default="")):
        raise PlanError(f"{wrong}= belongs to one request of the list, as in post('/orders', {wrong}=…)")
    found = mix(traffic if listed else [traffic], base, of_request, check, options.get("expect"))
    return Plan.of(found[0].target, mix=found, **of_plan)
