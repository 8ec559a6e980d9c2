"""What a load generator is."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from types import UnionType
from typing import Protocol, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import LatencyFrom
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import NO_TIME, Duration


class Intervals(Protocol):
    """What a running load yields; a generator function's iterator is one."""

    def __iter__(self) -> Self: ...

    def __next__(self) -> Interval: ...

    def close(self) -> None:
        """Stop the load; nothing is left running when this returns."""


class Running(ABC):
    """A load under way: an iterator over what `_run` yields, that any thread may close."""

    def __init__(self) -> None:
        """Start nothing yet: the first interval that is asked for does."""
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
        with suppress(ValueError):  # another thread is in it, and finds that the load has ended
            self._intervals.close()

    @abstractmethod
    def _run(self) -> Generator[Interval]:
        """Carry out the load; where it has been stopped, yield nothing more."""

    @abstractmethod
    def _stop(self) -> None:
        """End what the thread in `_run` waits for, if there is one."""

    def _wait_for_start(self, plan: Plan) -> None:
        """Wait until the plan is to start, or it is stopped."""
        if plan.start_at is not None:
            self._stopped.wait(max(0.0, plan.start_at - time.time() - plan.warmup))


def finish(intervals: Intervals) -> None:
    """Let a load end early: send no more, and wait for what is open, where the generator can."""
    getattr(intervals, "finish", intervals.close)()


class LoadGenerator(Protocol):
    """Turns a plan into intervals. Inherit from it, and say what differs from what is here."""

    name: str
    """How users choose it."""
    features: frozenset[str]
    """What it can do, in the words of `Plan.needs`."""
    latency_from: LatencyFrom = "scheduled"
    """From when it counts latency."""
    added_latency: Duration = NO_TIME
    """How much it may add to a latency itself."""
    streams_intervals: bool = True
    """Whether intervals come as they end; or else all at the end of the load."""
    max_duration: float = float("inf")
    """How long a load it can do in one piece, in seconds."""
    remote: bool = False
    """Whether it runs elsewhere: it then finds the service itself, from there."""
    sent_from: str = ""
    """Where it runs, if not on this machine: what it measures from there is not what is measured from here."""
    settings: Mapping[str, type | UnionType] = {}
    """What a table of pyproject.toml may set, each an attribute of this name and type."""

    def version(self) -> str:
        """Tell its version, or nothing. Raises GeneratorError where it is not there."""
        return ""

    def run(self, plan: Plan) -> Intervals:
        """Load the service, yielding each interval as it ends; closing the iterator stops the load.

        The iterator may have a method `finish()` too, to send no more and wait for what is open.
        Raises PlanError, before anything is sent, where it cannot do what the plan says; else
        GeneratorError. Several plans may run at the same time, each from its own thread.
        """
        ...


class Wrapper(LoadGenerator):
    """A load generator that has another do its work, and is what that one is."""

    def __init__(self, generator: LoadGenerator) -> None:
        """Take over what it says of itself."""
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
        """Tell its version."""
        return self._generator.version()


def check(generator: LoadGenerator, plan: Plan, others: Iterable[LoadGenerator] = ()) -> None:
    """Refuse a plan that a generator cannot do, and say which of others can. Raises PlanError."""
    if missing := plan.needs - generator.features:
        # Those elsewhere would have to be asked, and may not be there.
        can = ", ".join(sorted(other.name for other in others if not other.remote and plan.needs <= other.features))
        hint = f" These can: {can}." if can else ""
        raise PlanError(f"{generator.name} cannot do: {', '.join(sorted(missing))}.{hint}")
