"""Running a plan."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.base import LoadGenerator, check, finish
from pytest_loadgen.service import reachability as service
from pytest_loadgen.traffic.plan import Plan


def run(
    plan: Plan,
    generator: LoadGenerator,
    watch: Callable[[Interval], object] = lambda _: None,
    allowed_hosts: Iterable[str] = (),
) -> Result:
    """Load the service when it is ready, showing each interval to `watch` as it ends.

    The load ends early when `watch` gives True; what it raises stops the load. Raises PlanError or
    ServiceError before anything is sent, GeneratorError after.
    """
    check(generator, plan)
    if not generator.remote:
        plan = replace(plan, target=service.find(plan.target, plan.ready_timeout, allowed_hosts))
    intervals: list[Interval] = []
    with closing(generator.run(plan)) as coming:
        for interval in coming:
            _check(interval, generator)
            intervals.append(interval)
            if watch(interval) is True:
                finish(coming)
    return Result(plan, generator.name, tuple(intervals))


def _check(interval: Interval, generator: LoadGenerator) -> None:
    """Refuse counts that cannot be. Raises GeneratorError."""
    for kind, count in {**interval.outcomes, "never_sent": interval.never_sent, "received": interval.received}.items():
        if count < 0:
            raise GeneratorError(f"{generator.name}: told of {count:,} {kind}")
