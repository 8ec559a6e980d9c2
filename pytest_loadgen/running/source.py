"""Where the intervals of a measurement come from: one generator, or several loads in alternation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import Intervals, LoadGenerator, check, finish
from pytest_loadgen.objectives.baseline import Baseline
from pytest_loadgen.running.stop import Stop
from pytest_loadgen.service import reachability
from pytest_loadgen.service.login import log_in
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import NO_SERVICE


class Tagged(NamedTuple):
    """An interval, and the number of the result that it belongs to."""

    number: int
    interval: Interval
    ended: float | None = None
    """When it ended, as `clock.monotonic`, where that was before it came."""


class Source(ABC):
    """What a measurement consumes: the intervals of one result, or of several."""

    look: Callable[[], object] = staticmethod(lambda: None)
    """Called where a part of the load begins or ends, for those who watch the service."""

    @abstractmethod
    def __iter__(self) -> Generator[Tagged]:
        """Start the load, and yield each interval as it ends; closing the iterator stops the load.

        Raises PlanError or ServiceError before anything is sent, GeneratorError after.
        """

    @abstractmethod
    def finish(self) -> None:
        """End the load early: send nothing more; the intervals of open requests still come."""

    def baseline(self) -> Baseline | None:
        """Give what the load is compared with so far, where the source loads that, too."""
        return None


class One(Source):
    """One generator that carries out a plan."""

    def __init__(
        self, plan: Plan, generator: LoadGenerator, allowed_hosts: Iterable[str] = (), stop: Stop | None = None
    ) -> None:
        """Start nothing yet."""
        self._stop = stop or Stop()
        self._plan = plan
        self._generator = generator
        self._allowed_hosts = tuple(allowed_hosts)
        self._running: Intervals | None = None

    def __iter__(self) -> Generator[Tagged]:
        generator, plan = self._generator, self._plan
        check(generator, plan.needs)
        plan = log_in(plan, self._allowed_hosts)
        if plan.journey:
            plan = replace(plan, journey=replace(plan.journey, allowed_hosts=self._allowed_hosts))
        if not generator.remote and plan.target.scheme != NO_SERVICE:
            found = reachability.find(plan.target, plan.ready_timeout, self._allowed_hosts, self._stop.check)
            plan = replace(plan, target=found)
        self.look()
        with closing(generator.run(plan)) as self._running, self._stop.closes(self._running):
            for interval in self._running:
                _check_counts(interval, generator)
                yield Tagged(0, interval)
                self._stop.check()
        self._stop.check()

    def finish(self) -> None:
        """Let the generator finish the load."""
        if self._running:
            finish(self._running)


def _check_counts(interval: Interval, generator: LoadGenerator) -> None:
    """Refuse negative counts. Raises GeneratorError."""
    for kind, count in {**interval.outcomes, "never_sent": interval.never_sent, "received": interval.received}.items():
        if count < 0:
            raise GeneratorError(f"{generator.name}: reported {count:,} {kind}")
