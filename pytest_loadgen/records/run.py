"""One load of one test."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import NO_BASELINE, Baseline, KeptRun
from pytest_loadgen.objectives.capacity import Capacity
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.records.revision import Revision
from pytest_loadgen.units import Duration, finite


@dataclass(frozen=True)
class Run:
    """One load of one test: when it ran, and its result."""

    test: str
    """The test's node id."""
    result: JudgedResult
    """The figures, the verdicts on the objectives, and the baseline."""
    number: int = 0
    """The position among the test's loads, counted from 0."""
    date: datetime | None = None
    """When the load began, where known."""
    outcome: str = ""
    """What the test came to: passed, failed, skipped, or error (its set-up or teardown failed). Empty while it runs,
    and where its end is not known."""
    revision: Revision = field(default_factory=Revision)
    """The commit and branch of a kept run; empty where they are the record's."""
    capacity: Capacity | None = None
    """What a search for the capacity found; the result is then that of its last load at the highest rate that holds."""

    @property
    def why_no_baseline(self) -> str:
        """Why later runs must not be compared with this one; empty if they can be."""
        result = self.result
        outcomes = {verdict.outcome for verdict in result.verdicts}
        if self.capacity or result.interrupted or result.abort_reason:
            return "was a search for the capacity" if self.capacity else "did not finish"
        if result.all_failed:
            return "failed"
        if result.problems or "invalid" in outcomes:
            return "reached the limit of the generator"
        if "missed" in outcomes:
            return "missed an objective"
        return ""

    def without_baseline(self) -> Self:
        """Return the same run without the result that it was compared with."""
        return replace(self, result=replace(self.result, baseline=NO_BASELINE))

    def as_dict(self) -> dict[str, Any]:
        """Return the run for JSON."""
        verdicts, baseline = self.result.verdicts, self.result.baseline
        return {
            "test": self.test,
            "number": self.number,
            "date": self.date.isoformat() if self.date else None,
            "commit": self.revision.commit,
            "branch": self.revision.branch,
            "outcome": self.outcome,
            "result": self.result.as_dict(),
            "verdicts": [verdict.as_dict() for verdict in verdicts],
            "not_judged": list(self.result.not_judged),
            "extended_by": self.result.extended_by,
            # JSON has no infinity, the value if the no-op service did not respond.
            "machine_p99": float(machine_p99) if math.isfinite(machine_p99 := self.result.machine_p99) else None,
            "baseline": baseline.result.as_dict() if baseline.result else None,
            "kept": [] if baseline.paired else list(map(_as_dict, baseline.runs)),
            "paired": baseline.paired,
            "capacity": self.capacity.as_dict() if self.capacity else None,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` returned."""
        date, machine_p99 = data.get("date"), data.get("machine_p99", 0.0)
        result = replace(
            JudgedResult.from_dict(data["result"]),
            verdicts=tuple(Verdict.from_dict(verdict) for verdict in data["verdicts"]),
            not_judged=tuple(data.get("not_judged", ())),
            extended_by=finite(data.get("extended_by", 1.0)),
            machine_p99=Duration(math.inf if machine_p99 is None else finite(machine_p99)),
            baseline=_baseline(data),
        )
        capacity = Capacity.from_dict(found) if (found := data.get("capacity")) else None
        began = datetime.fromisoformat(date) if date else None
        revision = Revision(data.get("commit", ""), data.get("branch", ""))
        return cls(data["test"], result, data["number"], began, data.get("outcome", ""), revision, capacity)


def _as_dict(run: KeptRun) -> dict[str, Any]:
    """Return a kept run for JSON: its date, its commit, and its figures with one interval for the whole run."""
    whole = replace(run.result, intervals=(run.result.total,))
    return {"date": run.date.isoformat() if run.date else None, "commit": run.commit, "result": whole.as_dict()}


def _baseline(data: dict[str, Any]) -> Baseline:
    """Read what a run was compared with."""
    if not (newest := data.get("baseline")):
        return NO_BASELINE
    *runs, last = [
        KeptRun(
            Result.from_dict(each["result"]),
            each["commit"],
            datetime.fromisoformat(each["date"]) if each["date"] else None,
        )
        for each in data.get("kept", ())
    ] or [KeptRun(Result.from_dict(newest))]
    return Baseline((*runs, replace(last, result=Result.from_dict(newest))), paired=data["paired"])
