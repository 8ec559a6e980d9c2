"""The same load by several generators in alternation, and where their figures differ."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.clustering import Clustering
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.running import runner
from pytest_loadgen.running.rounds import cut, round_length
from pytest_loadgen.running.source import Source, Tagged
from pytest_loadgen.running.stop import Stop
from pytest_loadgen.service.login import log_in
from pytest_loadgen.traffic.plan import Plan, consecutive
from pytest_loadgen.units import Duration

# Two generators disagree where chance alone would separate their bounds this rarely.
_ALPHA = 0.001
_PERCENTS = (50, 90, 99)
_FROM = {
    "scheduled": "when requests were due",
    "sent": "when they were sent",
    "corrected": "when they were sent",
}


class CrossCheck(dict[str, JudgedResult]):
    """The results of the generators that were chosen, by their names."""

    @property
    def disagreements(self) -> tuple[str, ...]:
        """Sentences on where two generators differ by more than chance and their own latency, also by name."""
        return tuple(
            sentence
            for one, other in combinations(self.values(), 2)
            for name in ("", *(one.names if other.names else ()))
            for sentence in _disagreements(one[name] if name else one, other[name] if name else other, name)
        )


class Alternation(Source):
    """Several generators that carry out the plan in rounds, all of them in each: first to last, last to first.

    What the machine does meanwhile, and what the service remembers, affects all alike. An interval has
    the number of its generator.
    """

    def __init__(
        self,
        plan: Plan,
        generators: Sequence[LoadGenerator],
        rounds: int,
        allowed_hosts: Iterable[str] = (),
        stop: Stop | None = None,
    ) -> None:
        """Start nothing yet."""
        self._stop = stop
        self._plan = plan
        self._generators = generators
        self._parts = cut(plan, round_length(plan, rounds))
        self._allowed_hosts = tuple(allowed_hosts)
        self._finishing = False

    def __iter__(self) -> Generator[Tagged]:
        plan = log_in(self._plan, self._allowed_hosts)
        order = list(enumerate(self._generators))
        # Each is warmed up for each round: its connections are new. The service gets no row of data twice.
        warmed = [replace(part, target=plan.target, mix=plan.mix, warmup=plan.warmup) for part in self._parts]
        turns = iter(consecutive([part for part in warmed for _ in order]))
        begin = 0.0
        for part in self._parts:
            for number, generator in order:
                if self._finishing:
                    return
                self.look()
                result = runner.run(next(turns), generator, allowed_hosts=self._allowed_hosts, stop=self._stop)
                yield from (Tagged(number, replace(each, start=each.start + begin)) for each in result.intervals)
            order.reverse()
            begin += part.duration

    def finish(self) -> None:
        """Run no more rounds."""
        self._finishing = True


def _disagreements(one: JudgedResult, other: JudgedResult, name: str) -> Iterator[str]:
    """Compare all requests, or those of a name."""
    of = f" of {name}" if name else ""
    if not one.requests or not other.requests:
        # A rare name may be missing from one of them.
        if (one.requests or other.requests) and not name:
            yield f"{one.generator} made {one.requests:,} requests, {other.generator} made {other.requests:,}"
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
            yield f"{one.generator} and {other.generator} disagree on p{percent}{of}: {a} and {b}{why}"
    errors = [_errors(each) for each in (one, other)]
    if errors[0].low > errors[1].high or errors[1].low > errors[0].high:
        yield f"{one.generator} and {other.generator} disagree on errors{of}: {one.error_rate} and {other.error_rate}"


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
    return Clustering.seen([slow], [each.requests for each in result.intervals]).inflation


def _errors(result: Result) -> stats.Estimate:
    each = [Result(result.plan, "", (interval,)).errors for interval in result.intervals]
    factor = Clustering.seen([each], [interval.requests for interval in result.intervals]).inflation
    return stats.proportion(result.errors / factor, result.requests / factor, _ALPHA)
