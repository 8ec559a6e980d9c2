"""A result with the verdicts on its objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.caveats import Circumstances, apply_caveats
from pytest_loadgen.objectives.comparison import NO_BASELINE, Baseline, ChangeEstimate, compare
from pytest_loadgen.objectives.judgement import ALPHA, judge
from pytest_loadgen.objectives.ratio import ratio
from pytest_loadgen.objectives.slo import SLO, parse_metric
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.units import NO_TIME, Duration


@dataclass(frozen=True, repr=False)
class JudgedResult(Result):
    """A result, and the verdicts on its objectives."""

    verdicts: tuple[Verdict, ...] = ()
    extended_by: float = 1.0
    """How many times longer than planned the load was, because an objective was unclear."""
    machine_p99: Duration = NO_TIME
    """The p99 of a no-op service on this machine; 0 where it is not known."""
    baseline: Baseline = NO_BASELINE

    def judge(self, slo: str) -> Verdict:
        """Judge another objective than those of the load; the verdict is true if it is met. Raises PlanError."""
        __tracebackhide__ = True
        try:
            objective = SLO.parse(slo)
        except PlanError as error:
            raise error.with_traceback(None) from None
        (verdict,) = judge_all([objective], self)
        return verdict

    @property
    def against(self) -> Result | None:
        """The result of the service that was loaded side by side, or None."""
        return self.baseline.result if self.baseline.paired else None

    def change(self, metric: str) -> ChangeEstimate:
        """Estimate how a metric (``p99``, ``service mean``, ``rate``) changed from the baseline.

        Raises PlanError where the metric cannot be compared, or there is no baseline.
        """
        __tracebackhide__ = True
        try:
            parsed = parse_metric(metric)
        except PlanError as error:
            raise PlanError(f"change({metric!r}): {str(error).removeprefix(f'{metric!r}: ')}") from None
        if not parsed.is_comparable:
            raise PlanError(f"change({metric!r}): {parsed} cannot be compared with a baseline")
        if self.baseline.result is None:
            raise PlanError(f"change({metric!r}): {self.baseline.missing}")
        found = ratio(parsed, self, self.baseline.result, paired=self.baseline.paired)
        return ChangeEstimate.of(found.interval(ALPHA))


def judge_all(objectives: Sequence[SLO], result: JudgedResult, alpha: float = ALPHA) -> list[Verdict]:
    """Judge objectives by the figures and by the circumstances in which they were measured."""
    circumstances = Circumstances(result, result.baseline.result, result.machine_p99, alpha, result.extended_by)
    verdicts = judge_figures(objectives, result, alpha)
    return [apply_caveats(slo, verdict, circumstances) for slo, verdict in zip(objectives, verdicts, strict=True)]


def judge_figures(objectives: Sequence[SLO], result: JudgedResult, alpha: float) -> list[Verdict]:
    """Judge objectives by the figures alone."""
    relative = [slo for slo in objectives if slo.is_relative]
    changes = dict(zip(relative, compare(relative, result, result.baseline, alpha), strict=True))
    return [changes[slo] if slo in changes else judge(slo, result, alpha, result.extended_by) for slo in objectives]
