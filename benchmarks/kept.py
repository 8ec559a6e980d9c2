"""Comparisons with kept runs, simulated: how often they are right. Seeded, and without sending requests.

Runs differ: each has a factor of its own, and so has each of its seconds. A run is compared with one, two, three, five
and ten others.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from benchmarks import report
from benchmarks.simulated import SEED
from pytest_loadgen.figures.histogram import MASKS, Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import change_point
from pytest_loadgen.objectives.baseline import KeptRun
from pytest_loadgen.objectives.judgement import ALPHA
from pytest_loadgen.objectives.prediction import predict
from pytest_loadgen.objectives.slo import parse_metric
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

KEPT = (1, 2, 3, 5, 10)
BETWEEN = (0.0, 0.01, 0.02, 0.05)
"""The standard deviation between runs."""
BETWEEN_SECONDS = 0.02
"""The standard deviation between the seconds of a run."""
SLOWER = (1.0, 1.1, 1.2)
FIGURES = ("p50", "p99", "mean")
BOUND = 1.1
MEDIAN, SCATTER, RATE, SECONDS = 0.005, 0.2, 200, 5
MOST_ALARMS, LEAST_FOUND = 0.01, 0.95
EXPECTED_AT = 0.02
PLAN = Plan.of(Target.of("http://127.0.0.1/"), rate=RATE, duration=SECONDS)
# The lengths of the histories in which a step is looked for.
LENGTHS = (6, 10, 20, 50)
STEP = 0.025

Tally = Counter[str]
Found = dict[tuple[float, float, str, int], Tally]


def run(runs: int = 200) -> None:
    found = _judged(runs)
    for figure in FIGURES:
        rows = []
        for between in BETWEEN:
            for slower in SLOWER:
                cells = [_cell(found[between, slower, figure, kept]) for kept in KEPT]
                rows.append((report.percent(between), report.percent(slower - 1, "+"), *cells))
        report.table(
            f"Kept runs: {figure} < baseline + 10%: met / missed, {RATE}/s for {SECONDS} s, {runs:,} runs",
            ("Between runs", "Change", *(f"{kept} kept" for kept in KEPT)),
            rows,
        )
    _expect(found)
    steps(runs * 10)


def _cell(tally: Tally) -> str:
    return f"{tally['met'] / tally.total():.0%} / {tally['missed'] / tally.total():.1%}"


def _expect(found: Found) -> None:
    """Print what is expected of runs that differ by 2 %, and that verdicts at the bound are wrong in 5 %."""
    for kept in (5, 10):
        same, slow = (found[EXPECTED_AT, slower, "p50", kept] for slower in (1.0, 1.2))
        alarms, seen = same["missed"] / same.total(), slow["missed"] / slow.total()
        of = f"p50 < baseline + 10%, {kept} kept runs {EXPECTED_AT:.0%} apart"
        what = f"{of}: missed by the same service in at most {MOST_ALARMS:.0%}"
        report.expected(what, report.percent(alarms), alarms <= MOST_ALARMS)
        what = f"{of}: missed by one 20 % slower in at least {LEAST_FOUND:.0%}"
        report.expected(what, report.percent(seen), seen >= LEAST_FOUND)
    for kept in KEPT:
        at_bound = [found[between, BOUND, figure, kept] for between in BETWEEN for figure in FIGURES]
        wrong = max(tally[side] / tally.total() for tally in at_bound for side in ("met", "missed"))
        most = ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / at_bound[0].total())
        what = f"{kept} kept: met and missed in at most {most:.1%} each where the change is 10 %, in each row"
        report.expected(what, report.percent(wrong), wrong <= most)


def _judged(runs: int) -> Found:
    """Judge the same runs with each number of kept ones."""
    found: Found = {}
    for between in BETWEEN:
        draw = Random(SEED)
        for _ in range(runs):
            kept = [KeptRun(_drawn(draw, between)) for _ in range(max(KEPT))]
            new = _drawn(draw, between)
            for slower in SLOWER:
                one = KeptRun(_slowed(new, slower))
                for figure in FIGURES:
                    metric = parse_metric(figure)
                    for count in KEPT:
                        bounds = predict(metric, one, kept[-count:]).interval(ALPHA)
                        outcome = "met" if bounds.high < BOUND else "missed" if bounds.low > BOUND else "unclear"
                        found.setdefault((between, slower, figure, count), Counter())[outcome] += 1
    return found


def _drawn(draw: Random, between: float) -> Result:
    """Draw a run of a service."""
    level = MEDIAN * draw.lognormvariate(0, between)
    return Result(PLAN, "simulated", tuple(_second(draw, at, level) for at in range(SECONDS)))


def _second(draw: Random, at: int, level: float) -> Interval:
    level *= draw.lognormvariate(0, BETWEEN_SECONDS)
    latency = Histogram()
    for _ in range(RATE):
        latency.record(draw.lognormvariate(math.log(level), SCATTER))
    return Interval(float(at), 1.0, latency=latency, outcomes={"200": RATE})


def _slowed(result: Result, factor: float) -> Result:
    """Give the same run of a slower service."""
    intervals = []
    for each in result.intervals:
        counts: Counter[int] = Counter()
        for edge, count in each.latency.counts.items():
            slow = round(edge * factor)
            counts[slow & MASKS[slow.bit_length()]] += count
        intervals.append(replace(each, latency=Histogram(counts)))
    return replace(result, intervals=tuple(intervals))


def steps(histories: int) -> None:
    """Print how often a step is found: in runs without one (false alarms), and in runs with one."""
    rows, worst = [], 0.0
    for length in LENGTHS:
        none = [_step(histories, length, length, 0.0, busy) for busy in (False, True)]
        worst = max(worst, *none)
        some = [
            _step(histories // 4, length, at, size, False) for at in (length // 2, length - 2) for size in (0.1, 0.2)
        ]
        rows.append((f"{length} runs", *map(report.percent, [*none, *some])))
    report.table(
        f"Kept runs: how often a step is found where runs differ by {STEP:.1%}, {histories:,} histories",
        ("Kept", "no step", "one run in ten busy", "+10% in the middle", "+20%", "+10% two runs ago", "+20%"),
        rows,
    )
    most = change_point.FALSE_ALARM + 2 * math.sqrt(change_point.FALSE_ALARM / histories)
    what = f"false alarms in at most {most:.1%} of histories without a step"
    report.expected(what, report.percent(worst), worst <= most)


def _step(histories: int, length: int, at: int, size: float, busy: bool) -> float:
    draw = Random(SEED)
    drawn = (list(_history(draw, length, at, size, busy)) for _ in range(histories))
    return sum(change_point.latest(each) > 0 for each in drawn) / histories


def _history(draw: Random, length: int, at: int, size: float, busy: bool) -> Iterator[float]:
    """Draw the logarithm of the figure of each run; of one in ten the machine may have been busy."""
    for number in range(length):
        slowed = abs(draw.gauss(0, 10 * STEP)) if busy and draw.random() < 0.1 else 0.0
        yield draw.gauss(0, STEP) + slowed + (math.log1p(size) if number >= at else 0.0)
