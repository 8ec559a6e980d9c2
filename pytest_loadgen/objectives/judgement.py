"""Whether a result meets an objective, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.sample import Estimated, Facts, Means, Sample, Shares, Trends
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import Outcome, Verdict
from pytest_loadgen.objectives.windows import HALF_INTERVAL, spans
from pytest_loadgen.units import Change, Share
from pytest_loadgen.wording import counted

ALPHA = 0.05
"""The probability of a wrong verdict: met where the truth is a miss, or the other way round."""
WORTH_WAITING = 20
"""How many times longer a run may have to be for a remark to say so."""

# A climb is reported if its slope is above 0 with this error, and above this part of the median per second.
_TREND_ALPHA = 0.005
_TREND = 0.005
# A share that varies this many times as much as that of independent requests comes in bursts.
_BURSTS = 3
# How many of the windows that look worst at their limit are examined in full.
_CANDIDATES = 5
# Longer intervals than this are rounds, and not the seconds of a run.
_LONGEST_SECOND = 1.75


def judge(
    slo: SLO, result: Result, alpha: float = ALPHA, extended_by: float = 1.0, *, missed: float | None = None
) -> Verdict:
    """Judge the result of the requests that an objective is about.

    Met is wrong with probability alpha, and missed with its own, which is smaller where several objectives share it.
    A percentile is judged as a share: ``p99 < L`` is P(latency > L) < 1 %, which is counted exactly
    in each interval. Shares and means are bounded with the intervals as batches (see `stats`). A
    count is meant for the load as planned: of a load that was extended, the average of that length counts.
    """
    assert not slo.is_relative, "changes from a baseline are judged by `comparison.compare`"
    risk = Risk(alpha, alpha if missed is None else missed)
    return _judge_view(slo, slo.metric.view(result), risk, extended_by)


@dataclass(frozen=True)
class Risk:
    """The probability that a verdict is wrong, either way."""

    met: float
    missed: float

    def of(self, side: int, slo: SLO) -> float:
        """Give the probability with which a figure may be called above its bound (1) or below it (-1)."""
        return self.missed if (side > 0) == slo.upper else self.met


def _judge_view(slo: SLO, result: Result, risk: Risk, extended_by: float) -> Verdict:
    best, worst = result.best_and_worst()
    if best is not worst:
        return _combine(*(_judge_view(slo, each, risk, extended_by) for each in (best, worst)))
    if not (windows := spans(slo, result.intervals)):
        assert slo.window
        return Verdict(slo, "unclear", "-", remark=f"the run is shorter than {slo.window.seconds}")
    if slo.window and slo.window.which == "any":
        return _judge_worst(slo, result, windows, risk)
    if slo.window:  # else it stays the same object, which has its total from the objectives before
        result = replace(result, intervals=result.intervals[windows[0]])
    if slo.is_tally and extended_by > 1:
        return _judge_extended(slo, result, extended_by)
    return _check_trend(slo, result, _judge(slo, result, risk))


def _combine(best: Verdict, worst: Verdict) -> Verdict:
    """Judge latencies that were counted in wide buckets, from the verdicts on the best and on the worst case."""
    if best.outcome == worst.outcome:
        # Sure is what holds in both cases.
        is_high = best.outcome == ("missed" if best.slo.upper else "met")
        return replace(worst, low=best.low, remark=best.remark if is_high else worst.remark)
    value = worst.value if best.value == worst.value else f"{best.value} to {worst.value}"
    remark = "the generator's latency buckets are too wide to decide"
    return Verdict(best.slo, "unclear", value, best.low, worst.high, remark)


def _judge(slo: SLO, result: Result, risk: Risk, longer: str = "run") -> Verdict:
    """Judge all intervals of a result; `longer` is what would have to be longer to decide."""
    if not result.requests:
        return Verdict(slo, "unclear", "no requests")
    metric = slo.metric
    sample = metric.sample(result, slo.bound)
    value = metric.write_figure(result, sample)
    if isinstance(sample, Facts):
        return _judge_fact(slo, sample, value)
    if sample.batches < stats.FEWEST_BATCHES:
        return Verdict(slo, "unclear", value, remark=_too_few(result, sample.batches))
    bound = _bound(slo)
    outcome = _outcome(slo, _side(slo, sample, bound, risk))
    # Each bound has the error that its side was decided with.
    low, high = metric.bounds(result, sample, slo.bound, risk.of(1, slo))
    if risk.met != risk.missed:
        _, high = metric.bounds(result, sample, slo.bound, risk.of(-1, slo))
    if outcome == "unclear":
        remark = f"{_range(low, high, metric.write)}; {_why_unclear(slo, sample, bound, risk, longer)}"
    else:
        below = (outcome == "met") == slo.upper
        remark = f"95% sure of {_up_to(high, metric.write) if below else _from(low, metric.write)}"
    return Verdict(slo, outcome, value, low, high, remark, sample.basis)


def _judge_fact(slo: SLO, sample: Facts, value: str) -> Verdict:
    """Judge a fact of the run: a count, the slowest request."""
    figure = float(sample.value)
    if math.isnan(figure):
        return Verdict(slo, "unclear", "-", remark="not reported by this generator")
    return Verdict(slo, "met" if slo.holds(figure) else "missed", value, figure, figure)


def _judge_extended(slo: SLO, result: Result, extended_by: float) -> Verdict:
    """Judge a count in a load that lasted longer than the count was meant for."""
    sample = slo.metric.sample(result, slo.bound)
    part = sample.value / extended_by
    remark = f"the load was extended: {part:,.3g} per {result.plan.duration}"
    value = slo.metric.write_figure(result, sample)
    return Verdict(slo, "met" if slo.holds(part) else "missed", value, part, part, remark)


def _judge_worst(slo: SLO, result: Result, windows: list[slice], risk: Risk) -> Verdict:
    """Judge each window, and give the verdict on the worst, with the figure of the worst.

    To be met, all windows must be, so that each may be wrong with the whole probability (an
    intersection-union test: Berger 1982). To be missed one is enough, so that they share it.
    """
    sample, bound = slo.metric.sample(result, slo.bound), _bound(slo)
    sign = 1 if slo.upper else -1
    worst = replace(result, intervals=result.intervals[slo.metric.worst(result, sample, windows, sign)])
    each = Risk(risk.missed / len(windows), risk.missed / len(windows))
    outcomes = [_outcome(slo, sample[window].side(bound, risk.met)) for window in windows]
    if any(outcome != "met" for outcome in outcomes):
        candidates = [window for window, outcome in zip(windows, outcomes, strict=True) if outcome != "met"]
        missed = [window for window in candidates if _outcome(slo, _side(slo, sample[window], bound, each)) == "missed"]
        windows = missed or candidates
    else:
        return _judge(slo, worst, risk, "window")
    windows.sort(key=lambda window: sign * sample[window].value, reverse=True)
    parts = [replace(result, intervals=result.intervals[window]) for window in windows[:_CANDIDATES]]
    if slo.metric.is_latency:
        parts.sort(key=lambda part: sign * slo.metric.figure(part), reverse=True)
    verdict = _judge(slo, parts[0], each, "window")
    # Another window may look worse and be less sure.
    return replace(verdict, value=_judge(slo, worst, each, "window").value)


def _check_trend(slo: SLO, result: Result, verdict: Verdict) -> Verdict:
    """Report a latency that climbs or falls through the run; unclear if it is about to cross the limit."""
    metric = slo.metric
    if not (metric.is_latency and metric.is_estimated and slo.upper):
        return verdict
    parts = [part for part in result.by_interval if part.requests and part.intervals[0].seconds >= HALF_INTERVAL]
    medians = [float(part.p50) for part in parts]
    if len(parts) < 2 * stats.FEWEST_BATCHES or not all(map(math.isfinite, medians)):
        return verdict
    average = sum(medians) / len(medians)
    seconds = range(len(parts))
    trend = stats.trend(seconds, medians, _TREND_ALPHA)
    if trend.low <= 0 <= trend.high or abs(trend.value) < _TREND * average:
        return verdict
    climbs = trend.value > 0
    remark = f"{verdict.remark}; still {'climbing' if climbs else 'falling'}: p50 {Change(1 + trend.value / average)}/s"
    figures = [float(metric.figure(part)) for part in parts]
    ahead = sum(figures) / len(figures) + stats.trend(seconds, figures, _TREND_ALPHA).value * 1.5 * len(figures)
    if verdict.outcome == "met" and climbs and not ahead < float(slo.bound):  # nan is not below it either
        remark = f"{remark}, and would exceed the limit within another run of this length"
        return replace(verdict, outcome="unclear", remark=remark)
    if verdict.outcome == "missed" and not climbs and ahead < float(slo.bound):
        remark = f"{remark}, and would meet the limit within another run of this length: use a longer warmup"
        return replace(verdict, outcome="unclear", remark=remark)
    return replace(verdict, remark=remark)


def _bound(slo: SLO) -> float:
    """Give the bound for a comparison in which equality is on neither side."""
    allowed = slo.allowed
    if allowed is not None and not isinstance(slo.bound, Share):
        return allowed  # latencies at the limit are in the limit's own bucket, which is not above it
    bound = float(slo.bound)
    if slo.comparison not in {"<=", ">="}:
        return bound
    return math.nextafter(bound, math.inf if slo.comparison == "<=" else -math.inf)


def _side(slo: SLO, sample: Sample, bound: float, risk: Risk) -> int:
    """Give the side of its bound on which a figure is; 0 where that is not sure enough."""
    side = sample.side(bound, max(risk.met, risk.missed))
    return sample.side(bound, risk.of(side, slo)) if side and risk.met != risk.missed else side


def _outcome(slo: SLO, side: int) -> Outcome:
    if slo.comparison == "==":
        return "missed" if side else "met"
    if not side:
        return "missed" if not slo.is_sample else "unclear"
    return "met" if (side < 0) == slo.upper else "missed"


# Remarks.


def _up_to(high: float, write: Callable[[float], str]) -> str:
    return f"{write(high)} or less"


def _from(low: float, write: Callable[[float], str]) -> str:
    return write(low) if math.isinf(low) else f"{write(low)} or more"


def _range(low: float, high: float, write: Callable[[float], str]) -> str:
    """Write both bounds; each alone is 95 % sure, so both together are 90 %."""
    if math.isinf(high):
        return f"95% sure of {_from(low, write)}"
    return f"90% sure of {write(low)} to {write(high)}"


def _why_unclear(slo: SLO, sample: Estimated, bound: float, risk: Risk, longer: str) -> str:
    """Say what would decide: bounds narrow with the square root of its length, those of a trend with its power 1.5."""
    if isinstance(sample, Shares) and 0 < bound < 1:
        wanted = math.ceil(stats.needed(bound if slo.upper else 1 - bound, risk.met) * slo.metric.assumed_burst)
        if sum(sample.requests) < wanted:
            return f"at least {wanted:,} requests are needed to decide"
    if isinstance(sample, Means) and (reason := sample.why_unclear(bound, risk.of(-1, slo))):
        return reason
    estimate = sample.estimate(risk.of(1 if sample.value > bound else -1, slo))
    distance = abs(estimate.value - bound)
    width = max(estimate.high - estimate.value, estimate.value - estimate.low)
    if isinstance(sample, Means):  # which may be much wider on the other side
        width = estimate.high - estimate.value if bound > estimate.value else estimate.value - estimate.low
    power = 2 / 3 if isinstance(sample, Trends) else 2
    factor = (width / distance) ** power if distance and math.isfinite(width) else math.inf
    if factor <= WORTH_WAITING:
        return "a longer window would decide" if longer == "window" else would_decide(factor)
    bursts = isinstance(sample, Shares) and sample.conservative_clustering.inflation > _BURSTS
    if bursts and not bound / 2 < estimate.value < 2 * bound:
        return f"bad requests come in bursts; only a much longer {longer} can show how often"
    return would_decide(math.inf)


def would_decide(factor: float) -> str:
    """Say how many times longer a run would have to be to decide, if that is worth waiting for."""
    if factor > WORTH_WAITING:
        return "too close to the limit to decide"
    return f"a run {max(2, math.ceil(factor))}x longer would decide"


def _too_few(result: Result, found: int) -> str:
    fewest = stats.FEWEST_BATCHES
    by_the_second = all(interval.seconds < _LONGEST_SECOND for interval in result.intervals)
    remedy = f"load for {fewest}s or longer" if by_the_second else f"use rounds={fewest} or more"
    return f"only {counted(found, 'interval')}; at least {fewest} are needed: {remedy}"
