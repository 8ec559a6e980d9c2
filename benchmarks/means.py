"""Verdicts on means and rates of simulated services: seeded, and without sending requests.

A few slow requests may dominate a mean, and neighbouring seconds may be correlated: both make bounds too close.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from benchmarks import report, simulated
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.judgement import judge
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

SECONDS = 60
LENGTHS = (5, 10, 30, 60)
RATES = (20, 200)
# A limit at the true mean, where any verdict is wrong, and limits that are to be met and missed.
LIMITS = (1.0, 1.2, 0.83)
SCALE = 0.02
HARD = ("Pareto, index 1.5", "alike for 3 s")
"""The services whose verdicts may be wrong in 10 % of runs; those of others in 6 %."""


@dataclass(frozen=True)
class Service:
    """A service: how it draws consecutive response times at a rate, and their true mean."""

    draw: Callable[[Random, int, int], list[float]]
    mean: float


def lognormal(sigma: float) -> Service:
    """Draw independent response times, of which the logarithm is normal."""
    return Service(
        lambda draw, rate, count: [SCALE * math.exp(sigma * draw.gauss()) for _ in range(count)],
        SCALE * math.exp(sigma**2 / 2),
    )


def pareto(index: float) -> Service:
    """Draw independent response times with a heavy tail; their variance is infinite up to an index of 2."""
    return Service(
        lambda draw, rate, count: [SCALE / 2 * draw.paretovariate(index) for _ in range(count)],
        SCALE / 2 * index / (index - 1),
    )


def alike(time: float) -> Service:
    """Draw response times whose level wanders, with a correlation time in seconds."""
    return Service(partial(_wandering, time), SCALE * math.exp(0.16))


def _wandering(time: float, draw: Random, rate: int, count: int) -> list[float]:
    keep = math.exp(-1 / (rate * time))
    fresh = math.sqrt(1 - keep**2)
    level, times = draw.gauss(), []
    for _ in range(count):
        times.append(SCALE * math.exp(0.4 * level + 0.4 * draw.gauss()))
        level = keep * level + fresh * draw.gauss()
    return times


def _queued(load: float, draw: Random, rate: int, count: int) -> list[float]:
    return simulated.queued(load, draw, count)


_QUEUED = simulated.P99 / -math.log(simulated.SLOW)
SERVICES = {
    "exponential": Service(lambda draw, rate, count: simulated.independent(draw, count), _QUEUED),
    **{f"lognormal, sigma {sigma}": lognormal(sigma) for sigma in (1, 2)},
    **{f"Pareto, index {index}": pareto(index) for index in (2.5, 1.5)},
    **{f"M/M/1 at {load}": Service(partial(_queued, load), _QUEUED) for load in (0.5, 0.7, 0.8)},
    **{f"alike for {time} s": alike(time) for time in (0.3, 1, 3)},
}


def means(runs: int) -> None:
    """Print how often a mean is met or missed with a limit at the true mean, and unclear with limits beside it."""
    for rate in RATES:
        found = {name: _verdicts(service, rate, runs) for name, service in SERVICES.items()}
        report.table(
            f"Simulated: verdicts on the mean, {rate}/s, {runs:,} runs of {SECONDS} s, in parts of each length: "
            "met / missed by a limit at the true mean, then unclear at 1.2 and 0.83 times as much",
            ("Service", *(f"{length} s" for length in LENGTHS), *(f"unclear, {length} s" for length in LENGTHS)),
            [(name, *_cells(each, "met", "missed"), *_cells(each, "unclear")) for name, each in found.items()],
        )
        for hard, most in ((False, 0.06), (True, 0.10)):
            worst = max(_worst(each) for name, each in found.items() if (name in HARD) == hard)
            # By chance, the measured share is above the true one by up to two standard errors.
            allowed = most + 2 * math.sqrt(most * (1 - most) / (runs * sum(SECONDS // length for length in LENGTHS)))
            what = (
                f"{' and '.join(HARD) if hard else 'others'}: met and missed at the true mean in at most {allowed:.1%}"
            )
            report.expected(f"{what} each, all lengths together", report.percent(worst), worst <= allowed)


Found = dict[tuple[int, float], list[str]]
"""The outcomes by the length of the load, and by the limit as a multiple of the true figure."""


def _verdicts(service: Service, rate: int, runs: int) -> Found:
    draw, found = Random(simulated.SEED), Found()
    plan = Plan.of(Target.of("http://127.0.0.1/"), rate=rate, duration=SECONDS)
    for _ in range(runs):
        times = service.draw(draw, rate, rate * SECONDS)
        load = simulated.seconds_of([times[at : at + rate] for at in range(0, len(times), rate)])
        for length, part in _parts(load):
            for limit in LIMITS:
                slo = SLO.parse(f"mean < {service.mean * limit * 1e3:.6f}ms")
                found.setdefault((length, limit), []).append(judge(slo, Result(plan, "simulated", part)).outcome)
    return found


def _cells(found: Found, *outcomes: str) -> Iterator[str]:
    """Write for each length two shares: of both outcomes at the true figure, or of one at the limits beside it."""
    for length in LENGTHS:
        if len(outcomes) > 1:
            shares = [_share(found[length, 1.0], outcome) for outcome in outcomes]
        else:
            shares = [_share(found[length, limit], *outcomes) for limit in LIMITS[1:]]
        yield " / ".join(map(report.percent, shares))


def _worst(found: Found) -> float:
    at_truth = [outcome for length in LENGTHS for outcome in found[length, 1.0]]
    return max(_share(at_truth, "met"), _share(at_truth, "missed"))


def rates(runs: int) -> None:
    """Print how often a rate that varies is met or missed with a bound at the true rate."""
    plan = Plan.of(Target.of("http://127.0.0.1/"), rate="max", duration=SECONDS)
    rows = []
    for time in (0.2, 1, 3, 10):
        draw, found = Random(simulated.SEED), Found()
        for _ in range(runs):
            load = [_answered(second, count) for second, count in enumerate(_counts(draw, time))]
            for length, part in _parts(load):
                for limit in LIMITS:
                    slo = SLO.parse(f"rate >= {1000 / limit:.3f}/s")
                    found.setdefault((length, limit), []).append(judge(slo, Result(plan, "simulated", part)).outcome)
        rows.append((f"alike for {time} s", *_cells(found, "met", "missed"), *_cells(found, "unclear")))
    report.table(
        f"Simulated: verdicts on a rate that varies by 10 %, {runs:,} runs of {SECONDS} s, in parts of each length: "
        "met / missed by a bound at the true rate, then unclear at 0.83 and 1.2 times as much",
        ("Service", *(f"{length} s" for length in LENGTHS), *(f"unclear, {length} s" for length in LENGTHS)),
        rows,
    )


def run() -> None:
    """Print both."""
    means(30)
    rates(100)


def _parts(load: Sequence[Interval]) -> Iterator[tuple[int, tuple[Interval, ...]]]:
    """Cut a load into loads of each length."""
    for length in LENGTHS:
        for at in range(0, len(load), length):
            yield length, tuple(load[at : at + length])


def _share(outcomes: Sequence[str], outcome: str) -> float:
    return outcomes.count(outcome) / len(outcomes)


def _counts(draw: Random, time: float, steps: int = 20) -> Iterator[int]:
    """Draw the number of responses in each second, 1,000/s on average."""
    keep = math.exp(-1 / (steps * time))
    fresh = math.sqrt(1 - keep**2)
    level = draw.gauss()
    for _ in range(SECONDS):
        count = 0.0
        for _ in range(steps):
            count += 1000 / steps * (1 + 0.1 * level)
            level = keep * level + fresh * draw.gauss()
        yield round(count)


def _answered(second: int, count: int) -> Interval:
    return Interval(float(second), 1.0, latency=Histogram({1_000_000: count}), outcomes={"200": count})
