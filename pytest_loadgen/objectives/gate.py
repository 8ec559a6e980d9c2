"""The objectives of one load: what it must be like to judge them, when to end it, and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import ALPHA, Verdict, judge, last
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration, Rate, Share

# A look spends some of the error that is allowed; so the next is when the run is this much longer.
_NEXT_LOOK = 1.25
# How many times its duration a load may last where nothing else is said.
_LONGEST = 3
# How long a service may answer nothing before the load is given up, in seconds; and how many
# requests it must have left unanswered in that time, for one alone may have another reason.
HOPELESS = 5.0
_FEW = 3


@dataclass(frozen=True)
class Gate:
    """Objectives, and how long a run may last to judge them."""

    objectives: tuple[SLO, ...] = ()
    max_duration: Duration | None = None
    """How long the run may go on while an objective is unclear; three times its duration if None."""
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
        """Read the options as people write them; `slo` is added to `objectives`. Raises PlanError."""
        # Not an iterator: a mark is read twice.
        if not isinstance(slo, (str, list, tuple)):
            raise PlanError(f"slo={slo!r}: expected an objective ('p99 < 200ms') or a list of them")
        if not isinstance(stop_early, bool):
            raise PlanError(f"stop_early={stop_early!r}: expected True or False")
        texts = [*objectives, *([slo] if isinstance(slo, str) else slo)]
        return cls(
            objectives=tuple(dict.fromkeys(SLO.parse(text) for text in texts)),
            max_duration=None if max_duration is None else _longest(max_duration),
            stop_early=stop_early,
            abort_if=None if abort_if is None else _abort(abort_if),
        )

    def lengthened(self, plan: Plan) -> Plan:
        """Give the plan as long as it may become; raises PlanError where even that is too short."""
        longest = self._longest(plan)
        if longest < plan.duration:
            raise PlanError(f"max_duration={self.max_duration} is shorter than the duration, {plan.duration}")
        # A fact is sure however long the load is.
        sampled = any(slo.is_sample for slo in self.objectives)
        longer = plan.lengthened(longest - plan.duration) if sampled else plan
        for slo in self.objectives:
            _check_size(slo, plan, longer)
        if self.abort_if and self.abort_if.window and self.abort_if.window.seconds > longer.duration + 0.5:
            raise PlanError(f"abort_if={self.abort_if.text!r}: this load lasts {longer.duration} at most")
        return longer

    def _longest(self, plan: Plan) -> Duration:
        if not plan.steady:
            # More of its last stage would be another load than was asked for.
            if self.max_duration is not None and self.max_duration > plan.duration:
                raise PlanError("max_duration is for a load at one rate: one with stages does not go on")
            return plan.duration
        return Duration(_LONGEST * plan.duration) if self.max_duration is None else self.max_duration

    @property
    def of_latency(self) -> bool:
        """Whether an objective is about how long answers take."""
        return any(slo.kind in {"percentile", "mean", "max"} for slo in self.objectives)

    def begin(self, blank: JudgedResult) -> Judging:
        """Start to look at a load, by the result that it has before it begins."""
        return Judging(self, blank)


class Judging:
    """A look at each interval of a load as it comes."""

    def __init__(self, gate: Gate, blank: JudgedResult) -> None:
        """Take a result without intervals, its plan not lengthened."""
        self._gate = gate
        self.blank = blank
        self._plan = plan = blank.plan
        self._longest = float(gate.lengthened(plan).duration)
        self._elapsed = self._looked_at = 0.0
        self._next_look = 0.0 if gate.stop_early else float(plan.duration)
        self._ended = False
        self._alpha = 0.0
        self._given_up = ""

    def enough(self, intervals: Sequence[Interval]) -> bool:
        """Tell whether the load can end after these intervals."""
        if self._ended or not intervals:
            return self._ended
        result = replace(self.blank, intervals=tuple(intervals))
        self._elapsed = elapsed = intervals[-1].start + intervals[-1].seconds
        self._given_up = self._hopeless(result)
        if self._given_up:
            self._ended = True
        elif not self._gate.objectives:
            self._ended = False
        elif (
            elapsed >= self._next_look - _near(intervals)
            and len(intervals) >= stats.FEWEST_BATCHES
            and self._worth(result)
        ):
            alpha = self._spend(elapsed)
            result = replace(result, extended_by=self.stretch)
            verdicts = list(zip(self._gate.objectives, result.looked_at(self._gate.objectives, alpha), strict=True))
            self._next_look = max(elapsed + 1, elapsed * _NEXT_LOOK)
            if elapsed < self._plan.duration - 0.5:
                self._next_look = min(self._next_look, float(self._plan.duration))
            final = [verdict.outcome for slo, verdict in verdicts if self._final(slo, verdict)]
            # What is missed stays missed, however long the others take.
            self._ended = len(final) == len(verdicts) or "missed" in final
        return self._ended

    def judged(self, intervals: Sequence[Interval]) -> JudgedResult:
        """Judge the whole load: with the error of the look that ended it, or else with all that is left."""
        alpha = self._alpha if self._ended and not self._given_up else self._spend(self._longest)
        result = replace(self.blank, intervals=tuple(intervals), extended_by=self.stretch, abort_reason=self._given_up)
        return replace(result, verdicts=tuple(result.judged(self._gate.objectives, alpha)))

    @property
    def stretch(self) -> float:
        """How many times longer than asked for the load is, where it went on to be judged."""
        went_on = min(self._elapsed, self._longest) - self._plan.duration
        return 1 + went_on / self._plan.duration if went_on > 0.5 else 1.0

    def _final(self, slo: SLO, verdict: Verdict) -> bool:
        """Tell whether a verdict is sure; what is only so as yet is not."""
        if slo.is_relative and self.blank.baseline.result is None:
            return True  # more of the load would not tell either
        as_yet = not slo.is_sample and verdict.outcome == ("met" if slo.upper else "missed")
        if as_yet and self._elapsed < self._plan.duration - 0.5:
            return False
        return verdict.outcome in {"met", "missed"}

    def _worth(self, result: Result) -> bool:
        """Tell whether to look: what a look may spend can be of more use to a later one."""
        if len(result.intervals) < stats.FEWEST_BATCHES:
            return False
        elapsed = self._elapsed
        last_look = elapsed if self._looked_at == 0 else elapsed * _NEXT_LOOK
        if last_look >= self._longest - 0.5:
            return False
        alpha = stats.spent(ALPHA, elapsed / self._longest) - stats.spent(ALPHA, self._looked_at / self._longest)
        enough = [result.requests >= _wanted(slo, alpha) for slo in self._gate.objectives if not slo.window]
        return all(enough)

    def _spend(self, elapsed: float) -> float:
        before = stats.spent(ALPHA, self._looked_at / self._longest)
        self._looked_at = elapsed
        self._alpha = stats.spent(ALPHA, elapsed / self._longest) - before
        return self._alpha

    def _hopeless(self, result: Result) -> str:
        """Say why it is not worth to go on, if so."""
        if slo := self._gate.abort_if:
            # There is a look each second, and together they may be wrong no more often than one.
            verdict = judge(slo, result, ALPHA / max(1.0, self._longest))
            if verdict.outcome == "met":
                return f"{slo} ({verdict.value})"
        patience = max(HOPELESS, float(self._plan.timeout))
        recent = last(result.intervals, patience)
        silent = all(each.requests == each.unanswered for each in recent)
        if silent and sum(each.seconds for each in recent) >= patience - 0.5 and self._asked(result, recent):
            return f"nothing was answered for {Duration(patience)}"
        return ""

    def _asked(self, result: Result, recent: Sequence[Interval]) -> bool:
        """Tell whether enough was there to be answered: what ended without, or is open since before."""
        unanswered = sum(each.unanswered for each in recent)
        if self._plan.closed:
            return unanswered >= _FEW
        before = result.intervals[: len(result.intervals) - len(recent) + 1]
        still_open = max(0, sum(each.lag.count for each in before) - result.requests)
        # In a pause between two stages, what ends is from before, and nothing new is asked.
        asked = sum(each.lag.count for each in recent[1:])
        return min(asked, unanswered + still_open) >= _FEW


def _near(intervals: Sequence[Interval]) -> float:
    """Tell how much before a moment is as good as at it: intervals are no more exact than by a half of one."""
    return min(0.5, intervals[-1].seconds / 2 or 0.5)


def _longest(value: float | str) -> Duration:
    try:
        longest = Duration(value)
    except PlanError as error:
        raise PlanError(f"max_duration: {error}") from None
    if not 0 < longest < math.inf:
        raise PlanError(f"max_duration={value!r}: write a time longer than 0 that ends")
    return longest


def _abort(text: str) -> SLO:
    try:
        abort = SLO.parse(text)
    except PlanError as error:
        raise PlanError(f"abort_if: {error}") from None
    if not abort.window or abort.window.which != "last":
        raise PlanError(f"abort_if={text!r}: write over which last stretch, as 'errors > 50% over last 5s'")
    return abort


def _wanted(slo: SLO, alpha: float) -> int:
    """Tell how many requests it takes to show an objective even if none is slow or wrong."""
    if not slo.is_share or not slo.upper or not 0 < slo.allowed < 1:
        return 0
    return stats.needed(slo.allowed, alpha)


def _check_size(slo: SLO, plan: Plan, longer: Plan) -> None:
    """Refuse a load that cannot show what is asked even if no request is slow or wrong."""
    fewest = Duration(stats.FEWEST_BATCHES)
    if slo.kind == "lag" and plan.closed:
        raise PlanError(f"{slo.text!r}: at rate='max' a request is due when it is sent, and none is late")
    if slo.is_sample and longer.duration < fewest - 0.5:
        raise PlanError(
            f"{slo.text!r} needs {fewest} to know how sure it is, and this load lasts {longer.duration} at most: "
            f"a duration of {fewest} would do."
        )
    if slo.window and slo.window.seconds > longer.duration + 0.5:
        raise PlanError(
            f"{slo.text!r}: this load lasts {longer.duration} at most: a duration of {slo.window.seconds} would do."
        )
    wanted = _wanted(slo, ALPHA)
    if plan.closed or not wanted:
        return
    rate = float(plan.rate)
    seconds = max(fewest, Duration(math.ceil(wanted / rate)))
    needs = f"{slo.text!r} needs {wanted:,} requests to be shown at {Share(1 - ALPHA)}"
    if slo.window and (most := int(_peak(plan) * slo.window.seconds)) < wanted:
        longer_window = max(fewest, Duration(math.ceil(wanted / _peak(plan))))
        raise PlanError(
            f"{needs}, and {slo.window.seconds} of this load have {most:,} at most: "
            f"over {slo.window.which} {longer_window} would do."
        )
    if longer.requests < wanted:
        raise PlanError(
            f"{needs}, and this load has {longer.requests:,} in the {longer.duration} that it may last: "
            f"at {Rate(rate)}, a duration of {seconds} would do."
        )


def _peak(plan: Plan) -> float:
    return max(float(rate) for stage in plan.stages for rate in (stage.start, stage.end) if rate is not None)
