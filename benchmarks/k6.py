"""How k6 judges a percentile: over all data so far, every 2 s and at the end."""

from collections.abc import Sequence

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval

EVERY = 2


def misses(intervals: Sequence[Interval], limit: float) -> bool:
    """Return whether p99 was at or above its limit at any evaluation: `abortOnFail` ends the run there."""
    seen = Histogram()
    for number, interval in enumerate(intervals, 1):
        seen += interval.latency
        evaluated = number == len(intervals) or round(interval.start + 1) % EVERY == 0
        if evaluated and _p99(seen) >= limit:
            return True
    return False


def _p99(latency: Histogram) -> float:
    """Interpolate between the two nearest, as k6's TrendSink does."""
    at = 0.99 * (latency.count - 1)
    low, high = (float(latency.at_rank(min(int(at) + more, latency.count))) for more in (1, 2))
    return low + (high - low) * (at - int(at))
