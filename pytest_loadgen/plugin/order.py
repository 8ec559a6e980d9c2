"""What a call of ``load()`` asks for: its options, read once into values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pytest_loadgen.errors import PlanError
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.redaction import without_password
from pytest_loadgen.running.arrangement import Arrangement
from pytest_loadgen.traffic.journey import is_journey
from pytest_loadgen.traffic.options import (
    GATE_OPTIONS,
    JOURNEY_OPTIONS,
    RUN_OPTIONS,
    Options,
    merge,
    plan_of,
    repeatable,
)
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.request import Described, Request, Traffic, described, is_list, is_request
from pytest_loadgen.traffic.target import URL, absolute, after_origin, join


@dataclass(frozen=True)
class Order:
    """The load that a call asks for."""

    plan: Plan
    gate: Gate
    arrangement: Arrangement
    other: Plan | None = None
    """The same load of the other service, for a comparison side by side."""

    @property
    def needs(self) -> frozenset[str]:
        """The features that a generator needs: those of the plan, and figures by name if an objective has a name."""
        return self.plan.needs | ({"names"} if self.plan.is_mix and self.gate.is_by_name else set())

    def scaled(self, factor: float) -> Order:
        """Return the order with all its times multiplied, without the objectives that the load is then too short for.

        Raises PlanError where the load as ordered is too short for one, too.
        """
        if factor == 1:
            return self
        self.gate.lengthened(self.plan)
        plan = self.plan.stretched(factor)
        other = self.other and self.other.stretched(factor)
        return replace(self, plan=plan, gate=self.gate.scaled(factor, plan), other=other)

    @classmethod
    def of(
        cls, traffic: Traffic, base: Callable[[], URL | None], layers: Iterable[Options], objectives: Sequence[str]
    ) -> Order:
        """Read the options for an address or requests, the nearest layer first; `base` is for relative addresses.

        Raises PlanError.
        """
        options = repeatable(merge(layers))
        arrangement = Arrangement.of(**_only(options, RUN_OPTIONS))
        plan = plan_of(traffic, options, base)
        _check_place(plan, arrangement)
        return cls(
            plan=plan,
            gate=Gate.of([*objectives, *_of_requests(plan)], **_only(options, GATE_OPTIONS)),
            arrangement=arrangement,
            other=None if arrangement.against is None else _other(traffic, arrangement.against, options),
        )


def _check_place(plan: Plan, arrangement: Arrangement) -> None:
    """Refuse worker processes for journeys that stay in this process. Raises PlanError."""
    if not (plan.journey and not plan.journey.separate) or arrangement.workers == 1:
        return
    workers = arrangement.workers if isinstance(arrangement.workers, int | str) else "[…]"
    raise PlanError(
        f"{plan.name}: process=False runs its journeys in one thread of the test process, so workers={workers!r} "
        "cannot run them: use workers=1, or leave process=False out"
    )


def _of_requests(plan: Plan) -> Iterator[str]:
    """Write the objectives that came with requests, with their names. Raises PlanError."""
    for request in plan.mix:
        for text in request.slo:
            try:
                yield SLO.parse(text).of(request.name).text
            except PlanError as error:
                raise PlanError(f"{request.name}: {error}") from None


def check(layers: Iterable[Options], objectives: Sequence[str], registry: Registry | None = None) -> None:
    """Refuse options that no call can make possible, whatever it adds; keep what can be read once. Raises PlanError."""
    layers = list(layers)
    for layer in layers:
        # In place: what can be read only once is read for all the loads that a mark is for.
        layer.update(repeatable(layer))
    layers = [_without_function(layer) for layer in layers]
    traffic: Traffic = "http://localhost"
    if any(layer.keys() & {*JOURNEY_OPTIONS, "users"} for layer in layers):
        # The call may set the number of journeys.
        traffic, layers = _any_journey, [*layers, {"rate": 1}]
    order = Order.of(traffic, lambda: "http://localhost", layers, objectives)
    if registry:
        for name in order.arrangement.generators:
            registry[name]  # raises PlanError


async def _any_journey(client: object) -> None:
    """Stand for the function of a call."""


def _without_function(options: Options) -> Options:
    """Leave out a function that signs requests: it may log in, and the service need not be there yet."""
    found: dict[str, Any] = {**options}
    if callable(found.get("auth")):
        del found["auth"]
    return cast(Options, found)


def _only(options: Options, names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in cast("dict[str, Any]", options).items() if name in names}


def _other(traffic: Traffic, against: str, options: Options) -> Plan:
    """Make the plan of the same requests at the other service. Raises PlanError."""
    try:
        if is_journey(traffic):
            return plan_of(traffic, options, lambda: against)
        if is_list(traffic):
            return plan_of([_there(described(each), against) for each in traffic], options)
        if is_request(traffic):
            return plan_of(_there(described(cast("Described", traffic)), against), options)
        return plan_of(_address_there(cast(URL, traffic), against), options)
    except PlanError as error:
        raise PlanError(f"against={without_password(against)!r}: {error}") from None


def _there(request: Request, against: str) -> Request:
    """Give the same request of the other service, whose address is a base URL."""
    return replace(request, url=join(against, after_origin(request.url) if absolute(request.url) else request.url))


def _address_there(url: URL, against: str) -> str:
    """Give the address at the other service: two whole ones are loaded as they are; else the other's is a base URL."""
    if not absolute(url):
        return join(against, url)
    if after_origin(against):
        return against
    return re.split("(?<=[^:/])[/?#]", against, maxsplit=1)[0] + after_origin(url)
