"""The schedule of a plan: when each request is due. Arithmetic only, no clock."""

import math
import random
from collections.abc import Iterator

from pytest_loadgen.traffic.plan import Plan, Stage


def schedule(plan: Plan, start: int = 0) -> Iterator[int]:
    """Yield when each request is due, in ns; the warm-up ends, and the plan starts, at `start`.

    A request is due when the area under the rate reaches its number. With constant arrivals the
    numbers are 0, 1, 2, …; with Poisson arrivals they are an exponential step with mean 1 apart,
    which gives a Poisson process of that rate by inversion (Çinlar 1975).
    """
    if plan.warmup and not plan.closed:
        rate = plan.stages[0].start
        warmup = Stage(rate, rate, plan.warmup)
        yield from _due(plan, (warmup,), start - round(plan.warmup * 1e9), seed=1)
    yield from _due(plan, plan.stages, start, seed=2)


def _due(plan: Plan, stages: tuple[Stage, ...], begin: int, seed: int) -> Iterator[int]:
    poisson = random.Random(f"{plan.seed} {plan.part} {seed}") if plan.arrivals == "poisson" else None  # noqa: S311  # no secret
    next_one = poisson.expovariate(1.0) if poisson else 0.0
    # The area from the start of a stage to its first request; exact, so that the parts of a split
    # plan send each request once.
    ahead = plan.phase
    for stage in stages:
        if stage.start is None or stage.end is None:
            return
        span = round(stage.seconds * 1e9)
        start, end = float(stage.start), float(stage.end)
        if poisson:
            area = float(stage.requests)
            while next_one < area:
                yield begin + _when(next_one, start, end, span)
                next_one += poisson.expovariate(1.0)
            next_one -= area
        else:
            count = max(0, math.ceil(stage.requests - ahead))
            first = float(ahead)
            if start == end:
                step = 1e9 / start if count else 0.0
                base = begin + first * step
                for n in range(count):
                    yield int(base + n * step)
            else:
                for n in range(count):
                    yield begin + _when(first + n, start, end, span)
            ahead = count + ahead - stage.requests
        begin += span


def _when(area: float, start: float, end: float, span: int) -> int:
    """Return when the area under a linear rate reaches a value, in ns: a quadratic, solved without cancellation."""
    slope = (end - start) / (span / 1e9)
    root = math.sqrt(max(0.0, start * start + 2 * slope * area))
    return min(span, int(2 * area / (start + root) * 1e9)) if area else 0
