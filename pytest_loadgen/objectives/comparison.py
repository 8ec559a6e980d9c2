"""Comparing a result with a baseline: the verdicts on objectives such as ``p99 < baseline + 10%``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.judgement import would_decide
from pytest_loadgen.objectives.metric import Percentile
from pytest_loadgen.objectives.ratio import Ratio, ratio
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import Outcome, Verdict
from pytest_loadgen.units import Change
from pytest_loadgen.wording import counted

# A change that is surely within this factor is none.
_SAME = 1.1


@dataclass(frozen=True)
class Baseline:
    """A result to compare with, or why there is none."""

    result: Result | None = None
    missing: str = ""
    paired: bool = False
    """Whether both services were loaded side by side, so that intervals can be compared pair by pair."""


NO_BASELINE = Baseline(missing="there is no baseline: use --load-compare NAME, or against=")


@dataclass(frozen=True)
class ChangeEstimate:
    """How a figure changed from the baseline's, with its confidence interval."""

    low: Change
    """The true change is above this with 95 % confidence,"""
    estimate: Change
    high: Change
    """and below this with 95 % confidence."""

    @classmethod
    def of(cls, bounds: stats.Estimate) -> ChangeEstimate:
        """Write the bounds of a ratio as changes."""
        return cls(Change(bounds.low), Change(bounds.value), Change(bounds.high))


def compare(objectives: Sequence[SLO], result: Result, baseline: Baseline, alpha: float) -> list[Verdict]:
    """Judge changes from a baseline; all of them together are wrong with probability alpha (Holm)."""
    if baseline.result is None:
        return [Verdict(slo, "unclear", "-", remark=baseline.missing) for slo in objectives]
    ratios = [ratio(slo.metric, result, baseline.result, paired=baseline.paired) for slo in objectives]
    found = list(zip(objectives, ratios, strict=True))
    below, above = (
        stats.holm_alphas([each.p_value(float(slo.bound), above=side) for slo, each in found], alpha)
        for side in (False, True)
    )
    verdicts = []
    for (slo, each), alpha_below, alpha_above in zip(found, below, above, strict=True):
        # Each bound has the error that its side was decided with.
        bounds = replace(each.interval(alpha_above), high=each.interval(alpha_below).high)
        is_below, is_above = bounds.high < float(slo.bound), bounds.low > float(slo.bound)
        side = is_above - is_below
        outcome: Outcome = "unclear" if not side else "met" if (side < 0) == slo.upper else "missed"
        remark = _confidence(each, bounds, outcome, slo)
        if outcome != "met" and isinstance(slo.metric, Percentile) and each.batches >= stats.FEWEST_BATCHES:
            remark += f"; {describe_shift(result, baseline.result, paired=baseline.paired)}"
        value = "-" if math.isnan(each.value) else str(Change(each.value))
        verdicts.append(Verdict(slo, outcome, value, bounds.low, bounds.high, remark))
    return verdicts


def _confidence(found: Ratio, bounds: stats.Estimate, outcome: Outcome, slo: SLO) -> str:
    if found.batches < stats.FEWEST_BATCHES:
        return f"only {counted(found.batches, 'interval')} to compare; at least {stats.FEWEST_BATCHES} are needed"
    low, high = Change(bounds.low), Change(bounds.high)
    if outcome != "unclear":
        return f"95% sure of {f'{high} or less' if (outcome == 'met') == slo.upper else f'{low} or more'}"
    distance = abs(math.log(found.value / float(slo.bound))) if 0 < found.value < math.inf else 0.0
    width = math.log(bounds.high / bounds.low) / 2 if bounds.low > 0 else math.inf
    factor = (width / distance) ** 2 if distance and math.isfinite(width) else math.inf
    return f"90% sure of {low} to {high}; {would_decide(factor)}"


def describe_shift(result: Result, baseline: Result, *, paired: bool) -> str:
    """Say which latencies changed: ``p50 same, p99 +38%: only the tail``."""
    middle, tail = (
        _describe(ratio(Percentile(percent), result, baseline, paired=paired).interval(0.05)) for percent in (50, 99)
    )
    shift = f"p50 {middle}, p99 {tail}"
    return f"{shift}: only the tail" if middle == "same" and tail.startswith("+") else shift


def _describe(bounds: stats.Estimate) -> str:
    if not bounds.low <= 1 <= bounds.high:
        return str(Change(bounds.value))
    return "same" if bounds.low >= 1 / _SAME and bounds.high <= _SAME else "unclear"
