"""Samples: bounds of the means of simulated services are rarely wrong."""

import math
import random
from collections import Counter
from collections.abc import Callable

import pytest

from pytest_loadgen.figures.histogram import MASKS, Histogram
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.sample import Means, Shares

SECONDS, RATE, RUNS = 10, 50, 300
Draw = Callable[[random.Random], list[float]]


def independent(draw: Callable[[random.Random], float]) -> Draw:
    return lambda rng: [draw(rng) for _ in range(SECONDS * RATE)]


def wandering(rng: random.Random) -> list[float]:
    """Draw latencies whose level wanders, with a correlation time of a second."""
    keep = math.exp(-1 / RATE)
    level, times = rng.gauss(), []
    for _ in range(SECONDS * RATE):
        times.append(math.exp(0.4 * level + 0.4 * rng.gauss()))
        level = keep * level + math.sqrt(1 - keep**2) * rng.gauss()
    return times


def histogram(times: list[float]) -> Histogram:
    nanoseconds = [round(each * 1e8) for each in times]
    return Histogram(Counter(ns & MASKS[ns.bit_length()] for ns in nanoseconds))


def sample(seconds: list[list[float]]) -> Means:
    return Means.of_latencies([sum(each) / len(each) / 10 for each in seconds], [histogram(each) for each in seconds])


def student(means: list[float], alpha: float) -> float:
    """Give the textbook's upper bound."""
    count, mean = len(means), sum(means) / len(means)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in means) / (count - 1))
    return mean + stats.student_quantile(1 - alpha, count - 1) * deviation / math.sqrt(count)


@pytest.mark.parametrize(
    ("draw", "mean", "most", "textbook"),
    [
        pytest.param(independent(lambda rng: rng.expovariate(1)), 1, 0.08, 0.0, id="exponential"),
        pytest.param(independent(lambda rng: rng.lognormvariate(0, 2)), math.exp(2), 0.08, 0.12, id="lognormal"),
        pytest.param(independent(lambda rng: rng.paretovariate(1.5)), 3, 0.12, 0.2, id="infinite variance"),
        pytest.param(wandering, math.exp(0.16), 0.1, 0.15, id="autocorrelated"),
    ],
)
def test_coverage(draw: Draw, mean: float, most: float, textbook: float) -> None:
    """A bound that may be wrong in 5 % of runs is wrong in about as many, where the textbook's is in many more."""
    below = above = alone = 0
    for seed in range(RUNS):
        times = draw(random.Random(seed))
        seconds = [times[at : at + RATE] for at in range(0, len(times), RATE)]
        found = sample(seconds).estimate(0.05)
        below += found.high < mean / 10
        above += found.low > mean / 10
        alone += student([sum(each) / RATE for each in seconds], 0.05) < mean
    assert max(below, above) <= most * RUNS
    assert alone >= textbook * RUNS


def test_a_heavy_tail() -> None:
    """If only the slowest requests leave a verdict open, the remark says so, and their part of the mean."""
    rng = random.Random(1)
    heavy = sample([[rng.paretovariate(1) for _ in range(1000)] for _ in range(10)])
    estimate = heavy.estimate(0.05)
    assert math.isinf(estimate.high)
    assert heavy.why_unclear(10 * estimate.value, 0.05) == (
        "the slowest 100 of 10,000 requests make up 51% of the mean: use a percentile instead"
    )
    assert heavy.why_unclear(estimate.value, 0.05) == ""
    assert heavy.side(10 * estimate.value, 0.05) == 0
    assert heavy.side(estimate.value / 10, 0.05) == 1
    assert heavy.estimate(0).low == -math.inf
    light = Means(heavy.figures, heavy.weights)
    assert light.side(10 * estimate.value, 0.05) == -1
    assert light.why_unclear(10 * estimate.value, 0.05) == ""


def test_a_slice() -> None:
    """A slice is the sample of its intervals."""
    seconds = [[float(at + each) for each in range(1, 50)] for at in range(8)]
    assert sample(seconds)[2:6] == sample(seconds[2:6])


def test_few_seconds_with_requests() -> None:
    """Requests in fewer than four seconds decide nothing, however many seconds there are."""
    found = Shares([0] * 9, [1000, 1000, 1000, *[0] * 6])
    assert (found.batches, found.side(0.01, 0.05)) == (3, 0)
    assert Shares([0] * 4, [1000] * 4).side(0.01, 0.05) == -1


@pytest.mark.parametrize(
    ("bad", "size", "side"),
    [
        # No errors: five are taken to come together.
        ([0] * 10, 149, 0),
        ([0] * 10, 150, -1),
        # Two bursts do not show that errors are independent, twelve errors a second apart do.
        ([5, *[0] * 8, 5], 250, 0),
        ([1] * 10, 250, -1),
    ],
)
def test_errors_come_in_bursts(bad: list[int], size: int, side: int) -> None:
    """Few errors, or none, say nothing of how they cluster: until they do, they count as bursts."""
    assert Shares(bad, [size] * 10, assumed_burst=5).side(0.01, 0.05) == side


@pytest.mark.parametrize("good", [500, 1500, 2990, 3000])
def test_a_share_of_good_requests(good: int) -> None:
    """That more than 99 % are good is as sure as that less than 1 % are bad."""
    all_ = [300] * 10
    many = [good // 10] * 10
    few = [300 - each for each in many]
    one, other = Shares(many, all_, assumed_burst=5), Shares(few, all_, assumed_burst=5)
    assert one.side(0.99, 0.05) == -other.side(0.01, 0.05)
    assert one.effective_size == other.effective_size
    bounds, mirrored = one.estimate(0.05, 0.99), other.estimate(0.05, 0.01)
    assert (bounds.low, bounds.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))
