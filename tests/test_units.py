"""Durations, rates, shares and changes: read as people write them, printed so that they can be read again."""

import copy
import math
import operator
import pickle
import re
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_loadgen.errors import PlanError
from pytest_loadgen.units import Change, Duration, Latency, NoAnswer, Rate, Share, Size, exactly

A_DURATION = "is not a duration: write seconds (0.2) or a string ('200ms', '5s', '1m30s')"
A_RATE = "is not a rate: write a number per second (500) or a string ('500/s', '30/m')"
A_SHARE = "is not a share: write a number (0.001) or a string ('0.1%')"

# Strings that are nearly right, which no parser may crash on.
NEARLY = st.from_regex(r"[-+0-9_.,e٣² ]{0,12}(us|µs|ms|s|m|h|/s|/h|%|kB|MiB|B)?", fullmatch=True)


@pytest.mark.parametrize(
    ("kind", "written", "number"),
    [
        (Duration, 0.2, 0.2),
        (Duration, 3, 3.0),
        (Duration, "200ms", 0.2),
        (Duration, "5us", 5e-6),
        (Duration, "5µs", 5e-6),
        (Duration, ".5s", 0.5),
        (Duration, " 5 s ", 5.0),
        (Duration, "1m30s", 90.0),
        (Duration, "1h 1m 1.5s", 3661.5),
        (Duration, "1_000ms", 1.0),
        (Duration, "1e3ms", 1.0),
        (Duration, "0s", 0.0),
        (Rate, 500, 500.0),
        (Rate, "500/s", 500.0),
        (Rate, "30/m", 0.5),
        (Rate, "3600 / h", 1.0),
        (Rate, "1,000/s", 1000.0),
        (Rate, "1_000/s", 1000.0),
        (Share, 0.001, 0.001),
        (Share, "0.1%", 0.001),
        (Share, "12.5 %", 0.125),
        (Size, 500, 500.0),
        (Size, "500MB", 5e8),
        (Size, "1.5 GiB", 1.5 * 2**30),
        (Size, "200kB", 2e5),
        (Size, "200KB", 2e5),
        (Size, "7B", 7.0),
    ],
)
def test_reading(kind: type[Duration | Rate | Share | Size], written: float | str, number: float) -> None:
    """A quantity is the number that was written, to the last bit."""
    assert float(kind(written)) == number


@pytest.mark.parametrize(
    ("kind", "written", "message"),
    [
        (Duration, "5", "'5' needs a unit: write 5ms or 5s"),
        (Duration, " 1.5 ", "' 1.5 ' needs a unit: write 1.5ms or 1.5s"),
        (Duration, "5 parsecs", f"'5 parsecs' {A_DURATION}"),
        (Duration, "5ms3", f"'5ms3' {A_DURATION}"),
        (Duration, "-5s", f"'-5s' {A_DURATION}"),
        (Duration, "1__0s", f"'1__0s' {A_DURATION}"),
        (Duration, "1,5s", f"'1,5s' {A_DURATION}"),
        (Duration, "", f"'' {A_DURATION}"),
        (Duration, True, f"True {A_DURATION}"),
        (Duration, None, f"None {A_DURATION}"),
        (Duration, math.nan, f"nan {A_DURATION}"),
        (Duration, 10**400, f"1{'0' * 39} {A_DURATION}"),
        (Rate, "500", f"'500' {A_RATE}"),
        (Rate, "500/ms", f"'500/ms' {A_RATE}"),
        (Rate, "1,5/s", f"'1,5/s' {A_RATE}"),
        (Rate, [5], f"[5] {A_RATE}"),
        (Share, "5", f"'5' {A_SHARE}"),
        (Share, "-1%", f"'-1%' {A_SHARE}"),
        (Share, False, f"False {A_SHARE}"),
    ],
)
def test_refusing(kind: type[Duration | Rate | Share], written: float | str, message: str) -> None:
    """A value that cannot be read is refused, and the message says what to write."""
    with pytest.raises(PlanError) as caught:
        kind(written)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Duration(0), "0s"),
        (Duration(1e-9), "0.001us"),
        (Duration(0.0002), "200us"),
        (Duration(0.0009999), "1ms"),
        (Duration(0.2), "200ms"),
        (Duration(0.9994), "999ms"),
        (Duration(0.9996), "1s"),
        (Duration(1.234), "1.23s"),
        (Duration(59.4), "59.4s"),
        (Duration(59.99), "1m"),
        (Duration(90), "1m30s"),
        (Duration(3661), "1h1m1s"),
        (Duration(86400), "24h"),
        (Duration(-5), "-5s"),
        (Duration(math.inf), "forever"),
        (NoAnswer(), "no answer"),
        (NoAnswer(5), ">5s"),
        (Rate(0.5), "0.5/s"),
        (Rate(99.99), "100/s"),
        (Rate(12345.6), "12,346/s"),
        (Rate(math.inf), "max"),
        (Share(0.001), "0.1%"),
        (Share(0.12345), "12.3%"),
        (Share(1), "100%"),
        (Change(0.95), "-5%"),
        (Change(math.inf), "+inf%"),
        (Change(1 - 2e-15), "+0%"),  # of two rates that are the same
    ],
)
def test_printing(quantity: Duration | Rate | Share, text: str) -> None:
    """A quantity prints as people write it, also in a failed assert."""
    assert str(quantity) == repr(quantity) == f"{quantity}" == text


def test_comparing() -> None:
    """Quantities compare with quantities, numbers and strings."""
    duration = Duration("200ms")
    assert duration < "201ms"
    assert duration <= "200ms"
    assert duration > "0.1s"
    assert duration >= 0.2
    assert not duration < "200ms"
    assert not duration > Duration(0.2)
    assert Share(0.001) <= "0.1%"
    assert Rate("500/s") > "29,999/m"
    with pytest.raises(PlanError, match="'300' needs a unit: write 300ms or 300s"):
        assert duration < "300"


def test_equality() -> None:
    """A quantity equals its number, with the same hash, and a string with its unit; any other string is refused."""
    assert Duration("200ms") == 0.2
    assert hash(Duration("200ms")) == hash(0.2)
    assert Duration("200ms") == "200ms" != Duration("201ms")
    assert Share(0) == "0%" != Share(0.001)
    assert Latency(0.2, 5) == "200ms"
    assert NoAnswer(5, 5) != "5s"
    for compare in (operator.eq, operator.ne):
        with pytest.raises(PlanError, match=r"^'0' is not a share: write a number \(0\.001\) or a string"):
            compare(Share(0), "0")


def test_no_answer() -> None:
    """A NoAnswer is slower than any limit, from whichever side it is compared."""
    for missing in (NoAnswer(), NoAnswer(5)):
        assert missing > "1000h"
        assert missing >= Duration(1e300)
        assert not missing < math.inf
        assert not missing <= "5s"
        assert Duration("1h") < missing
        assert not Duration("1h") >= missing
    assert sorted([NoAnswer(5), Duration(1)]) == [Duration(1), NoAnswer(5)]


@pytest.mark.parametrize("quantity", [Duration("200ms"), NoAnswer(5), NoAnswer(), Rate("30/m"), Share("1%")])
def test_travelling(quantity: Duration | Rate | Share) -> None:
    """A quantity survives pickling and copying."""
    for twin in (pickle.loads(pickle.dumps(quantity)), copy.deepcopy(quantity)):
        assert (type(twin), twin, str(twin)) == (type(quantity), quantity, str(quantity))


def test_exact_rates() -> None:
    """A rate can be read without rounding, so that its parts add up to it exactly."""
    assert Rate.exactly("1/m") == Fraction(1, 60)
    assert Rate.exactly(0.1) == exactly(0.1) == Fraction(1, 10)
    assert Rate.exactly(Fraction(1, 3)) == Fraction(1, 3)
    with pytest.raises(PlanError, match="a plan must be finite: 'inf' is neither a duration nor a rate"):
        Rate.exactly(math.inf)


@given(st.floats(1e-9, 1e7))
def test_printed_durations_can_be_read(seconds: float) -> None:
    """A printed duration reads as the same within 0.5 %, or half a second from a minute on."""
    off = abs(Duration(str(Duration(seconds))) - seconds)
    assert off <= (0.005 * seconds if seconds < 59.5 else 0.5)


@given(st.floats(1e-6, 1e12))
def test_printed_rates_can_be_read(rate: float) -> None:
    """A printed rate reads as the same within 0.5 %."""
    assert Rate(str(Rate(rate))) == pytest.approx(rate, rel=0.005)


@given(st.floats(1, 1e15))
def test_printed_sizes_can_be_read(size: float) -> None:
    """A printed size reads as the same within 0.5 %."""
    assert Size(str(Size(size))) == pytest.approx(size, rel=0.005)
    assert str(Size(-size)) == f"-{Size(size)}"


@pytest.mark.parametrize("text", ["500", "500M", "500mb", "500Mb", "MB", "1,5GB", "5KIB"])
def test_not_a_size(text: str) -> None:
    message = "is not a size: write a number of bytes (500_000_000) or a string ('500MB', '1.5GiB', '200kB')"
    with pytest.raises(PlanError, match=re.escape(f"{text!r} {message}")):
        Size(text)


def test_sizes_are_printed_in_the_nearest_unit() -> None:
    sizes = [0, 7, 999, 999.9, 1000, 118_234_567, 999_600_000, 1.5e9, 2e15]
    assert list(map(str, map(Size, sizes))) == [
        *("0 B", "7 B", "999 B", "1 kB", "1 kB", "118 MB", "1 GB", "1.5 GB", "2000 TB"),
    ]


@given(st.text() | NEARLY)
@example("9" * 5000 + "s")
@example("9" * 5000 + "/s")
@example("1_/s")
def test_no_text_crashes(text: str) -> None:
    """Any string is read as a finite number >= 0, or refused."""
    for kind in (Duration, Rate, Share, Size):
        with suppress(PlanError):
            assert 0 <= kind(text) < math.inf


@pytest.mark.parametrize("latency", [Latency(0.055, 5), NoAnswer(5, 5), NoAnswer(timeout=5)])
@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_a_bare_number_that_no_latency_can_exceed(latency: Latency, compare: Callable[[Any, Any], bool]) -> None:
    """A bare number above the timeout was not meant in seconds; written with its unit, or below, it is compared."""
    said = r'^10 is in seconds, and no latency can exceed the timeout of 5s: did you mean "10ms"\?$'
    for pair in (latency, 10), (10, latency), (latency, 10.0):
        with pytest.raises(PlanError, match=said):
            compare(*pair)
    for other in (0.2, 5, "200ms", "10s", Duration(10), Latency(10, 60), math.inf):
        assert compare(latency, other) == compare(float(latency), float(Duration(other)))
    assert compare(Latency(0.055), 10) == compare(0.055, 10)
    for copied in (copy.deepcopy(latency), pickle.loads(pickle.dumps(latency))):  # our own
        assert (str(copied), copied.timeout) == (str(latency), 5)
