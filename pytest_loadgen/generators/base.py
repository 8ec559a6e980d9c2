"""The interface of load generators."""

from __future__ import annotations

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Set
from contextlib import suppress
from types import UnionType
from typing import Any, Protocol, Self

from pytest_loadgen import clock
from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import LatencyFrom
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import NO_TIME, Duration

PARSE_ERRORS = (LookupError, TypeError, AttributeError, ValueError, OSError, ArithmeticError, RecursionError)
"""What reading a malformed result can raise, PlanError included: a ValueError that is not the user's mistake."""


class Intervals(Protocol):
    """What `LoadGenerator.run` returns; a generator function's iterator is one."""

    def __iter__(self) -> Self: ...

    def __next__(self) -> Interval: ...

    def close(self) -> None:
        """Stop the load; nothing is left running when this returns."""


class Running(ABC):
    """A running load: an iterator over what `_run` yields, which any thread may close."""

    def __init__(self) -> None:
        """Start nothing yet: asking for the first interval does."""
        self._stopped = threading.Event()
        self._intervals = self._run()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Interval:
        return next(self._intervals)

    def close(self) -> None:
        """Stop the load."""
        self._stopped.set()
        self._stop()
        with suppress(ValueError):  # another thread is executing it, and will find that the load was stopped
            self._intervals.close()

    @abstractmethod
    def _run(self) -> Generator[Interval]:
        """Carry out the load; yield nothing more once it is stopped."""

    @abstractmethod
    def _stop(self) -> None:
        """Wake the thread that executes `_run`, if there is one."""

    def _wait_for_start(self, plan: Plan) -> None:
        """Wait until the plan's start time, or until the load is stopped."""
        if plan.start_at is not None:
            self._stopped.wait(max(0.0, plan.start_at - clock.wall() - plan.warmup))


def finish(intervals: Intervals) -> None:
    """End a load early: send nothing more, and wait for open requests if the generator can."""
    getattr(intervals, "finish", intervals.close)()


class LoadGenerator(Protocol):
    """Turns a plan into intervals. Inherit from it, and override what differs from these defaults."""

    name: str
    """The name by which users select it."""
    features: frozenset[str]
    """What it supports, in the words of `Plan.needs`."""
    latency_from: LatencyFrom = "scheduled"
    """The moment from which it measures latency."""
    added_latency: Duration = NO_TIME
    """How much it may add to a latency itself, at most."""
    streams_intervals: bool = True
    """Whether it yields each interval as it ends; otherwise all of them at the end of the load."""
    max_duration: float = float("inf")
    """The longest load that it can run in one piece, in seconds."""
    remote: bool = False
    """Whether it runs on another machine, and looks up the service from there."""
    sent_from: str = ""
    """Where it runs, if not on this machine: latencies from different places are not comparable."""
    settings: Mapping[str, type | UnionType] = {}
    """What pyproject.toml may set: names of attributes, and their types."""

    def version(self) -> str:
        """Return its version, or an empty string if unknown. Raises GeneratorError if it is not available."""
        return ""

    def configured(self, name: str, settings: Mapping[str, Any]) -> Self:
        """Return a copy with this name and these values for its settings."""
        generator = copy.copy(self)
        generator.name = name
        for setting, value in settings.items():
            setattr(generator, setting, value)
        return generator

    def close(self) -> None:
        """End what the generator keeps between loads, such as processes; another load may start it again."""
        return  # without it, the method would be an abstract one of the protocol

    def run(self, plan: Plan) -> Intervals:
        """Load the service, yielding each interval as it ends; closing the iterator stops the load.

        The iterator may also have a method `finish()`, which sends nothing more and waits for open
        requests. Raises PlanError, before anything is sent, if it cannot run the plan; otherwise
        GeneratorError. Several plans may run at the same time, each in a thread of its own.
        """
        ...


class Wrapper(LoadGenerator):
    """A load generator that lets another one do the work, and describes itself as that one."""

    def __init__(self, generator: LoadGenerator) -> None:
        """Copy the description of the other one."""
        self._generator = generator
        self.name, self.features, self.streams_intervals = (
            generator.name,
            generator.features,
            generator.streams_intervals,
        )
        self.latency_from, self.added_latency, self.max_duration = (
            generator.latency_from,
            generator.added_latency,
            generator.max_duration,
        )
        self.remote, self.sent_from = generator.remote, generator.sent_from

    def version(self) -> str:
        """Return the version of the other one."""
        return self._generator.version()


# What it is that a generator cannot do, and the option that leaves it out.
_INSTEAD = {
    "mix": "send several requests in one load: use one request",
    "names": "tell the requests of a mix apart: use the same objectives and expect= for all of them",
    "rate": "keep a rate: use rate='max'",
    "max": "send as fast as the service responds (rate='max'): set a rate",
    "poisson": "send at random moments (arrivals='poisson'): use arrivals='constant'",
    "stages": "change the rate during a load (stages): use rate and duration",
}


def check(generator: LoadGenerator, needs: Set[str], others: Iterable[LoadGenerator] = ()) -> None:
    """Refuse a load that needs what a generator does not support, and name the others that do. Raises PlanError."""
    if missing := needs - generator.features:
        # A remote generator would have to be asked, and may not be reachable.
        able = sorted(other.name for other in others if not other.remote and needs <= other.features)
        if len(missing) == 1 and (instead := _INSTEAD.get(*missing)):
            or_else = f", or another generator: {', '.join(able)}." if able else "."
            raise PlanError(f"{generator.name} cannot {instead}{or_else}")
        shown = ", ".join(_WRITTEN.get(feature, feature) for feature in sorted(missing))
        hint = f" Supported by: {', '.join(able)}." if able else ""
        raise PlanError(f"{generator.name} does not support: {shown}.{hint}")


# What users write for a feature, where its name does not say so.
_WRITTEN = {
    "mix": "mixes of several requests",
    "names": "figures by name",
    "data": "data (each())",
    "check": "checks of responses (check=)",
}
