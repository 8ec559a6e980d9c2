"""A kept run that is judged again, by other objectives than those of its load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from pytest_loadgen.errors import LoadError, ServiceError, SLOMissed
from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import aligned
from pytest_loadgen.records.run import Run
from pytest_loadgen.running.failure import raise_failure
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import did_you_mean

# Below this limit the machine's own latency may matter, if it was not measured: on most it is a third of this or less.
_LOW = Duration("20ms")


@dataclass(frozen=True)
class Rejudged:
    """A run with the verdicts on other objectives."""

    run: Run
    not_judged: Mapping[SLO, str]
    """The objectives that do not apply to this load, each with the reason."""

    @classmethod
    def of(cls, run: Run, objectives: Sequence[SLO]) -> Self:
        """Judge a run by all of these objectives together, as a load would be."""
        result = replace(run.result, verdicts=(), not_judged=())
        not_judged = {slo: reason for slo in objectives if (reason := _why_not(slo, result))}
        verdicts = judge_all([slo for slo in objectives if slo not in not_judged], result)
        return cls(replace(run, result=replace(result, verdicts=tuple(verdicts))), not_judged)

    def failure(self, *, strict: bool = False) -> SLOMissed | LoadError | None:
        """Give what the test of such a load would fail with; with `strict`, unclear objectives fail it, too."""
        try:
            raise_failure(self.run.result, strict=strict)
        except (SLOMissed, LoadError) as error:
            return error
        return None

    def lines(self) -> Iterator[str]:
        """Write the verdicts, why other objectives are not judged, and a failure whatever the objectives."""
        result = self.run.result
        yield from aligned(result.verdicts)
        for slo, reason in self.not_judged.items():
            yield f"not judged: {slo}: {reason}"
        if low := [verdict.slo.text for verdict in result.verdicts if _may_be_noise(verdict.slo, result)]:
            yield (
                f"{', '.join(low)}: so low a limit may be within the machine's own latency, which is not in this "
                "report: only loads with an objective on latency measure it."
            )
        if isinstance(failure := self.failure(), ServiceError):
            yield f"failed: {str(failure).splitlines()[0]}"


def _why_not(slo: SLO, result: JudgedResult) -> str:
    """Say why an objective does not apply to a load; empty where it does."""
    plan, name = result.plan, slo.name
    if reason := slo.metric.unmeasurable(plan):
        return reason
    if not name:
        return ""
    known = [plan.name, *result.names] if plan.journey else [request.name for request in plan.mix]
    if not known:
        return f"this load has one request, without a name: leave out 'of {name}'"
    if name not in known:
        return f"this load has no {'step' if plan.journey else 'request'} {name!r}: {did_you_mean(name, known)}"
    try:
        result[name]
    except KeyError as error:  # its generator counts all requests together
        return str(error.args[0])
    return ""


def _may_be_noise(slo: SLO, result: JudgedResult) -> bool:
    """Return whether a limit may be within the machine's own latency, which was not measured."""
    absolute = slo.metric.is_latency and not slo.is_relative
    return absolute and not result.machine_p99 and not result.sent_from and float(slo.bound) < _LOW
