"""Two services loaded by turns with the same load, in pairs of short slices."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import median

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.objectives.comparison import Baseline
from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.running import runner
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Change, Duration

# So many pairs there are at the least, and slices are no longer than this, in seconds.
_FEWEST = 12
_LONGEST = 1.0
# Before each slice its connections are opened, for so long at the most.
_WARM = 0.1

Pair = tuple[Interval, Interval]
"""What came of a slice of the one load, and of the other."""


def pairs(
    plan: Plan, longer: Plan, other: Target, generator: LoadGenerator, hosts: Iterable[str] = ()
) -> Iterator[Pair]:
    """Load the target of a plan and another by turns, for as long as the longer of two plans says.

    What is first in a pair is drawn, so that what the one leaves behind befalls both alike. The slices are
    those of the shorter plan.
    """
    hosts = tuple(hosts)
    length = plan.duration / _count(plan, generator)
    draw = random.Random(plan.seed)  # noqa: S311  # no secret
    for number in range(round(longer.duration / length)):
        # To the nanosecond, or a slice would have one request more for a rounding error.
        begin, end = (round(each * length, 9) for each in (number, number + 1))
        part = longer.between(begin, min(end, float(longer.duration)))
        warm = max(float(plan.warmup if number == 0 else 0), min(_WARM, length / 4))
        slices = [replace(part, target=target, warmup=Duration(warm)) for target in (plan.target, other)]
        order = [0, 1] if draw.random() < 0.5 else [1, 0]
        found: dict[int, Interval] = {}
        for which in order:
            result = runner.run(slices[which], generator, allowed_hosts=hosts)
            found[which] = replace(Interval.concatenate(result.intervals), start=begin)
        yield found[0], found[1]


def _count(plan: Plan, generator: LoadGenerator) -> int:
    """Choose how many slices there are: so many that each gets a whole number of requests, or nearly."""
    count = math.ceil(plan.duration / _LONGEST)
    if not generator.streams_intervals:  # a program has to start for each
        return count
    count = max(_FEWEST, count)
    return min(range(count, 2 * count), key=lambda slices: (-plan.requests % slices, slices))


def with_itself(like: JudgedResult, generator: LoadGenerator, hosts: Iterable[str] = ()) -> JudgedResult:
    """Compare a service with itself, in the way in which a load was compared."""
    hosts, plan = tuple(hosts), like.plan
    if like.baseline.paired:
        mine, theirs = zip(*pairs(plan, plan, plan.target, generator, hosts), strict=True)
    else:
        mine, theirs = (runner.run(plan, generator, allowed_hosts=hosts).intervals for _ in range(2))
    blank = replace(like, intervals=(), verdicts=(), extended_by=1.0, baseline=Baseline())
    other = Baseline(replace(blank, intervals=tuple(theirs)), paired=like.baseline.paired)
    return replace(blank, intervals=tuple(mine), baseline=other)


def trust(objectives: Sequence[SLO], found: Sequence[JudgedResult]) -> Iterator[str]:
    """Tell, by comparisons of a service with itself, how often an objective was missed, and what would miss it."""
    for number, slo in enumerate(objectives):
        verdicts = [judge_all(objectives, result)[number] for result in found]
        missed = sum(verdict.outcome == "missed" for verdict in verdicts)
        widths = [math.log(each.high / each.low) / 2 for each in verdicts if each.low and each.high]
        # What is beyond its bound by the width of an interval may be missed; by twice that, it nearly always is.
        beyond = math.exp((2 if slo.upper else -2) * median(widths)) if widths else None
        seen = f"from {Change(float(slo.bound) * beyond)} on it nearly always would be" if beyond else "never would be"
        yield f"{slo}, of the service with itself: missed in {missed} of {len(found)}, and {seen}."
