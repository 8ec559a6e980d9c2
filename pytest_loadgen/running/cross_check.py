"""The same load by several generators, by turns; and where their figures are not the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.running import runner
from pytest_loadgen.running.rounds import Rounds
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration

# Two generators disagree where chance alone would part their bounds this seldom.
_ALPHA = 0.001
_PERCENTS = (50, 90, 99)
_FROM = {"scheduled": "when requests were due", "sent": "when they were sent", "corrected": "when they were sent"}


class CrossCheck(dict[str, JudgedResult]):
    """The results of the generators that were chosen, by their names."""

    @property
    def disagreements(self) -> tuple[str, ...]:
        """Where two of them differ by more than chance and what they add themselves, a sentence each."""
        pairs = combinations(self.values(), 2)
        return tuple(sentence for one, other in pairs for sentence in _disagreements(one, other))


def by_turns(
    plan: Plan, generators: Sequence[LoadGenerator], rounds: int, allowed_hosts: Iterable[str] = ()
) -> Iterator[tuple[int, Interval]]:
    """Have each generator run the plan in rounds, all of them in each: first to last, last to first.

    So what the machine does meanwhile, and what the service remembers, befalls all alike. Gives
    each interval with the number of its generator.
    """
    hosts = tuple(allowed_hosts)
    turns = list(enumerate(generators))
    begin = 0.0
    for part in Rounds(generators[0], plan, rounds).parts(plan):
        for number, generator in turns:
            # Each is warmed up for each round: its connections are new.
            result = runner.run(replace(part, warmup=plan.warmup), generator, allowed_hosts=hosts)
            yield from ((number, replace(each, start=each.start + begin)) for each in result.intervals)
        turns.reverse()
        begin += part.duration


def _disagreements(one: JudgedResult, other: JudgedResult) -> Iterator[str]:
    if not one.requests or not other.requests:
        if one.requests or other.requests:
            yield f"{one.generator} made {one.requests:,} requests, and {other.generator} {other.requests:,}"
        return
    bases = {one.latency_from, other.latency_from}
    why = (
        f" ({one.generator} counts from {_FROM[one.latency_from]}, {other.generator} from {_FROM[other.latency_from]})"
    )
    why = why if len(bases) > 1 and not one.plan.closed else ""
    for percent in _PERCENTS:
        if min(one.requests, other.requests) < stats.needed(1 - percent / 100):
            continue
        factor = max(_inflation(each, percent) for each in (one, other))
        (a, low, high), (b, lower, higher) = (_percentile(each, percent, factor) for each in (one, other))
        if low - one.added_latency > higher or lower - other.added_latency > high:
            yield f"{one.generator} and {other.generator} disagree on p{percent}: {a} and {b}{why}"
    errors = [_errors(each) for each in (one, other)]
    if errors[0].low > errors[1].high or errors[1].low > errors[0].high:
        yield f"{one.generator} and {other.generator} disagree on errors: {one.error_rate} and {other.error_rate}"


def _percentile(result: Result, percent: float, factor: float) -> tuple[Duration, Duration, Duration]:
    """Give a percentile and its bounds: of chance (Woodruff 1952), and of the buckets it was counted in."""
    best, worst = result.best_and_worst()
    tail = 1 - percent / 100
    size = result.requests / factor
    share = stats.proportion(tail * size, size, _ALPHA)
    low, high = best.percentile(100 * (1 - share.high)), worst.percentile(100 * (1 - share.low))
    return result.percentile(percent), low, high


def _inflation(result: Result, percent: float) -> float:
    """Tell how much more the share of slow requests varies than if they were independent."""
    middle = float(result.percentile(percent))
    slow = [each.latency.over(middle) + each.unanswered for each in result.intervals]
    return stats.inflation(slow, [each.requests for each in result.intervals])


def _errors(result: Result) -> stats.Estimate:
    each = [Result(result.plan, "", (interval,)).errors for interval in result.intervals]
    factor = stats.inflation(each, [interval.requests for interval in result.intervals])
    return stats.proportion(result.errors / factor, result.requests / factor, _ALPHA)
