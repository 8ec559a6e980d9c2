"""Verdicts for many kinds of simulated services: how often they are wrong, and how often they stay unclear.

The limit is the true percentile, where any verdict is wrong, or a multiple of it. All services have the same
percentiles at any rate; they differ in how slow requests cluster: not at all, in queues, or in slow times.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random
from statistics import NormalDist

from benchmarks import report
from benchmarks.simulated import Tally, judged
from pytest_loadgen.figures.histogram import MASKS, Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

SEED = 20_261_127
MEAN = 0.0217
SPREAD = 0.4
LEVEL = 0.02
RATIOS = (1.0, 2.0, 1.3, 0.77)
RUNS = 100


@dataclass(frozen=True)
class Service:
    """A simulated service: its response times, and the latency that a share of requests exceeds."""

    name: str
    times: Callable[[Random, int, int], list[float]]
    exceeded: Callable[[float], float]
    most: float = 0.06
    """How often verdicts may be wrong at the limit, each way."""


def independent(draw: Random, rate: int, seconds: int) -> list[float]:
    """Draw independent, exponential response times."""
    return [draw.expovariate(1 / MEAN) for _ in range(rate * seconds)]


def queued(load: float, draw: Random, rate: int, seconds: int) -> list[float]:
    """Draw the response times of an M/M/1 queue with this utilization, in its steady state."""
    work, gap = 1 / (MEAN * (1 - load)), load / (MEAN * (1 - load))
    time = draw.expovariate(1 / MEAN)
    times = []
    for _ in range(rate * seconds):
        time = max(0.0, time - draw.expovariate(gap)) + draw.expovariate(work)
        times.append(time)
    return times


def wandering(seconds_alike: float, draw: Random, rate: int, seconds: int) -> list[float]:
    """Draw lognormal response times whose level is an autoregressive process with this correlation time."""
    keep = math.exp(-1 / rate / seconds_alike)
    step, level = math.sqrt(1 - keep**2), draw.gauss()
    times = []
    for _ in range(rate * seconds):
        times.append(LEVEL * math.exp(SPREAD * (level + draw.gauss())))
        level = keep * level + step * draw.gauss()
    return times


def heavy(draw: Random, rate: int, seconds: int) -> list[float]:
    """Draw independent response times with Pareto's tail."""
    return [0.01 * (1 - draw.random()) ** (-1 / 1.5) for _ in range(rate * seconds)]


def _exponential(share: float) -> float:
    return -MEAN * math.log(share)


def _lognormal(share: float) -> float:
    return LEVEL * math.exp(SPREAD * math.sqrt(2) * NormalDist().inv_cdf(1 - share))


SERVICES = (
    Service("independent", independent, _exponential),
    *(Service(f"M/M/1 at {load}", partial(queued, load), _exponential) for load in (0.3, 0.5, 0.7, 0.8)),
    Service("slow times of 0.3 s", partial(wandering, 0.3), _lognormal),
    Service("slow times of 1 s", partial(wandering, 1.0), _lognormal),
    Service("slow times of 3 s", partial(wandering, 3.0), _lognormal, 0.10),
    Service("Pareto 1.5", heavy, lambda share: 0.01 * share ** (-1 / 1.5)),
)
# The services over which the share of unclear verdicts is averaged.
AVERAGED = ("independent", "M/M/1 at 0.3", "M/M/1 at 0.5", "M/M/1 at 0.7", "slow times of 0.3 s", "slow times of 1 s")
CELLS = ((200, 5, 99), (200, 30, 99), (200, 5, 95), (200, 5, 50), (20, 30, 99), (2000, 5, 99))


def run(runs: int = RUNS) -> None:
    for rate, duration, percent in CELLS:
        # As many requests for each cell, so that each takes about as long.
        _cell(rate, duration, percent, max(20, round(runs * min(1, math.sqrt(3000 / rate / duration)))))


def _cell(rate: int, duration: int, percent: int, runs: int) -> None:
    plan = Plan.of(Target.of("http://127.0.0.1/"), rate=rate, duration=duration)
    found = {service.name: _simulate(service, plan, percent, runs) for service in SERVICES}
    rows = []
    for service in SERVICES:
        at, *others = (found[service.name][ratio] for ratio in RATIOS)
        wrong = [f"{at.share('met'):.1%}", f"{at.share('missed'):.1%}"]
        rows.append((service.name, *wrong, *(report.percent(each.share("unclear")) for each in others)))
    mean = [sum(found[name][ratio].share("unclear") for name in AVERAGED) / len(AVERAGED) for ratio in RATIOS[1:]]
    rows.append((f"mean of {len(AVERAGED)}", "", "", *map(report.percent, mean)))
    report.table(
        f"Simulated: p{percent} at {rate}/s for {duration} to {3 * duration} s, {runs:,} runs: "
        "verdicts where the limit is the true one, and unclear at multiples of it",
        ("Service", "met", "missed", *(f"unclear at {ratio:g}x" for ratio in RATIOS[1:])),
        rows,
    )
    for service in SERVICES:
        tally = found[service.name][1.0]
        worst = max(tally.share("met"), tally.share("missed"))
        # By chance, the measured share is above the true one by up to two standard errors.
        most = service.most + 2 * math.sqrt(service.most * (1 - service.most) / runs)
        what = f"p{percent}, {rate}/s, {duration} s, {service.name}: wrong in at most {service.most:.0%} each way"
        report.expected(what, f"{worst:.1%}", worst <= most)


def _simulate(service: Service, plan: Plan, percent: int, runs: int) -> dict[float, Tally]:
    limit = service.exceeded(1 - percent / 100)
    gates = {ratio: Gate.of([f"p{percent} < {limit * ratio * 1e3:.3f}ms"]) for ratio in RATIOS}
    tallies = {ratio: Tally() for ratio in RATIOS}
    draw = Random(f"{SEED} {service.name} {plan.rate} {plan.duration} {percent}")
    rate, longest = round(float(plan.rate)), round(3 * plan.duration)
    for _ in range(runs):
        times = iter(service.times(draw, rate, longest))
        intervals = [_interval(second, list(islice(times, rate))) for second in range(longest)]
        for ratio, gate in gates.items():
            tallies[ratio].add(*judged(gate, plan, intervals), False)
    return tallies


def _interval(second: int, times: Sequence[float]) -> Interval:
    counts = Counter(math.ceil(time * 1e5) * 10_000 for time in times)
    edges: Counter[int] = Counter()
    for nanoseconds, count in counts.items():
        edges[nanoseconds & MASKS[nanoseconds.bit_length()]] += count
    return Interval(float(second), 1.0, latency=Histogram(edges), outcomes={"200": len(times)})
