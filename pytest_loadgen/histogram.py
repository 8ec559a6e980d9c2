"""Latencies, counted in HdrHistogram's buckets."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_loadgen.units import Duration

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

# HdrHistogram's layout for three significant digits on a floor of 64 ns: below 2**17 ns each
# bucket is 64 ns wide, from there each doubling of the value doubles the width, so that a bucket
# is never wider than 0.1 % of what it holds.
_FLOOR_BITS = 6
_BUCKET_BITS = 11
_HIGHEST = 3_600_000_000_000

MASKS = tuple(-1 << max(_FLOOR_BITS, bits - _BUCKET_BITS) for bits in range(64))
"""``ns & MASKS[ns.bit_length()]`` is the lower edge of a latency's bucket, for the engine's loop."""


class Histogram:
    """Latencies, each known to 0.1 % or 64 ns; only buckets that hold something take memory."""

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        """Take counts by the lower edge of their bucket, in ns."""
        self.counts: Counter[int] = Counter(counts or {})

    @property
    def count(self) -> int:
        """How many latencies there are."""
        return self.counts.total()

    def record(self, seconds: float, count: int = 1) -> None:
        """Add a latency; negative ones count as 0, ones beyond an hour as an hour."""
        nanoseconds = round(min(max(0.0, seconds * 1e9), _HIGHEST))
        self.counts[nanoseconds & MASKS[nanoseconds.bit_length()]] += count

    def percentile(self, percent: float) -> Duration:
        """Give the latency that so many percent of all do not exceed: the upper edge of its bucket.

        Percent is from 0 to 100. Raises ValueError where there is nothing or no such percentile.
        """
        return self.at_rank(rank(percent, self.count))

    def at_rank(self, wanted: int) -> Duration:
        """Give the latency of one request, counted from 1 at the fastest."""
        seen = 0
        for edge in sorted(self.counts):
            seen += self.counts[edge]
            if seen >= wanted:
                return Duration(_upper(edge) / 1e9)
        raise ValueError(f"rank {wanted} of {seen} latencies")

    def over(self, limit: float) -> int:
        """Count the latencies above a limit in seconds; those in the limit's own bucket are not."""
        nanoseconds = round(limit * 1e9) if math.isfinite(limit) else limit
        return sum(count for edge, count in self.counts.items() if edge > nanoseconds)

    @property
    def mean(self) -> float:
        """The mean in seconds, to the width of the buckets; 0 of nothing."""
        total = sum((edge + _upper(edge)) / 2 * count for edge, count in self.counts.items())
        return total / self.count / 1e9 if self.count else 0.0

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]  # it grows by record

    def __repr__(self) -> str:
        if not self.count:
            return "<Histogram of nothing>"
        return f"<Histogram of {self.count:,}: p50 {self.percentile(50)}, max {self.percentile(100)}>"

    def __getstate__(self) -> dict[int, int]:
        return dict(self.counts)

    def __setstate__(self, counts: dict[int, int]) -> None:
        self.counts = Counter(counts)

    def encode(self) -> str:
        """Write as HdrHistogram V2 does (compressed, base64), in ns, for any HDR tool to read."""
        histogram = _hdr()
        for edge, count in self.counts.items():
            histogram.record_value(edge, count)
        encoded: bytes = histogram.encode()
        return encoded.decode()

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """Read what `encode`, or another HDR tool that counts ns, wrote. Raises ValueError."""
        from hdrh.codec import HdrCookieException, HdrLengthException
        from hdrh.histogram import HdrHistogram

        try:
            decoded = HdrHistogram.decode(text)
        except (HdrCookieException, HdrLengthException, zlib.error, IndexError, ValueError, TypeError) as error:
            raise ValueError(f"not an HdrHistogram: {error}") from error
        found = cls()
        # Straight over the array: the library's own iterators take 40 ms for one histogram.
        for index, count in enumerate(list(decoded.counts)):
            if count:
                edge = decoded.get_value_from_index(index)
                found.counts[edge & MASKS[edge.bit_length()]] += count
        return found


def rank(percent: float, count: int) -> int:
    """Tell which of so many sorted values a percentile is, counted from 1. Raises ValueError."""
    if not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent}: write a number from 0 to 100")
    if not count:
        raise ValueError("there is no percentile of nothing")
    # Rounded before it is rounded up: 99 % of 1,000 is the 990th, not the 991st for a stray bit.
    exact = round(percent * count / 100, 6)
    return max(1, int(exact) + (exact > int(exact)))


def _upper(edge: int) -> int:
    return edge - MASKS[edge.bit_length()] - 1


def _hdr() -> HdrHistogram:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram(1 << _FLOOR_BITS, _HIGHEST, 3)
