"""Latencies, counted in HdrHistogram's buckets."""

from __future__ import annotations

import math
import zlib
from array import array
from bisect import bisect_left, bisect_right
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

    # Sorted, and in arrays: a result keeps three histograms a second, and a dict takes ten times
    # the memory.
    __slots__ = ("_edges", "_numbers")

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        """Take counts by the lower edge of their bucket, in ns."""
        found = sorted(counts.items()) if counts else []
        self._edges = array("q", [edge for edge, number in found if number])
        self._numbers = array("q", [number for _, number in found if number])

    @property
    def counts(self) -> dict[int, int]:
        """The counts by the lower edge of their bucket, in ns."""
        return dict(zip(self._edges, self._numbers, strict=True))

    @property
    def count(self) -> int:
        """How many latencies there are."""
        return sum(self._numbers)

    def record(self, seconds: float, count: int = 1) -> None:
        """Add a latency; negative ones count as 0, ones beyond an hour as an hour."""
        nanoseconds = round(min(max(0.0, seconds * 1e9), _HIGHEST))
        edge = nanoseconds & MASKS[nanoseconds.bit_length()]
        at = bisect_left(self._edges, edge)
        if at < len(self._edges) and self._edges[at] == edge:
            self._numbers[at] += count
        elif count:
            self._edges.insert(at, edge)
            self._numbers.insert(at, count)

    def percentile(self, percent: float) -> Duration:
        """Give the latency that so many percent of all do not exceed: the upper edge of its bucket.

        Percent is from 0 to 100. Raises ValueError where there is nothing or no such percentile.
        """
        return self.at_rank(rank(percent, self.count))

    def at_rank(self, wanted: int) -> Duration:
        """Give the latency of one request, counted from 1 at the fastest."""
        seen = 0
        for edge, number in zip(self._edges, self._numbers, strict=True):
            seen += number
            if seen >= wanted:
                return Duration(_upper(edge) / 1e9)
        raise ValueError(f"rank {wanted} of {seen} latencies")

    def over(self, limit: float) -> int:
        """Count the latencies above a limit in seconds; those in the limit's own bucket are not."""
        if math.isinf(limit):
            return 0 if limit > 0 else self.count
        return sum(self._numbers[bisect_right(self._edges, round(limit * 1e9)) :])

    @property
    def mean(self) -> float:
        """The mean in seconds, to the width of the buckets; 0 of nothing."""
        edges, numbers = self._edges, self._numbers
        total = sum((edge + _upper(edge)) / 2 * number for edge, number in zip(edges, numbers, strict=True))
        return total / self.count / 1e9 if numbers else 0.0

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(Counter(self.counts) + Counter(other.counts))

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]  # it grows by record

    def __repr__(self) -> str:
        if not self:
            return "<Histogram of nothing>"
        return f"<Histogram of {self.count:,}: p50 {self.percentile(50)}, max {self.percentile(100)}>"

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
        counts: Counter[int] = Counter()
        # Straight over the array: the library's own iterators take 40 ms for one histogram.
        for index, count in enumerate(list(decoded.counts)):
            if count:
                edge = decoded.get_value_from_index(index)
                counts[edge & MASKS[edge.bit_length()]] += count
        return cls(counts)


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
