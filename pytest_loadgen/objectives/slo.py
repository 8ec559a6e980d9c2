"""Service-level objectives, and how they are read: ``p99 of order < 200ms over any 10s``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeVar

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.metric import CLOCKS, METRICS, Bound, Metric, UnknownMetric, find_metric
from pytest_loadgen.objectives.stats import FEWEST_BATCHES
from pytest_loadgen.traffic.plan import Plan
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
_OPERATOR = re.compile(r"[<>=!]+")
_WORD = re.compile(r"[<>=!]+|[^\s<>=!]+")

R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Window:
    """A part of the run: the worst of all stretches of a length, or the last one."""

    which: Literal["any", "last"]
    seconds: Duration

    def __str__(self) -> str:
        return f"over {self.which} {self.seconds}"


@dataclass(frozen=True)
class SLO:
    """One objective: ``p99 < 200ms``, ``errors of order < 0.1%``, ``rate >= 495/s``."""

    text: str
    """As it was written, with single spaces."""
    metric: Metric
    comparison: str
    bound: Bound
    window: Window | None = None
    name: str = ""
    """The name of the requests that it is about; empty where it is about all of them."""

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

    def of(self, name: str) -> SLO:
        """Give the same objective of the requests of one name. Raises PlanError where it is about others."""
        if self.name:
            if self.name != name:
                raise PlanError(f"{self.text!r} is about other requests: give it to load(), not to a request")
            return self
        return SLO.parse(_Words(self.text).named(name))

    def check_name(self, plan: Plan) -> None:
        """Refuse an objective of requests that a load does not have. Raises PlanError."""
        if plan.journey:
            return  # only the load shows which steps it has
        names = [request.name for request in plan.mix]
        if self.name and self.name not in names:
            hint = (
                did_you_mean(self.name, names) if names else f"leave out 'of {self.name}', or load a list of requests"
            )
            raise PlanError(f"{self.text!r}: this load has no request named {self.name!r}: {hint}")

    def part(self, plan: Plan) -> Plan:
        """Give the plan of the requests that it is about. Raises PlanError where the plan has none."""
        self.check_name(plan)
        return plan.only(self.name) if self.name else plan

    def view(self, result: R) -> R:
        """Give the result of the requests that it is about. Raises PlanError where the load has none."""
        self.check_name(result.plan)
        if not self.name:
            return result
        if result.plan.journey and self.name not in (result.plan.journey.name, *result.names):
            # No journey has made this step yet.
            empty = tuple(Interval(each.start, each.seconds) for each in result.intervals)
            return replace(result, plan=result.plan.only(self.name), intervals=empty)
        return result[self.name]

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
        """Whether it is a count that grows with the load; "none" means the same in any load."""
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
        self._matches = list(_WORD.finditer(self._text))
        self._words = [match.group() for match in self._matches]
        self._at = 0
        self._figure = ""  # all before the comparison operator

    def objective(self) -> dict[str, Any]:
        """Read a whole objective into the fields of an SLO."""
        metric = self._metric()
        name = self._name(metric) if self._peek() == "of" else ""
        comparison = self._comparison(metric)
        bound = self._bound(metric, comparison)
        window = self._window() if self._peek() == "over" else None
        self._end("only a window such as 'over any 10s' can follow the bound")
        return {
            "text": self._text,
            "metric": metric,
            "comparison": comparison,
            "bound": bound,
            "window": window,
            "name": name,
        }

    def only_metric(self) -> Metric:
        """Read a metric, after which nothing follows."""
        metric = self._metric()
        self._end("write a metric only")
        return metric

    def named(self, name: str) -> str:
        """Write the objective with the name of the requests that it is about."""
        self._metric()
        return f"{self._said} of {name} {self._text[len(self._said) :].lstrip()}"

    @property
    def _said(self) -> str:
        """The text of the words so far."""
        return self._text[: self._matches[self._at - 1].end()]

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
        clock = next((each for each in CLOCKS if self._words[self._at :][: len(each.split())] == each.split()), "")
        self._at += len(clock.split())
        word = self._next("a metric (p99, errors, rate, …)").lower()
        if any(metric.matches(both := f"{word} {self._peek().lower()}") for metric in METRICS):
            word, self._at = both, self._at + 1
        with self._named_errors():
            kind = find_metric(word)
        argument = self._next(kind.argument).lower() if kind.argument else ""
        with self._named_errors():
            metric = kind.read(word, argument)
            return metric.by(clock) if clock else metric

    def _name(self, metric: Metric) -> str:
        """Read the name after "of": all words up to the last comparison operator, as a name may contain one."""
        begin = self._at + 1
        operators = [at for at in range(begin, len(self._words)) if _OPERATOR.match(self._words[at])]
        if operators == [begin] or not self._words[begin:]:
            raise self._error("the name of a request is missing")
        if not operators:
            raise self._error("a comparison operator (<, <=, >, >=) is missing")
        if metric.subject != "requests":
            raise self._error(f"{metric} is about the {metric.subject}, not about a request: leave out 'of'")
        self._at = operators[-1]
        return self._text[self._matches[begin].start() : self._matches[self._at].start()].strip()

    def _comparison(self, metric: Metric) -> str:
        word = self._next("a comparison operator (<, <=, >, >=)")
        self._figure = self._text[: self._matches[self._at - 1].start()].strip()
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
        if word.startswith("against"):
            raise self._error(f"write {self._figure} {comparison} baseline: with against=, that is the other service")
        if word.startswith("baseline"):
            return self._change(metric, word.removeprefix("baseline"))
        # "200 ms" is one bound.
        if re.fullmatch(r"(us|µs|ms|s|m|h|%|/s|/m|/h|([kKMGT]i?)?B(/[smh])?)", self._peek()):
            word += self._next("")
        if metric.unit and re.fullmatch(r"[\d.]+", word, re.ASCII):
            raise self._error(f"{word} needs a unit: did you mean {self._figure} {comparison} {word}{metric.unit}?")
        with self._named_errors():
            bound = metric.read_bound(word)
        if isinstance(bound, Share) and (comparison == "==" or (not bound and comparison in {"<", "<="})):
            # No sample can show that a share is nothing, or exactly something.
            instead = f"{self._figure} == 0" if bound < 0.5 else f"{self._figure} >= 99.9%"
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
