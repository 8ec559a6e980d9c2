"""The gate: the objectives of a load, how long it may last to judge them, and when it can end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.judged import JudgedResult, judge_all, judge_figures
from pytest_loadgen.objectives.judgement import ALPHA, judge
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.objectives.windows import HALF_INTERVAL, last
from pytest_loadgen.traffic.plan import LONGEST, Plan
from pytest_loadgen.units import Duration, Rate, Share

# Each look at the objectives spends some of the error that is allowed, so the next one waits until the run is
# this many times as long.
_NEXT_LOOK = 1.25
# How many times its duration a load may last by default.
_LONGEST = 3
# A load is aborted if the service does not respond for this many seconds, in which at least so many requests
# waited for it: a single one may have another reason.
SILENCE = 5.0
_FEWEST_WAITING = 3


@dataclass(frozen=True)
class Gate:
    """The objectives of a load, and how long it may last to judge them."""

    objectives: tuple[SLO, ...] = ()
    max_duration: Duration | None = None
    """How long the load may last while an objective is unclear; None is three times its duration."""
    stop_early: bool = False
    abort_if: SLO | None = None

    @classmethod
    def of(
        cls,
        objectives: Sequence[str] = (),
        *,
        slo: object = (),
        max_duration: Any = None,
        stop_early: object = False,
        abort_if: Any = None,
    ) -> Gate:
        """Parse the options as people write them; `slo` is added to `objectives`. Raises PlanError."""
        # An iterator would be empty the second time a mark is read.
        if not isinstance(slo, (str, list, tuple)) or not all(isinstance(text, str) for text in slo):
            raise PlanError(f"slo={slo!r}: expected an objective ('p99 < 200ms') or a list of them")
        if not isinstance(stop_early, bool):
            raise PlanError(f"stop_early={stop_early!r}: expected True or False")
        texts = [*objectives, *([slo] if isinstance(slo, str) else slo)]
        return cls(
            objectives=tuple(dict.fromkeys(SLO.parse(text) for text in texts)),
            max_duration=None if max_duration is None else _parse_max_duration(max_duration),
            stop_early=stop_early,
            abort_if=None if abort_if is None else _parse_abort_if(abort_if),
        )

    def lengthened(self, plan: Plan) -> Plan:
        """Give the plan as long as it may last. Raises PlanError where even that is too short for an objective."""
        longest = self._longest_duration(plan)
        if longest < plan.duration:
            raise PlanError(f"max_duration={self.max_duration} is shorter than the duration, {plan.duration}")
        # A fact does not become surer in a longer load.
        sampled = any(slo.is_sample for slo in self.objectives)
        longer = plan.lengthened(longest - plan.duration) if sampled else plan
        for slo in self.objectives:
            _check_size(slo, plan, longer)
        if self.abort_if and self.abort_if.window and self.abort_if.window.seconds > longer.duration + HALF_INTERVAL:
            raise PlanError(
                f"abort_if={self.abort_if.text!r}: the window is longer than the load, which lasts at most "
                f"{longer.duration}"
            )
        return longer

    def _longest_duration(self, plan: Plan) -> Duration:
        if not plan.steady:
            # With more of its last stage it would be another load.
            if self.max_duration is not None and self.max_duration > plan.duration:
                raise PlanError("max_duration extends loads at one rate only: a load with stages is never extended")
            return plan.duration
        return min(Duration(_LONGEST * plan.duration), LONGEST) if self.max_duration is None else self.max_duration

    @property
    def of_latency(self) -> bool:
        """Whether an objective is about latency."""
        return any(slo.metric.is_latency for slo in self.objectives)

    def begin(self, blank: JudgedResult) -> Judging:
        """Start to judge a load, given its result before the first interval."""
        return Judging(self, blank)


class Judging:
    """The judging of one load, interval by interval."""

    def __init__(self, gate: Gate, blank: JudgedResult) -> None:
        """Take a result without intervals, whose plan is not lengthened."""
        self._gate = gate
        self.blank = blank
        self._plan = plan = blank.plan
        self._longest = float(gate.lengthened(plan).duration)
        self._elapsed = self._last_look = 0.0
        self._next_look = 0.0 if gate.stop_early else float(plan.duration)
        self._ended = False
        self._alpha = 0.0
        self._abort_reason = ""

    def enough(self, intervals: Sequence[Interval]) -> bool:
        """Return whether the load can end after these intervals."""
        if self._ended or not intervals:
            return self._ended
        result = replace(self.blank, intervals=tuple(intervals))
        self._elapsed = elapsed = intervals[-1].start + intervals[-1].seconds
        self._abort_reason = self._why_abort(result)
        if self._abort_reason:
            self._ended = True
        elif self._gate.objectives and elapsed >= self._next_look - _tolerance(intervals) and self._is_time(result):
            self._ended = self._look(result)
        return self._ended

    def judged(self, intervals: Sequence[Interval]) -> JudgedResult:
        """Judge the whole load: with the error that the last look spent if it ended the load, else with the rest."""
        alpha = self._alpha if self._ended and not self._abort_reason else self._spend(self._longest)
        result = replace(
            self.blank, intervals=tuple(intervals), extended_by=self.extended_by, abort_reason=self._abort_reason
        )
        return replace(result, verdicts=tuple(judge_all(self._gate.objectives, result, alpha)))

    @property
    def extended_by(self) -> float:
        """How many times longer than planned the load is."""
        extra = min(self._elapsed, self._longest) - self._plan.duration
        return 1 + extra / self._plan.duration if extra > HALF_INTERVAL else 1.0

    def _look(self, result: JudgedResult) -> bool:
        """Judge what there is so far, and return whether that is enough."""
        elapsed, objectives = self._elapsed, self._gate.objectives
        alpha = self._spend(elapsed)
        verdicts = judge_figures(objectives, replace(result, extended_by=self.extended_by), alpha)
        self._next_look = max(elapsed + 1, elapsed * _NEXT_LOOK)
        if elapsed < self._plan.duration - HALF_INTERVAL:
            self._next_look = min(self._next_look, float(self._plan.duration))
        final = [verdict.outcome for verdict in verdicts if self._is_final(verdict)]
        # One that is missed decides, however long the others would take.
        return len(final) == len(verdicts) or "missed" in final

    def _is_final(self, verdict: Verdict) -> bool:
        """Return whether more of the load would not change a verdict."""
        slo = verdict.slo
        if slo.is_relative and self.blank.baseline.result is None:
            return True
        # A count below its limit may still grow.
        provisional = not slo.is_sample and verdict.outcome == ("met" if slo.upper else "missed")
        if provisional and self._elapsed < self._plan.duration - HALF_INTERVAL:
            return False
        return verdict.outcome in {"met", "missed"}

    def _is_time(self, result: Result) -> bool:
        """Return whether to look now; what a look spends can be of more use to a later one."""
        if len(result.intervals) < stats.FEWEST_BATCHES:
            return False
        elapsed = self._elapsed
        following = elapsed if self._last_look == 0 else elapsed * _NEXT_LOOK
        if following >= self._longest - HALF_INTERVAL:
            return False
        alpha = stats.spent(ALPHA, elapsed / self._longest) - stats.spent(ALPHA, self._last_look / self._longest)
        return all(result.requests >= _fewest_requests(slo, alpha) for slo in self._gate.objectives if not slo.window)

    def _spend(self, elapsed: float) -> float:
        before = stats.spent(ALPHA, self._last_look / self._longest)
        self._last_look = elapsed
        self._alpha = stats.spent(ALPHA, elapsed / self._longest) - before
        return self._alpha

    def _why_abort(self, result: Result) -> str:
        """Say why the load is hopeless; empty where it is not."""
        if slo := self._gate.abort_if:
            # It is judged each second, and all of these verdicts together may be wrong as often as one.
            verdict = judge(slo, result, ALPHA / max(1.0, self._longest))
            if verdict.outcome == "met":
                return f"{slo} ({verdict.value})"
        patience = max(SILENCE, float(self._plan.timeout))
        recent = last(result.intervals, patience)
        silent = all(each.requests == each.unanswered for each in recent)
        if (
            silent
            and sum(each.seconds for each in recent) >= patience - HALF_INTERVAL
            and self._requests_waited(result, recent)
        ):
            return f"no responses for {Duration(patience)}"
        return ""

    def _requests_waited(self, result: Result, recent: Sequence[Interval]) -> bool:
        """Return whether enough requests waited for a response: those that ended without one, or are still open."""
        unanswered = sum(each.unanswered for each in recent)
        if self._plan.closed:
            return unanswered >= _FEWEST_WAITING
        before = result.intervals[: len(result.intervals) - len(recent) + 1]
        still_open = max(0, sum(each.lag.count for each in before) - result.requests)
        # In a pause between two stages only earlier requests end, and none is sent.
        sent = sum(each.lag.count for each in recent[1:])
        return min(sent, unanswered + still_open) >= _FEWEST_WAITING


def _tolerance(intervals: Sequence[Interval]) -> float:
    """Give how far before a moment an interval may end and still count as at it."""
    return min(HALF_INTERVAL, intervals[-1].seconds / 2 or HALF_INTERVAL)


def _parse_max_duration(value: float | str) -> Duration:
    try:
        max_duration = Duration(value)
    except PlanError as error:
        raise PlanError(f"max_duration: {error}") from None
    if not 0 < max_duration < math.inf:
        raise PlanError(f"max_duration={value!r}: must be a finite time > 0")
    if max_duration > LONGEST:
        raise PlanError(f"max_duration={value!r}: must be {LONGEST} or less")
    return max_duration


def _parse_abort_if(text: str) -> SLO:
    try:
        abort_if = SLO.parse(text)
    except PlanError as error:
        raise PlanError(f"abort_if: {error}") from None
    if not abort_if.window or abort_if.window.which != "last":
        raise PlanError(f"abort_if={text!r}: add a window of the last seconds, for example 'errors > 50% over last 5s'")
    return abort_if


def _fewest_requests(slo: SLO, alpha: float) -> int:
    """Give how many requests it takes to show an objective even if none of them is bad."""
    allowed = slo.allowed
    if allowed is None or not slo.upper or not 0 < allowed < 1:
        return 0
    return stats.needed(allowed, alpha)


def _check_size(slo: SLO, plan: Plan, longer: Plan) -> None:
    """Refuse a load that cannot show an objective even if no request is bad."""
    fewest = Duration(stats.FEWEST_BATCHES)
    if reason := slo.metric.unmeasurable(plan):
        raise PlanError(f"{slo.text!r}: {reason}")
    lasts = f"this load lasts at most {longer.duration}"
    if slo.is_sample and longer.duration < fewest - HALF_INTERVAL:
        raise PlanError(
            f"{slo.text!r} needs at least {fewest} for a confidence interval; {lasts}: use duration='{fewest}' or more"
        )
    if slo.window and slo.window.seconds > longer.duration + HALF_INTERVAL:
        raise PlanError(f"{slo.text!r}: {lasts}: use duration='{slo.window.seconds}' or more")
    wanted = _fewest_requests(slo, ALPHA)
    if plan.closed or not wanted:
        return
    needs = f"{slo.text!r} needs at least {wanted:,} requests to be decided with {Share(1 - ALPHA)} confidence"
    if slo.window and (most := int(_highest_rate(plan) * slo.window.seconds)) < wanted:
        window = max(fewest, Duration(math.ceil(wanted / _highest_rate(plan))))
        raise PlanError(
            f"{needs}; {slo.window.seconds} of this load have at most {most:,}: "
            f"use 'over {slo.window.which} {window}' or more"
        )
    if longer.requests < wanted:
        rate = float(plan.rate)
        duration = max(fewest, Duration(math.ceil(wanted / rate)))
        raise PlanError(
            f"{needs}; this load has {longer.requests:,} in the {longer.duration} that it may last: "
            f"at {Rate(rate)}, use duration='{duration}' or more"
        )


def _highest_rate(plan: Plan) -> float:
    return max(float(rate) for stage in plan.stages for rate in (stage.start, stage.end) if rate is not None)
