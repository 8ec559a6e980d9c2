"""Objectives: what they say."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.objectives.stats import FEWEST_BATCHES
from pytest_loadgen.units import Change, Duration, Rate, Share
from pytest_loadgen.wording import did_you_mean

Kind = Literal["percentile", "mean", "max", "rate", "errors", "status", "timeouts", "lag"]

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_METRICS = ("p50", "p90", "p95", "p99", "p99.9", "mean", "max", "rate", "errors", "status", "timeouts", "lag")
_COMPARABLE = {"percentile", "mean", "rate"}
_COUNTS = {"errors", "status", "timeouts"}
_TIMES = {"percentile", "mean", "max", "lag"}
_WORD = re.compile(r"\s*([<>=!]+|[^\s<>=!]+)")
# What is written for a comparison, and what is meant.
_MEANT = {"=<": "<=", "=>": ">=", "=": "==", "===": "=="}


@dataclass(frozen=True)
class Window:
    """A stretch of the run: the worst of any so long, or the last."""

    which: Literal["any", "last"]
    seconds: Duration

    def __str__(self) -> str:
        return f"over {self.which} {self.seconds}"


Bound = Duration | Rate | Share | Change | int
"""What a figure is compared with: a figure of its kind, or a change from the baseline's."""


@dataclass(frozen=True)
class SLO:
    """One objective: ``p99 < 200ms``, ``errors < 0.1%``, ``rate >= 495/s``."""

    text: str
    kind: Kind
    compare: str
    bound: Bound
    percent: float = 0.0
    status: str = ""
    service: bool = False
    """Whether service time is judged instead of response time."""
    window: Window | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an objective. Raises PlanError that names the word at fault."""
        slo = cls(**_Words(text).read())
        if slo.window and slo.is_relative:
            raise PlanError(f"{slo.text!r}: a comparison with a baseline is of the whole load, not of a window")
        if slo.window and slo.is_sample and slo.window.seconds < FEWEST_BATCHES:
            raise PlanError(
                f"{slo.text!r}: {slo.window.seconds} is too short to know how sure it is: {FEWEST_BATCHES}s would do"
            )
        return slo

    @property
    def upper(self) -> bool:
        """Whether the figure is to stay below its bound."""
        return self.compare in {"<", "<=", "=="}

    @property
    def is_relative(self) -> bool:
        """Whether it compares with a baseline."""
        return isinstance(self.bound, Change)

    @property
    def is_share(self) -> bool:
        """Whether it is judged as a share of requests, of which a part may be too slow or wrong."""
        return (self.kind == "percentile" and not self.is_relative) or isinstance(self.bound, Share)

    @property
    def is_sample(self) -> bool:
        """Whether its figure is that of a sample, from which the true one differs; else it is a fact."""
        return self.is_share or self.is_relative or self.kind in {"mean", "rate"}

    @property
    def is_tally(self) -> bool:
        """Whether it is a count that grows with the load; none at all is none of any load."""
        none = (self.compare, self.bound) in {("==", 0), ("<=", 0), ("<", 1)}
        return isinstance(self.bound, int) and not none and not self.window

    @property
    def allowed(self) -> float:
        """Which share of requests may be bad."""
        return 1 - self.percent / 100 if self.kind == "percentile" else float(self.bound)

    def __str__(self) -> str:
        return self.text


class _Words:
    """A parser that knows which word it is at."""

    _shorthand: ClassVar = {
        "error": "errors",
        "timeout": "timeouts",
        "throughput": "rate",
        "avg": "mean",
        "average": "mean",
        "median": "p50",
    }

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise PlanError(f"{text!r} is not an objective: write text, as 'p99 < 200ms'")
        self._text = " ".join(text.split())
        self._words = _WORD.findall(self._text)
        self._at = 0

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = {"text": self._text}
        if self._peek() == "service":
            self._next("")
            found["service"] = True
        self._metric(found)
        found["compare"] = self._compare(found)
        found["bound"] = self._bound(found)
        if self._peek() == "over":
            found["window"] = self._window()
        if word := self._peek():
            raise self._error(f"what is {word!r}? An objective ends after its bound, or 'over any 10s'")
        return found

    def _peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _next(self, wanted: str) -> str:
        if not (word := self._peek()):
            raise self._error(f"{wanted} is missing")
        self._at += 1
        return word

    def _error(self, message: str) -> PlanError:
        return PlanError(f"{self._text!r}: {message}")

    def _metric(self, found: dict[str, Any]) -> None:
        word = self._next("a metric (p99, errors, rate, …)").lower()
        if match := re.fullmatch(r"p(\d{1,2}(?:\.\d{1,4})?)", word, re.ASCII):
            found["kind"], found["percent"] = "percentile", float(match[1])
            if not found["percent"]:
                raise self._error("p0 is no percentile that says anything")
        elif word in _METRICS and not word.startswith("p"):
            found["kind"] = word
        else:
            raise self._error(f"{word!r} is no metric: {did_you_mean(self._shorthand.get(word, word), _METRICS)}")
        if found["kind"] == "status":
            status = self._next("a status (503, 5xx)").lower()
            if not re.fullmatch(r"[1-5](\d\d|xx)", status, re.ASCII):
                raise self._error(f"{status!r} is no status: write 503 or 5xx")
            found["status"] = status
        if found.get("service") and found["kind"] not in {"percentile", "mean", "max"}:
            raise self._error(f"service goes with a latency (service p99), not with {word}")

    def _compare(self, found: dict[str, Any]) -> str:
        word = self._next("a comparison (<, <=, >, >=)")
        if word not in COMPARE:
            meant = _MEANT.get(word)
            known = meant and (meant != "==" or found["kind"] in _COUNTS)
            hint = f"did you mean {meant}?" if known else "write <, <=, > or >="
            raise self._error(f"{word!r} is no comparison: {hint}")
        if word == "==" and found["kind"] not in _COUNTS:
            raise self._error("== goes with a count (errors == 0); a latency or a rate never equals anything exactly")
        return word

    def _bound(self, found: dict[str, Any]) -> Bound:
        kind = found["kind"]
        word = self._next("a bound")
        if word.endswith(",") and self._peek():
            raise self._error("write one objective in a text, and several as several texts")
        if word.startswith("baseline"):
            return self._change(kind, word.removeprefix("baseline"))
        # "200 ms" is one bound.
        if re.fullmatch(r"(us|µs|ms|s|m|h|%|/s|/m|/h)", self._peek()):
            word += self._next("")
        try:
            bound = self._read_bound(kind, word)
        except PlanError as error:
            raise self._error(self._about(kind, word, error)) from None
        if isinstance(bound, Share) and (found["compare"] == "==" or (not bound and found["compare"] in {"<", "<="})):
            # No sample can show that a share is nothing, or exactly something.
            upto = " ".join(self._words[: self._words.index(found["compare"])])
            instead = f"a count, as {upto} == 0" if bound < 0.5 else f"{upto} >= 99.9%"
            raise self._error(f"{found['compare']} {word} can be shown by no load: write {instead}")
        if isinstance(bound, int) and not bound and found["compare"] == "<":
            raise self._error("no count is below 0: write == 0")
        return bound

    def _change(self, kind: Kind, said: str) -> Change:
        """Read what may follow the word baseline: nothing, "+ 10%", "- 5%"."""
        if kind not in _COMPARABLE:
            known = "a percentile, the mean or the rate"
            raise self._error(f"{kind} is not compared with a baseline: only {known} is")
        while (word := self._peek()) and re.fullmatch(r"[+-]?[\d.]*%?", word):
            said += self._next("")
        try:
            change = Change(said) if said else Change(1)
        except PlanError as error:
            raise self._error(f"{error}, after the word baseline") from None
        if change <= 0:
            raise self._error(f"baseline {said} is nothing, and nothing is below that")
        return change

    @staticmethod
    def _read_bound(kind: Kind, word: str) -> Bound:
        if kind in _TIMES:
            return Duration(word)
        if kind == "rate":
            return Rate(word)
        if word.endswith("%"):
            share = Share(word)
            if share > 1:
                raise PlanError(f"{word} is more than all requests")
            return share
        if not re.fullmatch(r"[\d,_]{1,15}", word, re.ASCII) or not word.strip(",_"):
            raise PlanError(f"{word!r} is neither a count (5) nor a share (0.1%)")
        return int(word.replace(",", "").replace("_", ""))

    def _about(self, kind: Kind, word: str, error: PlanError) -> str:
        number = re.fullmatch(r"[\d.]+", word, re.ASCII)
        upto = " ".join(self._words[: self._at])
        if kind in _TIMES and number:
            return f"{word} needs a unit of time: is it {upto}ms?"
        if kind == "rate" and number:
            return f"{word} needs a unit: is it {upto}/s?"
        return str(error)

    def _window(self) -> Window:
        self._next("")
        which = self._next("'any' or 'last'")
        if which not in {"any", "last"}:
            raise self._error(f"over {which!r}: {did_you_mean(which, ['any', 'last'])}")
        length = self._next("a length of time (10s)")
        if re.fullmatch(r"(ms|s|m|h)", self._peek()):
            length += self._next("")
        try:
            seconds = Duration(length)
        except PlanError as error:
            raise self._error(str(error)) from None
        if seconds < 1 or math.isinf(seconds):
            raise self._error("a window is at least 1s long: figures are kept by the second")
        return Window("any" if which == "any" else "last", seconds)
