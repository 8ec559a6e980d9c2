"""A result with its verdicts, and what keeps a verdict from being believed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.baseline import Baseline
from pytest_loadgen.objectives.comparison import Ratio, moved, ratio
from pytest_loadgen.objectives.sample import Shares, sample
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import ALPHA, Outcome, Verdict, judge, stretches
from pytest_loadgen.units import NO_TIME, Change, Duration, Share
from pytest_loadgen.wording import counted

# How many times the floor of this machine a limit must be to be judged.
_ABOVE_FLOOR = 3
# A share that is so many times what is allowed is a miss of this run, however seldom such a run may be.
_GROSS = 5
# From this share of wrong answers on, latencies say little of right ones.
_BROKEN = 0.5
# Where more than this many times the run would be needed, it is not worth to say how many.
_TOO_LONG = 20
_LATENCIES = {"percentile", "mean", "max"}
NOTHING = Baseline(missing="there is nothing to compare with: use --load-compare NAME, or against=")


@dataclass(frozen=True, repr=False)
class JudgedResult(Result):
    """A result, and the verdicts on its objectives."""

    verdicts: tuple[Verdict, ...] = ()
    extended_by: float = 1.0
    """How many times longer than asked for the load was, as it went on while an objective was unclear."""
    machine_p99: Duration = NO_TIME
    """The p99 on this machine of a service that does nothing; 0 where it is not known."""
    baseline: Baseline = NOTHING

    def judge(self, slo: str) -> Verdict:
        """Judge an objective that the load did not have; true where it is met. Raises PlanError."""
        (verdict,) = self.judged([SLO.parse(slo)])
        return verdict

    def judged(self, objectives: Sequence[SLO], alpha: float = ALPHA) -> list[Verdict]:
        """Judge objectives, and withhold what is not to be believed."""
        return [
            reduce(lambda verdict, look: look(slo, verdict, self), _LOOKS, verdict)
            for slo, verdict in zip(objectives, self.looked_at(objectives, alpha), strict=True)
        ]

    def looked_at(self, objectives: Sequence[SLO], alpha: float) -> list[Verdict]:
        """Judge objectives by the figures alone."""
        relative = iter(compare([slo for slo in objectives if slo.is_relative], self, self.baseline, alpha))
        return [next(relative) if slo.is_relative else judge(slo, self, alpha, self.extended_by) for slo in objectives]

    @property
    def against(self) -> Result | None:
        """The result of the service that was loaded side by side, or None."""
        return self.baseline.result if self.baseline.paired else None

    def ratio(self, figure: str) -> tuple[Change, Change, Change]:
        """Give how a figure ("p99", "mean", "rate") is to the baseline's: low, estimate, high.

        Each bound alone is 95 % sure. Raises PlanError where there is no such figure or no baseline.
        """
        slo = SLO.parse(f"{figure} < baseline")
        if self.baseline.result is None:
            raise PlanError(f"ratio({figure!r}): {self.baseline.missing}")
        bounds = ratio(slo, self, self.baseline.result, paired=self.baseline.paired).interval(ALPHA)
        return Change(bounds.low), Change(bounds.value), Change(bounds.high)


def compare(objectives: Sequence[SLO], result: Result, baseline: Baseline, alpha: float) -> list[Verdict]:
    """Judge changes from a baseline, several of them together as sure as one alone."""
    if baseline.result is None:
        return [Verdict(slo.text, "unclear", "-", remark=baseline.missing) for slo in objectives]
    ratios = [ratio(slo, result, baseline.result, paired=baseline.paired) for slo in objectives]
    found = list(zip(objectives, ratios, strict=True))
    below, above = (
        stats.holm([one.chance(float(slo.bound), above=side) for slo, one in found]) for side in (False, True)
    )
    verdicts = []
    for (slo, one), is_below, is_above in zip(found, below, above, strict=True):
        side = -1 if is_below <= alpha else 1 if is_above <= alpha else 0
        outcome: Outcome = "unclear" if not side else "met" if (side < 0) == slo.upper else "missed"
        bounds = one.interval(alpha)
        remark = _sure(one, bounds, outcome, slo)
        if outcome != "met" and slo.kind == "percentile" and one.batches >= stats.FEWEST_BATCHES:
            remark += f"; {moved(result, baseline.result, paired=baseline.paired)}"
        value = "-" if math.isnan(one.value) else str(Change(one.value))
        verdicts.append(Verdict(slo.text, outcome, value, bounds.low, bounds.high, remark))
    return verdicts


def _sure(found: Ratio, bounds: stats.Estimate, outcome: Outcome, slo: SLO) -> str:
    if found.batches < stats.FEWEST_BATCHES:
        return f"{counted(found.batches, 'interval')} to compare are too few; {stats.FEWEST_BATCHES} or more would tell"
    low, high = Change(bounds.low), Change(bounds.high)
    if outcome != "unclear":
        return f"95% sure of {f'{high} or less' if (outcome == 'met') == slo.upper else f'{low} or more'}"
    distance = abs(math.log(found.value / float(slo.bound))) if 0 < found.value < math.inf else 0.0
    width = math.log(bounds.high / bounds.low) / 2 if bounds.low > 0 else math.inf
    times = math.ceil((width / distance) ** 2) if distance and math.isfinite(width) else math.inf
    longer = f"{max(2, int(times))}x longer would tell" if times <= _TOO_LONG else "too near to its limit to tell"
    return f"90% sure of {low} to {high}; {longer}"


def _but(verdict: Verdict, outcome: Outcome, reason: str) -> Verdict:
    return replace(verdict, outcome=outcome, remark=reason)


def _gross(slo: SLO, verdict: Verdict, result: JudgedResult) -> Verdict:
    """Call an unclear share a miss where this run alone is one, many times over.

    Slow and wrong answers that come in one burst do not tell how often bursts come, but a run of
    which so much was bad did not do what was promised.
    """
    if verdict.outcome != "unclear" or not slo.is_share or not slo.upper or not 0 < slo.allowed < 1:
        return verdict
    bare = (result.by_service_time if slo.service else result).best_and_worst()[0]
    found = sample(slo, bare)
    assert isinstance(found, Shares)
    parts = [found[stretch] for stretch in stretches(slo, bare)]
    worst = max(parts, key=lambda part: part.value, default=found)
    bad, requests = sum(worst.bad), sum(worst.requests)
    surely = requests and stats.proportion(bad, requests, ALPHA / max(1, len(parts))).low > slo.allowed
    if not surely or worst.value < _GROSS * slo.allowed:
        return verdict
    what = "were slower" if slo.kind == "percentile" else "were so"
    return _but(verdict, "missed", f"{bad:,} of {requests:,} {what} in this run, where {Share(slo.allowed)} may be")


def _broken(slo: SLO, verdict: Verdict, result: JudgedResult) -> Verdict:
    """Withhold that answers are fast where most of them are wrong."""
    fast = slo.kind in _LATENCIES and slo.upper
    if verdict.outcome != "met" or not fast or result.error_rate < _BROKEN:
        return verdict
    return _but(verdict, "unclear", f"{result.error_rate} of requests failed, and how long those took says little")


def _incomparable(slo: SLO, verdict: Verdict, result: JudgedResult) -> Verdict:
    """Withhold what a baseline says nothing about: beside one that was slowed down, or failed, anything is fast."""
    baseline = result.baseline.result if slo.is_relative else None
    if baseline and baseline.problems:
        return _but(verdict, "invalid", "the generator was the limit when the baseline was made")
    if baseline and baseline.error_rate >= _BROKEN:
        return _but(verdict, "unclear", f"{baseline.error_rate} of the baseline's requests failed")
    return verdict


def _classed(slo: SLO, verdict: Verdict, result: JudgedResult) -> Verdict:
    """Withhold what is about one status where its class may be it, or another."""
    kind = f"{slo.status[:1]}xx"
    if slo.kind != "status" or kind == slo.status or kind not in result.outcomes:
        return verdict
    return _but(verdict, "unclear", f"{result.generator} tells classes of statuses only: 'status {kind}' would tell")


def _ungrounded(slo: SLO, verdict: Verdict, result: JudgedResult) -> Verdict:
    """Withhold what rests on how a generator counts latency, or on what it adds to it."""
    if slo.kind not in _LATENCIES or slo.is_relative or verdict.outcome not in {"met", "missed"}:
        return verdict  # two results that count alike are comparable
    name = result.generator
    fast = (verdict.outcome == "met") == slo.upper
    if fast and result.latency_from != "scheduled" and not slo.service and not result.plan.closed:
        # That it is slow is sure all the same: what waited to be sent waited longer.
        why = f"{name} counts from when requests were sent, not from when they were due"
        return _but(verdict, "unclear", f"{why}: 'service {slo.text}' would tell, or another generator")
    if (
        not fast
        and result.added_latency
        and verdict.low is not None
        and verdict.low - result.added_latency <= float(slo.bound)
    ):
        return _but(verdict, "unclear", f"{name} itself adds up to {result.added_latency}")
    return verdict


def _floored(slo: SLO, verdict: Verdict, result: JudgedResult) -> Verdict:
    """Withhold a verdict on a latency that this machine can hardly tell from none."""
    lowest = _ABOVE_FLOOR * result.machine_p99
    if slo.kind not in _LATENCIES or slo.is_relative or float(slo.bound) >= lowest:
        return verdict
    if verdict.outcome == "missed" and verdict.low is not None and verdict.low > lowest:
        return verdict  # that slow is no machine
    why = f"the limit is below {_ABOVE_FLOOR} times {result.machine_p99}"
    return _but(verdict, "unclear", f"{why}, the p99 of a service that does nothing on this machine")


def _invalid(slo: SLO, verdict: Verdict, result: JudgedResult) -> Verdict:
    """Withhold a verdict that rests on figures of the generator's and not of the service's.

    A generator that is late or has no CPU left makes a service look slower than it is: what is met
    all the same stays met, and what is missed by more than it was late stays missed. One that sends
    less than it should makes it look faster.
    """
    if not result.problems or slo.kind == "lag":
        return verdict
    total = result.total
    own = total.outcomes.get("ports", 0) + total.outcomes.get("filehandles", 0)
    if not result.fell_behind:
        late = float(total.lag.percentile(100)) if total.lag else 0.0
        by_far = (
            slo.kind in _LATENCIES
            and not slo.is_relative
            and verdict.low is not None
            and verdict.low - late > float(slo.bound)
        )
        # Nor does lateness make a service answer wrongly.
        of_answers = slo.kind in {"errors", "status", "timeouts"} and not own
        if verdict.outcome == "met" or of_answers or (verdict.outcome == "missed" and slo.upper and by_far):
            return verdict
    return _but(verdict, "invalid", "the generator was the limit")


# In this order; what comes later has the last word.
_LOOKS: tuple[Callable[[SLO, Verdict, JudgedResult], Verdict], ...] = (
    _gross,
    _broken,
    _incomparable,
    _classed,
    _ungrounded,
    _floored,
    _invalid,
)
