"""The gate: the objectives of a load, how long it may last to judge them, and when it can end."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval, count_outcomes
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.figures.problems import suspects
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.caveats import is_below_machine_noise
from pytest_loadgen.objectives.judged import JudgedResult, judge_all, judge_figures
from pytest_loadgen.objectives.judgement import ALPHA, judge
from pytest_loadgen.objectives.looks import Looks
from pytest_loadgen.objectives.slo import SLO, Window
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.objectives.windows import HALF_INTERVAL, last
from pytest_loadgen.traffic.plan import LONGEST, Plan
from pytest_loadgen.units import Duration, Rate, Share

# Each look at the objectives spends some of the error that is allowed, so the next one waits until the run is
# this many times as long.
_NEXT_LOOK = 1.25
# How many times its duration a load may last by default.
_LONGEST = 3
# A load is aborted if the service does not respond for this many seconds, in which at least this many requests
# waited for it: a single one may have another reason.
SILENCE = 5.0
_FEWEST_WAITING = 3


@dataclass(frozen=True)
class _TooShort:
    """A load that is too short for an objective."""

    message: str
    needs: object
    """What the objective needs, in a few words: ``299 requests``, ``4s``."""


@dataclass(frozen=True)
class Gate:
    """The objectives of a load, and how long it may last to judge them."""

    objectives: tuple[SLO, ...] = ()
    max_duration: Duration | None = None
    """How long the load may last while an objective is unclear; None is three times its duration."""
    stop_early: bool | Duration = False
    """Whether the load ends once all objectives are decided, after half of its duration; or after this time."""
    abort_if: SLO | None = None
    not_judged: tuple[str, ...] = ()
    """The objectives that a scaled load cannot be judged by, each with the reason."""

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
        texts = [*objectives, *([slo] if isinstance(slo, str) else slo)]
        return cls(
            objectives=tuple(dict.fromkeys(SLO.parse(text) for text in texts)),
            max_duration=None if max_duration is None else _parse_max_duration(max_duration),
            stop_early=_parse_stop_early(stop_early),
            abort_if=None if abort_if is None else _parse_abort_if(abort_if),
        )

    def lengthened(self, plan: Plan) -> Plan:
        """Give the plan as long as it may last.

        Raises PlanError where even that is too short for an objective, or where it has no such request.
        """
        longer = self._lengthened(plan)
        for found in self._too_short(plan, longer):
            raise PlanError(found.message)
        return longer

    def scaled(self, factor: float, plan: Plan) -> Gate:
        """Return the gate of a plan whose times were multiplied, without the objectives that it is too short for.

        Objectives on counts are left out, too: they are meant for a load of full length. Raises PlanError.
        """
        gate = replace(self, max_duration=None, objectives=())
        if isinstance(self.stop_early, Duration):
            gate = replace(gate, stop_early=self.stop_early.times(factor))
        if self.max_duration and plan.steady:
            gate = replace(gate, max_duration=min(LONGEST, max(plan.duration, self.max_duration.times(factor))))
        if gate._needs(plan):  # a load that is shorter than the window of abort_if is not aborted
            gate = replace(gate, abort_if=None)
        needs = {slo: replace(gate, objectives=(slo,))._needs(plan) for slo in self.objectives}
        needs |= {slo: "the full length, as a count" for slo in self.objectives if slo.is_tally}
        return replace(
            gate,
            objectives=tuple(slo for slo, need in needs.items() if not need),
            not_judged=tuple(f"{slo} (needs {need})" for slo, need in needs.items() if need),
        )

    def _needs(self, plan: Plan) -> str:
        """Say what a plan that is too short lacks; empty where it is long enough. Raises PlanError."""
        return next((str(found.needs) for found in self._too_short(plan, self._lengthened(plan))), "")

    def _lengthened(self, plan: Plan) -> Plan:
        for slo in self._all:
            slo.check_name(plan)
        longest = self._longest_duration(plan)
        if longest < plan.duration:
            raise PlanError(f"max_duration={self.max_duration} is shorter than the duration, {plan.duration}")
        useful = max((_useful_duration(slo, plan, longest) for slo in self.objectives), default=plan.duration)
        return plan.lengthened(Duration(useful - plan.duration))

    def _too_short(self, plan: Plan, longer: Plan) -> Iterator[_TooShort]:
        """Yield what a plan is too short for, even where it lasts as long as it may."""
        for slo in self.objectives:
            if found := _too_short(slo, slo.part(plan), slo.part(longer)):
                yield found
        if self.abort_if and self.abort_if.window and self.abort_if.window.seconds > longer.duration + HALF_INTERVAL:
            yield _TooShort(
                f"abort_if={self.abort_if.text!r}: the window is longer than the load, which lasts at most "
                f"{longer.duration}",
                self.abort_if.window.seconds,
            )

    def _longest_duration(self, plan: Plan) -> Duration:
        if not plan.steady:
            # With more of its last stage it would be another load.
            if self.max_duration is not None and self.max_duration > plan.duration:
                raise PlanError("max_duration extends loads at one rate only: a load with stages is never extended")
            return plan.duration
        return min(Duration(_LONGEST * plan.duration), LONGEST) if self.max_duration is None else self.max_duration

    @property
    def _all(self) -> tuple[SLO, ...]:
        return (*self.objectives, self.abort_if) if self.abort_if else self.objectives

    @property
    def is_by_name(self) -> bool:
        """Whether an objective is about the requests of one name."""
        return any(slo.name for slo in self._all)

    @property
    def of_latency(self) -> bool:
        """Whether an objective is about latency."""
        return any(slo.metric.is_latency for slo in self.objectives)

    @property
    def of_service(self) -> bool:
        """Whether an objective is about what the service uses."""
        return any(slo.metric.subject == "service" for slo in self._all)

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
        self._elapsed = 0.0
        self._looks = Looks.of(self._longest)
        self._next_look = _first_look(gate, plan)
        self._ended = False
        self._abort_reason = ""
        self._went_on_for: list[SLO] = []

    def enough(self, intervals: Sequence[Interval]) -> bool:
        """Return whether the load can end after these intervals."""
        if self._ended or not intervals:
            return self._ended
        result = replace(self.blank, intervals=tuple(intervals))
        self._elapsed = elapsed = intervals[-1].start + intervals[-1].seconds
        self._abort_reason = self._why_abort(result)
        if self._abort_reason or (elapsed >= self._plan.duration - HALF_INTERVAL and self._lacks_a_step(result)):
            self._ended = True
        elif self._gate.objectives and elapsed >= self._next_look - _tolerance(intervals) and self._is_time(result):
            self._ended = self._look(result)
        elif elapsed >= self._plan.duration - HALF_INTERVAL and not self._went_on_for:
            # Not even looked at, because there are too few requests so far.
            self._went_on_for = [slo for slo in self._gate.objectives if slo.is_sample and not _is_of_any_window(slo)]
        return self._ended

    def _lacks_a_step(self, result: Result) -> bool:
        """Return whether journeys ended without a step that an objective is about: more of them would not make it."""
        named = [slo for slo in self._gate.objectives if slo.name]
        return bool(result.plan.journey and result.requests and any(not slo.view(result).requests for slo in named))

    def judged(self, intervals: Sequence[Interval]) -> JudgedResult:
        """Judge the whole load: with the error of the look that ended it, or with what is left of the error."""
        ended = self._ended and not self._abort_reason and self._looks.moments
        looks = self._looks if ended else self._looks.at(self._elapsed, is_last=True)
        result = replace(
            self.blank,
            intervals=tuple(intervals),
            extended_by=self.extended_by,
            went_on=self._went_on,
            abort_reason=self._abort_reason,
        )
        return replace(result, verdicts=tuple(judge_all(self._gate.objectives, result, looks)))

    @property
    def extended_by(self) -> float:
        """How many times longer than planned the load is."""
        extra = min(self._elapsed, self._longest) - self._plan.duration
        return 1 + extra / self._plan.duration if extra > HALF_INTERVAL else 1.0

    @property
    def _went_on(self) -> str:
        """Say that the load lasted longer than planned, and why; empty if it did not."""
        if self.extended_by == 1 or not self._went_on_for:
            return ""
        texts = ", ".join(slo.text for slo in self._went_on_for)
        unclear = "was unclear" if len(self._went_on_for) == 1 else "were unclear"
        return f"was extended to {Duration(round(self._elapsed, 1))} while {texts} {unclear}"

    def _look(self, result: JudgedResult) -> bool:
        """Judge what there is so far, and return whether that is enough."""
        elapsed, objectives = self._elapsed, self._gate.objectives
        self._looks = self._looks.at(elapsed)
        verdicts = judge_figures(objectives, replace(result, extended_by=self.extended_by), self._looks)
        self._next_look = max(elapsed + 1, elapsed * _NEXT_LOOK)
        if elapsed < self._plan.duration - HALF_INTERVAL:
            self._next_look = min(self._next_look, float(self._plan.duration))
        final = [verdict.outcome for verdict in verdicts if self._is_final(verdict, result)]
        # One that is missed decides, however long the others would take.
        if len(final) == len(verdicts) or "missed" in final:
            return True
        if elapsed >= self._plan.duration - HALF_INTERVAL:
            self._went_on_for = [each.slo for each in verdicts if not self._is_final(each, result)]
        return False

    def _is_final(self, verdict: Verdict, result: JudgedResult) -> bool:
        """Return whether more of the load would not change a verdict."""
        slo = verdict.slo
        view = slo.view(result)
        if (slo.is_relative and view.baseline.result is None) or slo.metric.unknown_in(view):
            return True
        if slo.is_relative and not view.baseline.paired:
            # A longer run would differ from the kept ones as much.
            return self._elapsed >= self._plan.duration - HALF_INTERVAL
        if verdict.outcome == "unclear" and self._is_lost_in_noise(slo, result):
            return self._elapsed >= self._plan.duration - HALF_INTERVAL
        of_any = _is_of_any_window(slo)
        # A count below its limit may still grow, and the worst window may be still to come.
        provisional = of_any and verdict.outcome == "met"
        provisional |= not slo.is_sample and verdict.outcome == ("met" if slo.upper else "missed")
        if self._elapsed < self._plan.duration - HALF_INTERVAL:
            return verdict.outcome in {"met", "missed"} and not provisional
        # The worst window does not get better by what follows it.
        if slo.window and of_any and self._elapsed >= slo.window.seconds - HALF_INTERVAL:
            return True
        return verdict.outcome in {"met", "missed"}

    def _is_lost_in_noise(self, slo: SLO, result: Result) -> bool:
        """Return whether the verdict would stay unclear, because this machine itself may be as slow as the service."""
        noise = self.blank.machine_p99
        if slo.window and slo.window.which == "last":
            result = replace(result, intervals=tuple(last(result.intervals, slo.window.seconds)))
        return is_below_machine_noise(slo, noise) and slo.metric.figure(result) <= float(slo.bound) + noise

    def _is_time(self, result: Result) -> bool:
        """Return whether to look now; what a look spends can be of more use to a later one."""
        if len(result.intervals) < stats.FEWEST_BATCHES:
            return False
        elapsed = self._elapsed
        following = elapsed * _NEXT_LOOK if self._looks.moments else elapsed
        if following >= self._longest - HALF_INTERVAL:
            return False
        alpha = self._looks.at(elapsed).level(ALPHA)
        whole = [slo for slo in self._gate.objectives if not slo.window]
        enough = [slo.view(result).requests >= _fewest_requests(slo, alpha) for slo in whole]
        # One that is missed ends the load, however long the others take.
        return all(enough) or (elapsed >= self._plan.duration - HALF_INTERVAL and any(enough))

    def _why_abort(self, result: Result) -> str:
        """Say why the load is hopeless; empty where it is not."""
        others = result.without_own_failures
        if slo := self._gate.abort_if:
            # It is judged each second, and all of these verdicts together may be wrong as often as one.
            alpha = ALPHA / max(1.0, self._longest)
            verdict = judge(slo, slo.view(result), alpha)
            if verdict.outcome == "met" and (others is result or judge(slo, slo.view(others), alpha).outcome == "met"):
                return f"{slo} ({verdict.value})"
        patience = max(SILENCE, float(self._plan.timeout))
        recent = last(result.intervals, patience)
        first = len(result.intervals) - len(recent)
        excused = any(other is not each for other, each in zip(others.intervals[first:], recent, strict=True))
        if excused or any(suspects(result)[first:]):
            return ""  # it may have been the generator that did not run, or ran out
        # A journey may take long; its steps show that the service responds.
        steps = [figures for each in recent for figures in each.names.values()]
        silent = not any(map(is_answer, count_outcomes([*recent, *steps])))
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
        if self._plan.closed or self._plan.journey:
            return unanswered >= _FEWEST_WAITING
        before = result.intervals[: len(result.intervals) - len(recent) + 1]
        still_open = max(0, sum(each.lag.count for each in before) - result.requests)
        # In a pause between two stages only earlier requests end, and none is sent.
        sent = sum(each.lag.count for each in recent[1:])
        return min(sent, unanswered + still_open) >= _FEWEST_WAITING


def _first_look(gate: Gate, plan: Plan) -> float:
    if not gate.stop_early:
        return float(plan.duration)
    # Before that, a run shows too little of what is rare.
    return float(plan.duration) / 2 if gate.stop_early is True else float(min(gate.stop_early, plan.duration))


def _is_of_any_window(slo: SLO) -> bool:
    return slo.window is not None and slo.window.which == "any"


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


def _parse_stop_early(value: object) -> bool | Duration:
    if isinstance(value, bool):
        return value
    try:
        first = Duration(value)  # type: ignore[arg-type]  # it refuses other types
    except PlanError:
        raise PlanError(
            f"stop_early={value!r}: expected True, False, or the time after which the load may end ('5s')"
        ) from None
    if not 0 < first < math.inf:
        raise PlanError(f"stop_early={value!r}: must be a finite time > 0")
    return first


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
    if allowed is None or not 0 < allowed < 1:
        return 0
    return math.ceil(stats.needed(allowed if slo.upper else 1 - allowed, alpha) * slo.metric.assumed_burst)


def _useful_duration(slo: SLO, plan: Plan, longest: Duration) -> Duration:
    """Give how long a load may have to go on until more of it would not change the verdict on an objective."""
    if not slo.is_sample:
        return plan.duration  # a fact does not become surer
    if slo.window and _is_of_any_window(slo):
        # The worst window only gets worse; but there has to be one.
        return max(plan.duration, min(slo.window.seconds, longest))
    return longest


def _too_short(slo: SLO, plan: Plan, longer: Plan) -> _TooShort | None:
    """Say so where a load cannot show an objective even if no request is bad. Raises PlanError where no load can."""
    fewest = Duration(stats.FEWEST_BATCHES)
    if reason := slo.metric.unmeasurable(plan):
        raise PlanError(f"{slo.text!r}: {reason}")
    lasts = f"this load lasts {plan.duration}"
    if longer.duration > plan.duration:
        lasts += f", and at most {longer.duration} while an objective is unclear"
    if slo.is_sample and longer.duration < fewest - HALF_INTERVAL:
        return _TooShort(
            f"{slo.text!r} needs at least {fewest} for a confidence interval; {lasts}: use duration='{fewest}' or more",
            fewest,
        )
    if slo.window and slo.window.seconds > longer.duration + HALF_INTERVAL:
        return _TooShort(f"{slo.text!r}: {lasts}: use duration='{slo.window.seconds}' or more", slo.window.seconds)
    wanted = _fewest_requests(slo, ALPHA)
    if plan.closed or not wanted:
        return None
    needs = f"{slo.text!r} needs at least {wanted:,} requests to be decided with {Share(1 - ALPHA)} confidence"
    if slo.metric.assumed_burst > 1:
        needs += f" (bad requests are assumed to come in bursts of {slo.metric.assumed_burst})"
    if slo.window and (found := _too_few_in(slo.window, longer, wanted, needs)):
        return found
    if longer.requests < wanted:
        rate = float(plan.rate)
        duration = max(fewest, Duration(math.ceil(wanted / rate)))
        of_them = f" of {slo.name!r}" if slo.name else ""
        has = f"this load has {plan.requests:,}{of_them} in {plan.duration}"
        if longer.duration > plan.duration:
            has += f", and {longer.requests:,} in the {longer.duration} that it may last while an objective is unclear"
        message = f"{needs}; {has}: at {Rate(rate)}, use duration='{duration}' or more"
        return _TooShort(message, f"{wanted:,} requests")
    return None


def _too_few_in(window: Window, plan: Plan, wanted: int, needs: str) -> _TooShort | None:
    """Say so where too few requests are due in a window, whatever the rest of the load has."""
    due = _due_by_second(plan)
    if (found := _fewest_due(due, window.seconds, window.which)) >= wanted:
        return None
    lengths = range(math.ceil(window.seconds), len(due))
    enough = bisect_left(lengths, True, key=lambda length: _fewest_due(due, length, window.which) >= wanted)
    if enough < len(lengths):
        remedy = f"use 'over {window.which} {Duration(lengths[enough])}' or more"
    elif plan.steady:
        length = max(stats.FEWEST_BATCHES, math.ceil(wanted / float(plan.rate)))
        remedy = f"use 'over {window.which} {Duration(length)}' or more, and as long a load"
    else:
        remedy = "raise the rate there, or leave the window out"
    which = "" if plan.steady else "the last " if window.which == "last" else "the quietest "
    message = f"{needs}; {which}{window.seconds} of this load have at most {found:,}: {remedy}"
    return _TooShort(message, f"{wanted:,} requests in {window.seconds}")


def _due_by_second(plan: Plan) -> list[float]:
    """Give how many requests are due until each whole second of a plan, and until its end."""
    due, before, begin = [0.0], 0.0, 0.0
    for stage in plan.stages:
        start, slope = float(stage.start or 0), float((stage.end or 0) - (stage.start or 0)) / stage.seconds
        while len(due) <= begin + stage.seconds:
            into = len(due) - begin
            due.append(before + into * (start + slope * into / 2))
        before += float(stage.requests)
        begin += stage.seconds
    return due if begin < len(due) - HALF_INTERVAL else [*due, before]


def _fewest_due(due: Sequence[float], seconds: float, which: str) -> int:
    """Give how many requests are due in the window of a length that has the fewest, or in the last one."""
    length = max(1, round(seconds))
    starts = range(max(0, len(due) - 1 - length) if which == "last" else 0, max(1, len(due) - length))
    return math.floor(min(due[min(at + length, len(due) - 1)] - due[at] for at in starts) + 0.5)
