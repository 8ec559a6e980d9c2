"""Confidence intervals of means and trends, tests of shares, and the distributions that they need.

Requests queue, so slow ones come in bursts. Textbook intervals assume that they are independent, and contain the truth
far too rarely. Here the variance is that between batches (the intervals of a run): batch means (Law & Carson 1979;
Alexopoulos & Seila 1998); and how many independent requests say as much (Korn & Graubard 1998, for clustered samples).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

FEWEST_BATCHES = 4
"""With fewer batches than this the variance between them is not known."""
# Neighbouring batches are also joined into longer ones, as long as at least this many remain.
_ENOUGH_BATCHES = 10

# Neighbours of a trend count as alike by this at most: beyond it, no run would be long enough.
_MOST_ALIKE = 0.9


@dataclass(frozen=True)
class Estimate:
    """A figure and the bounds of its confidence interval."""

    value: float
    low: float
    high: float


def needed(share: float, alpha: float = 0.05) -> int:
    """Give the fewest requests, none of them bad, that show that less than a share of all is bad.

    Source: (1 - share) ** n <= alpha, the exact binomial bound for no events.
    """
    return math.ceil(math.log(alpha) / math.log1p(-share))


def proportion(events: float, size: float, alpha: float) -> Estimate:
    """Bound a share of independent requests exactly (Clopper & Pearson 1934); counts may be fractions."""
    low = beta_quantile(alpha, events, size - events + 1) if events > 0 else 0.0
    high = beta_quantile(1 - alpha, events + 1, size - events) if events < size else 1.0
    return Estimate(events / size, low, high)


def at_most(events: float, size: float, share: float, alike: float = 1.0) -> float:
    """Give the probability of so few bad requests or fewer, of `size` of which a share is bad; counts may be fractions.

    Where the share itself comes and goes, its variance is `alike` times that of independent requests: then what the
    bad requests are expected to be has a gamma distribution (Greenwood & Yule 1920). With 1 the probability is that of
    the binomial distribution, exactly.
    """
    if events >= size or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    good = size - events
    shape = 1 / (1 / good + (alike - 1) / (size * share * (1 - share)))
    return beta(shape / (shape + good * share / (1 - share)), shape, events + 1)


def at_least(events: float, size: float, share: float) -> float:
    """Give the probability of so many bad requests, of `size` independent ones of which a share is bad.

    Half of the probability of exactly as many counts (the mid-P of Lancaster 1961): else it is too high on average.
    """
    if events <= 0:
        return 1.0
    more = beta(share, events, size - events + 1) if events < size else share**size
    exactly = more + at_most(events, size, share) - 1
    return more - exactly / 2


def mean(values: Sequence[float], alpha: float, weights: Sequence[float] | None = None) -> Estimate:
    """Bound a mean, given the means of batches, by Student's t; each bound is wrong with probability alpha.

    Without weights all batches count the same. The bounds are the widest of those over batches of
    1, 2, 4, … joined together.
    """
    sizes = [1.0] * len(values) if weights is None else weights
    sums: Sequence[float] = [value * size for value, size in zip(values, sizes, strict=True)]
    total = sum(sizes)
    value = sum(sums) / total if total else math.nan
    if len(sums) < FEWEST_BATCHES:
        return Estimate(value, -math.inf, math.inf)
    half = 0.0
    for batch_sums, batch_sizes in joined(sums, sizes):
        count = len(batch_sums)
        # Batches differ in size: the variance of a ratio estimate (Cochran 1977, 6.3).
        between = sum((each - value * size) ** 2 for each, size in zip(batch_sums, batch_sizes, strict=True))
        # Joined in pairs, an odd one is left out: it may be the only one with a weight.
        variance = count * between / (count - 1) / (sum(batch_sizes) or total) ** 2
        half = max(half, student_quantile(1 - alpha, count - 1) * math.sqrt(variance))
    return Estimate(value, value - half, value + half)


def slope(values: Sequence[float], alpha: float) -> Estimate:
    """Bound the slope of the least-squares line through values at 0, 1, 2, …, which vary independently."""
    if len(values) < FEWEST_BATCHES:
        return Estimate(0.0, -math.inf, math.inf)
    value, error, _ = _line(range(len(values)), values)
    half = student_quantile(1 - alpha, len(values) - 2) * error
    return Estimate(value, value - half, value + half)


def trend(moments: Sequence[float], values: Sequence[float], alpha: float) -> Estimate:
    """Bound the slope of the least-squares line through values of which neighbours are alike.

    What is left of them beside the line is taken for an autoregressive process: with its first autocorrelation r,
    they say as much about the slope as (1 - r) / (1 + r) times as many independent values (Santer et al. 2000).
    """
    count = len(values)
    if count < FEWEST_BATCHES:
        return Estimate(0.0, -math.inf, math.inf)
    value, error, left = _line(moments, values)
    squares = sum(each**2 for each in left)
    alike = sum(one * following for one, following in pairwise(left)) / squares if squares else 0.0
    # It is estimated too low from few values (Marriott & Pope 1954).
    alike = min(_MOST_ALIKE, max(0.0, alike + (1 + 4 * alike) / count))
    inflated = (1 + alike) / (1 - alike)
    freedom = min(count - 2, max(FEWEST_BATCHES - 1, int(count / inflated) - 2))
    half = student_quantile(1 - alpha, freedom) * error * math.sqrt(inflated)
    return Estimate(value, value - half, value + half)


def _line(moments: Sequence[float], values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Give the slope of the least-squares line, its standard error, and what is left of the values beside the line."""
    count = len(values)
    centre, average = sum(moments) / count, sum(values) / count
    spread = sum((x - centre) ** 2 for x in moments)
    value = sum((x - centre) * (y - average) for x, y in zip(moments, values, strict=True)) / spread
    left = [y - average - value * (x - centre) for x, y in zip(moments, values, strict=True)]
    return value, math.sqrt(sum(each**2 for each in left) / (count - 2) / spread), left


def holm(tests: Sequence[Callable[[float], bool]], alpha: float) -> list[float]:
    """Give the error that each of several tests may have, so that all together are wrong with probability alpha.

    A test tells whether it rejects with an error. The step-down procedure of Holm (1979): all share the error, those
    that do not reject then share what is left without those that do, until none does.
    """
    alphas, left = [alpha] * len(tests), list(range(len(tests)))
    while left:
        for number in left:
            alphas[number] = alpha / len(left)
        remaining = [number for number in left if not tests[number](alphas[number])]
        if len(remaining) == len(left):
            break
        left = remaining
    return alphas


# Distributions, from the incomplete beta function.


def normal_quantile(probability: float) -> float:
    """Give a quantile of the standard normal distribution."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)


def normal_cdf(value: float) -> float:
    """Give the probability that a standard normal variable is below a value."""
    return math.erfc(-value / math.sqrt(2)) / 2


@cache  # the same few are needed each second
def student_quantile(probability: float, freedom: int) -> float:
    """Give a quantile of Student's t distribution, for a probability of 1/2 or more."""
    # P(|t| > x) = I(freedom / (freedom + x²); freedom / 2, 1 / 2)
    tail = beta_quantile(2 * (1 - probability), freedom / 2, 0.5)
    return math.sqrt(freedom * (1 - tail) / tail) if tail else math.inf


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Give a quantile of the beta distribution.

    By bisection, and by inverse quadratic interpolation where that is safe (Chandrupatla 1997).
    """
    if not 0 < probability < 1:
        return float(probability > 0)
    x1, x2 = 1.0, 0.0
    f1, f2 = 1 - probability, -probability
    x3, f3, t = x1, f1, 0.5
    for _ in range(200):
        x = x1 + t * (x2 - x1)
        f = beta(x, a, b) - probability
        if (f > 0) == (f1 > 0):
            x3, f3 = x1, f1
        else:
            x3, f3, x2, f2 = x2, f2, x1, f1
        x1, f1 = x, f
        best = x1 if abs(f1) < abs(f2) else x2
        tolerance = 2e-14 * best
        if f1 == 0 or abs(x2 - x1) <= max(2 * tolerance, 1e-300):
            return best
        xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
        if phi**2 < xi and (1 - phi) ** 2 < 1 - xi:
            t = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
        else:
            t = 0.5
        smallest = tolerance / abs(x2 - x1)
        t = min(1 - smallest, max(smallest, t))
    return best


def beta(x: float, a: float, b: float) -> float:
    """Give the regularized incomplete beta function I(x; a, b), by its continued fraction.

    Source: DLMF 8.17.22, evaluated forwards (Lentz 1976); accurate to about 1e-12.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges slowly here, and fast for the mirror image
        return 1 - beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    tiny = 1e-300
    c, d, fraction = 1.0, 0.0, 1.0
    for step in range(10_000):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / ((1 + term * d) or tiny)
        c = (1 + term / c) or tiny
        fraction *= c * d
        if step and abs(1 - c * d) < 1e-14:
            break
    return front * (fraction - 1) / a


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Find where an increasing function is 0, between two values; the nearer of them where it is not."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return (low + high) / 2


def joined(*series: Sequence[float]) -> Iterator[tuple[Sequence[float], ...]]:
    """Give the batches singly, joined by two, by four, … while enough remain: neighbours may be alike."""
    while len(series[0]) >= FEWEST_BATCHES:
        yield series
        if len(series[0]) < 2 * _ENOUGH_BATCHES:
            return
        series = tuple(_paired(each) for each in series)


def _paired(values: Sequence[float]) -> list[float]:
    return [sum(values[at : at + 2]) for at in range(0, len(values) - len(values) % 2, 2)]
