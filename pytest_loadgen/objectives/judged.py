"""A result with the verdicts on its objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.baseline import NO_BASELINE, Baseline
from pytest_loadgen.objectives.blind_spots import describe_blind_spots
from pytest_loadgen.objectives.caveats import Circumstances, apply_caveats
from pytest_loadgen.objectives.comparison import ChangeEstimate, Comparison
from pytest_loadgen.objectives.judgement import ALPHA, judge
from pytest_loadgen.objectives.looks import ONE_LOOK, Looks
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
    not_judged: tuple[str, ...] = ()
    """The objectives that --load-scale leaves out, each with the reason: ``p99 < 200ms (needs 299 requests)``."""

    def __getitem__(self, name: str) -> Self:
        """Give the result of the requests of one name. Raises KeyError where the load has no such request."""
        verdicts = tuple(verdict for verdict in self.verdicts if verdict.slo.name == name)
        return replace(super().__getitem__(name), verdicts=verdicts, baseline=self.baseline.of(name))

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

    @property
    def blind_spots(self) -> str:
        """Which stalls and outages would miss a met objective, and may not occur in a run of this length; or empty."""
        return describe_blind_spots(self, self.verdicts)

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
        if reason := parsed.unknown_in(self) or parsed.unknown_in(self.baseline.result):
            raise PlanError(f"change({metric!r}): {reason}")
        found = ratio(parsed, self, self.baseline)
        return ChangeEstimate.of(found.interval(ALPHA))


def judge_all(objectives: Sequence[SLO], result: JudgedResult, looks: Looks = ONE_LOOK) -> list[Verdict]:
    """Judge objectives by the figures and by the circumstances in which they were measured."""
    return [
        apply_caveats(
            each.slo,
            each.verdict(missed),
            Circumstances(
                each.view,
                each.view.baseline.result,
                each.view.machine_p99,
                each.looks.level(ALPHA),
                each.looks.level(missed),
                each.view.extended_by,
            ),
        )
        for each, missed in _decided(objectives, result, looks, ALPHA)
    ]


def judge_figures(
    objectives: Sequence[SLO], result: JudgedResult, looks: Looks = ONE_LOOK, alpha: float = ALPHA
) -> list[Verdict]:
    """Judge objectives by the figures alone; all looks together are wrong with probability alpha."""
    return [each.verdict(missed) for each, missed in _decided(objectives, result, looks, alpha)]


class _Judgement:
    """The judgement of one objective, as sure as it has to be."""

    def __init__(self, slo: SLO, view: JudgedResult, looks: Looks, alpha: float) -> None:
        """Take the result of the requests that the objective is about, and the error of a verdict that it is met."""
        self.slo = slo
        self.view = view
        # A comparison with kept runs is judged once, at the end of the load.
        self.looks = ONE_LOOK if slo.is_relative and not view.baseline.paired else looks
        self._alpha = alpha
        self._comparison = Comparison(slo, view, view.baseline) if slo.is_relative else None
        self._verdicts: dict[float, Verdict] = {}

    @property
    def is_test(self) -> bool:
        """Whether chance may have it missed: not a fact, nor a change from a baseline that there is not."""
        return self.slo.is_sample and (self._comparison is None or self.view.baseline.result is not None)

    def verdict(self, missed: float) -> Verdict:
        """Judge with this error of a verdict that it is missed."""
        if missed not in self._verdicts:
            met, level = self.looks.level(self._alpha), self.looks.level(missed)
            self._verdicts[missed] = (
                self._comparison.verdict(met, missed=level)
                if self._comparison
                else judge(self.slo, self.view, met, self.view.extended_by, missed=level)
            )
        return self._verdicts[missed]

    def is_missed(self, missed: float) -> bool:
        """Return whether it is missed with this error."""
        return self.verdict(missed).outcome == "missed"


def _decided(
    objectives: Sequence[SLO], result: JudgedResult, looks: Looks, alpha: float
) -> list[tuple[_Judgement, float]]:
    """Judge objectives, and give each with the error that it may be missed with.

    All together are met wrongly with probability alpha where each is, because all have to be met (an
    intersection-union test: Berger 1982). One that is missed fails the load, so they share that error (Holm), each
    over all looks (Maurer & Bretz 2013).
    """
    views = {name: slo.view(result) for name, slo in {slo.name: slo for slo in objectives}.items()}
    judgements = [_Judgement(slo, views[slo.name], looks, alpha) for slo in objectives]
    tests = [each for each in judgements if each.is_test]
    errors = dict(zip(map(id, tests), stats.holm([each.is_missed for each in tests], alpha), strict=True))
    return [(each, errors.get(id(each), alpha)) for each in judgements]
