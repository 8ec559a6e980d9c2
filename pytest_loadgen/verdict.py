"""Whether a result meets an objective, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pytest_loadgen import stats
from pytest_loadgen.result import Interval, Result
from pytest_loadgen.slo import COMPARE, SLO
from pytest_loadgen.units import Duration, Rate, Share

ALPHA = 0.05
"""How often a verdict may be wrong: met where the truth is a miss, or the other way round."""

Outcome = Literal["met", "missed", "unclear", "invalid"]
OUTCOMES: tuple[Outcome, ...] = ("met", "missed", "unclear", "invalid")

# How many times the floor of this machine a limit must be to be judged.
_ABOVE_FLOOR = 3
# A climb is told where it is as sure and as steep as this, in parts of the median per second.
_TREND_ALPHA = 0.005
_TREND = 0.005
# Where more than this many times the run would be needed, it is not worth to say how many.
_TOO_LONG = 20


@dataclass(frozen=True)
class Verdict:
    """The judgement of one objective. Figures are as people read them, with their units."""

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
        remark = f"  ({self.remark})" if self.remark else ""
        return f"{self.outcome:<8} {self.slo:<24} {self.value}{remark}"

    def but(self, outcome: Outcome, remark: str) -> Verdict:
        """Give the verdict that this one becomes for a reason outside the figures."""
        return replace(self, outcome=outcome, remark="; ".join(filter(None, [self.remark, remark])))

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


@dataclass(frozen=True, repr=False)
class JudgedResult(Result):
    """A result, and the verdicts on its objectives."""

    verdicts: tuple[Verdict, ...] = ()

    def meets(self, slo: str) -> Verdict:
        """Judge an objective that the load did not have; true where it is met. Raises PlanError."""
        objective = SLO.parse(slo)
        return valid(objective, judge(objective, self), self)


def valid(slo: SLO, verdict: Verdict, result: Result) -> Verdict:
    """Withhold a verdict that rests on figures of the generator's and not of the service's.

    A generator that is late or has no CPU left makes a service look slower than it is: what is met
    all the same stays met. One that sends less than it should makes it look faster.
    """
    if not result.health or slo.kind == "lag":
        return verdict
    if not result.fell_behind:
        total = result.total
        own = total.unsent + total.outcomes.get("ports", 0) + total.outcomes.get("filehandles", 0)
        # Nor does lateness make a service answer wrongly.
        if verdict.outcome == "met" or (slo.kind in {"errors", "status"} and not own):
            return verdict
    return verdict.but("invalid", result.health[0])


def floored(slo: SLO, verdict: Verdict, floor: Duration) -> Verdict:
    """Withhold a verdict on a latency that this machine can hardly tell from none."""
    lowest = _ABOVE_FLOOR * floor
    if slo.kind not in {"percentile", "mean", "max"} or float(slo.bound) >= lowest:
        return verdict
    if verdict.outcome == "missed" and verdict.low is not None and verdict.low > lowest:
        return verdict  # that slow is no machine
    return verdict.but("unclear", f"a service that does nothing has a p99 of {floor} on this machine")


def judge(slo: SLO, result: Result, alpha: float = ALPHA) -> Verdict:
    """Judge a result by an objective, each way with a chance of alpha to be wrong.

    A percentile is judged as a share: ``p99 < L`` is P(latency > L) < 1 %, which is counted exactly
    in each interval. Shares and means are bounded from the intervals as batches (see `stats`).
    """
    intervals: Sequence[Interval] = result.intervals
    if slo.window and slo.window.which == "last":
        intervals = last(intervals, slo.window.seconds)
    if slo.window and slo.window.which == "any":
        return _worst(slo, result, alpha)
    verdict = _judge(slo, result, intervals, alpha)
    return _unsteady(slo, result, verdict) if slo.kind in {"percentile", "mean"} and slo.upper else verdict


def _judge(slo: SLO, result: Result, intervals: Sequence[Interval], alpha: float) -> Verdict:
    """Judge some intervals of a result."""
    part = replace(result, intervals=tuple(intervals))
    if not part.requests:
        return Verdict(slo.text, "unclear", "no requests")
    if slo.kind == "percentile":
        return _percentile(slo, part, alpha)
    if isinstance(slo.bound, Share):
        return _share(slo, part, alpha)
    if slo.kind in {"rate", "mean"}:
        return _mean(slo, part, alpha)
    return _fact(slo, part)


def _percentile(slo: SLO, result: Result, alpha: float) -> Verdict:
    """Judge the share of requests above the limit."""
    requests = [interval.requests for interval in result.intervals]
    limit = float(slo.bound)
    factor = _inflation(slo, result)
    estimate = stats.share(_slower(slo, result, limit), requests, alpha, factor)
    allowed = slo.allowed
    value = _at(slo, result, slo.percent)
    # The limit is not part of "<": a share that is just allowed is a percentile at the limit.
    outcome = _outcome(estimate, allowed, upper=slo.upper)
    # What the percentile itself may be: where the bounds of a share as large as its tail fall
    # (Woodruff 1952), and no further than the judgement at the limit tells.
    tail = stats.share([allowed * each for each in requests], requests, alpha, factor)
    low, high = _at(slo, result, 100 * (1 - tail.high)), _at(slo, result, 100 * (1 - tail.low))
    if estimate.high < allowed:
        low, high = min(low, Duration(limit)), min(high, Duration(limit))
    elif estimate.low > allowed:
        low, high = max(low, Duration(limit)), max(high, Duration(limit))
    if len(requests) < stats.FEWEST_BATCHES:
        return Verdict(slo.text, "unclear", str(value), remark=_too_few(requests))
    remark = _range(outcome, slo.upper, str(low), str(high), _longer(estimate, allowed))
    return Verdict(slo.text, outcome, str(value), float(low), float(high), remark)


def _share(slo: SLO, result: Result, alpha: float) -> Verdict:
    requests = [interval.requests for interval in result.intervals]
    bad = [_bad(slo, result, interval) for interval in result.intervals]
    estimate = stats.share(bad, requests, alpha)
    outcome = _outcome(estimate, slo.allowed, upper=slo.upper)
    value = f"{Share(estimate.value)}"
    if len(requests) < stats.FEWEST_BATCHES:
        return Verdict(slo.text, "unclear", value, remark=_too_few(requests))
    low, high = str(Share(estimate.low)), str(Share(estimate.high))
    remark = _range(outcome, slo.upper, low, high, _longer(estimate, slo.allowed))
    return Verdict(slo.text, outcome, f"{sum(bad):,} of {sum(requests):,}", estimate.low, estimate.high, remark)


def _mean(slo: SLO, result: Result, alpha: float) -> Verdict:
    unit: Callable[[float], object] = Rate if slo.kind == "rate" else Duration
    figures, weights = _batch_means(slo, result)
    estimate = stats.mean(figures, alpha, weights)
    value = result.rate if slo.kind == "rate" else _mean_latency(slo, result)
    if len(figures) < stats.FEWEST_BATCHES:
        return Verdict(slo.text, "unclear", str(value), remark=_too_few(figures))
    bound = float(slo.bound)
    outcome = _outcome(estimate, bound, upper=slo.upper, strict=slo.compare in {"<", ">"})
    low, high = unit(max(0.0, estimate.low)), unit(max(0.0, estimate.high))
    remark = _range(outcome, slo.upper, str(low), str(high), _longer(estimate, bound))
    return Verdict(slo.text, outcome, str(value), max(0.0, estimate.low), estimate.high, remark)


def _fact(slo: SLO, result: Result) -> Verdict:
    """Judge what is a fact of this run and no sample of anything: a count, the slowest request."""
    value: float
    if slo.kind == "max":
        value = _at(slo, result, 100)
    elif slo.kind == "lag":
        value = result.total.lag.percentile(99) if result.total.lag else Duration(0)
    else:
        value = sum(_bad(slo, result, interval) for interval in result.intervals)
    exact = float(value)
    outcome: Outcome = "met" if COMPARE[slo.compare](exact, float(slo.bound)) else "missed"
    return Verdict(slo.text, outcome, f"{value:,}" if isinstance(value, int) else str(value), exact, exact)


def _worst(slo: SLO, result: Result, alpha: float) -> Verdict:
    """Judge each window of a length, and give the worst; the chances to be wrong are shared out."""
    assert slo.window
    length = slo.window.seconds
    windows = [
        window
        for at in range(len(result.intervals))
        if (window := _from(result.intervals, at, length))
        and sum(interval.seconds for interval in window) >= length - 0.5
    ]
    if not windows:
        return Verdict(slo.text, "unclear", "-", remark=f"the run is shorter than {length}")
    verdicts = [_judge(slo, result, window, alpha / len(windows)) for window in windows]
    order: tuple[Outcome, ...] = ("missed", "unclear", "met")
    return min(verdicts, key=lambda verdict: (order.index(verdict.outcome), -_far(slo, verdict)))


def _unsteady(slo: SLO, result: Result, verdict: Verdict) -> Verdict:
    """Say so where latency climbs through the run; what would climb over its limit is not yet met."""
    full = [interval for interval in result.intervals if interval.seconds >= 0.5 and interval.requests]
    each = [replace(result, intervals=(interval,)) for interval in full]
    middle = [float(_at(slo, one, 50)) for one in each]
    if len(each) < 2 * stats.FEWEST_BATCHES or not all(map(math.isfinite, middle)):
        return verdict
    average = sum(middle) / len(middle)
    climb = stats.slope(middle, _TREND_ALPHA)
    if climb.low <= 0 or climb.value < _TREND * average:
        return verdict
    remark = f"still climbing: p50 +{Share(climb.value / average)}/s"
    figures = [
        float(_at(slo, one, slo.percent) if slo.kind == "percentile" else _mean_latency(slo, one)) for one in each
    ]
    ahead = sum(figures) / len(figures) + stats.slope(figures, _TREND_ALPHA).value * 1.5 * len(figures)
    if verdict.outcome == "met" and not ahead < float(slo.bound):  # nor if it is not known
        return verdict.but("unclear", f"{remark}, and over the limit before it has run as long again")
    return verdict.but(verdict.outcome, remark)


def _far(slo: SLO, verdict: Verdict) -> float:
    bound = verdict.high if slo.upper else verdict.low
    return 0.0 if bound is None else bound if slo.upper else -bound


# What is counted.


def _bad(slo: SLO, result: Result, interval: Interval) -> int:
    """Count what an objective of errors, statuses or time-outs is about."""
    if slo.kind == "errors":
        return sum(count for outcome, count in interval.outcomes.items() if not result.plan.expects(outcome))
    wanted = "timeout" if slo.kind == "timeouts" else slo.status
    if wanted.endswith("xx"):
        return sum(
            count for outcome, count in interval.outcomes.items() if outcome.isdigit() and outcome[0] == wanted[0]
        )
    return interval.outcomes.get(wanted, 0)


def _slower(slo: SLO, result: Result, limit: float) -> list[int]:
    """Count per interval what was slower than a limit; what was not answered is."""
    return [
        (interval.service_time if slo.service else interval.latency).over(limit) + interval.unanswered
        for interval in result.intervals
    ]


def _inflation(slo: SLO, result: Result) -> float:
    """Tell how much more a share of slow requests varies than independent requests would.

    Where few requests are above the limit, their bursts cannot be seen in them: so those that come
    half as near to it are looked at too.
    """
    requests = [interval.requests for interval in result.intervals]
    limit = float(slo.bound)
    return max(stats.inflation(_slower(slo, result, level), requests) for level in (limit, limit / 2))


def _at(slo: SLO, result: Result, percent: float) -> Duration:
    return result.percentile(percent, service=slo.service)


def _mean_latency(slo: SLO, result: Result) -> Duration:
    if not slo.service:
        return result.mean
    return replace(result, intervals=(replace(result.total, latency=result.total.service_time),)).mean


def _batch_means(slo: SLO, result: Result) -> tuple[list[float], list[float]]:
    """Give the figure of each interval, and how much it counts for."""
    if slo.kind == "rate":
        whole = [interval for interval in result.intervals if interval.seconds >= 0.5]
        rates = [(interval.requests - interval.unanswered) / interval.seconds for interval in whole]
        return rates, [interval.seconds for interval in whole]
    # The last answers may come in an interval of their own: it counts for as many as they are.
    asked = [interval for interval in result.intervals if interval.requests]
    means = [float(_mean_latency(slo, replace(result, intervals=(interval,)))) for interval in asked]
    return means, [float(interval.requests) for interval in asked]


def last(intervals: Sequence[Interval], seconds: float) -> Sequence[Interval]:
    """Give the last intervals that are so long together; what came in after them is with them."""
    at, length = len(intervals), 0.0
    while at and length < seconds - 0.5:
        at -= 1
        length += intervals[at].seconds
    return intervals[at:]


def _from(intervals: Sequence[Interval], at: int, seconds: float) -> Sequence[Interval]:
    end, length = at, 0.0
    while end < len(intervals) and length < seconds - 0.5:
        length += intervals[end].seconds
        end += 1
    return intervals[at:end]


# What is said.


def _outcome(estimate: stats.Estimate, bound: float, *, upper: bool, strict: bool = True) -> Outcome:
    below = estimate.high < bound or (not strict and estimate.high == bound)
    above = estimate.low > bound or (not strict and estimate.low == bound)
    if upper:
        return "met" if below else "missed" if estimate.low > bound else "unclear"
    return "met" if above else "missed" if estimate.high < bound else "unclear"


def _range(outcome: Outcome, upper: bool, low: str, high: str, longer: str) -> str:
    # Each bound alone is 95% sure; both together are 90%.
    if outcome == "unclear":
        return f"90% sure of {low} to {high}; {longer}"
    below = (outcome == "met") == upper
    return f"95% sure of {high} or less" if below else f"95% sure of {low} or more"


def _longer(estimate: stats.Estimate, bound: float) -> str:
    """Tell how much longer a run would tell: bounds close in by the square root of its length."""
    distance = abs(estimate.value - bound)
    width = max(estimate.high - estimate.value, estimate.value - estimate.low)
    factor = (width / distance) ** 2 if distance and math.isfinite(width) else math.inf
    if factor > _TOO_LONG:
        return "too near to its limit to tell"
    return f"{max(2, math.ceil(factor))}x longer would tell"


def _too_few(batches: Sequence[object]) -> str:
    return f"{len(batches)} intervals are too few to know how sure it is; {stats.FEWEST_BATCHES} s or more would tell"
