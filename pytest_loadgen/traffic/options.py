"""The options of a load, as calls, marks and profiles give them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, cast

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.expected import Status
from pytest_loadgen.traffic.journey import AsyncFunction, Journey, is_journey
from pytest_loadgen.traffic.plan import Plan, Stage
from pytest_loadgen.traffic.request import (
    REQUEST_OPTIONS,
    SHARED_OPTIONS,
    Described,
    Traffic,
    combined,
    described,
    is_list,
    is_request,
    mix,
)
from pytest_loadgen.traffic.target import URL, Target, absolute, join
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
    users: int
    iterations: int
    setup: AsyncFunction
    teardown: AsyncFunction
    process: bool
    against: URL
    workers: int | str | Sequence[Executor]
    rounds: int
    slo: str | Sequence[str]
    max_duration: float | str
    stop_early: bool | float | str
    abort_if: str
    # Options of the request, with their names and meaning in httpx.
    method: str
    params: Any
    headers: Any
    cookies: Any
    content: str | bytes | Iterable[bytes]
    data: Mapping[str, Any]
    files: Any
    json: Any
    auth: Any
    http2: bool
    verify: bool | str | os.PathLike[str]
    cert: str | tuple[str, ...]
    follow_redirects: bool


class Options(OneLoad, total=False):
    """The options of a load."""

    generator: str | list[str] | tuple[str, ...]


_NAMES = frozenset(Options.__annotations__)
PLAN_OPTIONS = frozenset(
    {
        *("rate", "users", "stages", "duration", "iterations", "arrivals", "connections"),
        *("warmup", "timeout", "expect", "ready_timeout"),
    }
)
JOURNEY_OPTIONS = frozenset({"setup", "teardown", "process", "follow_redirects"})
# Options that a journey's client applies to all its requests.
_CLIENT_OPTIONS = frozenset({"headers", "cookies", "auth", "verify", "cert"})
RUN_OPTIONS = frozenset({"generator", "against", "workers", "rounds"})
GATE_OPTIONS = frozenset({"slo", "max_duration", "stop_early", "abort_if"})
# What other tools call them, and what they were called here.
_ALIASES = {
    "ready": "ready_timeout",
    "abort": "abort_if",
    **dict.fromkeys(("concurrency", "clients", "threads"), "connections"),
    "vus": "users",
    **dict.fromkeys(("qps", "rps"), "rate"),
    **dict.fromkeys(("time", "seconds", "length"), "duration"),
    **dict.fromkeys(("body", "payload"), "content"),
    **dict.fromkeys(("engine", "tool"), "generator"),
}
# An option of one set replaces options of the other set from outer layers.
_EXCLUSIVE = (
    ({"stages"}, {"rate", "duration"}),
    ({"rate", "duration"}, {"stages"}),
    ({"users"}, {"rate", "stages", "connections"}),
    ({"rate", "stages"}, {"users"}),
    ({"iterations"}, {"duration", "stages"}),
    ({"duration"}, {"iterations"}),
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


def repeatable(options: Options) -> Options:
    """Read what can be read only once, so that each plan made of the options is the same. Raises PlanError."""
    found: dict[str, Any] = {**options}
    for name in _READABLE & found.keys():
        if (value := _read(name, found[name])) is not found[name]:
            if not value:
                raise PlanError(
                    f"{name}= gave nothing: an iterator or a stream can be read only once, and this one was read "
                    f"before. Give {_INSTEAD[name]}, or a new one for each load"
                )
            found[name] = value
    return cast(Options, found)


_INSTEAD = {
    "content": "text or bytes, such as b''.join(parts)",
    "headers": "a dict or a list",
    "files": "the contents as bytes",
    "expect": "a list",
}
_READABLE = _INSTEAD.keys()


def _read(name: str, value: Any) -> Any:
    """Read an option whole; the same object where it can be read any number of times."""
    if name == "files":
        return _read_uploads(value)
    if name == "content":
        if callable(getattr(value, "read", None)):
            return _read_stream(value)
        if _once(value):
            parts = [each.encode() if isinstance(each, str) else each for each in value]
            try:
                return b"".join(parts)
            except TypeError as error:
                raise PlanError(f"content: an iterator has to give bytes ({error})") from None
    elif _once(value):
        return list(value)
    return value


def _read_uploads(files: Any) -> Any:
    """Read the streams among the files of an upload; each keeps its name."""
    if not any(_once(each) for each in [files, *_uploads(files)]):
        return files
    pairs = list(files.items() if isinstance(files, Mapping) else files)
    found = []
    for field, upload in pairs:
        parts = list(upload) if isinstance(upload, (tuple, list)) else [getattr(upload, "name", "upload"), upload]
        if len(parts) > 1 and _once(parts[1]):
            parts[0] = Path(str(parts[0])).name if upload is parts[1] else parts[0]
            parts[1] = _read_stream(parts[1]) or b""
            found.append((field, tuple(parts)))
        else:
            found.append((field, upload))
    return found


def _uploads(files: Any) -> Iterator[Any]:
    """Yield the contents of the files of an upload."""
    if isinstance(files, Mapping):
        files = list(files.items())
    for pair in files if isinstance(files, (list, tuple)) else ():
        upload = pair[1] if isinstance(pair, (list, tuple)) and len(pair) > 1 else None
        yield upload[1] if isinstance(upload, (list, tuple)) and len(upload) > 1 else upload


def _read_stream(stream: Any) -> Any:
    """Read a file from where it is, and leave it there, so that the next load reads the same."""
    try:
        place = stream.tell() if _seeks(stream) else None
        found = stream.read()
        if place is not None:
            stream.seek(place)
    except (OSError, ValueError) as error:
        raise PlanError(f"cannot read {type(stream).__name__}: {error}") from None
    return found


def _once(value: Any) -> bool:
    """Whether a value is empty after it was read once."""
    if callable(getattr(value, "read", None)):
        return not _seeks(value)
    return isinstance(value, Iterator)


def _seeks(stream: Any) -> bool:
    seekable = getattr(stream, "seekable", None)
    try:
        return bool(seekable()) if callable(seekable) else hasattr(stream, "seek") and hasattr(stream, "tell")
    except ValueError:  # closed
        return True


def plan_of(traffic: Traffic, options: Options, base: Callable[[], URL | None] = lambda: None) -> Plan:
    """Make the plan for an address, a request, or a list of them; `base` gives the base URL of relative ones.

    Raises PlanError.
    """
    of_plan: Any = {name: value for name, value in options.items() if name in PLAN_OPTIONS}
    of_request: Any = {name: value for name, value in options.items() if name in REQUEST_OPTIONS}
    check = options.get("check")
    of_journey: Any = {name: value for name, value in options.items() if name in JOURNEY_OPTIONS}
    if is_journey(traffic):
        return _journey_plan(traffic, of_journey, of_plan, {**of_request, "check": check}, base)
    if of_journey:
        wrong = min(of_journey)
        raise PlanError(f"{wrong}= is for journeys: load(shopper, {wrong}=…) with an async function shopper(client)")
    if isinstance(traffic, (Iterator, Set, Mapping)):
        raise PlanError(f"load() takes a list of requests, which can be read again, not a {type(traffic).__name__}")
    if is_list(traffic):
        if wrong := min(of_request.keys() - SHARED_OPTIONS, default=""):
            raise PlanError(f"{wrong}= belongs to one request of the list, as in post('/orders', {wrong}=…)")
        requests = list(traffic)
    elif is_request(traffic) or check is not None:
        one = described(cast("Described", traffic))
        # The request's own options are nearer.
        nearer = merge([cast(Options, dict(one.options)), of_request])
        shared = {name: value for name, value in of_request.items() if name in nearer}
        requests, of_request = [replace(one, options=combined(shared, one.options))], {}
    else:
        url = cast(URL, traffic)
        return Plan.of(Target.of(url if absolute(url) else join(base(), url), **of_request), **of_plan)
    found = mix(requests, base, of_request, check, options.get("expect"))
    if len({frozenset(each.expect) for each in found}) == 1:
        of_plan["expect"] = found[0].expect
    return Plan.of(found[0].target, mix=found, **of_plan)


def _journey_plan(
    function: Any, of_journey: Any, of_plan: Any, of_request: Mapping[str, Any], base: Callable[[], URL | None]
) -> Plan:
    """Build the plan of a journey; options of requests apply to its client. Raises PlanError."""
    journey = Journey.of(function, **of_journey)
    given = {name: value for name, value in of_request.items() if value is not None}
    if wrong := min(given.keys() - _CLIENT_OPTIONS, default=""):
        how = "assert it in the function" if wrong == "check" else f"as in client.post(…, {wrong}=…)"
        raise PlanError(f"{journey.name}: {wrong}= belongs to a request of the journey: {how}")
    if url := base():
        target = Target.of(join(None, url), **given)
        if not target.scheme.startswith("http"):
            raise PlanError(f"{journey.name}: its client supports HTTP only, and the base URL is {target.origin}")
    elif given:
        raise PlanError(
            f"{journey.name}: {min(given)}= needs a base URL: define a load_target fixture, or use --load-target"
        )
    else:
        target = Target.none(journey.name)
    return Plan.of(target, journey=journey, **of_plan)
