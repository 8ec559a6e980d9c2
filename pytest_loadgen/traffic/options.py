"""The options of a load, as calls, marks and profiles give them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypedDict, cast

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.plan import Plan, Stage, Status
from pytest_loadgen.traffic.target import Target
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


def plan_of(url: str, options: Options) -> Plan:
    """Make the plan that options describe. Raises PlanError."""
    of_plan = {name: value for name, value in options.items() if name in PLAN_OPTIONS}
    others = PLAN_OPTIONS | RUN_OPTIONS | GATE_OPTIONS
    of_request = {name: value for name, value in options.items() if name not in others}
    return Plan.of(Target.of(url, **cast(Any, of_request)), **cast(Any, of_plan))
