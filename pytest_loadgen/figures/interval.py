"""What happened to a load in one interval of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Self

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.figures.resources import Resources
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import finite


@dataclass(frozen=True)
class Figure:
    """How one kind of figure adds up, and how JSON holds it."""

    in_parallel: Callable[[Sequence[Any]], Any]
    """Combines the figures of workers that ran at the same time."""
    in_sequence: Callable[[Sequence[Any], Sequence[float]], Any]
    """Combines the figures of intervals that followed one another; takes their lengths in seconds, too."""
    encode: Callable[[Any], Any] = lambda value: value
    decode: Callable[[Any], Any] = finite
    of_generator: bool = True
    """Whether the generator reports it, also from another machine; else it is added where the load is measured."""


def _number_if_known(value: Any) -> Any:
    return None if value is None else finite(value)


def _if_known(combine: Callable[[Sequence[int]], int], values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return combine(known) if known else None


def _sum_outcomes(each: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for outcomes in each:
        total.update(outcomes)
    return total


def _time_average(values: Sequence[float], seconds: Sequence[float]) -> float:
    total = sum(seconds)
    return sum(value * time for value, time in zip(values, seconds, strict=True)) / total if total else 0.0


def _decode_outcomes(outcomes: Mapping[str, Any]) -> dict[str, int]:
    return {outcome: finite(count) for outcome, count in outcomes.items()}


# What the fields of an interval carry as metadata.
LATENCIES = {"figure": Figure(Histogram.sum, lambda each, _: Histogram.sum(each), Histogram.encode, Histogram.decode)}
OUTCOMES = {"figure": Figure(_sum_outcomes, lambda each, _: _sum_outcomes(each), dict, _decode_outcomes)}
TOTAL = {"figure": Figure(sum, lambda each, _: sum(each))}
RESOURCES = {
    "figure": Figure(
        Resources.of_one,
        Resources.over_time,
        lambda found: found and found.as_dict(),
        lambda data: data and Resources.from_dict(data),
        of_generator=False,
    )
}
# The highest of several workers, and the average over time.
UTILIZATION = {"figure": Figure(max, _time_average)}
# The longest of several workers, and the sum over time.
LONGEST = {"figure": Figure(max, lambda each, _: sum(each))}
# The sum of several workers, and the highest over time; None where it is not known.
LEVEL = {
    "figure": Figure(partial(_if_known, sum), lambda each, _: _if_known(max, each), decode=_number_if_known),
}


@dataclass(frozen=True)
class NamedFigures:
    """What happened to the requests of one name; each figure means the same as that of an `Interval`."""

    latency: Histogram = field(default_factory=Histogram, metadata=LATENCIES)
    service_time: Histogram = field(default_factory=Histogram, metadata=LATENCIES)
    outcomes: Mapping[str, int] = field(default_factory=dict, metadata=OUTCOMES)
    first_byte: Histogram = field(default_factory=Histogram, metadata=LATENCIES)
    received: int = field(default=0, metadata=TOTAL)
    never_sent: int = field(default=0, metadata=TOTAL)

    @classmethod
    def sum(cls, each: Sequence[NamedFigures]) -> NamedFigures:
        """Add up figures of one name."""
        if len(each) == 1:
            return each[0]
        return cls(**{name: figure.in_parallel(_values(each, name)) for name, figure in _figures(cls).items()})

    def as_dict(self) -> dict[str, Any]:
        """Give them as JSON can hold them."""
        return {name: figure.encode(getattr(self, name)) for name, figure in _figures(type(self)).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NamedFigures:
        """Read what `as_dict` wrote. Raises KeyError or ValueError."""
        return cls(**{name: figure.decode(data[name]) for name, figure in _figures(cls).items()})


def _sum_names(each: Sequence[Mapping[str, NamedFigures]]) -> Mapping[str, NamedFigures]:
    names = dict.fromkeys(name for figures in each for name in figures)
    return {name: NamedFigures.sum([figures[name] for figures in each if name in figures]) for name in names}


def _encode_names(names: Mapping[str, NamedFigures]) -> dict[str, Any]:
    return {name: figures.as_dict() for name, figures in names.items()}


def _decode_names(names: Mapping[str, Any]) -> dict[str, NamedFigures]:
    return {name: NamedFigures.from_dict(figures) for name, figures in names.items()}


NAMES = {"figure": Figure(_sum_names, lambda each, _: _sum_names(each), _encode_names, _decode_names)}


@dataclass(frozen=True)
class Interval:
    """What happened to a load in one interval of time, about a second.

    A new figure is declared here and nowhere else in Python; other programs learn of it from
    loadgen.proto, and readers of reports from schema.json.
    """

    start: float
    """Seconds from the start of the plan (the warm-up is before it, and in no interval)."""
    seconds: float
    """How long requests were being sent; 0 where only responses to earlier requests came in."""
    latency: Histogram = field(default_factory=Histogram, metadata=LATENCIES)
    """Response times: from when a request was due to the end of its response."""
    service_time: Histogram = field(default_factory=Histogram, metadata=LATENCIES)
    """The same requests, from when each was sent."""
    outcomes: Mapping[str, int] = field(default_factory=dict, metadata=OUTCOMES)
    """Requests by how they ended: status ("200", "SERVING"), class of status ("2xx") or kind of failure ("timeout")."""
    lag: Histogram = field(default_factory=Histogram, metadata=LATENCIES)
    """How late the generator itself was, per request: from when it was due to when the generator got to it."""
    cpu: float = field(default=0.0, metadata=UTILIZATION)
    """Share of one core that the generator used; of the busiest worker where there are several."""
    throttled: float = field(default=0.0, metadata=TOTAL)
    """Seconds for which a container's CPU limit stopped the generator; of all workers together."""
    stalled: float = field(default=0.0, metadata=LONGEST)
    """Seconds for which the generator itself did not run: it was stopped, the machine slept, or others had its CPU."""
    received: int = field(default=0, metadata=TOTAL)
    """Bytes read from the service, headers and bodies."""
    connections: int | None = field(default=None, metadata=LEVEL)
    """Connections that were open at its end; None where that is not known. Of several intervals, the most."""
    retried: int = field(default=0, metadata=TOTAL)
    """Requests sent again because the service had closed the idle connection that they were sent on."""
    never_sent: int = field(default=0, metadata=TOTAL)
    """Timeouts of requests that were never sent: no connection, or not even the generator, was free for them."""
    unseen: int = field(default=0, metadata=TOTAL)
    """How many requests more may have failed without the generator noticing, at most; they are in no other figure."""
    first_byte: Histogram = field(default_factory=Histogram, metadata=LATENCIES)
    """From when a request was due to the first byte of its response; empty where the generator does not measure it."""
    names: Mapping[str, NamedFigures] = field(default_factory=dict, metadata=NAMES)
    """The figures by name of a mix or a journey; empty if all requests are the same, or counted together."""
    service: Resources | None = field(default=None, metadata=RESOURCES)
    """What the processes of the service used; None if that is not known."""

    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What was wrong, by kind of failure, where the generator knows more: of one request each, not a figure."""

    def of(self, name: str) -> Interval:
        """Give the interval of the requests of one name; lag, CPU and throttling are those of the whole."""
        figures = self.names.get(name, NamedFigures())
        others = tuple(f" ({each})" for each in self.names if each != name) if self.reasons else ()
        reasons = {kind: reason for kind, reason in self.reasons.items() if not reason.endswith(others)}
        return replace(
            self, names={}, retried=0, reasons=reasons, **{key: getattr(figures, key) for key in NAMED_FIGURES}
        )

    def errors(self, plan: Plan) -> int:
        """Count the requests that failed or got a status that is not expected of them."""
        rest = Counter(self.outcomes)
        found = 0
        # Outcomes of steps are not outcomes of journeys.
        for name, figures in () if plan.journey else self.names.items():
            rest.subtract(figures.outcomes)
            found += sum(count for outcome, count in figures.outcomes.items() if not plan.expects(outcome, name))
        # Failures that no request of the mix is known for are of the whole.
        return found + sum(count for outcome, count in (+rest).items() if not plan.expects(outcome))

    @property
    def requests(self) -> int:
        """How many requests ended in it, with or without a response."""
        return sum(self.outcomes.values())

    @property
    def unanswered(self) -> int:
        """How many of them got no response; each is slower than any limit."""
        return sum(count for outcome, count in self.outcomes.items() if not is_answer(outcome))

    def __add__(self, other: Interval) -> Interval:
        return self.merge_parallel((self, other))

    @classmethod
    def merge_parallel(cls, intervals: Sequence[Interval]) -> Self:
        """Combine what workers did at the same time."""
        figures = {name: figure.in_parallel(_values(intervals, name)) for name, figure in _figures(cls).items()}
        start, seconds = min(_values(intervals, "start")), max(_values(intervals, "seconds"))
        return cls(start, seconds, **figures, reasons=_reasons(intervals))

    @classmethod
    def concatenate(cls, intervals: Sequence[Interval]) -> Self:
        """Combine intervals that followed one another."""
        if len(intervals) == 1 and isinstance(one := intervals[0], cls) and one.seconds:
            return one
        seconds = _values(intervals, "seconds")
        figures = {
            name: figure.in_sequence(_values(intervals, name), seconds) for name, figure in _figures(cls).items()
        }
        # From the first start to the last end, because workers' intervals may overlap where one was delayed;
        # but no longer than requests were being sent, because there may be gaps between rounds.
        sending = [interval for interval in intervals if interval.seconds]
        begin = min((interval.start for interval in sending), default=0.0)
        end = max((interval.start + interval.seconds for interval in sending), default=0.0)
        start = min((interval.start for interval in intervals), default=0.0)
        return cls(start, min(end - begin, sum(seconds)), **figures, reasons=_reasons(intervals))

    def as_dict(self) -> dict[str, Any]:
        """Give the interval as JSON can hold it; histograms in HdrHistogram's own encoding."""
        figures = {name: figure.encode(getattr(self, name)) for name, figure in _figures(type(self)).items()}
        return {"start": self.start, "seconds": self.seconds, **figures, "reasons": dict(self.reasons)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote. Raises KeyError or ValueError."""
        figures = {name: figure.decode(data[name]) for name, figure in _figures(cls).items()}
        return cls(finite(data["start"]), finite(data["seconds"]), **figures, reasons=dict(data["reasons"]))


def _figures(kind: type[Interval | NamedFigures]) -> Mapping[str, Figure]:
    return {each.name: each.metadata["figure"] for each in fields(kind) if "figure" in each.metadata}


NAMED_FIGURES = _figures(NamedFigures)
FIGURES = _figures(Interval)
"""The figures of an interval by name."""


def _values(intervals: Sequence[Interval | NamedFigures], name: str) -> list[Any]:
    return [getattr(interval, name) for interval in intervals]


def _reasons(intervals: Iterable[Interval]) -> dict[str, str]:
    """Return the first reason of each kind."""
    return {kind: reason for each in reversed(list(intervals)) for kind, reason in each.reasons.items()}


def count_outcomes(intervals: Iterable[Interval | NamedFigures]) -> Counter[str]:
    """Add up how requests ended."""
    return _sum_outcomes(interval.outcomes for interval in intervals)
