"""Confidence intervals of means and trends, tests of shares, and the distributions that they need.

Requests queue, so slow ones come in bursts. Textbook intervals assume independent requests, and contain the true value
far too rarely. Here the variance is that between batches (the intervals of a run): batch means (Law & Carson 1979;
Alexopoulos & Seila 1998), and the effective sample size of clustered samples (Korn & Graubard 1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

FEWEST_BATCHES = 4
"""With fewer batches than this, the variance between them cannot be estimated."""
# The highest autocorrelation assumed: with a higher one, no run would be long enough.
_MOST_CORRELATED = 0.9
# The tail of the latencies has at least this many requests.
_SHORTEST_TAIL = 5
# An error below this counts as 0.
_SMALLEST_ALPHA = 1e-12
# A skewness below this makes no difference, and its inverse would be inexact.
_NOT_SKEWED = 1e-6


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


def at_most(events: float, size: float, share: float, overdispersion: float = 1.0) -> float:
    """Give the probability of this many bad requests or fewer among `size`; counts may be fractions.

    The share is that of the bad requests. If it varies through the run, the variance is `overdispersion` times that of
    independent requests: the expected number of bad requests has a gamma distribution (Greenwood & Yule 1920). With 1,
    the distribution is exactly binomial.
    """
    if events >= size or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    good = size - events
    shape = 1 / (1 / good + (overdispersion - 1) / (size * share * (1 - share)))
    return beta(shape / (shape + good * share / (1 - share)), shape, events + 1)


def at_least(events: float, size: float, share: float) -> float:
    """Give the probability of this many bad requests or more among `size` independent ones, of which a share is bad.

    The probability of exactly this many counts half (mid-P, Lancaster 1961); otherwise the test is too conservative.
    """
    if events <= 0:
        return 1.0
    more = beta(share, events, size - events + 1) if events < size else share**size
    exactly = more + at_most(events, size, share) - 1
    return more - exactly / 2


@dataclass(frozen=True)
class Spread:
    """The number of requests, their mean, and the second and third central moments."""

    count: int
    mean: float
    variance: float
    third: float

    @classmethod
    def of(cls, rows: Sequence[tuple[float, int]]) -> Spread:
        """Compute it from values, each with its number of requests."""
        count = sum(number for _, number in rows)
        if not count:
            return cls(0, 0.0, 0.0, 0.0)
        mean = sum(value * number for value, number in rows) / count
        second, third = (sum((value - mean) ** power * number for value, number in rows) / count for power in (2, 3))
        return cls(count, mean, second, third)

    @classmethod
    def sum(cls, parts: Sequence[Spread]) -> Spread:
        """Combine those of several batches."""
        count = sum(each.count for each in parts)
        if not count:
            return cls(0, 0.0, 0.0, 0.0)
        mean = sum(each.mean * each.count for each in parts) / count
        variance = third = 0.0
        for each in parts:
            apart = each.mean - mean
            variance += each.count * (each.variance + apart**2)
            third += each.count * (each.third + 3 * each.variance * apart + apart**3)
        return cls(count, mean, variance / count, third / count)

    @property
    def skewness(self) -> float:
        """The skewness of the values; 0 where all are the same."""
        return self.third / self.variance**1.5 if self.variance else 0.0


def mean(
    values: Sequence[float], alpha: float, weights: Sequence[float] | None = None, spread: Spread | None = None
) -> Estimate:
    """Bound a mean, given the means of batches; each bound alone is wrong with probability alpha.

    By Student's t, corrected for autocorrelation: correlated batches count as fewer (Bayley & Hammersley 1946). Few
    batches estimate the autocorrelation badly, so one standard error is added.

    With the spread of a single request, that applies only to the part of the variance that independent requests do not
    explain. The bounds are then also corrected for skewness (Hall 1992): that of independent requests and, for the rest
    of the variance, that of the batches, to which the upper bound adds half a standard error. Rates have no spread:
    what is skewed in them is a start or an end. Without weights all batches count the same.
    """
    count = len(values)
    sizes = [1.0] * count if weights is None else weights
    total = sum(sizes)
    value = sum(each * size for each, size in zip(values, sizes, strict=True)) / total if total else math.nan
    if count < FEWEST_BATCHES:
        return Estimate(value, -math.inf, math.inf)
    # Batches differ in size: the residuals of a ratio estimate (Cochran 1977, 6.3).
    left = [(each - value) * size * count / total for each, size in zip(values, sizes, strict=True)]
    between = sum(each**2 for each in left) / (count - 1)
    independent = spread.variance * count / total if spread else 0.0
    variance = max(between, independent)
    if not variance:
        return Estimate(value, value, value)
    # The part that independent requests do not explain.
    extra = 1 - independent / variance
    correlation = min(_cautious_autocorrelation(left), extra)
    size = count * (1 - correlation) / (1 + correlation)
    below = above = 0.0
    if spread:
        explained = spread.skewness * math.sqrt(count / total) * (1 - extra) ** 1.5
        skewness, slack = _skewness(left), math.sqrt(6 / count) / 2
        below = min(0.0, explained + extra * min(0.0, skewness))
        above = max(0.0, explained + extra * max(0.0, skewness + slack))
    student = student_quantile(1 - alpha, count - 1)
    deviation = math.sqrt(variance)
    low, high = (
        value - deviation * _studentized(quantile, size, skewed)
        for quantile, skewed in ((student, below), (-student, above))
    )
    return Estimate(value, low, high)


def tail_allowance(descending: Iterable[tuple[float, int]], total: int, alpha: float) -> float:
    """Give by how much the mean may be larger than measured, because the run shows too little of its tail.

    Takes values in descending order, each with its number of requests, and the total number. Wrong with probability
    alpha; may be infinite. The slowest requests, as many as the square root of the total, are fitted by the tail of a
    Pareto distribution (Hill 1975; Peng 2001), the heaviest that they allow. If the slowest quarter of them allows
    less, that counts: 1 % of requests that miss a cache look like the beginning of a heavy tail, and are not.
    """
    size = tail(total)
    slowest: list[float] = []
    for value, number in descending:
        slowest += [value] * min(number, size + 1 - len(slowest))
        if len(slowest) > size:
            return min(_beyond(slowest, each, alpha) for each in {size, tail(total // 16)}) / total
    return math.inf  # all are in the tail, so it has no threshold


def tail(total: int) -> int:
    """Give how many of the slowest requests make up the tail."""
    return max(_SHORTEST_TAIL, math.isqrt(total))


def _beyond(slowest: Sequence[float], size: int, alpha: float) -> float:
    """Give by how much the sum of the `size` slowest values may be larger; the value after them is the threshold."""
    begin = slowest[size]
    logarithms = sum(math.log(value / begin) for value in slowest[:size]) / size
    if not logarithms:
        return 0.0
    # The logarithms are exponential; a quantile of their mean (Wilson & Hilferty 1931).
    part = 1 - 1 / (9 * size) - normal_quantile(1 - alpha) / (3 * math.sqrt(size)) if alpha > _SMALLEST_ALPHA else 0.0
    index = logarithms / part**3 if part > 0 else math.inf
    measured = sum(slowest[:size]) - size * begin
    return max(0.0, size * begin * index / (1 - index) - measured) if index < 1 else math.inf


def _studentized(quantile: float, size: float, skewness: float) -> float:
    """Give a quantile of the mean of skewed batches, in standard deviations of a batch.

    Hall's cubic transformation (1992), which is Johnson's (1978) made monotone, inverted.
    """
    if abs(skewness) < _NOT_SKEWED:
        return quantile / math.sqrt(size)
    inner = 1 + skewness * (quantile / math.sqrt(size) - skewness / (6 * size))
    return 3 / skewness * (math.cbrt(inner) - 1)


def _cautious_autocorrelation(left: Sequence[float]) -> float:
    """Give the first autocorrelation of residuals plus one standard error, between 0 and a value below 1."""
    count = len(left)
    found = autocorrelation(left)
    found += math.sqrt((1 - min(1.0, max(0.0, found)) ** 2) / count)
    return min(_MOST_CORRELATED, max(0.0, found))


def _skewness(left: Sequence[float]) -> float:
    """Give the skewness of residuals, corrected for a small sample (Joanes & Gill 1998)."""
    count = len(left)
    second, third = (sum(each**power for each in left) / count for power in (2, 3))
    return third / second**1.5 * math.sqrt(count * (count - 1)) / (count - 2) if second else 0.0


def trend(moments: Sequence[float], values: Sequence[float], alpha: float) -> Estimate:
    """Bound the slope of the least-squares line through autocorrelated values.

    The residuals are modelled as an autoregressive process: with their first autocorrelation r, n values count as
    n * (1 - r) / (1 + r) independent ones (Santer et al. 2000).
    """
    count = len(values)
    if count < FEWEST_BATCHES:
        return Estimate(0.0, -math.inf, math.inf)
    value, error, left = _line(moments, values)
    correlation = min(_MOST_CORRELATED, max(0.0, autocorrelation(left)))
    inflated = (1 + correlation) / (1 - correlation)
    freedom = min(count - 2, max(FEWEST_BATCHES - 1, int(count / inflated) - 2))
    half = student_quantile(1 - alpha, freedom) * error * math.sqrt(inflated)
    return Estimate(value, value - half, value + half)


def autocorrelation(left: Sequence[float]) -> float:
    """Estimate the first autocorrelation of residuals."""
    squares = sum(each**2 for each in left)
    found = sum(one * following for one, following in pairwise(left)) / squares if squares else 0.0
    # Few values estimate it too low (Marriott & Pope 1954).
    return found + (1 + 4 * found) / len(left)


def _line(moments: Sequence[float], values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Give the slope of the least-squares line, its standard error, and the residuals."""
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


@cache  # each second needs the same few
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
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) > 0 else (middle, high)
    return (low + high) / 2
