"""Whether a result meets an objective, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self

from pytest_loadgen import stats
from pytest_loadgen.result import Interval, Result, counted
from pytest_loadgen.slo import COMPARE, SLO
from pytest_loadgen.units import Duration, Rate, Share

ALPHA = 0.05
"""How often a verdict may be wrong: met where the truth is a miss, or the other way round."""

Outcome = Literal["met", "missed", "unclear", "invalid"]
OUTCOMES: tuple[Outcome, ...] = ("met", "missed", "unclear", "invalid")
_LATENCIES = {"percentile", "mean", "max"}
# By the side of its bound on which a figure that is to be low surely is.
_SIDES: dict[int, Outcome] = {-1: "met", 0: "unclear", 1: "missed"}

# How many times the floor of this machine a limit must be to be judged.
_ABOVE_FLOOR = 3
# A climb is told where it is as sure and as steep as this, in parts of the median per second.
_TREND_ALPHA = 0.005
_TREND = 0.005
# Where more than this many times the run would be needed, it is not worth to say how many.
_TOO_LONG = 20
# The bursts of slow requests are looked for in those that are slower than this part of the limit, too.
_NEAR = 0.5


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
    stretch: float = 1.0
    """How many times longer than asked for the load was, as it went on while an objective was unclear."""

    def meets(self, slo: str) -> Verdict:
        """Judge an objective that the load did not have; true where it is met. Raises PlanError."""
        objective = SLO.parse(slo)
        return valid(objective, judge(objective, self, stretch=self.stretch), self)


def valid(slo: SLO, verdict: Verdict, result: Result) -> Verdict:
    """Withhold a verdict that rests on figures of the generator's and not of the service's.

    A generator that is late or has no CPU left makes a service look slower than it is: what is met
    all the same stays met. One that sends less than it should makes it look faster.
    """
    if reason := _ungrounded(slo, verdict, result):
        verdict = verdict.but("unclear", reason)
    if not result.health or slo.kind == "lag":
        return verdict
    if not result.fell_behind:
        total = result.total
        own = total.unsent + total.outcomes.get("ports", 0) + total.outcomes.get("filehandles", 0)
        # Nor does lateness make a service answer wrongly.
        if verdict.outcome == "met" or (slo.kind in {"errors", "status"} and not own):
            return verdict
    return verdict.but("invalid", result.health[0])


def _ungrounded(slo: SLO, verdict: Verdict, result: Result) -> str:
    """Say why what a generator counts as latency does not bear a verdict, if so."""
    if slo.kind not in _LATENCIES or verdict.outcome not in {"met", "missed"}:
        return ""
    fast = (verdict.outcome == "met") == slo.upper
    if fast and result.basis != "due" and not slo.service and not result.plan.closed:
        # That it is slow is sure all the same: what waited to be sent waited longer.
        return (
            f"the {result.generator} generator counts from when requests were sent, not from when they were due: "
            f"'service {slo.text}' would tell, or another generator"
        )
    if not fast and result.floor and verdict.low is not None and verdict.low - result.floor <= float(slo.bound):
        return f"the {result.generator} generator itself adds up to {result.floor}"
    return ""


def floored(slo: SLO, verdict: Verdict, floor: Duration) -> Verdict:
    """Withhold a verdict on a latency that this machine can hardly tell from none."""
    lowest = _ABOVE_FLOOR * floor
    if slo.kind not in _LATENCIES or float(slo.bound) >= lowest:
        return verdict
    if verdict.outcome == "missed" and verdict.low is not None and verdict.low > lowest:
        return verdict  # that slow is no machine
    return verdict.but("unclear", f"a service that does nothing has a p99 of {floor} on this machine")


def judge(slo: SLO, result: Result, alpha: float = ALPHA, stretch: float = 1.0) -> Verdict:
    """Judge a result by an objective, each way with a chance of alpha to be wrong.

    A count is for the load that was asked for: where the load was stretched, its part of it counts.

    A percentile is judged as a share: ``p99 < L`` is P(latency > L) < 1 %, which is counted exactly
    in each interval. Shares and means are bounded from the intervals as batches (see `stats`).
    """
    best, worst = result.bounds()
    if best is not worst:
        return _between(slo, *(judge(slo, each, alpha, stretch) for each in (best, worst)))
    intervals: Sequence[Interval] = result.intervals
    if slo.window and slo.window.which == "last":
        intervals = last(intervals, slo.window.seconds)
    if slo.window and slo.window.which == "any":
        return _worst(slo, result, alpha)
    if slo.is_tally and stretch > 1:
        return _part(slo, result, stretch)
    verdict = _judge(slo, result, intervals, alpha)
    return _unsteady(slo, result, verdict) if slo.kind in {"percentile", "mean"} and slo.upper else verdict


def _between(slo: SLO, best: Verdict, worst: Verdict) -> Verdict:
    """Judge what was counted in wide buckets: what is so at best and at worst is so."""
    if best.outcome == worst.outcome:
        return replace(worst, low=best.low)
    value = worst.value if best.value == worst.value else f"{best.value} to {worst.value}"
    return Verdict(slo.text, "unclear", value, best.low, worst.high, "the generator's buckets are too coarse to tell")


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
    estimate = stats.share(_counts(slo, result), requests, alpha, factor)
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
        return Verdict(slo.text, "unclear", str(value), remark=_too_few(result))
    remark = _range(outcome, slo.upper, str(low), str(high), _longer(estimate, allowed))
    return Verdict(slo.text, outcome, str(value), float(low), float(high), remark)


def _share(slo: SLO, result: Result, alpha: float) -> Verdict:
    requests = [interval.requests for interval in result.intervals]
    bad = _counts(slo, result)
    estimate = stats.share(bad, requests, alpha)
    outcome = _outcome(estimate, slo.allowed, upper=slo.upper)
    value = f"{Share(estimate.value)}"
    if len(requests) < stats.FEWEST_BATCHES:
        return Verdict(slo.text, "unclear", value, remark=_too_few(result))
    low, high = str(Share(estimate.low)), str(Share(estimate.high))
    remark = _range(outcome, slo.upper, low, high, _longer(estimate, slo.allowed))
    return Verdict(slo.text, outcome, f"{sum(bad):,} of {sum(requests):,}", estimate.low, estimate.high, remark)


def _mean(slo: SLO, result: Result, alpha: float) -> Verdict:
    unit: Callable[[float], object] = Rate if slo.kind == "rate" else Duration
    figures, weights = _batch_means(slo, result)
    estimate = stats.mean(figures, alpha, weights)
    value = result.rate if slo.kind == "rate" else _mean_latency(slo, result)
    if len(figures) < stats.FEWEST_BATCHES:
        return Verdict(slo.text, "unclear", str(value), remark=_too_few(result))
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
        value = sum(_counts(slo, result))
    exact = float(value)
    outcome: Outcome = "met" if COMPARE[slo.compare](exact, float(slo.bound)) else "missed"
    return Verdict(slo.text, outcome, f"{value:,}" if isinstance(value, int) else str(value), exact, exact)


def _part(slo: SLO, result: Result, stretch: float) -> Verdict:
    """Judge a count in a load that went on for longer than the count was meant for."""
    counted = sum(_counts(slo, result))
    part = counted / stretch
    outcome: Outcome = "met" if COMPARE[slo.compare](part, float(slo.bound)) else "missed"
    remark = f"the load went on: {part:,.3g} in each {result.plan.duration}"
    return Verdict(slo.text, outcome, f"{counted:,}", part, part, remark)


def _worst(slo: SLO, result: Result, alpha: float) -> Verdict:
    """Judge each window of a length, and give the worst.

    Where all are to be met, each alone may be wrong with the whole chance (an intersection-union
    test: Berger 1982); where one that is missed is enough, they share it.
    """
    assert slo.window
    length = slo.window.seconds
    windows = list(_windows(result.intervals, length))
    if not windows:
        return Verdict(slo.text, "unclear", "-", remark=f"the run is shorter than {length}")
    decide = _decider(slo, result)
    each = alpha / len(windows)
    found = {window: decide(window, alpha) for window in windows}
    if all(decision.outcome == "met" for decision in found.values()):
        each = alpha
    else:
        found = {window: decide(window, each) for window, one in found.items() if one.outcome != "met"}
    outcome = "missed" if any(one.outcome == "missed" for one in found.values()) else None
    worst = max(
        (window for window, one in found.items() if outcome in {None, one.outcome}),
        key=lambda window: found[window].bad,
    )
    return _judge(slo, result, result.intervals[worst[0] : worst[1]], each)


class _Decision(NamedTuple):
    """A verdict without words, and how bad the figure is: the larger, the worse."""

    outcome: Outcome
    bad: float


def _decider(slo: SLO, result: Result) -> Callable[[tuple[int, int], float], _Decision]:
    """Give what judges many stretches of the same intervals; it counts each interval once."""
    intervals, sign = result.intervals, 1 if slo.upper else -1
    if slo.is_share:
        requests = [interval.requests for interval in intervals]
        bad, *near = [_counts(slo, result, level) for level in (1.0, *([_NEAR] if slo.kind == "percentile" else []))]

        def of_share(window: tuple[int, int], alpha: float) -> _Decision:
            these, all_ = bad[slice(*window)], requests[slice(*window)]
            factor = max(stats.inflation(counts[slice(*window)], all_) for counts in (bad, *near))
            side = sign * stats.side(these, all_, slo.allowed, alpha, factor)
            return _Decision(_SIDES[side], sign * sum(these) / (sum(all_) or 1))

        return of_share
    if slo.kind in {"rate", "mean"}:
        counted = [_batch_means(slo, replace(result, intervals=(interval,))) for interval in intervals]

        def of_mean(window: tuple[int, int], alpha: float) -> _Decision:
            figures, weights = (
                [figure for one in counted[slice(*window)] for figure in one[part]] for part in range(2)
            )
            estimate = stats.mean(figures, alpha, weights)
            strict = slo.compare in {"<", ">"}
            return _Decision(
                _outcome(estimate, float(slo.bound), upper=slo.upper, strict=strict), sign * estimate.value
            )

        return of_mean

    def of_fact(window: tuple[int, int], _: float) -> _Decision:
        verdict = _judge(slo, result, intervals[slice(*window)], 0.0)
        return _Decision(verdict.outcome, -math.inf if verdict.low is None else sign * verdict.low)

    return of_fact


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


def _counts(slo: SLO, result: Result, level: float = 1.0) -> list[int]:
    """Count per interval what a share is of; of a percentile, what is slower than the limit, or than a part of it."""
    if slo.kind != "percentile":
        return [_bad(slo, result, interval) for interval in result.intervals]
    # What was not answered is slower than any limit.
    return [
        (interval.service_time if slo.service else interval.latency).over(float(slo.bound) * level)
        + interval.unanswered
        for interval in result.intervals
    ]


def _inflation(slo: SLO, result: Result) -> float:
    """Tell how much more a share of slow requests varies than independent requests would.

    Where few requests are above the limit, their bursts cannot be seen in them: so those that come
    half as near to it are looked at too.
    """
    requests = [interval.requests for interval in result.intervals]
    return max(stats.inflation(_counts(slo, result, level), requests) for level in (1.0, _NEAR))


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


def _windows(intervals: Sequence[Interval], seconds: float) -> Iterator[tuple[int, int]]:
    """Give each stretch of intervals that are so long together, by its first and the one behind its last."""
    end, length = 0, 0.0
    for at, interval in enumerate(intervals):
        while end < len(intervals) and length < seconds - 0.5:
            length += intervals[end].seconds
            end += 1
        if length >= seconds - 0.5:
            yield at, end
        length -= interval.seconds


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


def _too_few(result: Result) -> str:
    count, fewest = len(result.intervals), stats.FEWEST_BATCHES
    by_the_second = all(interval.seconds < 1.75 for interval in result.intervals)
    would_tell = f"{fewest} s or more" if by_the_second else f"rounds={fewest} or more"
    are = "is" if count == 1 else "are"
    return f"{counted(count, 'interval')} {are} too few to know how sure it is; {would_tell} would tell"
