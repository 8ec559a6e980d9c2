"""Durations, rates and shares, as people write and read them."""

import math
import re
from fractions import Fraction
from typing import ClassVar, Self

from pytest_loadgen.errors import PlanError

# Of so many digits that every number fits in a float.
_NUMBER = r"(?:\d(?:_?\d){0,99}(?:\.\d{0,99})?|\.\d{1,99})(?:e[+-]?\d{1,2})?"


class Quantity(float):
    """A number that has a unit: made from a number or text, compared with either."""

    def __new__(cls, value: float | str) -> Self:
        """Read a number, or text with a unit. Raises PlanError."""
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise PlanError(f"{value!r} is not {cls._called}: write {cls._written}")
        try:
            number = cls._read(value) if isinstance(value, str) else float(value)
        except OverflowError:
            number = math.nan
        if math.isnan(number):
            raise PlanError(f"{str(value)[:40]} is not {cls._called}: write {cls._written}")
        return super().__new__(cls, number)

    _called: ClassVar[str]
    _written: ClassVar[str]

    @classmethod
    def _read(cls, text: str) -> float:
        raise PlanError(f"{text!r} is not {cls._called}: write {cls._written}")

    # Equal to numbers only: things that are equal must have equal hashes, and text hashes as text.
    # Said here for type checkers, who would otherwise find that `error_rate == 0` cannot be.
    def __eq__(self, other: object) -> bool:
        return float.__eq__(self, other)

    __hash__ = float.__hash__

    def __lt__(self, other: float | str) -> bool:
        return float(self) < float(type(self)(other))

    def __le__(self, other: float | str) -> bool:
        return float(self) <= float(type(self)(other))

    def __gt__(self, other: float | str) -> bool:
        return float(self) > float(type(self)(other))

    def __ge__(self, other: float | str) -> bool:
        return float(self) >= float(type(self)(other))

    def __repr__(self) -> str:
        return str(self)

    def __reduce__(self) -> tuple[type[Self], tuple[float]]:
        return type(self), (float(self),)


class Duration(Quantity):
    """A length of time in seconds: ``Duration("200ms") == 0.2``; prints as ``200ms``.

    Text is one or more numbers, each with its unit: us, ms, s, m, h; ``"1m30s"``.
    """

    _called = "a duration"
    _written = "seconds (0.2) or text ('200ms', '5s', '1m30s')"
    _seconds: ClassVar = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    _piece = re.compile(rf"\s*({_NUMBER})\s*(us|µs|ms|s|m|h)(?![a-zµ])", re.ASCII)

    @classmethod
    def _read(cls, text: str) -> float:
        if re.fullmatch(_NUMBER, text.strip(), re.ASCII):
            number = text.strip()
            raise PlanError(f"{text!r} needs a unit of time: is it {number}ms or {number}s?")
        seconds, position = 0.0, 0
        while piece := cls._piece.match(text, position):
            # Through exact fractions, so that "200ms" is 0.2 and not 0.2 and a bit.
            unit = Fraction(repr(cls._seconds[piece[2]]))
            seconds += float(Fraction(piece[1]) * unit)
            position = piece.end()
        if position == 0 or text[position:].strip():
            return super()._read(text)
        return seconds

    def __str__(self) -> str:
        seconds = float(self)
        if math.isinf(seconds):
            return "for ever" if seconds > 0 else "-for ever"
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


class NoAnswer(Duration):
    """How long a request took that nothing answered: longer than any limit.

    Prints as ``>5s`` where it is known to have waited that long, else as ``no answer``.
    """

    waited: float

    def __new__(cls, waited: float = 0.0) -> Self:
        """Say how long was waited, in seconds, where that is known."""
        self = super().__new__(cls, math.inf)
        self.waited = waited
        return self

    # A comparison makes the other side a plain duration, not another missing answer.
    def __lt__(self, other: float | str) -> bool:
        return Duration(math.inf) < other

    def __le__(self, other: float | str) -> bool:
        return Duration(math.inf) <= other

    def __gt__(self, other: float | str) -> bool:
        return Duration(math.inf) > other

    def __ge__(self, other: float | str) -> bool:
        return Duration(math.inf) >= other

    def __str__(self) -> str:
        return f">{Duration(self.waited)}" if self.waited else "no answer"

    def __reduce__(self) -> tuple[type[Self], tuple[float]]:
        return type(self), (self.waited,)


class Rate(Quantity):
    """Something per second: ``Rate("30/m") == 0.5``; prints as ``500/s``."""

    _called = "a rate"
    _written = "a number per second (500) or text ('500/s', '30/m')"
    # With commas as it prints them: what a message says can be given back.
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
    _written = "a number (0.001) or text ('0.1%')"
    _text = re.compile(rf"({_NUMBER})\s*%", re.ASCII)

    @classmethod
    def _read(cls, text: str) -> float:
        if match := cls._text.fullmatch(text.strip()):
            return float(Fraction(match[1]) / 100)
        return super()._read(text)

    def __str__(self) -> str:
        return f"{_three_digits(self * 100):g}%"


class Change(Quantity):
    """How one figure is to another, as a factor: ``Change("+10%") == 1.1``; prints as ``+10%``."""

    _called = "a change"
    _written = "a factor (1.1) or text ('+10%', '-5%')"
    _text = re.compile(rf"([+-])\s*({_NUMBER})\s*%", re.ASCII)

    @classmethod
    def _read(cls, text: str) -> float:
        if match := cls._text.fullmatch(text.strip()):
            return float(1 + Fraction(f"{match[1]}{match[2]}") / 100)
        return super()._read(text)

    def __str__(self) -> str:
        return f"{_three_digits((self - 1) * 100):+g}%"


def exactly(value: float) -> Fraction:
    """Read a number as it is written: 0.1 is one tenth, not the nearest double to it."""
    if math.isinf(value):
        raise PlanError("a plan cannot be endless: 'inf' is neither a duration nor a rate")
    return Fraction(repr(float(value)))


def _three_digits(number: float) -> float:
    return float(f"{number:.3g}")
