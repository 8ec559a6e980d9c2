"""Quantities with a unit, as people write and read them: durations, rates, shares, sizes, changes."""

import math
import re
from fractions import Fraction
from numbers import Complex, Number, Real
from typing import Any, ClassVar, Self

from pytest_loadgen.errors import PlanError

# With few enough digits that every number fits in a float.
_NUMBER = r"(?:\d(?:_?\d){0,99}(?:\.\d{0,99})?|\.\d{1,99})(?:e[+-]?\d{1,2})?"


def is_real(value: object) -> bool:
    """Whether it is a number with an order, also of a library such as NumPy, and a Decimal, which is not Real."""
    if isinstance(value, bool) or (isinstance(value, Complex) and not isinstance(value, Real)):
        return False
    return isinstance(value, Number)


class Quantity(float):
    """A number with a unit; made from a number or a string, and compared with either."""

    def __new__(cls, value: float | str) -> Self:
        """Take a number, or a string with a unit. Raises PlanError."""
        if not (isinstance(value, str) or is_real(value)):
            raise PlanError(f"{value!r} is not {cls._called}: write {cls._written}")
        try:
            number = cls._read(value) if isinstance(value, str) else float(value)
        except PlanError:
            raise
        except (OverflowError, TypeError, ValueError):  # a complex number, Decimal("sNaN")
            number = math.nan
        if math.isnan(number):
            raise PlanError(f"{str(value)[:40]} is not {cls._called}: write {cls._written}")
        return super().__new__(cls, number)

    _called: ClassVar[str]
    _written: ClassVar[str]

    @classmethod
    def _read(cls, text: str) -> float:
        raise PlanError(f"{text!r} is not {cls._called}: write {cls._written}")

    # Strings that equal it hash differently: they find it in a list, not in a set.
    __hash__ = float.__hash__

    def __eq__(self, other: object) -> bool:
        __tracebackhide__ = True
        return float.__eq__(self, self._same_unit(other) if isinstance(other, str) else other)

    def __ne__(self, other: object) -> bool:
        __tracebackhide__ = True
        return float.__ne__(self, self._same_unit(other) if isinstance(other, str) else other)

    def __lt__(self, other: float | str) -> bool:
        __tracebackhide__ = True
        return float(self) < self._same_unit(other)

    def __le__(self, other: float | str) -> bool:
        __tracebackhide__ = True
        return float(self) <= self._same_unit(other)

    def __gt__(self, other: float | str) -> bool:
        __tracebackhide__ = True
        return float(self) > self._same_unit(other)

    def __ge__(self, other: float | str) -> bool:
        __tracebackhide__ = True
        return float(self) >= self._same_unit(other)

    def _same_unit(self, other: float | str) -> float:
        """Read the other side of a comparison. Raises PlanError, at the line that compares."""
        __tracebackhide__ = True
        try:
            return float(self._compared_as(other))
        except PlanError as error:
            raise error.with_traceback(None) from None

    def _compared_as(self, other: float | str) -> float:
        return type(self)(other)

    def __repr__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[type[Self], tuple[float, ...]]:
        return type(self), (float(self),)


class Duration(Quantity):
    """A length of time in seconds: ``Duration("200ms") == 0.2``; prints as ``200ms``.

    A string is one or more numbers, each with its unit: us, ms, s, m, h; ``"1m30s"``.
    """

    _called = "a duration"
    _written = "seconds (0.2) or a string ('200ms', '5s', '1m30s')"
    _seconds: ClassVar = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    _piece = re.compile(rf"\s*({_NUMBER})\s*(us|µs|ms|s|m|h)(?![a-zµ])", re.ASCII)

    @classmethod
    def _read(cls, text: str) -> float:
        if re.fullmatch(_NUMBER, text.strip(), re.ASCII):
            number = text.strip()
            raise PlanError(f"{text!r} needs a unit: write {number}ms or {number}s")
        seconds, position = 0.0, 0
        while piece := cls._piece.match(text, position):
            # Through exact fractions, so that "200ms" is 0.2 and not 0.2 and a bit.
            unit = Fraction(repr(cls._seconds[piece[2]]))
            seconds += float(Fraction(piece[1]) * unit)
            position = piece.end()
        if position == 0 or text[position:].strip():
            return super()._read(text)
        return seconds

    def times(self, factor: float) -> "Duration":
        """Give this many times as long, without a rounding error: 0.1 times 7s is 0.7s."""
        return Duration(float(exactly(self) * exactly(factor)))

    def __str__(self) -> str:
        seconds = float(self)
        if math.isinf(seconds):
            return "forever" if seconds > 0 else "-forever"
        if seconds < 0:
            return f"-{Duration(-seconds)}"
        if (minutes := round(seconds)) >= 60:
            pieces = (minutes // 3600, "h"), (minutes // 60 % 60, "m"), (minutes % 60, "s")
            return "".join(f"{number}{unit}" for number, unit in pieces if number)
        shown = _three_digits(seconds)
        for unit, size in (("s", 1.0), ("ms", 1e-3)):
            if shown >= size:
                return f"{_three_digits(shown / size):g}{unit}"
        return f"{_three_digits(shown / 1e-6):g}us" if shown else "0s"


NO_TIME = Duration(0)


class Latency(Duration):
    """A latency of a load: none can exceed the timeout, so a larger bare number was not meant in seconds."""

    timeout: float

    def __new__(cls, seconds: float, timeout: float = math.inf) -> Self:
        """Take the latency and the timeout in seconds."""
        self = super().__new__(cls, seconds)
        self.timeout = float(timeout)
        return self

    def _compared_as(self, other: float | str) -> float:
        limit = Duration(other)  # not another latency
        if not isinstance(other, (str, Quantity)) and self.timeout < limit < math.inf:
            raise PlanError(
                f"{other:g} is in seconds, and no latency can exceed the timeout of {Duration(self.timeout)}: "
                f'did you mean "{other:g}ms"?'
            )
        return limit

    def __reduce__(self) -> tuple[type[Self], tuple[float, ...]]:
        return type(self), (float(self), self.timeout)


class NoAnswer(Latency):
    """The latency of a request without a response: longer than any limit.

    Prints as ``>5s`` where it is known how long it waited, else as ``no answer``.
    """

    waited: float

    def __new__(cls, waited: float = 0.0, timeout: float = math.inf) -> Self:
        """Take how long the request waited in seconds, where that is known, and the timeout."""
        self = super().__new__(cls, math.inf, timeout)
        self.waited = waited
        return self

    def __str__(self) -> str:
        return f">{Duration(self.waited)}" if self.waited else "no answer"

    def __reduce__(self) -> tuple[type[Self], tuple[float, ...]]:
        return type(self), (self.waited, self.timeout)


class Rate(Quantity):
    """A number per second: ``Rate("30/m") == 0.5``; prints as ``500/s``."""

    _called = "a rate"
    _written = "a number per second (500) or a string ('500/s', '30/m')"
    # Also with the commas that it prints, so that the rate of a message can be copied.
    _text = re.compile(rf"({_NUMBER}|\d{{1,3}}(?:,\d{{3}}){{1,33}})\s*/\s*(s|m|h)", re.ASCII)

    @classmethod
    def exactly(cls, value: float | str | Fraction) -> Fraction:
        """Read a rate without rounding, so that its parts add up to it."""
        if isinstance(value, Fraction):
            return value
        if isinstance(value, str):
            if not (match := cls._text.fullmatch(value.strip())):
                raise PlanError(f"{value!r} is not {cls._called}: write {cls._written}")
            return Fraction(match[1].replace(",", "")) / {"s": 1, "m": 60, "h": 3600}[match[2]]
        return exactly(cls(value))

    @classmethod
    def _read(cls, text: str) -> float:
        return float(cls.exactly(text))

    def __str__(self) -> str:
        if math.isinf(self):
            return "max"
        return f"{_three_digits(self):,g}/s" if abs(self) < 100 else f"{round(self):,}/s"


class Share(Quantity):
    """A part of a whole, 0 to 1: ``Share("0.1%") == 0.001``; prints as ``0.1%``."""

    _called = "a share"
    _written = "a number (0.001) or a string ('0.1%')"
    _text = re.compile(rf"({_NUMBER})\s*%", re.ASCII)

    @classmethod
    def _read(cls, text: str) -> float:
        if match := cls._text.fullmatch(text.strip()):
            return float(Fraction(match[1]) / 100)
        return super()._read(text)

    def __str__(self) -> str:
        return f"{_three_digits(self * 100):g}%"


class Size(Quantity):
    """A size of memory in bytes: ``Size("500MB") == 500_000_000``; prints as ``500 MB``.

    B, kB, MB, GB and TB are powers of 1000; KiB, MiB, GiB and TiB are powers of 1024.
    """

    _called = "a size"
    _written = "a number of bytes (500_000_000) or a string ('500MB', '1.5GiB', '200kB')"
    _bytes: ClassVar = {
        **{unit: 1000**power for power, unit in enumerate(("B", "kB", "MB", "GB", "TB"))},
        **{unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)},
        "KB": 1000,
    }
    _text = re.compile(rf"({_NUMBER})\s*([kKMGT]i?B|B)", re.ASCII)

    @classmethod
    def _read(cls, text: str) -> float:
        if not (match := cls._text.fullmatch(text.strip())) or match[2] not in cls._bytes:
            return super()._read(text)
        return float(Fraction(match[1]) * cls._bytes[match[2]])

    def __str__(self) -> str:
        shown = _three_digits(abs(self))
        sign = "-" if self < 0 else ""
        unit = next((each for each in ("TB", "GB", "MB", "kB") if shown >= self._bytes[each]), "B")
        return f"{sign}{_three_digits(shown / self._bytes[unit]):g} {unit}"


class Change(Quantity):
    """The factor between two figures: ``Change("+10%") == 1.1``; prints as ``+10%``."""

    _called = "a change"
    _written = "a factor (1.1) or a string ('+10%', '-5%')"
    _text = re.compile(rf"([+-])\s*({_NUMBER})\s*%", re.ASCII)

    @classmethod
    def _read(cls, text: str) -> float:
        if match := cls._text.fullmatch(text.strip()):
            return float(1 + Fraction(f"{match[1]}{match[2]}") / 100)
        return super()._read(text)

    def __str__(self) -> str:
        # Of two figures that are the same, the factor may differ from 1 by a stray bit; and -0 is written as +0.
        return f"{_three_digits(round((self - 1) * 100, 4)) + 0.0:+g}%"


def exactly(value: float) -> Fraction:
    """Take a number as it is written: 0.1 is one tenth, not the double nearest to it."""
    if math.isinf(value):
        raise PlanError("a plan must be finite: 'inf' is neither a duration nor a rate")
    return Fraction(repr(float(value)))


def finite(value: Any) -> Any:
    """Return what was read from JSON, which has to be a finite number >= 0. Raises ValueError."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is not a finite number >= 0")
    return value


def _three_digits(number: float) -> float:
    return float(f"{number:.3g}")
