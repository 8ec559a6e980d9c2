"""What a call of ``load()`` asks for: its options, read once into values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pytest_loadgen.errors import PlanError
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.running.arrangement import Arrangement
from pytest_loadgen.traffic.options import GATE_OPTIONS, RUN_OPTIONS, Options, merge, plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import absolute, join


@dataclass(frozen=True)
class Order:
    """The load that a call asks for."""

    plan: Plan
    gate: Gate
    arrangement: Arrangement
    other: Plan | None = None
    """The same load of the other service, for a comparison side by side."""

    @classmethod
    def of(
        cls, url: Any, base: Callable[[], str | None], layers: Iterable[Options], objectives: Sequence[str]
    ) -> Order:
        """Read the options for an address or a list of requests, the nearest layer first; `base` is for relative ones.

        Raises PlanError.
        """
        options = merge(layers)
        arrangement = Arrangement.of(**_only(options, RUN_OPTIONS))
        return cls(
            plan=plan_of(url, options, base),
            gate=Gate.of(objectives, **_only(options, GATE_OPTIONS)),
            arrangement=arrangement,
            other=None if arrangement.against is None else _other(url, arrangement.against, options),
        )


def check(layers: Iterable[Options], objectives: Sequence[str], registry: Registry | None = None) -> None:
    """Refuse options that no call can make possible, whatever it adds. Raises PlanError."""
    order = Order.of("http://localhost", lambda: None, layers, objectives)
    if registry:
        for name in order.arrangement.generators:
            registry[name]  # raises PlanError


def _only(options: Options, names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in cast("dict[str, Any]", options).items() if name in names}


def _other(url: str, against: str, options: Options) -> Plan:
    """Make the plan of the same request at the other service. Raises PlanError."""
    path = "/".join(url.split("/", 3)[3:]) if absolute(url) else url
    try:
        return plan_of(join(against, path), options)
    except PlanError as error:
        raise PlanError(f"against={against!r}: {error}") from None
