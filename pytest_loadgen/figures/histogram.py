"""Histograms of latencies, with HdrHistogram's buckets."""

from __future__ import annotations

import base64
import math
import re
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
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
# How large an encoded histogram may be in bytes, and when it is inflated. Those written here have a tenth of that;
# without a limit 1 MB may inflate to 1 GB.
_LARGEST = 1 << 20
_INFLATED = 4 << 20
_HEADER = 8
_DIGITS = slice(12, 16)
_MOST_DIGITS = 4

MASKS = tuple(-1 << max(_FLOOR_BITS, bits - _BUCKET_BITS) for bits in range(64))
"""``ns & MASKS[ns.bit_length()]`` is the lower edge of a latency's bucket, for the engine's loop."""


class Histogram:
    """Counts of latencies, each exact to 0.1 % or 64 ns; only buckets that are not empty take memory.

    The wider buckets of other tools keep their width: figures then take each latency to be as slow as
    it may have been, and `best_and_worst` gives both ends.
    """

    # Sorted arrays: a result keeps three histograms per second, and a dict takes ten times the memory.
    __slots__ = ("_edges", "_numbers", "_wide")

    def __init__(
        self, counts: Mapping[int, int] | None = None, wide: Mapping[tuple[int, int], int] | None = None
    ) -> None:
        """Take counts by the lower edge of their bucket in ns, and those of wider buckets by both edges."""
        fine = dict(counts or {})
        coarse: Counter[tuple[int, int]] = Counter()
        for (low, high), number in (wide or {}).items():
            if _edge(low) == _edge(high):
                fine[_edge(high)] = fine.get(_edge(high), 0) + number
            elif number:
                coarse[low, high] += number
        edges = sorted(fine if all(fine.values()) else (edge for edge, number in fine.items() if number))
        self._edges = array("q", edges)
        self._numbers = array("q", map(fine.__getitem__, edges))
        self._wide = tuple(sorted(coarse.items()))

    @classmethod
    def from_buckets(cls, buckets: Iterable[tuple[float, float, int]]) -> Histogram:
        """Take other tools' buckets: both edges in seconds, and the count above the lower and up to the upper one."""
        wide: Counter[tuple[int, int]] = Counter()
        for low, high, number in buckets:
            wide[_nanoseconds(low), _nanoseconds(high)] += number
        return cls(wide=wide)

    @classmethod
    def from_spectrum(cls, rows: Iterable[tuple[float, int]], lowest: float | None = None) -> Histogram:
        """Take rows of a latency in seconds and the number of latencies up to it.

        The latencies of the rows are exact; those between two rows may be anywhere between them.
        None is below `lowest`, by default the first row's.
        """
        buckets = []
        before, seen = lowest, 0
        for value, cumulative in sorted(rows):
            buckets.append((value if before is None else before, value, cumulative - seen))
            before, seen = value, max(seen, cumulative)
        return cls.from_buckets(bucket for bucket in buckets if bucket[2] > 0)

    @classmethod
    def from_percentiles(
        cls, rows: Iterable[tuple[float, float]], count: int, lowest: float | None = None
    ) -> Histogram:
        """Take percentiles (0 to 100, each with its latency in seconds) of `count` latencies."""
        return cls.from_spectrum(((value, rank(percent, count)) for percent, value in rows) if count else (), lowest)

    @property
    def counts(self) -> dict[int, int]:
        """The counts by the lower edge of their bucket, in ns; of wider ones, by that of their upper end."""
        counts = Counter(dict(zip(self._edges, self._numbers, strict=True)))
        for (_, high), number in self._wide:
            counts[_edge(high)] += number
        return dict(sorted(counts.items()))

    @property
    def wide(self) -> dict[tuple[int, int], int]:
        """The counts of buckets wider than this histogram's own, by both edges in ns."""
        return dict(self._wide)

    def spectrum(self) -> list[tuple[float, int]]:
        """Give rows of a latency in seconds and the number of latencies up to it, in ascending order."""
        counts = self.counts
        return [(_upper(edge) / 1e9, seen) for edge, seen in zip(counts, accumulate(counts.values()), strict=True)]

    @property
    def count(self) -> int:
        """How many latencies there are."""
        return sum(self._numbers) + sum(number for _, number in self._wide)

    def best_and_worst(self) -> tuple[Histogram, Histogram]:
        """Give the best and the worst that this histogram may be; both are itself where it has no wide buckets."""
        if not self._wide:
            return self, self
        best = Counter(dict(zip(self._edges, self._numbers, strict=True)))
        for (low, _), number in self._wide:
            best[_upper(_edge(low)) + 1] += number
        return Histogram(best), Histogram(self.counts)

    def record(self, seconds: float, count: int = 1) -> None:
        """Add a latency; negative ones count as 0, ones beyond an hour as an hour."""
        edge = _edge(_nanoseconds(seconds))
        at = bisect_left(self._edges, edge)
        if at < len(self._edges) and self._edges[at] == edge:
            self._numbers[at] += count
        elif count:
            self._edges.insert(at, edge)
            self._numbers.insert(at, count)

    def percentile(self, percent: float) -> Duration:
        """Give the latency that this percentage (0 to 100) of all does not exceed: the upper edge of its bucket.

        Raises ValueError where the histogram is empty or there is no such percentile.
        """
        return self.at_rank(rank(percent, self.count))

    def at_rank(self, wanted: int) -> Duration:
        """Give one of the latencies in ascending order, counted from 1. Raises ValueError where there are fewer."""
        if self._wide:
            return self.best_and_worst()[1].at_rank(wanted)
        seen = 0
        for edge, number in zip(self._edges, self._numbers, strict=True):
            seen += number
            if seen >= wanted:
                return Duration(_upper(edge) / 1e9)
        raise ValueError(f"rank {wanted} of {seen} latencies")

    def descending(self) -> Iterator[tuple[float, int]]:
        """Give each latency in seconds and how many have it, the slowest first."""
        if self._wide:
            yield from self.best_and_worst()[1].descending()
            return
        for edge, number in zip(reversed(self._edges), reversed(self._numbers), strict=True):
            yield _upper(edge) / 1e9, number

    def over(self, limit: float) -> int:
        """Count the latencies above a limit in seconds; those in the limit's own bucket do not count."""
        if math.isinf(limit):
            return 0 if limit > 0 else self.count
        ns = round(limit * 1e9)
        wide = sum(number for (_, high), number in self._wide if _edge(high) > ns)
        return sum(self._numbers[bisect_right(self._edges, ns) :]) + wide

    @property
    def mean(self) -> float:
        """The mean in seconds, as exact as the buckets; 0 if the histogram is empty."""
        fine = zip(self._edges, self._numbers, strict=True)
        total = sum((edge + _upper(edge)) / 2 * number for edge, number in fine)
        total += sum((low + high) / 2 * number for (low, high), number in self._wide)
        return total / self.count / 1e9 if self else 0.0

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram.sum((self, other))

    @classmethod
    def sum(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Add up any number of histograms."""
        # Many workers' histograms are added up each second: a plain dict takes a third of a Counter's time.
        counts: dict[int, int] = {}
        known = counts.get
        wide: Counter[tuple[int, int]] = Counter()
        for each in histograms:
            for edge, number in zip(each._edges, each._numbers, strict=True):
                counts[edge] = known(edge, 0) + number
            wide.update(each.wide)
        return cls(counts, wide)

    def __bool__(self) -> bool:
        return bool(self._numbers or self._wide)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and (self.counts, self._wide) == (other.counts, other._wide)

    __hash__ = None  # type: ignore[assignment]  # record changes it

    def __repr__(self) -> str:
        if not self:
            return "<Histogram, empty>"
        return f"<Histogram of {self.count:,}: p50 {self.percentile(50)}, max {self.percentile(100)}>"

    def encode(self) -> str:
        """Encode as HdrHistogram V2 (compressed, base64), in ns, which any HDR tool can read.

        Latencies of wide buckets are as slow there as they may be; the buckets follow after a semicolon.
        """
        histogram = _hdr()
        for edge, count in self.counts.items():
            histogram.record_value(edge, count)
        encoded: bytes = histogram.encode()
        wide = ",".join(f"{low}-{high}x{number}" for (low, high), number in self._wide)
        return f"{encoded.decode()};{wide}" if wide else encoded.decode()

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """Read what `encode` wrote, or another HDR tool that counts in ns. Raises ValueError."""
        from hdrh.codec import HdrCookieException, HdrLengthException
        from hdrh.histogram import HdrHistogram

        text, _, buckets = text.partition(";")
        try:
            _check_size(text)
            decoded = HdrHistogram.decode(text)
            found = [tuple(map(int, re.split("[-x]", bucket))) for bucket in buckets.split(",") if bucket]
            wide = {(low, high): number for low, high, number in found}
            if not all(0 <= low <= high and number > 0 for low, high, number in found):
                raise ValueError("invalid wide buckets")
        except (HdrCookieException, HdrLengthException, zlib.error, IndexError, ValueError, TypeError) as error:
            raise ValueError(f"not an HdrHistogram: {error}") from error
        counts: Counter[int] = Counter()
        # Not with the library's own iterators, which take 40 ms; most of the array's 50,000 counts are outside these.
        if decoded.total_count:
            first, last = map(decoded.get_counts_array_index, (decoded.min_value, decoded.max_value))
            for index, count in enumerate(decoded.counts[first : last + 1], first):
                if count:
                    counts[_edge(decoded.get_value_from_index(index))] += count
        for (_, high), number in wide.items():
            counts[_edge(high)] -= number
        if any(number < 0 for number in counts.values()):
            raise ValueError("not an HdrHistogram: its wide buckets hold more than it does")
        return cls(counts, wide)


def rank(percent: float, count: int) -> int:
    """Give the position of a percentile among `count` sorted values, counted from 1. Raises ValueError."""
    if not 0 <= percent <= 100:
        raise ValueError(f"percentile {percent}: write a number from 0 to 100")
    if not count:
        raise ValueError("there are no percentiles without latencies")
    # Rounded before it is rounded up: 99 % of 1,000 is the 990th, not the 991st because of a stray bit.
    exact = round(percent * count / 100, 6)
    return max(1, int(exact) + (exact > int(exact)))


def _check_size(text: str) -> None:
    """Refuse a histogram that would take long to decode. Raises ValueError or zlib.error."""
    if len(text) > _LARGEST:
        raise ValueError(f"more than {_LARGEST:,} characters")
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(base64.b64decode(text)[_HEADER:], _INFLATED)
    if inflater.unconsumed_tail:
        raise ValueError(f"more than {_INFLATED:,} bytes when inflated")
    # A few bytes may stand for millions of empty buckets.
    if (digits := int.from_bytes(inflated[_DIGITS])) > _MOST_DIGITS:
        raise ValueError(f"{digits} significant digits, instead of at most {_MOST_DIGITS}")


def _nanoseconds(seconds: float) -> int:
    return round(min(max(0.0, seconds * 1e9), _HIGHEST))


def _edge(ns: int) -> int:
    return ns & MASKS[ns.bit_length()]


def _upper(edge: int) -> int:
    return edge - MASKS[edge.bit_length()] - 1


def _hdr() -> HdrHistogram:
    from hdrh.histogram import HdrHistogram

    return HdrHistogram(1 << _FLOOR_BITS, _HIGHEST, 3)
