"""Statistics: distributions as in printed tables, and confidence intervals that hold the truth as claimed."""

import math
import random
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.stats import Estimate, Spread

BATCHES = 20


# Against printed tables.


@pytest.mark.parametrize(
    ("x", "a", "b", "probability"),
    [
        (0.3, 1, 1, 0.3),  # uniform
        (0.25, 2, 1, 0.0625),  # x²
        (0.25, 1, 3, 1 - 0.75**3),
        (0.5, 7.5, 7.5, 0.5),  # symmetric
        (0.5, 0.5, 0.5, 0.5),  # arcsine law
        # P(3 or more of 10 at 0.4), P(10 or more of 1,000 at 0.01)
        (0.4, 3, 8, 1 - sum(math.comb(10, k) * 0.4**k * 0.6 ** (10 - k) for k in range(3))),
        (0.01, 10, 991, 1 - sum(math.comb(1000, k) * 0.01**k * 0.99 ** (1000 - k) for k in range(10))),
        (0, 2, 3, 0),
        (1, 2, 3, 1),
        (-1, 2, 3, 0),
    ],
)
def test_beta(x: float, a: float, b: float, probability: float) -> None:
    assert stats.beta(x, a, b) == pytest.approx(probability, abs=1e-9)


@pytest.mark.parametrize("a", [0.5, 1, 3, 300, 1e5])
@pytest.mark.parametrize("b", [0.5, 2, 40, 1e6])
@pytest.mark.parametrize("probability", [1e-6, 0.05, 0.5, 0.999])
def test_beta_quantile(a: float, b: float, probability: float) -> None:
    """The quantile is the inverse of the distribution, also where that is a needle."""
    assert stats.beta(stats.beta_quantile(probability, a, b), a, b) == pytest.approx(probability, rel=1e-5)


@pytest.mark.parametrize(
    ("probability", "value"), [(0.5, 0), (0.95, 1.644854), (0.975, 1.959964), (0.01, -2.326348), (0.9995, 3.290527)]
)
def test_normal(probability: float, value: float) -> None:
    assert stats.normal_quantile(probability) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [
        (0.95, 1, 6.314),
        (0.975, 1, 12.706),
        (0.95, 3, 2.353),
        (0.975, 4, 2.776),
        (0.95, 10, 1.812),
        (0.99, 10, 2.764),
        (0.975, 30, 2.042),
        (0.995, 120, 2.617),
        (0.5, 7, 0),
    ],
)
def test_student(probability: float, freedom: int, value: float) -> None:
    assert stats.student_quantile(probability, freedom) == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize(
    ("events", "size", "share"),
    [(0, 10, 0.3), (3, 10, 0.3), (10, 10, 0.3), (10, 1000, 0.02), (3, 10, 0.0), (3, 10, 1.0)],
)
def test_at_most_and_at_least(events: int, size: int, share: float) -> None:
    """With independent requests the probabilities are binomial; in `at_least`, exactly as many count half (mid-P)."""
    exactly = [math.comb(size, each) * share**each * (1 - share) ** (size - each) for each in range(size + 1)]
    assert stats.at_most(events, size, share) == pytest.approx(sum(exactly[: events + 1]))
    if 0 < share < 1:
        wanted = sum(exactly[events:]) - exactly[events] / 2 if events else 1
        assert stats.at_least(events, size, share) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("size", "share", "overdispersion"), [(10_000, 0.001, 3.0), (2_000, 0.05, 10.0), (100, 0.5, 8.0)]
)
def test_a_share_that_varies(size: int, share: float, overdispersion: float) -> None:
    """If the share varies through the run, probabilities are about those of a simulation."""
    draw, runs = random.Random(1), 1000
    shape = (size - 1) / (overdispersion - 1) - 1
    counts = []
    for _ in range(runs):
        now = draw.betavariate(share * shape, (1 - share) * shape)
        counts.append(sum(draw.random() < now for _ in range(size)) if size <= 2000 else _poisson(draw, now * size))
    for part in (0.1, 0.5):
        few = sorted(counts)[round(part * runs)]
        wanted = sum(count <= few for count in counts) / runs
        assert stats.at_most(few, size, share, overdispersion) == pytest.approx(wanted, abs=0.08)


def _poisson(draw: random.Random, mean: float) -> int:
    count, time = -1, 0.0
    while time < mean:
        time += draw.expovariate(1)
        count += 1
    return count


@pytest.mark.parametrize(("share", "requests"), [(0.1, 29), (0.05, 59), (0.01, 299), (0.001, 2995), (0.0001, 29_956)])
def test_needed(share: float, requests: int) -> None:
    """The fewest requests, none of them bad, just show that less than a share is bad."""
    assert stats.needed(share) == requests
    assert stats.at_most(0, requests, share) <= 0.05 < stats.at_most(0, requests - 1, share)


# Means, slopes.


def test_mean() -> None:
    """If independent requests explain the variance between batches, a mean has Student's bounds."""
    found = stats.mean([9, 10, 11, 10], 0.025, [100] * 4, Spread(400, 10, 200.0, 0.0))
    assert found.value == 10
    half = 3.182 * math.sqrt(200 / 100) / 2
    assert (found.low, found.high) == pytest.approx((10 - half, 10 + half), abs=1e-3)
    assert stats.mean([7] * 5, 0.05) == Estimate(7, 7, 7)


ALTERNATING = [9.0, 11.0] * 10
STEPS = [9.0] * 10 + [11.0] * 10
SPIKES = [9.9] * 19 + [11.9]
REGULAR, SKEWED = Spread(2000, 10, 1.0, 0.0), Spread(2000, 10, 1.0, 30.0)


@pytest.mark.parametrize(
    ("wide", "narrow", "above", "below"),
    [
        # Correlated batches count as fewer.
        ((STEPS, None), (ALTERNATING, None), 3.5, 3.5),
        # Fewer batches have wider bounds.
        ((ALTERNATING[:4], None), (ALTERNATING, None), 2, 2),
        # With a few high batches or requests, the mean may be much higher.
        ((SPIKES, REGULAR), (SPIKES, None), 1.5, 0.99),
        (([10.0] * 20, SKEWED), ([10.0] * 20, REGULAR), 1.2, 0.99),
        # Rates are not corrected for skewness.
        ((SPIKES[::-1], None), (SPIKES, None), 0.99, 0.99),
    ],
)
def test_width_of_bounds(
    wide: tuple[list[float], Spread | None], narrow: tuple[list[float], Spread | None], above: float, below: float
) -> None:
    """Batches that estimate the mean less well have bounds that are this many times as far from it."""
    one, other = (stats.mean(values, 0.05, [100] * len(values), spread) for values, spread in (wide, narrow))
    assert one.high - one.value > above * (other.high - other.value)
    assert one.value - one.low > below * (other.value - other.low)


def test_weights() -> None:
    """A batch weighs as much as its requests: a straggler in a batch of its own is one request, not a second."""
    equal = stats.mean([9, 10, 11, 10], 0.05, [5] * 4)
    assert equal == stats.mean([9, 10, 11, 10], 0.05)
    found = stats.mean([10, 11, 9, 10, 500], 0.05, [100, 100, 100, 100, 1])
    assert found.value == pytest.approx((4 * 100 * 10 + 500) / 401)
    assert 5 < found.low < found.high < 25


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 5)), min_size=1, max_size=20), st.integers(0, 20))
def test_spreads_add_up(rows: list[tuple[float, int]], at: int) -> None:
    """The spread of several batches is that of all of their requests."""
    added = Spread.sum([Spread.of(rows[:at]), Spread.of(rows[at:])])
    together = Spread.of(rows)
    assert added.count == together.count
    for one, other in zip(astuple(added), astuple(together), strict=True):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize(
    ("rows", "low", "high"),
    [
        ([(1.0, 1000)], 0, 0),
        # Exponential latencies, mean 1: their tail ends soon.
        ([(-math.log((each + 0.5) / 1000), 1) for each in range(1000)], 0, 0.05),
        # 1 % miss a cache and take 100 times as long, all of them.
        (
            [*((100 + each / 10, 1) for each in range(10)), *((1 + each / 1000, 1) for each in range(990, 0, -1))],
            0,
            0.5,
        ),
        # Pareto's, with an index whose mean is finite, and with one whose mean is not.
        ([((each + 0.5) ** -0.5, 1) for each in range(1000)], 0.005, 0.2),
        ([((each + 0.5) ** -1.0, 1) for each in range(1000)], math.inf, math.inf),
        # Too few requests for a tail.
        ([(1.0, 5)], math.inf, math.inf),
        ([], math.inf, math.inf),
    ],
)
def test_tail_allowance(rows: list[tuple[float, int]], low: float, high: float) -> None:
    """A heavy tail may hide any amount, even an infinite one; a light tail hides little."""
    assert low <= stats.tail_allowance(rows, sum(number for _, number in rows), 0.05) <= high


def test_trend() -> None:
    """A straight line has an exact slope, a noisy one an estimate, an autocorrelated one a wider estimate."""
    assert stats.trend([0, 2, 4, 8], [1, 5, 9, 17], 0.05) == Estimate(2, 2, 2)
    # Anscombe's first, its y by its x: slope 0.5001, standard error 0.1179, t(9; 0.95) = 1.833.
    anscombe = [4.26, 5.68, 7.24, 4.82, 6.95, 8.81, 8.04, 8.33, 10.84, 7.58, 9.96]
    noisy = stats.trend(range(11), anscombe, 0.05)
    assert noisy.value == pytest.approx(0.5001, abs=1e-4)
    assert noisy.low == pytest.approx(0.5001 - 1.833 * 0.1179, abs=2e-4)
    level = stats.trend(range(8), [5, 6, 5, 6, 6, 5, 6, 5], 0.05)
    assert level.low < 0 < level.high
    alternating, steps = [float(at % 2) for at in range(40)], [float(at >= 20) for at in range(40)]
    sure, unsure = (stats.trend(range(40), values, 0.05) for values in (alternating, steps))
    assert unsure.high - unsure.value > 2.5 * (sure.high - sure.value)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("count", [10, 30])
def test_trends_are_rarely_wrong(correlation: float, count: int) -> None:
    """A bound of the slope of autocorrelated values is rarely wrong."""
    rng, wrong, runs = random.Random(1), 0, 400
    for _ in range(runs):
        values, noise = [], rng.gauss() / math.sqrt(1 - correlation**2)
        for at in range(count):
            values.append(3.0 * at + noise)
            noise = correlation * noise + rng.gauss()
        wrong += stats.trend(range(count), values, 0.05).low > 3
    assert wrong / runs < 0.18


@pytest.mark.parametrize("count", range(stats.FEWEST_BATCHES))
def test_too_few(count: int) -> None:
    """With too few batches the bounds are infinite."""
    values = [1.0] * count
    for found in (stats.mean(values, 0.05), stats.trend(range(count), values, 0.05)):
        assert (found.low, found.high) == (-math.inf, math.inf)


def test_root() -> None:
    """The root of an increasing function is found, or the end that is nearer to it."""
    assert stats.root(lambda x: x**2 - 2, 0, 2) == pytest.approx(math.sqrt(2))
    assert stats.root(lambda x: x + 1, 0, 2) == pytest.approx(0)
    assert stats.root(lambda x: x - 9, 0, 2) == pytest.approx(2)
