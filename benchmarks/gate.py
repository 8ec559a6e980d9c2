"""The gate: how often a verdict is right, and how long it takes.

First for simulated services (see `simulated`), then for a real one whose delays are drawn from a
lognormal distribution: p99 = 5 ms · exp(σ z), where z is the normal quantile.
"""

import math
import time
from contextlib import closing
from dataclasses import dataclass
from statistics import NormalDist, median

from benchmarks import delayed, k6, report, simulated
from benchmarks.simulated import CELLS, NAMES, Tally, judged
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.judgement import ALPHA, judge
from pytest_loadgen.running.runner import run as load
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

RATE = 200
DURATION = 5
LONGEST = 15
# Limits as multiples of the true p99, with the longest load to judge each. With the limit that is
# close, a verdict could take minutes: there the load is judged once.
LIMITS = {1.3: LONGEST, 1.1: DURATION, 0.7: LONGEST}
SCATTER = 0.6
P99 = delayed.DELAY * math.exp(SCATTER * NormalDist().inv_cdf(0.99))
WRONG = 0.01
LEAST_MET = 0.85
# No run starts after this many seconds.
BUDGET = 1500
MARGIN = 5
DURATIONS = (5, 30, 600)
ROUNDS = 10
QUICK = 5.0
FIRST_LOOK = "4s"
# Loads of many names: as many at a time as one service can take.
FAILING = 0.01
SETS = 3
NAMED_LOADS = 67
NAMED_RATE = 75
NAMED_DURATION = 4


@dataclass(frozen=True)
class Quick:
    """A load that ended early: its verdict, and the seconds of load and of wall clock that it took."""

    outcome: str
    load: float
    wall: float


def run(runs: int = 100) -> None:
    simulated.coverage(1_000)
    simulated.looks(1_000)
    simulated.power(200)
    simulated.together(200)
    with closing(Embedded()) as generator:
        _verdicts(generator, runs)
        _quickness(generator)
        together(generator)


def _verdicts(generator: Embedded, runs: int) -> None:
    gates = {ratio: _gate(ratio, longest) for ratio, longest in LIMITS.items()}
    tallies = {ratio: Tally() for ratio in LIMITS}
    seen = Histogram()
    made, started = 0, time.monotonic()
    with delayed.running(scatter=SCATTER) as service:
        plan = Plan.of(Target.of(service.url), rate=RATE, duration=DURATION)
        while made < runs and time.monotonic() - started < BUDGET:
            intervals = _intervals(generator, plan, [gates[ratio] for ratio in (1.3, 0.7)])
            for ratio, longest in LIMITS.items():
                # k6 does not extend a load.
                missed = k6.misses(intervals[:DURATION], P99 * ratio)
                tallies[ratio].add(*judged(gates[ratio], plan, intervals[:longest]), missed)
            seen += sum((interval.latency for interval in intervals), Histogram())
            made += 1
    report.table(
        f"Real: lognormal delays, p99 {report.milliseconds(P99)}, {RATE}/s for {DURATION} s, "
        f"extended to {LONGEST} s while the limits 30 % off are unclear, {made:,} runs",
        ("Limit", "Right", *CELLS),
        [(f"{ratio:g} × p99", "met" if ratio > 1 else "missed", *tally.cells) for ratio, tally in tallies.items()],
    )
    own = service.took[math.ceil(0.99 * len(service.took)) - 1]
    print(
        f"- Over all {seen.count:,} responses, p99 is {report.milliseconds(own)} in the service's own record and "
        f"{report.milliseconds(seen.percentile(99))} in the generator's: the machine adds the difference."
    )
    wrong, met = tallies[1.3].outcomes["missed"], tallies[1.3].outcomes["met"]
    report.expected(f"1.3 × p99 missed in at most {WRONG:.0%} of runs", f"{wrong} of {made}", wrong <= WRONG * made)
    report.expected(f"1.3 × p99 met in at least {LEAST_MET:.0%}", f"{met} of {made}", met >= LEAST_MET * made)
    found = tallies[0.7].outcomes["missed"]
    report.expected("0.7 × p99 missed in all", f"{found} of {made}", found == made)


def _quickness(generator: Embedded) -> None:
    found: dict[int, list[Quick]] = {duration: [] for duration in DURATIONS}
    with delayed.running(scatter=SCATTER) as service:
        for _ in range(ROUNDS):
            for duration, quick in found.items():
                plan = Plan.of(Target.of(service.url), rate=RATE, duration=duration)
                gate = _gate(MARGIN, 3 * duration, stop_early=FIRST_LOOK)
                started = time.monotonic()
                intervals = _intervals(generator, plan, [gate], most=4 * QUICK)
                wall = time.monotonic() - started
                quick.append(Quick(*judged(gate, plan, intervals), wall))
    report.table(
        f"Real: time to a verdict with stop_early='{FIRST_LOOK}', limit {MARGIN} × p99, {RATE}/s, {ROUNDS} rounds",
        ("Plan", "met", "load, median", "worst", "wall clock, median", "worst"),
        [
            (
                f"{duration} s, at most {3 * duration} s",
                f"{sum(one.outcome == 'met' for one in quick)} of {ROUNDS}",
                *(f"{pick(times):.2f} s" for times in _times(quick) for pick in (median, max)),
            )
            for duration, quick in found.items()
        ],
    )
    loads = [one.load if one.outcome == "met" else math.inf for quick in found.values() for one in quick]
    for name, figure in (("median", median(loads)), ("worst", max(loads))):
        what = f"a limit with a {MARGIN}x margin to be met after at most {QUICK:g} s of load, {name}"
        report.expected(what, f"{figure:.2f} s", round(figure, 1) <= QUICK)


def together(generator: Embedded) -> None:
    """Print how often any of the objectives of many names is missed although each limit is the true share of errors."""
    sets = [[f"request {number}.{name}" for name in range(NAMES)] for number in range(SETS)]
    gates = [
        Gate.of([f"errors of {name} < {FAILING:.0%}" for name in names], max_duration=NAMED_DURATION) for names in sets
    ]
    shared = alone = 0
    with delayed.running(failing=FAILING, spin=False) as service:
        here = Target.of(service.url)
        mix = tuple(NamedRequest(name, here) for names in sets for name in names)
        plan = Plan.of(here, rate=NAMED_RATE * len(mix), duration=NAMED_DURATION, mix=mix)
        for _ in range(NAMED_LOADS):
            result = JudgedResult(plan, generator.name, tuple(load(plan, generator).intervals))
            for gate in gates:
                shared += any(
                    verdict.outcome == "missed" for verdict in gate.begin(result).judged(result.intervals).verdicts
                )
                alone += any(judge(slo, slo.view(result)).outcome == "missed" for slo in gate.objectives)
    runs = NAMED_LOADS * SETS
    report.table(
        f"Real: loads in which any of {NAMES} names is missed where each limit is the true share of errors, "
        f"{FAILING:.0%}, each {NAMED_RATE}/s for {NAMED_DURATION} s, {runs:,} runs ({SETS} at a time)",
        ("each at 5 %", "together"),
        [(report.percent(alone / runs), report.percent(shared / runs))],
    )
    most = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
    report.expected(f"any missed in at most {most:.1%}", report.percent(shared / runs), shared / runs <= most)


def _times(quick: list[Quick]) -> tuple[list[float], list[float]]:
    return [one.load for one in quick], [one.wall for one in quick]


def _gate(ratio: float, longest: float, *, stop_early: str | bool = False) -> Gate:
    return Gate.of([f"p99 < {P99 * ratio * 1e3:.3f}ms"], max_duration=longest, stop_early=stop_early)


def _intervals(generator: Embedded, plan: Plan, gates: list[Gate], most: float = math.inf) -> list[Interval]:
    """Load until each gate has enough intervals, or for at most `most` seconds."""
    judgings = [gate.begin(JudgedResult(plan, generator.name)) for gate in gates]
    longest = max((gate.lengthened(plan) for gate in gates), key=lambda longer: longer.duration)
    intervals: list[Interval] = []

    def watch(interval: Interval) -> bool:
        intervals.append(interval)
        enough = [judging.enough(intervals) for judging in judgings]
        return all(enough) or interval.start + interval.seconds >= most

    load(longest, generator, watch)
    return intervals
