"""Histograms: percentiles by rank, exact to 0.1 % or 64 ns, in HdrHistogram's own buckets."""

import base64
import math
import pickle
import struct
import zlib
from collections import Counter
from contextlib import suppress

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.figures.histogram import MASKS, Histogram, rank
from pytest_loadgen.units import NoAnswer
from tests.builders.figures import histogram

HOUR = 3600
LATENCIES = st.floats(0, HOUR)


HISTOGRAMS = st.lists(LATENCIES, max_size=20).map(lambda latencies: histogram(*latencies))


@pytest.mark.parametrize(
    ("percent", "count", "wanted"),
    [
        (0, 10, 1),
        (50, 10, 5),
        (50, 11, 6),
        (50, 1, 1),
        (90, 10, 9),
        (99, 100, 99),
        (99, 1000, 990),
        (99, 101, 100),
        (99.9, 1000, 999),
        (99.9, 10, 10),
        (0.07, 10_000, 7),
        (100, 10, 10),
    ],
)
def test_rank(percent: float, count: int, wanted: int) -> None:
    """A percentile is the least value that the percentage of all values does not exceed."""
    assert rank(percent, count) == wanted
    assert histogram(*range(1, count + 1)).percentile(percent) == pytest.approx(wanted, rel=0.001)


@pytest.mark.parametrize(
    ("percent", "latencies", "message"),
    [
        (50, [], "there are no percentiles without latencies"),
        (-1, [1], "percentile -1: write a number from 0 to 100"),
        (100.1, [1], "percentile 100.1: write a number from 0 to 100"),
        (math.nan, [1], "percentile nan: write a number from 0 to 100"),
    ],
)
def test_no_percentile(percent: float, latencies: list[float], message: str) -> None:
    """There is no percentile without latencies, nor one beyond 100."""
    with pytest.raises(ValueError, match="percentile") as caught:
        histogram(*latencies).percentile(percent)
    assert str(caught.value) == message


def test_ranks_end() -> None:
    """There is no request slower than the slowest."""
    assert histogram(1, 2).at_rank(2) == pytest.approx(2, rel=0.001)
    with pytest.raises(ValueError, match="rank 3 of 2 latencies"):
        histogram(1, 2).at_rank(3)


@given(LATENCIES)
def test_precision(latency: float) -> None:
    """A latency comes out at most 0.1 % or 64 ns larger than it went in, and never smaller."""
    found = histogram(latency).percentile(100)
    assert -0.5e-9 <= found - latency <= max(64e-9, latency * 0.001)


@pytest.mark.parametrize(
    ("latency", "found"),
    [(-1, 0), (-math.inf, 0), (1e-12, 0), (HOUR + 1, HOUR), (1e300, HOUR), (math.inf, HOUR), (NoAnswer(), HOUR)],
)
def test_clipping(latency: float, found: float) -> None:
    """Negative latencies count as 0, those beyond an hour as an hour."""
    assert histogram(latency) == histogram(found)


@pytest.mark.parametrize(
    ("limit", "over"),
    [(0, 4), (0.0999, 4), (0.1, 3), (0.2, 2), (0.25, 2), (0.3, 0), (NoAnswer(), 0), (-math.inf, 4)],
)
def test_over(limit: float, over: int) -> None:
    """Latencies slower than a limit are over it; those in the limit's own bucket are not."""
    assert histogram(0.1, 0.2, 0.3, 0.3).over(limit) == over
    assert histogram(64e-6).over(64e-6) == 0


def test_mean() -> None:
    """The mean is that of the latencies, however often each was recorded, and 0 of an empty histogram."""
    found = histogram(0.1)
    found.record(0.4, count=3)
    assert found.mean == pytest.approx((0.1 + 3 * 0.4) / 4, rel=0.001)
    assert Histogram().mean == 0


def test_printing() -> None:
    """A histogram shows what is in it; a latency recorded zero times is not."""
    assert repr(histogram(0.1, 0.1, 0.2)) == "<Histogram of 3: p50 100ms, max 200ms>"
    nothing = Histogram()
    nothing.record(0.1, count=0)
    assert repr(nothing) == "<Histogram, empty>"
    assert nothing.mean == 0


@given(HISTOGRAMS, HISTOGRAMS)
def test_adding(one: Histogram, other: Histogram) -> None:
    """Histograms add up in either order, and are not changed by it."""
    before = Counter(one.counts), Counter(other.counts)
    assert one + other == other + one
    assert (one + other).count == one.count + other.count
    assert (one + Histogram()) == one
    assert (one.counts, other.counts) == before


@given(st.lists(LATENCIES, max_size=20))
def test_merging(latencies: list[float]) -> None:
    """Two workers together record what one would have recorded."""
    assert histogram(*latencies[::2]) + histogram(*latencies[1::2]) == histogram(*latencies)


@given(HISTOGRAMS)
def test_encoding(original: Histogram) -> None:
    """Nothing is lost in HdrHistogram's text, nor in a pickle."""
    assert Histogram.decode(original.encode()) == original
    assert pickle.loads(pickle.dumps(original)) == original


@pytest.mark.parametrize("bits", range(42))
def test_layout(bits: int) -> None:
    """The edges of buckets are HdrHistogram's own, for every size of value."""
    theirs = HdrHistogram(64, HOUR * 10**9, 3)
    for ns in (1 << bits, (1 << bits) + 63, (1 << bits) * 1.37, (2 << bits) - 1):
        value = min(int(ns), HOUR * 10**9)
        edge = value & MASKS[value.bit_length()]
        assert edge == theirs.get_lowest_equivalent_value(value)
        assert Histogram({edge: 1}).percentile(100) == theirs.get_highest_equivalent_value(value) / 1e9


def test_other_tools() -> None:
    """HdrHistogram reads what is written here, and what it wrote is read, whatever its precision."""
    theirs = HdrHistogram.decode(histogram(0.001, 0.002, 0.002).encode())
    assert theirs.get_total_count() == 3
    assert theirs.get_value_at_percentile(50) == pytest.approx(2e6, rel=0.001)
    finer = HdrHistogram(1, HOUR * 10**9, 4)
    finer.record_value(2_000_000, 3)
    assert Histogram.decode(finer.encode().decode()) == histogram(0.002, 0.002, 0.002)


WHOLE = base64.b64decode(histogram(0.1, 0.2).encode())
SPOILT = st.builds(
    lambda at, byte: base64.b64encode(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]).decode(),
    st.integers(0, len(WHOLE) - 1),
    st.integers(0, 255),
)
CUT = st.integers(0, len(WHOLE) - 1).map(lambda end: base64.b64encode(WHOLE[:end]).decode())


@pytest.mark.parametrize(
    "text", ["", "x", "no such thing", "ünïcode", "HISTFAAA", base64.b64encode(b"x" * 99).decode()]
)
def test_garbage(text: str) -> None:
    """A text that is not a histogram is a ValueError that says so."""
    with pytest.raises(ValueError, match=r"^not an HdrHistogram: "):
        Histogram.decode(text)


def test_bombs() -> None:
    """A small text that would inflate to a large one is refused before it does, and so is a large text."""
    packed = zlib.compress(bytes(5 << 20))
    bomb = base64.b64encode(struct.pack(">II", 0x1C849314, len(packed)) + packed).decode()
    for text, said in (bomb, "more than 4,194,304 bytes when inflated"), ("A" * (2 << 20), "more than 1,048,576"):
        with pytest.raises(ValueError, match=f"^not an HdrHistogram: {said}"):
            Histogram.decode(text)


@given(CUT)
def test_cut_short(text: str) -> None:
    """A truncated histogram is a ValueError."""
    with pytest.raises(ValueError, match=r"^not an HdrHistogram: "):
        Histogram.decode(text)


@given(SPOILT | st.text())
def test_spoilt(text: str) -> None:
    """A changed byte makes a ValueError or a histogram, and nothing else."""
    with suppress(ValueError):
        assert Histogram.decode(text).count >= 0


# What other tools counted in wider buckets.

WIDE = st.lists(st.tuples(LATENCIES, LATENCIES, st.integers(1, 9)), max_size=9).map(
    lambda drawn: Histogram.from_buckets((min(a, b), max(a, b), number) for a, b, number in drawn)
)


@pytest.mark.parametrize(
    ("made", "bounds"),
    [
        (Histogram.from_buckets([(0.1, 0.2, 3), (0.2, 0.4, 1)]), ([0.1, 0.1, 0.1, 0.2], [0.2, 0.2, 0.2, 0.4])),
        (Histogram.from_buckets([(0.1, 0.1, 3)]), ([0.1] * 3, [0.1] * 3)),
        # Two are as fast as 0.1 s, three up to 0.2 s, none more up to 0.3 s.
        (Histogram.from_spectrum([(0.1, 2), (0.2, 5), (0.3, 5)]), ([0.1] * 5, [0.1] * 2 + [0.2] * 3)),
        (Histogram.from_spectrum([(0.2, 5)], lowest=0.1), ([0.1] * 5, [0.2] * 5)),
        (Histogram.from_percentiles([(50, 0.1), (100, 0.2)], 4), ([0.1] * 4, [0.1] * 2 + [0.2] * 2)),
        (Histogram.from_percentiles([(50, 0.1)], 0), ([], [])),
    ],
)
def test_wide(made: Histogram, bounds: tuple[list[float], list[float]]) -> None:
    """A latency in a wide bucket may be anywhere in it; the ends of buckets, and buckets of no width, are exact."""
    for found, expected in zip(made.best_and_worst(), bounds, strict=True):
        latencies = [float(found.at_rank(number)) for number in range(1, found.count + 1)]
        assert latencies == pytest.approx(expected, rel=0.003)
    assert made.count == len(bounds[0])
    if made:
        assert made.percentile(50) == made.best_and_worst()[1].percentile(50)


@given(WIDE, HISTOGRAMS, LATENCIES)
def test_wide_adds_up(wide: Histogram, fine: Histogram, limit: float) -> None:
    """The best case has the fewest latencies over a limit, the worst case the most; sums keep both."""
    both = wide + fine
    best, worst = both.best_and_worst()
    assert best.over(limit) <= worst.over(limit) == both.over(limit)
    assert best.count == worst.count == both.count == wide.count + fine.count
    assert both == fine + wide
    assert both.best_and_worst()[0] == wide.best_and_worst()[0] + fine
    assert best.mean <= both.mean * 1.003 + 1e-6


@given(WIDE)
def test_wide_encoding(wide: Histogram) -> None:
    """How wide the buckets are survives, and other tools read the rest."""
    assert Histogram.decode(wide.encode()) == wide
    assert HdrHistogram.decode(wide.encode().partition(";")[0]).get_total_count() == wide.count


@pytest.mark.parametrize("tail", ["x", "1-2", "2-1x1", "1-2x99", "1-2x-1", "1-2xx", "-"])
def test_wide_garbage(tail: str) -> None:
    """Impossible wide buckets are a ValueError."""
    with pytest.raises(ValueError, match=r"^not an HdrHistogram: "):
        Histogram.decode(f"{histogram(0.1).encode()};{tail}")


@given(HISTOGRAMS, WIDE)
def test_spectrum(fine: Histogram, wide: Histogram) -> None:
    """A spectrum gives the number of latencies up to each one; those in wide buckets are as slow as they may be.

    So does going through them, the slowest first.
    """
    for made in (fine, wide, fine + wide):
        before = 0
        for latency, seen in made.spectrum():
            assert made.at_rank(before + 1) == made.at_rank(seen) == latency
            before = seen
        assert before == made.count
        ascending = [latency for latency, number in made.descending() for _ in range(number)][::-1]
        assert ascending == [made.at_rank(at + 1) for at in range(made.count)]


def test_a_histogram_of_millions_of_buckets_is_refused() -> None:
    """It is a few bytes long, and would take seconds to read."""
    with pytest.raises(ValueError, match="5 significant digits"):
        Histogram.decode(HdrHistogram(1, 1 << 62, 5).encode().decode())
