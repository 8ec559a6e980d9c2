"""Two services loaded with the same load, in pairs of short slices that alternate."""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from pytest_loadgen import clock
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.objectives.baseline import Baseline, KeptRun
from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.running import runner
from pytest_loadgen.running.source import Source, Tagged
from pytest_loadgen.running.stop import Stop
from pytest_loadgen.service.login import log_in
from pytest_loadgen.traffic.plan import Plan, consecutive
from pytest_loadgen.units import Change, Duration

# There are at least this many pairs, and slices are at most this long, in seconds.
_FEWEST = 12
_LONGEST = 1.0
# The connections of a slice are opened before it, for at most this long.
_WARM = 0.1


class SideBySide(Source):
    """The slices of one service; those of the other are its baseline.

    Which service is first in a pair is drawn, so that what one leaves behind affects both alike.
    """

    def __init__(
        self,
        draft: JudgedResult,
        other: Plan,
        longest: Plan,
        generator: LoadGenerator,
        allowed_hosts: Iterable[str] = (),
        *,
        stop: Stop | None = None,
    ) -> None:
        """Take the result without intervals, the plan of the other service, and the plan as long as it may become.

        Slices are as long as the draft's plan is cut into.
        """
        self._stop = stop
        self._draft = draft
        self._other = other
        self._longest = longest
        self._generator = generator
        self._allowed_hosts = tuple(allowed_hosts)
        self._theirs: list[Interval] = []
        self._finishing = False

    def __iter__(self) -> Generator[Tagged]:
        plan, generator = self._draft.plan, self._generator
        length = plan.duration / _count(plan, generator)
        services = [log_in(each, self._allowed_hosts) for each in (plan, self._other)]
        draw = random.Random(plan.seed)  # noqa: S311  # no secret
        # To the nanosecond, or a slice would have one request more for a rounding error.
        begins = [round(number * length, 9) for number in range(round(self._longest.duration / length) + 1)]
        parts = [self._longest.between(a, min(b, float(self._longest.duration))) for a, b in pairwise(begins)]
        warm = [max(float(0 if begin else plan.warmup), min(_WARM, length / 4)) for begin in begins]
        warmed = [replace(part, warmup=Duration(each)) for part, each in zip(parts, warm, strict=False)]
        for begin, part in zip(begins, consecutive(warmed), strict=False):
            if self._finishing:
                return
            # Both get the same rows of data.
            slices = [replace(part, target=service.target, mix=service.mix) for service in services]
            found: dict[int, tuple[Interval, float]] = {}
            for which in [0, 1] if draw.random() < 0.5 else [1, 0]:
                self.look()
                result = runner.run(slices[which], generator, allowed_hosts=self._allowed_hosts, stop=self._stop)
                found[which] = replace(Interval.concatenate(result.intervals), start=begin), clock.monotonic()
                self.look()
            self._theirs.append(found[1][0])
            yield Tagged(0, *found[0])

    def finish(self) -> None:
        """Load no more pairs."""
        self._finishing = True

    def baseline(self) -> Baseline:
        """Give what the other service did so far."""
        theirs = replace(
            self._draft,
            plan=self._other,
            intervals=tuple(self._theirs),
            baseline=Baseline(),
            service_unknown="of two services side by side, only that of the load itself is sampled",
        )
        return Baseline.single(theirs, paired=True)


def _count(plan: Plan, generator: LoadGenerator) -> int:
    """Choose how many slices there are, such that each gets a whole number of requests, or nearly."""
    count = math.ceil(plan.duration / _LONGEST)
    if not generator.streams_intervals:  # a program has to start for each
        return count
    count = max(_FEWEST, count)
    nanoseconds = round(plan.duration * 1e9)
    return min(range(count, 2 * count), key=lambda slices: (-plan.requests % slices, nanoseconds % slices > 0, slices))


def compare_with_itself(
    like: JudgedResult, count: int, generator: LoadGenerator, hosts: Iterable[str] = (), stop: Stop | None = None
) -> list[JudgedResult]:
    """Compare a service with itself `count` times (A/A tests), in the way in which a load was compared."""
    hosts, plan = tuple(hosts), like.plan
    draft = replace(like, intervals=(), verdicts=(), extended_by=1.0, baseline=Baseline())
    if like.baseline.paired:
        found = []
        for _ in range(count):
            source = SideBySide(draft, plan, plan, generator, hosts, stop=stop)
            mine = tuple(each.interval for each in source)
            found.append(replace(draft, intervals=mine, baseline=source.baseline()))
        return found
    runs = [
        KeptRun(replace(draft, intervals=runner.run(plan, generator, allowed_hosts=hosts, stop=stop).intervals))
        for _ in range(count + 1)
    ]
    # Compare each with as many of the following runs as the load was compared with; after the last comes the first.
    kept = min(count, len(like.baseline.runs))
    around = [*runs, *runs]
    return [
        replace(draft, intervals=run.result.intervals, baseline=Baseline(tuple(around[at + 1 : at + 1 + kept])))
        for at, run in enumerate(runs[:count])
    ]


def describe_trust(objectives: Sequence[SLO], found: Sequence[JudgedResult]) -> Iterator[str]:
    """Say, from comparisons of a service with itself, how often an objective was missed, and which change would be."""
    for number, slo in enumerate(objectives):
        verdicts = [judge_all(objectives, result)[number] for result in found]
        missed = sum(verdict.outcome == "missed" for verdict in verdicts)
        widths = [math.log(each.high / each.low) / 2 for each in verdicts if each.low and each.high]
        # A change beyond its bound by the width of an interval may be missed; by twice that, it nearly always is.
        beyond = math.exp((2 if slo.upper else -2) * median(widths)) if widths else None
        seen = (
            f"a change of {Change(float(slo.bound) * beyond)} would nearly always be missed"
            if beyond
            else "no change would be missed"
        )
        yield f"{slo}, the service compared with itself: missed in {missed} of {len(found)} comparisons; {seen}."
