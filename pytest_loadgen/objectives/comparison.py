"""Comparing a result with a baseline: the verdicts on objectives such as ``p99 < baseline + 10%``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.baseline import Baseline, geometric_mean
from pytest_loadgen.objectives.judgement import WORTH_WAITING, would_decide
from pytest_loadgen.objectives.metric import Percentile
from pytest_loadgen.objectives.prediction import Prediction
from pytest_loadgen.objectives.ratio import PairedRatio, ratio
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import Outcome, Verdict
from pytest_loadgen.units import Change, Share
from pytest_loadgen.wording import counted

# A change that is surely within this factor is none.
_SAME = 1.1
# More kept runs than this are not proposed.
_MOST_RUNS = 10


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
    def ratio(self) -> PairedRatio | Prediction:
        """The figure divided by the baseline's."""
        return ratio(self.slo.metric, self.result, self.baseline)

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
        remarks = [_confidence(found, bounds, outcome, slo)]
        if found.batches >= stats.FEWEST_BATCHES:
            if outcome != "met" and isinstance(slo.metric, Percentile):
                remarks.append(describe_shift(self.result, self.baseline))
            if isinstance(found, Prediction):
                remarks += _of_runs(found, outcome, slo, above if found.value > float(slo.bound) else below)
        remarks += self._left_out()
        return Verdict(slo, outcome, self._written(), bounds.low, bounds.high, "; ".join(remarks))

    def _written(self) -> str:
        """Write both figures and the change: ``170ms → 234ms, +38%``."""
        if self.baseline.result is None or math.isnan(self.ratio.value):
            return "-"
        metric = self.slo.metric
        before = metric.write(self.baseline.typical(metric.figure))
        return f"{before} → {metric.figure(self.result)}, {Change(self.ratio.value)}"

    def _left_out(self) -> Iterator[str]:
        """Say how many runs are left out, because they are from before the last step of the figure."""
        figure = self.slo.metric.figure
        older, used = self.baseline.divided(figure)
        if older and not self.baseline.paired:
            change = Change(geometric_mean(used, figure) / geometric_mean(older, figure))
            left = f"{counted(len(older), 'older run')} left out"
            yield f"{left}: {self.slo.metric} changed by {change} at {used[0].origin}"


def _confidence(found: PairedRatio | Prediction, bounds: stats.Estimate, outcome: Outcome, slo: SLO) -> str:
    if found.batches < stats.FEWEST_BATCHES:
        return f"only {counted(found.batches, 'interval')} to compare; at least {stats.FEWEST_BATCHES} are needed"
    low, high = Change(bounds.low), Change(bounds.high)
    if outcome != "unclear":
        return f"95% sure of {f'{high} or less' if (outcome == 'met') == slo.upper else f'{low} or more'}"
    said = f"90% sure of {low} to {high}"
    if isinstance(found, Prediction):
        return said
    distance = abs(math.log(found.value / float(slo.bound))) if 0 < found.value < math.inf else 0.0
    width = math.log(bounds.high / bounds.low) / 2 if bounds.low > 0 else math.inf
    factor = (width / distance) ** 2 if distance and math.isfinite(width) else math.inf
    return f"{said}; {would_decide(factor)}"


def _of_runs(found: Prediction, outcome: Outcome, slo: SLO, alpha: float) -> Iterator[str]:
    """Say how many runs are kept and how they differ, and what would decide."""
    kept = counted(found.runs, "kept run")
    if found.missing:
        kept += f", so runs are assumed to differ by {Share(found.assumed)}"
    elif outcome == "unclear" and found.runs > 1 and math.isfinite(found.between):
        kept += f" that differ by {Share(math.sqrt(found.between))}"
    if outcome == "unclear":
        yield f"{kept}: {_what_would_decide(found, slo, alpha)}"
    elif found.missing:
        yield f"{kept}: save {found.missing} more"


def _what_would_decide(found: Prediction, slo: SLO, alpha: float) -> str:
    if math.isinf(found.own + found.kept) and slo.metric.comparable_from > 1:
        return f"at least {slo.metric.comparable_from:,} requests of each run are needed to decide"
    if math.isinf(found.between):
        return "too few of their requests had a response"
    distance = abs(math.log(found.value / float(slo.bound))) if 0 < found.value < math.inf else 0.0
    for more in range(max(1, found.missing), _MOST_RUNS - found.runs + 1):
        if found.with_runs(found.runs + more).half_width(alpha) < distance:
            return f"{more} more would decide"
    for factor in range(2, WORTH_WAITING + 1):
        if found.longer(factor).half_width(alpha) < distance:
            return f"runs {factor}x longer would decide"
    return "too close to the limit to decide; compare side by side (against=)"


def describe_shift(result: Result, baseline: Baseline) -> str:
    """Say which latencies changed: ``p50 same, p99 +38%: only the tail``."""
    middle, tail = (_describe(ratio(Percentile(percent), result, baseline).interval(0.05)) for percent in (50, 99))
    shift = f"p50 {middle}, p99 {tail}"
    return f"{shift}: only the tail" if middle == "same" and tail.startswith("+") else shift


def _describe(bounds: stats.Estimate) -> str:
    if not bounds.low <= 1 <= bounds.high:
        return str(Change(bounds.value))
    return "same" if bounds.low >= 1 / _SAME and bounds.high <= _SAME else "unclear"
