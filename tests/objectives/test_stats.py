"""Statistics: distributions as in printed tables, and confidence intervals that hold the truth as claimed."""

import itertools
import math
import random
from collections.abc import Iterator
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
    ("bad", "of", "alpha", "low", "high"),
    [
        # Clopper & Pearson's charts at 95 % (each side 2.5 %).
        (0, 10, 0.025, 0, 0.3085),
        (1, 10, 0.025, 0.0025, 0.4450),
        (5, 10, 0.025, 0.1871, 0.8129),
        (10, 10, 0.025, 0.6915, 1),
        (10, 100, 0.025, 0.0490, 0.1762),
        # The rule of three: no event of n is at most 3 / n.
        (0, 300, 0.05, 0, 0.009936),
    ],
)
def test_independent(bad: int, of: int, alpha: float, low: float, high: float) -> None:
    """Where requests are independent, a share has the exact binomial bounds."""
    batches = [of // 5] * 5
    found = stats.share(_spread_out(bad, 5), batches, alpha, 1.0)
    assert (found.value, found.low, found.high) == pytest.approx((bad / of, low, high), abs=5e-5)


def _spread_out(count: int, batches: int) -> list[int]:
    return [count // batches + (at < count % batches) for at in range(batches)]


@pytest.mark.parametrize(("share", "requests"), [(0.1, 29), (0.05, 59), (0.01, 299), (0.001, 2995), (0.0001, 29_956)])
def test_needed(share: float, requests: int) -> None:
    """The fewest requests, none of them bad, just show that less than a share is bad."""
    assert stats.needed(share) == requests
    assert _high_of_none(requests) < share < _high_of_none(requests - 4)


def _high_of_none(requests: int) -> float:
    return stats.share([0] * 4, [requests - 3, 1, 1, 1], 0.05).high


# The variance that requests have who wait for one another.


def test_no_inflation() -> None:
    """Independent requests vary as independent requests do."""
    random_ = random.Random(1)
    found = [
        stats.inflation([sum(random_.random() < 0.05 for _ in range(200)) for _ in range(BATCHES)], [200] * BATCHES)
        for _ in range(40)
    ]
    assert 1 <= sum(found) / len(found) < 1.6


@pytest.mark.parametrize(
    ("bad", "inflated"),
    [
        ([100] + [0] * 19, 100),  # all in one second
        (([0] * 5 + [20] * 5) * 2, 10),  # alike neighbours: in seconds together more than alone
    ],
)
def test_inflation(bad: list[int], inflated: float) -> None:
    """Slow requests in a burst say less than as many spread out."""
    batches = [100] * len(bad)
    assert stats.inflation(bad, batches) > inflated
    clustered, alone = stats.share(bad, batches, 0.05), stats.share(_spread_out(sum(bad), len(bad)), batches, 0.05)
    assert clustered.value == alone.value
    assert clustered.low < alone.low < alone.value < alone.high < clustered.high


@pytest.mark.parametrize("bad", [[0] * 5, [10] * 5])
def test_none_or_all(bad: list[int]) -> None:
    """There is no inflation where no request is bad, or all are."""
    assert stats.inflation(bad, [10] * 5) == 1


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=50))
def test_bounds(batches: list[tuple[int, int]]) -> None:
    """Whatever the counts, the share is between its bounds, and these are between 0 and 1."""
    bad, all_ = [min(pair) for pair in batches], [max(pair) for pair in batches]
    assert stats.inflation(bad, all_) >= 1
    found = stats.share(bad, all_, 0.05)
    if any(all_):
        assert 0 <= found.low <= found.value <= found.high <= 1
    else:
        assert math.isnan(found.value)
        assert (found.low, found.high) == (0, 1)


def response_times(random_: random.Random, count: int, load: float) -> Iterator[float]:
    """Simulate an M/M/1 queue (Lindley 1952), in units of the mean service time."""
    wait = 0.0
    for _ in range(count):
        service = random_.expovariate(1)
        yield wait + service
        wait = max(0.0, wait + service - random_.expovariate(load))


def test_coverage() -> None:
    """Of a queue at 70 % load, the bounds hold the true share where the textbook's do not."""
    size, load, alpha = 400, 0.7, 0.025
    limit = math.log(100) / (1 - load)  # P(response time > t) = exp(-(1 - load) t)
    ours = textbook = means = 0
    for seed in range(100):
        times = list(response_times(random.Random(seed), size * BATCHES, load))
        batches = [times[at : at + size] for at in range(0, len(times), size)]
        slow, slower = ([sum(time > level for time in batch) for batch in batches] for level in (limit / 2, limit))
        all_ = [size] * BATCHES
        inflated = max(stats.inflation(slow, all_), stats.inflation(slower, all_))
        ours += _holds(stats.share(slower, all_, alpha, inflated), 0.01)
        textbook += _holds(stats.share(slower, all_, alpha, 1.0), 0.01)
        means += _holds(stats.mean([sum(batch) / size for batch in batches], alpha), 1 / (1 - load))
    assert ours >= 85
    assert means >= 80
    assert textbook < 50


def _holds(found: Estimate, truth: float) -> bool:
    return found.low <= truth <= found.high


# Means, slopes.


def test_mean() -> None:
    """Where independent requests explain how the batches vary, a mean has Student's bounds."""
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
        # Neighbours that are alike count as fewer batches.
        ((STEPS, None), (ALTERNATING, None), 3.5, 3.5),
        # Fewer batches show less.
        ((ALTERNATING[:4], None), (ALTERNATING, None), 2, 2),
        # A few high batches, or requests: the mean may be much higher.
        ((SPIKES, REGULAR), (SPIKES, None), 1.5, 0.99),
        (([10.0] * 20, SKEWED), ([10.0] * 20, REGULAR), 1.2, 0.99),
        # A low one at the start is no skewness of a rate.
        ((SPIKES[::-1], None), (SPIKES, None), 0.99, 0.99),
    ],
)
def test_what_batches_show(
    wide: tuple[list[float], Spread | None], narrow: tuple[list[float], Spread | None], above: float, below: float
) -> None:
    """Batches that show a mean less well have bounds that are this many times as far from it."""
    one, other = (stats.mean(values, 0.05, [100] * len(values), spread) for values, spread in (wide, narrow))
    assert one.high - one.value > above * (other.high - other.value)
    assert one.value - one.low > below * (other.value - other.low)


def test_weights() -> None:
    """A batch weighs as much as its requests: a straggler in a batch of its own is one request, not a second."""
    alike = stats.mean([9, 10, 11, 10], 0.05, [5] * 4)
    assert alike == stats.mean([9, 10, 11, 10], 0.05)
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
        # Too few to have a tail.
        ([(1.0, 5)], math.inf, math.inf),
        ([], math.inf, math.inf),
    ],
)
def test_unseen(rows: list[tuple[float, int]], low: float, high: float) -> None:
    """A heavy tail may hide more than was measured, up to infinitely much; one that ends hides little."""
    assert low <= stats.unseen(rows, sum(number for _, number in rows), 0.05) <= high


def test_slope() -> None:
    """A straight line has an exact slope, a noisy one an estimated slope, a level one slope 0."""
    assert stats.slope([1, 3, 5, 7], 0.05) == Estimate(2, 2, 2)
    # Anscombe's first, its y by its x: slope 0.5001, standard error 0.1179, t(9; 0.95) = 1.833.
    noisy = stats.slope([4.26, 5.68, 7.24, 4.82, 6.95, 8.81, 8.04, 8.33, 10.84, 7.58, 9.96], 0.05)
    assert noisy.value == pytest.approx(0.5001, abs=1e-4)
    assert noisy.low == pytest.approx(0.5001 - 1.833 * 0.1179, abs=2e-4)
    assert _holds(stats.slope([5, 6, 5, 6, 6, 5, 6, 5], 0.05), 0)


def test_trend() -> None:
    """Of values that vary independently a trend has about the bounds of a slope, of others wider ones."""
    assert stats.trend([0, 2, 4, 8], [1, 5, 9, 17], 0.05) == Estimate(2, 2, 2)
    alternating = [float(at % 2) for at in range(40)]
    steps = [float(at >= 20) for at in range(40)]
    moments = list(range(40))
    assert stats.trend(moments, alternating, 0.05) == stats.slope(alternating, 0.05)
    wide, narrow = stats.trend(moments, steps, 0.05), stats.slope(steps, 0.05)
    assert wide.value == narrow.value
    assert wide.high - wide.value > 3 * (narrow.high - narrow.value)


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("count", [10, 30])
def test_trends_are_rarely_wrong(alike: float, count: int) -> None:
    """Where neighbours are alike, a bound of a trend is seldom wrong; that of a slope is in a third of all runs."""
    rng, wrong, runs = random.Random(1), 0, 400
    for _ in range(runs):
        values, noise = [], rng.gauss() / math.sqrt(1 - alike**2)
        for at in range(count):
            values.append(3.0 * at + noise)
            noise = alike * noise + rng.gauss()
        wrong += stats.trend(range(count), values, 0.05).low > 3
    assert wrong / runs < 0.18


@pytest.mark.parametrize("count", range(stats.FEWEST_BATCHES))
def test_too_few(count: int) -> None:
    """With too few batches the bounds are infinite."""
    share = stats.share([1] * count, [1000] * count, 0.05)
    assert (share.low, share.high) == (0, 1)
    values = [1.0] * count
    for found in (stats.mean(values, 0.05), stats.slope(values, 0.05), stats.trend(range(count), values, 0.05)):
        assert (found.low, found.high) == (-math.inf, math.inf)


# Looking more than once.


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_spending(alpha: float) -> None:
    """Looks spend more and more, from nothing to all of the error, and never more."""
    spent = [stats.spent(alpha, fraction / 50) for fraction in range(51)]
    assert spent[0] == 0
    assert spent[-1] == pytest.approx(alpha)
    assert all(earlier < later for earlier, later in itertools.pairwise(spent))
    assert (stats.spent(alpha, -1), stats.spent(alpha, 2)) == pytest.approx((0, alpha))
