"""Who sends a load, and in which parts: the options that are neither the plan's nor the objectives'."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.plan import whole_number
from pytest_loadgen.traffic.target import absolute, text_of

Workers = int | str | tuple[Executor, ...]
"""Processes of this machine, the address of a Dask scheduler, or executors."""


@dataclass(frozen=True)
class Arrangement:
    """Which generators send a load, in how many rounds, shared among which workers, against which other service."""

    generators: tuple[str, ...] = ("embedded",)
    several: bool = False
    """Whether a list of generators was asked for, and so a cross-check."""
    workers: Workers = 1
    rounds: int | None = None
    against: str | None = None
    """The address of the other service."""

    @classmethod
    def of(
        cls,
        *,
        generator: object = "embedded",
        workers: object = 1,
        rounds: object = None,
        against: object = None,
    ) -> Arrangement:
        """Read the options as people write them. Raises PlanError."""
        several = not isinstance(generator, str)
        if against is not None:
            against = _address(against)
            if several:
                raise PlanError("against= compares two services with one generator: name one generator")
        return cls(
            generators=_names(generator) if several else (str(generator),),
            several=several,
            workers=_workers(workers),
            rounds=None if rounds is None else _count("rounds", rounds),
            against=against,
        )


def is_scheduler(workers: object) -> bool:
    """Whether it is the address of a Dask scheduler."""
    return isinstance(workers, str) and bool(re.fullmatch(r"(tcp|tls)://[^/]+:\d+", workers))


def _address(against: object) -> str:
    try:
        if absolute(text := text_of(against)):
            return text
    except PlanError:
        pass
    raise PlanError(f"against={against!r}: expected the address of the other service ('http://old:8000')")


def _names(generators: object) -> tuple[str, ...]:
    names = tuple(generators) if isinstance(generators, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise PlanError(f"generator={generators!r}: expected a name, or a list of different names")
    return names


def _workers(workers: object) -> Workers:
    if isinstance(workers, (list, tuple)) and workers and all(hasattr(worker, "submit") for worker in workers):
        executors: Sequence[Executor] = workers
        return tuple(executors)
    if is_scheduler(workers):
        return str(workers)
    try:
        return _count("workers", workers)
    except PlanError as error:
        raise PlanError(
            f"{error}, a list of executors, or the address of a Dask scheduler ('tcp://10.0.0.5:8786')"
        ) from None


def _count(name: str, value: object) -> int:
    if (number := whole_number(value)) is None:
        raise PlanError(f"{name}={value!r}: expected a whole number >= 1")
    return number
