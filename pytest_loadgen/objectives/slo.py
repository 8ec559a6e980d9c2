"""Service-level objectives, and how they are read: ``p99 < 200ms over any 10s``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.objectives.metric import METRICS, Bound, Metric, UnknownMetric, find_metric
from pytest_loadgen.objectives.stats import FEWEST_BATCHES
from pytest_loadgen.units import Change, Duration, Share
from pytest_loadgen.wording import did_you_mean

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_MISSPELT = {"=<": "<=", "=>": ">=", "=": "==", "===": "=="}
_WORD = re.compile(r"\s*([<>=!]+|[^\s<>=!]+)")


@dataclass(frozen=True)
class Window:
    """A part of the run: the worst of all stretches of a length, or the last one."""

    which: Literal["any", "last"]
    seconds: Duration

    def __str__(self) -> str:
        return f"over {self.which} {self.seconds}"


@dataclass(frozen=True)
class SLO:
    """One objective: ``p99 < 200ms``, ``errors < 0.1%``, ``rate >= 495/s``."""

    text: str
    """As it was written, with single spaces."""
    metric: Metric
    comparison: str
    bound: Bound
    window: Window | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an objective. Raises PlanError that names the word at fault."""
        slo = cls(**_Words(text).objective())
        if slo.window and slo.is_relative:
            raise PlanError(f"{slo.text!r}: a comparison with a baseline is of the whole load, not of a window")
        if slo.window and slo.is_sample and slo.window.seconds < FEWEST_BATCHES:
            raise PlanError(
                f"{slo.text!r}: {slo.window.seconds} is too short for a confidence interval; "
                f"write {FEWEST_BATCHES}s or more"
            )
        return slo

    @classmethod
    def recorded(cls, text: str) -> Self:
        """Read an objective from a record; one that only a later version can read keeps its text."""
        try:
            return cls.parse(text)
        except PlanError:
            return cls(text, UnknownMetric(), "==", 0)

    @property
    def upper(self) -> bool:
        """Whether the bound is an upper one."""
        return self.comparison in {"<", "<=", "=="}

    @property
    def is_relative(self) -> bool:
        """Whether it compares with a baseline."""
        return isinstance(self.bound, Change)

    @property
    def allowed(self) -> float | None:
        """The share of requests that may be bad, where it is judged as a share; else None."""
        return None if self.is_relative else self.metric.allowed_share(self.bound)

    @property
    def is_sample(self) -> bool:
        """Whether its figure is an estimate of a true one; else it is a fact of the run."""
        return self.is_relative or self.metric.is_estimated or self.allowed is not None

    @property
    def is_tally(self) -> bool:
        """Whether it is a count that grows with the load; "none at all" is none of any load."""
        none = (self.comparison, self.bound) in {("==", 0), ("<=", 0), ("<", 1)}
        return isinstance(self.bound, int) and not none and not self.window

    def holds(self, figure: float) -> bool:
        """Return whether the objective is true of a figure."""
        return _OPERATORS[self.comparison](figure, float(self.bound))

    def __str__(self) -> str:
        return self.text


def parse_metric(text: str) -> Metric:
    """Read a metric alone: ``p99``, ``service mean``, ``rate``. Raises PlanError."""
    return _Words(text).only_metric()


class _Words:
    """The words of an objective, and which of them is next."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise PlanError(f"{text!r} is not an objective: write a string such as 'p99 < 200ms'")
        self._text = " ".join(text.split())
        self._words = _WORD.findall(self._text)
        self._at = 0

    def objective(self) -> dict[str, Any]:
        """Read a whole objective into the fields of an SLO."""
        metric = self._metric()
        comparison = self._comparison(metric)
        bound = self._bound(metric, comparison)
        window = self._window() if self._peek() == "over" else None
        self._end("only a window such as 'over any 10s' can follow the bound")
        return {"text": self._text, "metric": metric, "comparison": comparison, "bound": bound, "window": window}

    def only_metric(self) -> Metric:
        """Read a metric, after which nothing follows."""
        metric = self._metric()
        self._end("write a metric only")
        return metric

    def _peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _next(self, wanted: str) -> str:
        if not (word := self._peek()):
            raise self._error(f"{wanted} is missing")
        self._at += 1
        return word

    def _end(self, hint: str) -> None:
        if word := self._peek():
            raise self._error(f"unexpected {word!r}: {hint}")

    def _error(self, message: str) -> PlanError:
        return PlanError(f"{self._text!r}: {message}")

    @contextmanager
    def _named_errors(self, prefix: str = "") -> Iterator[None]:
        """Name the objective in errors of its parts."""
        try:
            yield
        except PlanError as error:
            raise self._error(f"{prefix}{error}") from None

    def _metric(self) -> Metric:
        service = self._peek() == "service"
        self._at += service
        word = self._next("a metric (p99, errors, rate, …)").lower()
        with self._named_errors():
            kind = find_metric(word)
        argument = self._next(kind.argument).lower() if kind.argument else ""
        with self._named_errors():
            metric = kind.read(word, argument)
            return metric.of_service_time() if service else metric

    def _comparison(self, metric: Metric) -> str:
        word = self._next("a comparison operator (<, <=, >, >=)")
        if word not in _OPERATORS:
            meant = _MISSPELT.get(word)
            usable = meant and (meant != "==" or metric.is_count)
            hint = f"did you mean {meant}?" if usable else "write <, <=, > or >="
            raise self._error(f"{word!r} is not a comparison operator: {hint}")
        if word == "==" and not metric.is_count:
            raise self._error("== is for counts (errors == 0); no other figure equals its bound exactly")
        return word

    def _bound(self, metric: Metric, comparison: str) -> Bound:
        word = self._next("a bound")
        if word.endswith(",") and self._peek():
            raise self._error("pass each objective as its own string")
        if word.startswith("baseline"):
            return self._change(metric, word.removeprefix("baseline"))
        # "200 ms" is one bound.
        if re.fullmatch(r"(us|µs|ms|s|m|h|%|/s|/m|/h)", self._peek()):
            word += self._next("")
        if metric.unit and re.fullmatch(r"[\d.]+", word, re.ASCII):
            upto = " ".join(self._words[: self._at])
            raise self._error(f"{word} needs a unit: did you mean {upto}{metric.unit}?")
        with self._named_errors():
            bound = metric.read_bound(word)
        if isinstance(bound, Share) and (comparison == "==" or (not bound and comparison in {"<", "<="})):
            # No sample can show that a share is nothing, or exactly something.
            figure = " ".join(self._words[: self._words.index(comparison)])
            instead = f"{figure} == 0" if bound < 0.5 else f"{figure} >= 99.9%"
            raise self._error(f"no load can prove '{comparison} {word}': write {instead}")
        if isinstance(bound, int) and not bound and comparison == "<":
            raise self._error("a count cannot be below 0: write == 0")
        return bound

    def _change(self, metric: Metric, said: str) -> Change:
        """Read what may follow the word baseline: nothing, "+ 10%", "- 5%"."""
        if not metric.is_comparable:
            comparable = ", ".join(kind.words[0] for kind in METRICS if kind.is_comparable)
            raise self._error(f"{metric} cannot be compared with a baseline; these can: {comparable}")
        while (word := self._peek()) and re.fullmatch(r"[+-]?[\d.]*%?", word):
            said += self._next("")
        with self._named_errors("after 'baseline': "):
            change = Change(said) if said else Change(1)
        if change <= 0:
            raise self._error(f"baseline {said} is 0 or less; no figure can be below it")
        return change

    def _window(self) -> Window:
        self._next("")
        which = self._next("'any' or 'last'")
        if which not in {"any", "last"}:
            raise self._error(f"over {which!r}: {did_you_mean(which, ['any', 'last'])}")
        length = self._next("the length of the window (10s)")
        if re.fullmatch(r"(ms|s|m|h)", self._peek()):
            length += self._next("")
        with self._named_errors():
            seconds = Duration(length)
        if seconds < 1 or math.isinf(seconds):
            raise self._error("a window must be at least 1s long: figures are kept per second")
        return Window("any" if which == "any" else "last", seconds)
