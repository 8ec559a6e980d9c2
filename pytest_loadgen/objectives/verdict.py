"""Whether a result meets an objective, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.sample import Facts, Means, Shares, sample
from pytest_loadgen.objectives.slo import COMPARE, SLO
from pytest_loadgen.units import Duration, Rate, Share
from pytest_loadgen.wording import counted

ALPHA = 0.05
"""How often a verdict may be wrong: met where the truth is a miss, or the other way round."""
# So wide is the column of objectives, or as wide as the longest of them.
_WIDTH = 24

Outcome = Literal["met", "missed", "unclear", "invalid"]
OUTCOMES: tuple[Outcome, ...] = ("met", "missed", "unclear", "invalid")

# A climb is told where it is as sure and as steep as this, in parts of the median per second.
_TREND_ALPHA = 0.005
_TREND = 0.005
# Where more than this many times the run would be needed, it is not worth to say how many.
_TOO_LONG = 20
# What varies so many times as much as independent requests would comes in bursts.
_BURSTS = 3
# So many of the windows that look worst at their limit are looked at whole.
_CANDIDATES = 5


@dataclass(frozen=True, repr=False)
class Verdict:
    """The judgement of one objective, true where it is met. Figures are as people read them, with their units."""

    slo: str
    outcome: Outcome
    value: str
    low: float | None = None
    """A bound of the true figure, or the figure itself where it is a fact; in s, per s or as a share."""
    high: float | None = None
    remark: str = ""
    """How sure it is, or why not."""

    def __bool__(self) -> bool:
        return self.outcome == "met"

    def __str__(self) -> str:
        return self._line(_WIDTH)

    def __repr__(self) -> str:
        return f"<{' '.join(str(self).split())}>"

    def _line(self, width: int) -> str:
        remark = f"  ({self.remark})" if self.remark else ""
        return f"{self.outcome:<8} {self.slo:<{width}} {self.value}{remark}"

    def as_dict(self) -> dict[str, Any]:
        """Give the verdict as JSON can hold it."""
        return {
            "slo": self.slo,
            "outcome": self.outcome,
            "value": self.value,
            # JSON has no infinity, where nothing was answered.
            "low": None if self.low is None or math.isinf(self.low) else self.low,
            "high": None if self.high is None or math.isinf(self.high) else self.high,
            "remark": self.remark,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        return cls(**data)


def aligned(verdicts: Sequence[Verdict]) -> list[str]:
    """Write verdicts, a line each, one below the other."""
    width = max((len(verdict.slo) for verdict in verdicts), default=0)
    return [verdict._line(max(_WIDTH, width)) for verdict in verdicts]


def judge(slo: SLO, result: Result, alpha: float = ALPHA, stretch: float = 1.0) -> Verdict:
    """Judge a result by an objective, each way with a chance of alpha to be wrong.

    A percentile is judged as a share: ``p99 < L`` is P(latency > L) < 1 %, which is counted exactly
    in each interval. Shares and means are bounded from the intervals as batches (see `stats`). A
    count is for the load that was asked for: where the load was stretched, its part of it counts.
    """
    assert not slo.is_relative, "what is to be compared is judged by `judged.compare`"
    result = result.by_service_time if slo.service else result
    best, worst = result.best_and_worst()
    if best is not worst:
        return _between(slo, *(judge(replace(slo, service=False), each, alpha, stretch) for each in (best, worst)))
    if not (judged := stretches(slo, result)):
        assert slo.window
        return Verdict(slo.text, "unclear", "-", remark=f"the run is shorter than {slo.window.seconds}")
    if slo.window and slo.window.which == "any":
        return _worst(slo, result, judged, alpha)
    result = replace(result, intervals=result.intervals[judged[0]])
    if slo.is_tally and stretch > 1:
        return _part(slo, result, stretch)
    verdict = _judge(slo, result, alpha)
    return _unsteady(slo, result, verdict) if slo.kind in {"percentile", "mean"} and slo.upper else verdict


def _between(slo: SLO, best: Verdict, worst: Verdict) -> Verdict:
    """Judge what was counted in wide buckets: what is so at best and at worst is so."""
    if best.outcome == worst.outcome:
        return replace(worst, low=best.low)
    value = worst.value if best.value == worst.value else f"{best.value} to {worst.value}"
    return Verdict(slo.text, "unclear", value, best.low, worst.high, "the generator's buckets are too coarse to tell")


def _judge(slo: SLO, result: Result, alpha: float, longer: str = "longer") -> Verdict:
    """Judge all intervals of a result."""
    if not result.requests:
        return Verdict(slo.text, "unclear", "no requests")
    found = sample(slo, result)
    if isinstance(found, Facts):
        return _fact(slo, found)
    bound = _bound(slo)
    outcome = _outcome(slo, found.side(bound, alpha))
    batches = len(found.requests) if isinstance(found, Shares) else sum(map(bool, found.weights))
    if batches < stats.FEWEST_BATCHES:
        return Verdict(slo.text, "unclear", _value(slo, result, found), remark=_too_few(result))
    estimate = found.estimate(alpha)
    low, high = max(0.0, estimate.low), estimate.high
    unit: Callable[[float], object] = Share
    if slo.kind == "percentile":
        assert isinstance(found, Shares)
        low, high = _percentile_bounds(slo, result, found, estimate, alpha)
        unit = _latency
    elif isinstance(found, Means):
        unit = Rate if slo.kind == "rate" else Duration
    if outcome == "unclear":
        remark = f"{_range(low, high, unit)}; {_why(slo, found, bound, alpha, longer)}"
    else:
        below = (outcome == "met") == slo.upper
        remark = f"95% sure of {_upto(high, unit) if below else _atleast(low, unit)}"
    return Verdict(slo.text, outcome, _value(slo, result, found), low, high, remark)


def _fact(slo: SLO, found: Facts) -> Verdict:
    """Judge what is a fact of this run and no sample of anything: a count, the slowest request."""
    value = found.value
    if math.isnan(value):
        return Verdict(slo.text, "unclear", "-", remark="the generator does not tell")
    outcome: Outcome = "met" if COMPARE[slo.compare](float(value), float(slo.bound)) else "missed"
    return Verdict(slo.text, outcome, _shown(value), float(value), float(value))


def _part(slo: SLO, result: Result, stretch: float) -> Verdict:
    """Judge a count in a load that went on for longer than the count was meant for."""
    whole = sample(slo, result).value
    part = whole / stretch
    outcome: Outcome = "met" if COMPARE[slo.compare](part, float(slo.bound)) else "missed"
    remark = f"the load went on: {part:,.3g} in each {result.plan.duration}"
    return Verdict(slo.text, outcome, _shown(whole), part, part, remark)


def _worst(slo: SLO, result: Result, windows: list[slice], alpha: float) -> Verdict:
    """Judge each window of a length, and give the worst.

    Where all are to be met, each alone may be wrong with the whole chance (an intersection-union
    test: Berger 1982); where one that is missed is enough, they share it.
    """
    found, bound = sample(slo, result), _bound(slo)
    each = alpha / len(windows)
    outcomes = [_outcome(slo, found[window].side(bound, alpha)) for window in windows]
    if any(outcome != "met" for outcome in outcomes):
        candidates = [window for window, outcome in zip(windows, outcomes, strict=True) if outcome != "met"]
        missed = [window for window in candidates if _outcome(slo, found[window].side(bound, each)) == "missed"]
        windows = missed or candidates
    else:
        each = alpha
    sign = 1 if slo.upper else -1
    windows.sort(key=lambda window: sign * found[window].value, reverse=True)
    parts = [replace(result, intervals=result.intervals[window]) for window in windows[:_CANDIDATES]]
    if slo.kind == "percentile":
        parts.sort(key=lambda part: sign * part.percentile(slo.percent), reverse=True)
    return _judge(slo, parts[0], each, "longer windows")


def _unsteady(slo: SLO, result: Result, verdict: Verdict) -> Verdict:
    """Say so where latency climbs through the run; what would climb over its limit is not yet met."""
    full = [interval for interval in result.intervals if interval.seconds >= 0.5 and interval.requests]
    each = [replace(result, intervals=(interval,)) for interval in full]
    middle = [float(one.p50) for one in each]
    if len(each) < 2 * stats.FEWEST_BATCHES or not all(map(math.isfinite, middle)):
        return verdict
    average = sum(middle) / len(middle)
    climb = stats.slope(middle, _TREND_ALPHA)
    if climb.low <= 0 or climb.value < _TREND * average:
        return verdict
    remark = f"{verdict.remark}; still climbing: p50 +{Share(climb.value / average)}/s"
    figures = [float(one.percentile(slo.percent) if slo.kind == "percentile" else one.mean) for one in each]
    ahead = sum(figures) / len(figures) + stats.slope(figures, _TREND_ALPHA).value * 1.5 * len(figures)
    if verdict.outcome == "met" and not ahead < float(slo.bound):  # nor if it is not known
        remark = f"{remark}, and over the limit before it has run as long again"
        return replace(verdict, outcome="unclear", remark=remark)
    return replace(verdict, remark=remark)


# Which intervals.


def stretches(slo: SLO, result: Result) -> list[slice]:
    """Tell which intervals of a result an objective is about: all, the last, or each window of a length.

    There is none where the result is shorter than that.
    """
    if not slo.window:
        return [slice(None)]
    windows = [slice(*ends) for ends in _windows(result.intervals, slo.window.seconds)]
    return windows if slo.window.which == "any" else windows[-1:]


def last(intervals: Sequence[Interval], seconds: float) -> Sequence[Interval]:
    """Give the last intervals that are so long together; what came in after them is with them."""
    at, length = len(intervals), 0.0
    while at and length < seconds - 0.5:
        at -= 1
        length += intervals[at].seconds
    return intervals[at:]


def _windows(intervals: Sequence[Interval], seconds: float) -> Iterator[tuple[int, int]]:
    """Give each stretch of intervals that are so long together, by its first and the one behind its last."""
    end, length = 0, 0.0
    for at, interval in enumerate(intervals):
        while end < len(intervals) and length < seconds - 0.5:
            length += intervals[end].seconds
            end += 1
        # What came in after the last of them is with them.
        while end < len(intervals) and not intervals[end].seconds:
            end += 1
        if length >= seconds - 0.5 and interval.seconds:
            yield at, end
        length -= interval.seconds


# On which side.


def _bound(slo: SLO) -> float:
    """Give the bound for a comparison in which being at it is on neither side."""
    bound = slo.allowed if slo.is_share else float(slo.bound)
    if slo.kind == "percentile" or slo.compare not in {"<=", ">="}:
        return bound
    return math.nextafter(bound, math.inf if slo.compare == "<=" else -math.inf)


def _outcome(slo: SLO, side: int) -> Outcome:
    if slo.compare == "==":
        return "missed" if side else "met"
    if not side:
        return "missed" if not slo.is_sample else "unclear"
    return "met" if (side < 0) == slo.upper else "missed"


def _percentile_bounds(
    slo: SLO, result: Result, found: Shares, estimate: stats.Estimate, alpha: float
) -> tuple[float, float]:
    """Tell what the percentile itself may be.

    That is where the bounds of a share as large as its tail fall (Woodruff 1952), on the side of
    the limit that the judgement at the limit tells; and anything, where the sample is too small to
    have a request beyond it.
    """
    allowed, limit = slo.allowed, float(slo.bound)
    tail = stats.share([allowed * each for each in found.requests], found.requests, alpha, found.inflation)
    low, high = (float(result.percentile(100 * (1 - share))) for share in (tail.high, tail.low))
    if sum(found.requests) / found.inflation < stats.needed(allowed, alpha):
        high = math.inf
    if estimate.high < allowed:
        low, high = min(low, limit), min(high, limit)
    elif estimate.low > allowed:
        low, high = max(low, limit), max(high, limit)
    return low, high


# What is said.


def _value(slo: SLO, result: Result, found: Shares | Means) -> str:
    if slo.kind == "percentile":
        return str(result.percentile(slo.percent))
    if isinstance(found, Shares):
        return f"{sum(found.bad):,} of {sum(found.requests):,}"
    return str(result.rate if slo.kind == "rate" else result.mean)


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _latency(seconds: float) -> str:
    return "no answer" if math.isinf(seconds) else str(Duration(seconds))


def _upto(high: float, unit: Callable[[float], object]) -> str:
    return f"{unit(high)} or less"


def _atleast(low: float, unit: Callable[[float], object]) -> str:
    return f"{unit(low)}" if math.isinf(low) else f"{unit(low)} or more"


def _range(low: float, high: float, unit: Callable[[float], object]) -> str:
    """Tell both bounds; each alone is 95 % sure, and so both together are 90 %."""
    if math.isinf(high):
        return f"95% sure of {_atleast(low, unit)}"
    return f"90% sure of {unit(low)} to {unit(high)}"


def _why(slo: SLO, found: Shares | Means, bound: float, alpha: float, longer: str) -> str:
    """Tell why a run is too short, and which would not be: bounds close in by the square root of its length."""
    if isinstance(found, Shares) and slo.upper and 0 < bound < 1:
        wanted, requests = stats.needed(bound, alpha), sum(found.requests)
        if requests < wanted:
            return f"it takes {wanted:,} requests to tell"
    estimate = found.estimate(alpha)
    distance = abs(estimate.value - bound)
    width = max(estimate.high - estimate.value, estimate.value - estimate.low)
    factor = (width / distance) ** 2 if distance and math.isfinite(width) else math.inf
    bursts = isinstance(found, Shares) and found.inflation > _BURSTS
    if factor <= _TOO_LONG:
        times = "" if longer == "longer windows" else f"{max(2, math.ceil(factor))}x "
        return f"{times}{longer} would tell"
    if bursts and not bound / 2 < estimate.value < 2 * bound:
        return f"they come in bursts, and only much {longer} would tell how often"
    return "too near to its limit to tell"


def _too_few(result: Result) -> str:
    count, fewest = len(result.intervals), stats.FEWEST_BATCHES
    by_the_second = all(interval.seconds < 1.75 for interval in result.intervals)
    would_tell = f"{fewest} s or more" if by_the_second else f"rounds={fewest} or more"
    are = "is" if count == 1 else "are"
    return f"{counted(count, 'interval')} {are} too few to know how sure it is; {would_tell} would tell"
