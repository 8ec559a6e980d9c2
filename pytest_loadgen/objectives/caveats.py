"""Caveats: what the figures of an objective alone do not show, and what it does to their verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.judgement import ALPHA, judge
from pytest_loadgen.objectives.sample import Shares
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import Outcome, Verdict
from pytest_loadgen.objectives.windows import spans
from pytest_loadgen.units import NO_TIME, Duration, Share

# A limit must be this many times the p99 of this machine's no-op service.
_ABOVE_MACHINE = 3
# A run with this many times the allowed share of bad requests has missed, however rare such runs may be.
_GROSS = 5
BROKEN = 0.5
"""From this share of errors on, latencies say little about the service."""


@dataclass(frozen=True)
class Circumstances:
    """What a verdict was found under."""

    result: Result
    """Of the requests that the objective is about."""
    baseline: Result | None = None
    machine_p99: Duration = NO_TIME
    """The p99 of a no-op service on this machine; 0 where it is not known."""
    alpha: float = ALPHA
    """The probability with which the verdict may be met wrongly,"""
    missed: float = ALPHA
    """and missed wrongly."""
    extended_by: float = 1.0
    """How many times longer than planned the load was."""


def apply_caveats(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> Verdict:
    """Give the verdict that remains of one that was found from the figures alone."""
    for caveat in _CAVEATS:
        verdict = caveat(slo, verdict, circumstances)
    return verdict


def _change(verdict: Verdict, outcome: Outcome, reason: str) -> Verdict:
    return replace(verdict, outcome=outcome, remark=reason)


def _gross_miss(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> Verdict:
    """Call an unclear share missed if this run alone is far beyond what is allowed.

    Slow requests and errors in one burst do not show how often bursts come, but a run with so many
    of them did not do what was promised.
    """
    allowed = slo.allowed
    if verdict.outcome != "unclear" or not slo.upper or allowed is None or not 0 < allowed < 1:
        return verdict
    best, _ = slo.metric.view(circumstances.result).best_and_worst()
    sample = slo.metric.sample(best, slo.bound)
    assert isinstance(sample, Shares)
    parts = [sample[span] for span in spans(slo, best.intervals)]
    worst = max(parts, key=lambda part: part.value, default=sample)
    bad, requests = sum(worst.bad), sum(worst.requests)
    beyond = requests and stats.proportion(bad, requests, circumstances.missed / max(1, len(parts))).low > allowed
    if not beyond or worst.value < _GROSS * allowed:
        return verdict
    what = slo.metric.bad_requests(slo.bound)
    low = max(verdict.low or 0.0, float(slo.bound))
    found = _change(verdict, "missed", f"{bad:,} of {requests:,} {what} in this run; {Share(allowed)} is allowed")
    return replace(found, low=low, high=None if verdict.high is None else max(low, verdict.high))


def _mostly_errors(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> Verdict:
    """Call a low latency unclear if most requests failed."""
    error_rate = circumstances.result.error_rate
    if verdict.outcome != "met" or not (slo.metric.is_latency and slo.upper) or error_rate < BROKEN:
        return verdict
    return _change(verdict, "unclear", f"{error_rate} of requests failed, so their latency says little")


def _bad_baseline(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> Verdict:
    """Withhold a change from a baseline that failed, or that its generator slowed down."""
    baseline = circumstances.baseline if slo.is_relative else None
    if baseline and baseline.problems:
        return _change(verdict, "invalid", f"{baseline.limited_by} when the baseline was measured")
    if baseline and baseline.error_rate >= BROKEN:
        return _change(verdict, "unclear", f"{baseline.error_rate} of the baseline's requests failed")
    return verdict


def _unknown_figure(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> Verdict:
    """Call a figure unclear that the generator does not report exactly enough."""
    reason = slo.metric.unknown_in(circumstances.result)
    if slo.is_relative and circumstances.baseline and not reason:
        reason = slo.metric.unknown_in(circumstances.baseline)
    return replace(_change(verdict, "unclear", reason), value="-", low=None, high=None) if reason else verdict


def _generator_clock(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> Verdict:
    """Call a latency unclear if its verdict depends on when the generator starts the clock, or on what it adds."""
    metric, result = slo.metric, circumstances.result
    if not metric.is_latency or slo.is_relative or verdict.outcome not in {"met", "missed"}:
        return verdict  # two results that are measured alike can be compared
    if not _says_high(slo, verdict):
        if result.latency_from == "scheduled" or not metric.is_response_time or result.plan.closed:
            return verdict
        # A latency that is high all the same would be higher still from the schedule.
        reason = f"{result.generator} counts latency from when a request was sent, not from when it was due"
        instead = f"'{metric.instead} {slo.text}' or another generator" if metric.instead else "another generator"
        return _change(verdict, "unclear", f"{reason}; use {instead}")
    added = result.added_latency
    if added and not _holds_beyond(slo, verdict, circumstances, added):
        return _change(verdict, "unclear", f"{result.generator} itself adds up to {added}")
    return verdict


def is_below_machine_noise(slo: SLO, machine_p99: Duration) -> bool:
    """Return whether a limit is so low that what is within it may be the machine's own latency."""
    return slo.metric.is_latency and not slo.is_relative and float(slo.bound) < _ABOVE_MACHINE * machine_p99


def _below_machine_noise(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> Verdict:
    """Call a limit unclear if this machine takes nearly as long to do nothing."""
    noise = circumstances.machine_p99
    if not is_below_machine_noise(slo, noise):
        return verdict
    if _says_high(slo, verdict) and _holds_beyond(slo, verdict, circumstances, noise):
        return verdict  # the machine alone does not add that much
    reason = f"the limit is below {_ABOVE_MACHINE} × {noise}, this machine's own p99"
    return _change(verdict, "unclear", f"{reason} (no-op service)")


def _generator_was_the_limit(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> Verdict:
    """Call a verdict invalid if it depends on what the generator could not do.

    A generator that is late or has no CPU left makes a service look slower: what is met all the same
    stays met, and what is missed by more than it was late stays missed. One that sends less than
    planned makes it look faster, and as if it needed less CPU and memory.
    """
    result = circumstances.result
    if not result.problems or slo.metric.subject == "generator":
        return verdict
    if slo.metric.subject == "service" and (
        _says_high(slo, verdict) or not _sent_less(result) or slo.metric.unknown_in(result)
    ):
        return verdict
    if slo.metric.subject == "requests" and not result.fell_behind and _is_unaffected(slo, verdict, circumstances):
        return verdict
    return _change(verdict, "invalid", result.limited_by)


def _sent_less(result: Result) -> bool:
    """Return whether a generator that was the limit sent less than it should have: not where it was only late."""
    return result.plan.closed or result.fell_behind or result.without_own_failures is not result


def _is_unaffected(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> bool:
    """Return whether a verdict would be the same without what the generator may have added: delays and failures."""
    result, metric = circumstances.result, slo.metric
    others = replace(circumstances, result=result.without_own_failures)
    if metric.is_count:
        # Lateness does not change the status of a response.
        unchanged = others.result is result or (verdict.outcome == "met" and slo.upper)
        return unchanged or _holds_beyond(slo, verdict, others)
    if not (metric.is_latency and _says_high(slo, verdict)) or slo.is_relative:
        return verdict.outcome == "met"
    lag = result.total.lag
    late = max(result.total.stalled, float(lag.percentile(100)) if lag else 0.0)
    return _holds_beyond(slo, verdict, others, late)


def _judged(slo: SLO, result: Result, circumstances: Circumstances) -> Verdict:
    """Judge another result as sure as the verdict is."""
    return judge(slo, result, circumstances.alpha, circumstances.extended_by, missed=circumstances.missed)


def _says_high(slo: SLO, verdict: Verdict) -> bool:
    """Return whether a verdict is that a figure is above its bound."""
    return verdict.outcome == ("missed" if slo.upper else "met")


def _holds_beyond(slo: SLO, verdict: Verdict, circumstances: Circumstances, margin: float = 0.0) -> bool:
    """Return whether a verdict would be the same if the limit of a latency were higher by a margin."""
    if margin:
        slo = replace(slo, bound=Duration(float(slo.bound) + margin))
    if not circumstances.result.requests:
        return False
    found = _judged(slo, circumstances.result, circumstances)
    return _gross_miss(slo, found, circumstances).outcome == verdict.outcome


def _unseen_failures(slo: SLO, verdict: Verdict, circumstances: Circumstances) -> Verdict:
    """Call an objective unclear that is met only if none of the requests failed that may have failed unseen."""
    result = circumstances.result
    unseen = result.total.unseen
    if verdict.outcome != "met" or not unseen or not slo.upper or slo.metric.subject != "requests":
        return verdict
    if not slo.is_relative:
        intervals = tuple(
            replace(each, outcomes=Counter(each.outcomes) + Counter(failed=each.unseen)) for each in result.intervals
        )
        worse = replace(result, intervals=intervals)
        if _judged(slo, worse, circumstances).outcome == "met":
            return verdict
    reason = f"{unseen:,} requests may have failed without {result.generator} noticing; use another generator"
    return _change(verdict, "unclear", reason)


# In this order: a later one has the last word.
_CAVEATS: tuple[Callable[[SLO, Verdict, Circumstances], Verdict], ...] = (
    _gross_miss,
    _mostly_errors,
    _bad_baseline,
    _unknown_figure,
    _unseen_failures,
    _generator_clock,
    _below_machine_noise,
    _generator_was_the_limit,
)
