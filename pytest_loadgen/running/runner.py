"""Run a plan with a generator, without judging it."""

from collections.abc import Callable, Iterable
from contextlib import closing

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.running.source import One
from pytest_loadgen.running.stop import Stop
from pytest_loadgen.traffic.plan import Plan


def run(
    plan: Plan,
    generator: LoadGenerator,
    watch: Callable[[Interval], object] = lambda _: None,
    allowed_hosts: Iterable[str] = (),
    stop: Stop | None = None,
) -> Result:
    """Load the service once it is reachable, passing each interval to `watch` as it ends.

    The load ends early when `watch` returns True; an exception of `watch` stops it. Raises PlanError or
    ServiceError before anything is sent, GeneratorError after.
    """
    source = One(plan, generator, allowed_hosts, stop)
    intervals: list[Interval] = []
    with closing(iter(source)) as coming:
        for each in coming:
            intervals.append(each.interval)
            if watch(each.interval) is True:
                source.finish()
    return Result(plan, generator.name, tuple(intervals))
