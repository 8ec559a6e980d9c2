"""The options of a load, as a call, a mark or a profile gives them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypedDict, cast

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.plan import Plan, Stage, Status
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.wording import did_you_mean


class OneLoad(TypedDict, total=False):
    """What can be said of a load, whoever generates it; durations are seconds or text, rates numbers or text."""

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
    # The request's own, with the names and the meaning they have in httpx.
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
    """What can be said of a load."""

    generator: str | list[str] | tuple[str, ...]


_NAMES = frozenset(Options.__annotations__)
_OF_PLAN = frozenset(
    {"rate", "stages", "duration", "arrivals", "connections", "warmup", "timeout", "expect", "ready_timeout"}
)
_NOT_OF_REQUEST = frozenset(
    {"generator", "against", "workers", "rounds", "slo", "max_duration", "stop_early", "abort_if"}
)
# What other tools call them.
_ALIASES = {
    **dict.fromkeys(("concurrency", "clients", "users", "vus", "threads"), "connections"),
    **dict.fromkeys(("qps", "rps"), "rate"),
    **dict.fromkeys(("time", "seconds", "length"), "duration"),
    **dict.fromkeys(("body", "payload"), "content"),
    **dict.fromkeys(("engine", "tool"), "generator"),
}
# Where one of a group is given, those of the same group further away are meant no more.
_INSTEAD = (
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
    """Lay options over one another, the nearest first: what is said nearer replaces what is not.

    Objectives add up.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        replaced = {name for group, others in _INSTEAD if group & merged.keys() for name in others}
        objectives = [*_listed(layer.get("slo", ())), *_listed(merged.get("slo", ()))]
        merged = {name: value for name, value in layer.items() if name not in replaced} | merged
        if objectives:
            merged["slo"] = objectives
    return cast(Options, merged)


def _listed(slo: Any) -> list[Any]:
    # What is neither is refused where it is read.
    return list(slo) if isinstance(slo, (list, tuple)) else [slo]


def is_scheduler(workers: object) -> bool:
    """Tell the address of a Dask scheduler from other things that share a load."""
    return isinstance(workers, str) and bool(re.fullmatch(r"(tcp|tls)://[^/]+:\d+", workers))


def plan_of(url: str, options: Options) -> Plan:
    """Make the plan that options describe. Raises PlanError."""
    of_plan = {name: value for name, value in options.items() if name in _OF_PLAN}
    of_request = {name: value for name, value in options.items() if name not in _OF_PLAN | _NOT_OF_REQUEST}
    return Plan.of(Target.of(url, **cast(Any, of_request)), **cast(Any, of_plan))
