"""Comparing a result with a baseline: the verdicts on objectives such as ``p99 < baseline + 10%``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

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

    def of(self, name: str) -> Baseline:
        """Give the same of the requests of one name."""
        if self.result is None:
            return self
        try:
            return replace(self, result=self.result[name])
        except KeyError:
            return Baseline(missing=f"the baseline has no figures of {name!r}")


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


@dataclass(frozen=True)
class Comparison:
    """An objective on a change from a baseline, and how the results differ."""

    slo: SLO
    result: Result
    baseline: Baseline
    """Both of the requests that the objective is about."""

    @cached_property
    def ratio(self) -> Ratio:
        """The figure divided by the baseline's."""
        assert self.baseline.result
        return ratio(self.slo.metric, self.result, self.baseline.result, paired=self.baseline.paired)

    def verdict(self, alpha: float, *, missed: float | None = None) -> Verdict:
        """Judge the change: met is wrong with probability alpha, and missed with its own."""
        slo = self.slo
        if self.baseline.result is None:
            return Verdict(slo, "unclear", "-", remark=self.baseline.missing)
        found, missed = self.ratio, alpha if missed is None else missed
        # Each bound has the error that its side was decided with.
        below, above = (alpha, missed) if slo.upper else (missed, alpha)
        bounds = replace(found.interval(above), high=found.interval(below).high)
        side = (bounds.low > float(slo.bound)) - (bounds.high < float(slo.bound))
        outcome: Outcome = "unclear" if not side else "met" if (side < 0) == slo.upper else "missed"
        remark = _confidence(found, bounds, outcome, slo)
        if outcome != "met" and isinstance(slo.metric, Percentile) and found.batches >= stats.FEWEST_BATCHES:
            remark += f"; {describe_shift(self.result, self.baseline.result, paired=self.baseline.paired)}"
        return Verdict(slo, outcome, self._written(), bounds.low, bounds.high, remark)

    def _written(self) -> str:
        """Write both figures and the change: ``170ms → 234ms, +38%``."""
        if self.baseline.result is None or math.isnan(self.ratio.value):
            return "-"
        before, now = (self.slo.metric.figure(each) for each in (self.baseline.result, self.result))
        return f"{before} → {now}, {Change(self.ratio.value)}"


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
