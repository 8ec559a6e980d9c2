"""The objectives of one load: what it must be like to judge them, when to end it, and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pytest_loadgen import stats
from pytest_loadgen.errors import PlanError
from pytest_loadgen.options import Options
from pytest_loadgen.plan import Plan
from pytest_loadgen.result import Interval, Result
from pytest_loadgen.slo import SLO
from pytest_loadgen.units import Duration, Rate, Share
from pytest_loadgen.verdict import ALPHA, JudgedResult, Verdict, floored, judge, last, valid

# A look spends some of the error that is allowed; so the next is when the run is this much longer.
_NEXT_LOOK = 1.25
# How long a service may answer nothing before the load is given up, in seconds.
HOPELESS = 5.0


@dataclass(frozen=True)
class Gate:
    """Objectives, and how long a run may last to judge them."""

    objectives: tuple[SLO, ...] = ()
    longest: Duration | None = None
    """How long the run may go on while an objective is unclear; three times its duration if None."""
    stop_early: bool = False
    abort: SLO | None = None

    @classmethod
    def of(cls, options: Options, objectives: Sequence[str]) -> Gate:
        """Read the objectives, those of the options last. Raises PlanError."""
        said = options.get("slo", ())
        if not isinstance(said, Iterable):
            raise PlanError(f"slo={said!r}: write an objective ('p99 < 200ms') or a list of them")
        texts = [*objectives, *([said] if isinstance(said, str) else said)]
        longest, abort = options.get("max_duration"), options.get("abort")
        return cls(
            objectives=tuple(dict.fromkeys(SLO.parse(text) for text in texts)),
            longest=None if longest is None else Duration(longest),
            stop_early=bool(options.get("stop_early", False)),
            abort=None if abort is None else SLO.parse(abort),
        )

    def __post_init__(self) -> None:
        """Refuse what cannot be looked at as the load runs."""
        if self.abort and (not self.abort.window or self.abort.window.which != "last"):
            raise PlanError(f"abort={self.abort.text!r}: write over which last stretch, as 'errors > 50% over last 5s'")

    def lengthened(self, plan: Plan) -> Plan:
        """Give the plan as long as it may become; raises PlanError where even that is too short."""
        longest = 3 * plan.duration if self.longest is None else self.longest
        if longest < plan.duration:
            raise PlanError(f"max_duration={self.longest} is shorter than the duration, {plan.duration}")
        # A fact is sure however long the load is.
        sampled = any(slo.is_sample for slo in self.objectives)
        longer = plan.lengthened(longest - plan.duration) if sampled else plan
        for slo in self.objectives:
            _check_size(slo, plan, longer)
        return longer

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
        self.floor = Duration(0)
        """The p99 on this machine of a service that does nothing; 0 where it is not known."""
        self._longest = float(gate.lengthened(plan).duration)
        self._elapsed = self._looked_at = 0.0
        self._next_look = 0.0 if gate.stop_early else float(plan.duration)
        self._ended = False
        self._alpha = 0.0
        self.aborted = ""
        """Why the load was ended as hopeless, or nothing."""

    def enough(self, intervals: Sequence[Interval]) -> bool:
        """Tell whether the load can end after these intervals."""
        if self._ended or not intervals:
            return self._ended
        result = replace(self.blank, intervals=tuple(intervals))
        self._elapsed = elapsed = intervals[-1].start + intervals[-1].seconds
        self.aborted = self._hopeless(result)
        if self.aborted:
            self._ended = True
        elif not self._gate.objectives:
            self._ended = False
        elif elapsed >= self._next_look - 0.5 and len(intervals) >= stats.FEWEST_BATCHES and self._worth(elapsed):
            verdicts = self._judge(result, self._spend(elapsed))
            self._next_look = max(elapsed + 1, elapsed * _NEXT_LOOK)
            if elapsed < self._plan.duration - 0.5:
                self._next_look = min(self._next_look, float(self._plan.duration))
            self._ended = all(self._final(slo, verdict) for slo, verdict in verdicts)
        return self._ended

    def _final(self, slo: SLO, verdict: Verdict) -> bool:
        """Tell whether a verdict is sure; a count that is within its bound so far is not."""
        so_far = slo.is_tally and verdict.outcome == ("met" if slo.upper else "missed")
        if so_far and self._elapsed < self._plan.duration - 0.5:
            return False
        return verdict.outcome in {"met", "missed"}

    def _worth(self, elapsed: float) -> bool:
        """Tell whether to look: near the end, what a look may spend is of more use to the last one."""
        last_look = elapsed if self._looked_at == 0 else elapsed * _NEXT_LOOK
        return last_look < self._longest - 0.5

    def judged(self, intervals: Sequence[Interval]) -> JudgedResult:
        """Judge the whole load: with the error of the look that ended it, or else with all that is left."""
        result = replace(self.blank, intervals=tuple(intervals), stretch=self.stretch)
        return replace(result, verdicts=self._verdicts(result))

    def _verdicts(self, result: Result) -> tuple[Verdict, ...]:
        alpha = self._alpha if self._ended and not self.aborted else self._spend(self._longest)
        return tuple(
            valid(slo, floored(slo, verdict, self.floor), result) for slo, verdict in self._judge(result, alpha)
        )

    def _spend(self, elapsed: float) -> float:
        before = stats.spent(ALPHA, self._looked_at / self._longest)
        self._looked_at = elapsed
        self._alpha = stats.spent(ALPHA, elapsed / self._longest) - before
        return self._alpha

    def _judge(self, result: Result, alpha: float) -> list[tuple[SLO, Verdict]]:
        return [(slo, judge(slo, result, alpha, self.stretch)) for slo in self._gate.objectives]

    @property
    def stretch(self) -> float:
        """How many times longer than asked for the load is, where it went on to be judged."""
        went_on = min(self._elapsed, self._longest) - self._plan.duration
        return 1 + went_on / self._plan.duration if went_on > 0.5 else 1.0

    def _hopeless(self, result: Result) -> str:
        """Say why it is not worth to go on, if so."""
        lasted = sum(each.seconds for each in result.intervals)
        if (slo := self._gate.abort) and slo.window and lasted >= slo.window.seconds - 0.5:
            verdict = judge(slo, result)
            if verdict.outcome == "met":
                return f"{slo} ({verdict.value})"
        patience = max(HOPELESS, float(self._plan.timeout))
        recent = last(result.intervals, patience)
        silent = all(each.requests == each.unanswered for each in recent)
        if silent and sum(each.seconds for each in recent) >= patience - 0.5 and _waiting(result.intervals, recent):
            return f"nothing was answered for {Duration(patience)}"
        return ""


def _waiting(intervals: Sequence[Interval], recent: Sequence[Interval]) -> bool:
    """Tell whether there was anything to answer: what ended unanswered, or is open since before."""
    if any(each.requests for each in recent):
        return True
    before = intervals[: len(intervals) - len(recent) + 1]
    return sum(each.lag.count for each in before) > sum(each.requests for each in intervals)


def _check_size(slo: SLO, plan: Plan, longer: Plan) -> None:
    """Refuse a load that cannot show what is asked even if no request is slow or wrong."""
    fewest = Duration(stats.FEWEST_BATCHES)
    if slo.is_sample and longer.duration < fewest - 0.5:
        raise PlanError(
            f"{slo.text!r} needs {fewest} to know how sure it is, and this load lasts {longer.duration} at most: "
            f"a duration of {fewest} would do."
        )
    if slo.window and slo.window.which == "any" and slo.window.seconds > longer.duration + 0.5:
        raise PlanError(
            f"{slo.text!r}: this load lasts {longer.duration} at most: a duration of {slo.window.seconds} would do."
        )
    if not slo.is_share or plan.closed or not slo.upper or not 0 < slo.allowed < 1:
        return
    rate = float(plan.rate)
    wanted = stats.needed(slo.allowed, ALPHA)
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
            f"{needs}, and this load has {plan.requests:,}: at {Rate(rate)}, a duration of {seconds} would do."
        )


def _peak(plan: Plan) -> float:
    return max(float(rate) for stage in plan.stages for rate in (stage.start, stage.end) if rate is not None)
