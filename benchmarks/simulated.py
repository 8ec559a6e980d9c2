"""Verdicts for simulated services: seeded, and without sending requests.

The response times of an M/M/1 queue are exponential, like those of a service that handles requests
independently. Here both have the same p99, but in the queue slow requests come in bursts.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from statistics import median

from benchmarks import k6, report
from pytest_loadgen.figures.histogram import MASKS, Histogram
from pytest_loadgen.figures.interval import Interval, NamedFigures
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.judgement import ALPHA, judge
from pytest_loadgen.objectives.metric import LOWER_LEVELS
from pytest_loadgen.objectives.sample import Shares
from pytest_loadgen.objectives.verdict import OUTCOMES, Outcome
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

SEED = 20_240_601
SLOW = 0.01
P99 = 0.1
RATE = 200
DURATION = 5
LONGEST = 15
NAMES = 20

Times = Callable[[Random, int], list[float]]


def independent(draw: Random, count: int) -> list[float]:
    """Draw independent response times."""
    log, random, mean = math.log, draw.random, P99 / -math.log(SLOW)
    return [-mean * log(1 - random()) for _ in range(count)]


def queued(load: float, draw: Random, count: int) -> list[float]:
    """Draw consecutive response times of an M/M/1 queue with this utilization, in its steady state."""
    log, random, mean = math.log, draw.random, P99 / -math.log(SLOW)
    work, gap = mean * (1 - load), mean * (1 - load) / load
    time = -mean * log(1 - random())
    times = []
    for _ in range(count):
        # Lindley's recursion; the logarithm of a number below 1 is negative.
        time += gap * log(1 - random())
        time = (time if time > 0 else 0.0) - work * log(1 - random())
        times.append(time)
    return times


@dataclass
class Tally:
    """The verdicts of many runs."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    lengths: list[float] = field(default_factory=list)
    """Seconds of load in each run."""
    k6_missed: int = 0

    def add(self, outcome: Outcome, seconds: float, k6_missed: bool) -> None:
        """Add a run."""
        self.outcomes[outcome] += 1
        self.lengths.append(seconds)
        self.k6_missed += k6_missed

    @property
    def runs(self) -> int:
        """The number of runs."""
        return len(self.lengths)

    def share(self, outcome: Outcome) -> float:
        """Return the share of runs with this outcome."""
        return self.outcomes[outcome] / self.runs

    @property
    def cells(self) -> tuple[str, ...]:
        """The share of each outcome, the median length, and how often k6 fails the run."""
        shares = (report.percent(self.share(outcome)) for outcome in OUTCOMES)
        return (*shares, f"{median(self.lengths):.0f} s", report.percent(self.k6_missed / self.runs))


CELLS = (*OUTCOMES, "median length", "missed by k6")


def judged(gate: Gate, plan: Plan, intervals: Sequence[Interval]) -> tuple[Outcome, float]:
    """Return the verdict on a load with these intervals, and after how many seconds it was reached."""
    (outcome,), seconds = verdicts(gate, plan, intervals)
    return outcome, seconds


def verdicts(gate: Gate, plan: Plan, intervals: Sequence[Interval]) -> tuple[list[Outcome], float]:
    """Return the verdicts on a load with these intervals, and after how many seconds they were reached."""
    judging = gate.begin(JudgedResult(plan, "simulated"))
    end = next((end for end in range(1, len(intervals)) if judging.enough(intervals[:end])), len(intervals))
    if end == len(intervals):
        judging.enough(intervals)
    seen = intervals[:end]
    outcomes = [verdict.outcome for verdict in judging.judged(seen).verdicts]
    return outcomes, seen[-1].start + seen[-1].seconds


def coverage(runs: int) -> None:
    """Print how often the confidence interval contains the true share."""
    requests, batches = 30_000, 20
    size, alpha = requests // batches, ALPHA / 2
    at_most = {}
    rows = []
    for load in (0.3, 0.5, 0.7, 0.8):
        draw = Random(SEED)
        held: Counter[str] = Counter()
        for _ in range(runs):
            times = queued(load, draw, requests)
            slow, *lower_levels = (
                [sum(t > P99 * part for t in times[at : at + size]) for at in range(0, requests, size)]
                for part in (1, *LOWER_LEVELS)
            )
            sizes = [size] * batches
            bounds = {
                "textbook": stats.proportion(sum(slow), requests, alpha),
                "judged": Shares(slow, sizes, lower_levels).estimate(alpha),
            }
            for name, bound in bounds.items():
                held[name] += bound.low <= SLOW <= bound.high
            held["below"] += bounds["judged"].high < SLOW
            held["above"] += bounds["judged"].low > SLOW
        at_most[load] = held["judged"] / runs
        names = ("textbook", "judged", "below", "above")
        rows.append((str(load), *(report.percent(held[name] / runs) for name in names)))
    report.table(
        f"Simulated: how often a 95 % interval contains the true share, {requests:,} requests of M/M/1, {runs:,} runs",
        ("Utilization", "Clopper-Pearson", "as in a verdict", "too low", "too high"),
        rows,
    )
    report.expected("at least 90 % at 0.7", report.percent(at_most[0.7]), at_most[0.7] >= 0.9)


def looks(runs: int) -> None:
    """Print how often a verdict is given although the limit is the true p99, so that none is right."""
    found = {}
    for name, times in SERVICES.items():
        for stop_early in (False, True):
            found[name, stop_early] = _simulate(times, (1.0,), runs, stop_early)[1.0]
    report.table(
        f"Simulated: verdicts where the limit is the true p99, {LOAD}, {runs:,} runs",
        ("Service", "Looks", *CELLS),
        [(name, _when(stop_early), *tally.cells) for (name, stop_early), tally in found.items()],
    )
    for (name, stop_early), tally in found.items():
        if name in EXPECTED:
            worst = max(tally.share("met"), tally.share("missed"))
            what = f"{name}, looks {_when(stop_early)}: met and missed in at most {ALPHA:.0%} each"
            report.expected(what, report.percent(worst), worst <= ALPHA)


def power(runs: int) -> None:
    """Print how often a verdict is right, and how long it takes."""
    ratios = (5.0, 2.0, 1.3, 1.1, 0.9, 0.7, 0.5, 0.2)
    rows = []
    for name, times in SERVICES.items():
        for ratio, tally in _simulate(times, ratios, runs, stop_early=True).items():
            rows.append((name, f"{ratio:g} × p99", "met" if ratio > 1 else "missed", *tally.cells))
    title = f"Simulated: verdicts by how far the limit is from the true p99, {LOAD}, looks from 4 s on, {runs:,} runs"
    report.table(title, ("Service", "Limit", "Right", *CELLS), rows)


def together(runs: int) -> None:
    """Print how often any of the objectives of many requests is missed although each limit is the true p99."""
    names = [f"request {number}" for number in range(NAMES)]
    here = Target.of("http://127.0.0.1/")
    plan = Plan.of(here, rate=RATE * NAMES, duration=DURATION, mix=tuple(NamedRequest(name, here) for name in names))
    limits = [f"p99 of {name} < {P99 * 1e3:g}ms" for name in names]
    gate = Gate.of(limits, stop_early=True, max_duration=LONGEST)
    rows, found = [], {}
    for service in EXPECTED:
        draw = Random(SEED)
        shared = alone = 0
        for _ in range(runs):
            intervals = _named(SERVICES[service], draw, names)
            outcomes, seconds = verdicts(gate, plan, intervals)
            shared += "missed" in outcomes
            result = JudgedResult(plan, "simulated", tuple(intervals[: round(seconds)]))
            alone += any(judge(slo, slo.view(result)).outcome == "missed" for slo in gate.objectives)
        found[service] = shared / runs
        rows.append((service, report.percent(alone / runs), report.percent(shared / runs)))
    report.table(
        f"Simulated: loads in which any of {NAMES} names is missed where each limit is the true p99, each {LOAD}, "
        f"looks from 4 s on, {runs:,} runs",
        ("Service", "each at 5 %, at the end", "together, at each look"),
        rows,
    )
    # By chance, the measured share is above the true one by up to two standard errors.
    most = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
    for service, share in found.items():
        report.expected(f"{service}: any missed in at most {most:.1%}", report.percent(share), share <= most)


def _named(times: Times, draw: Random, names: Sequence[str]) -> list[Interval]:
    """Draw the seconds of a load of several requests, each with response times of its own."""
    drawn = {name: times(draw, RATE * LONGEST) for name in names}
    seconds = []
    for second in range(LONGEST):
        parts = {name: _interval(second, each[second * RATE : (second + 1) * RATE]) for name, each in drawn.items()}
        figures = {name: NamedFigures(part.latency, outcomes=part.outcomes) for name, part in parts.items()}
        seconds.append(replace(Interval.merge_parallel(list(parts.values())), names=figures))
    return seconds


SERVICES: dict[str, Times] = {
    "independent": independent,
    **{f"M/M/1 at {load}": partial(queued, load) for load in (0.5, 0.7)},
}
EXPECTED = ("independent", "M/M/1 at 0.5")
LOAD = f"{RATE}/s for {DURATION} to {LONGEST} s"


def _when(stop_early: bool) -> str:
    return "from 4 s on" if stop_early else f"from {DURATION} s on"


def _simulate(times: Times, ratios: Sequence[float], runs: int, stop_early: bool) -> dict[float, Tally]:
    """Judge the same runs with limits at these multiples of the true p99."""
    plan = Plan.of(Target.of("http://127.0.0.1/"), rate=RATE, duration=DURATION)
    gates = {
        ratio: Gate.of([f"p99 < {P99 * ratio * 1e3:g}ms"], stop_early=stop_early, max_duration=LONGEST)
        for ratio in ratios
    }
    tallies = {ratio: Tally() for ratio in ratios}
    draw = Random(SEED)
    for _ in range(runs):
        drawn = times(draw, RATE * LONGEST)
        intervals = [_interval(second, drawn[second * RATE : (second + 1) * RATE]) for second in range(LONGEST)]
        for ratio, gate in gates.items():
            tallies[ratio].add(*judged(gate, plan, intervals), k6.misses(intervals, P99 * ratio))
    return tallies


def seconds_of(times: Iterable[Sequence[float]]) -> list[Interval]:
    """Make the intervals of a load from the response times of each second."""
    return [_interval(second, each) for second, each in enumerate(times)]


def _interval(second: int, times: Sequence[float]) -> Interval:
    # Times go to the middle of their millisecond: limits are between milliseconds, and few buckets add up fast.
    counts = Counter(math.ceil(time * 1e3) for time in times)
    edges = {(2 * ms - 1) * 500_000: count for ms, count in counts.items()}
    latency = Histogram({ns & MASKS[ns.bit_length()]: count for ns, count in edges.items()})
    return Interval(float(second), 1.0, latency=latency, outcomes={"200": len(times)})
