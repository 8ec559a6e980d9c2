"""A kept run that is judged again, by other objectives than those of its load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from pytest_loadgen.errors import LoadError, PlanError, ServiceError, SLOMissed
from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import aligned
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import summary
from pytest_loadgen.running.failure import raise_failure
from pytest_loadgen.units import Duration

# What a machine itself may add to a latency, where that was not measured: below this limit it could matter.
_LOW = Duration("20ms")


@dataclass(frozen=True)
class Rejudged:
    """A run with the verdicts on other objectives."""

    run: Run
    not_judged: Mapping[SLO, str]
    """The objectives that say nothing of this load, each with the reason."""

    @classmethod
    def of(cls, run: Run, objectives: Sequence[SLO]) -> Self:
        """Judge a run by all of these objectives together, as a load would be."""
        result = replace(run.result, verdicts=(), not_judged=())
        not_judged = {slo: reason for slo in objectives if (reason := _why_not(slo, result))}
        verdicts = judge_all([slo for slo in objectives if slo not in not_judged], result)
        return cls(replace(run, result=replace(result, verdicts=tuple(verdicts))), not_judged)

    def fails(self, *, strict: bool) -> bool:
        """Return whether the test of such a load fails; with `strict`, it does with unclear objectives, too."""
        try:
            raise_failure(self.run.result, strict=strict)
        except (SLOMissed, LoadError):
            return True
        return False

    def lines(self) -> Iterator[str]:
        """Write the load, the verdicts, why other objectives are not judged, and what a reader has to know."""
        result = self.run.result
        yield from aligned(result.verdicts)
        for slo, reason in self.not_judged.items():
            yield f"not judged: {slo}: {reason}"
        if low := [verdict.slo.text for verdict in result.verdicts if _may_be_noise(verdict.slo, result)]:
            yield (
                f"{', '.join(low)}: the report does not have this machine's own latency, which a limit has to be well "
                "above; it is measured for loads with an objective on latency."
            )
        try:
            raise_failure(result, strict=False)
        except ServiceError as error:  # whatever the objectives
            yield str(error).partition("\n")[0]
        except (SLOMissed, LoadError):
            pass  # the verdicts and the notes say so
        yield from summary.notes(self.run)


def _why_not(slo: SLO, result: JudgedResult) -> str:
    """Say why an objective says nothing of a load; empty where it does."""
    if reason := slo.metric.unmeasurable(result.plan):
        return reason
    try:
        slo.check_name(result.plan)
        if slo.name:
            result[slo.name]
    except (PlanError, KeyError) as error:
        return str(error.args[0]).removeprefix(f"{slo.text!r}: ")
    return ""


def _may_be_noise(slo: SLO, result: JudgedResult) -> bool:
    """Return whether a limit may be so low that the machine itself decides, and it is not known how slow that is."""
    absolute = slo.metric.is_latency and not slo.is_relative
    return absolute and not result.machine_p99 and not result.sent_from and float(slo.bound) < _LOW
