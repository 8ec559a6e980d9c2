"""What a load generator is."""

from typing import Protocol, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.plan import Plan
from pytest_loadgen.result import Interval


class Intervals(Protocol):
    """What a running load yields; a generator function's iterator is one."""

    def __iter__(self) -> Self: ...

    def __next__(self) -> Interval: ...

    def close(self) -> None:
        """Stop the load; nothing is left running when this returns."""


def finish(intervals: Intervals) -> None:
    """Let a load end early: send no more, and wait for what is open, where the generator can."""
    getattr(intervals, "finish", intervals.close)()


class LoadGenerator(Protocol):
    """Turns a plan into intervals."""

    @property
    def name(self) -> str:
        """How users choose it."""

    @property
    def features(self) -> frozenset[str]:
        """What it can do, in the words of `Plan.needs`."""

    def run(self, plan: Plan) -> Intervals:
        """Load the service, yielding each interval as it ends; closing the iterator stops the load.

        The iterator may have a method `finish()` too, to send no more and wait for what is open.

        Several plans may run at the same time, each from its own thread.
        """


def check(generator: LoadGenerator, plan: Plan) -> None:
    """Refuse a plan that a generator cannot do. Raises PlanError."""
    if missing := plan.needs - generator.features:
        raise PlanError(f"the {generator.name} generator cannot do: {', '.join(sorted(missing))}.")
