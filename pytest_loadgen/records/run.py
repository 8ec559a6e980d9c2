"""One load of one test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.comparison import NO_BASELINE, Baseline
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.verdict import Verdict


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

    @property
    def can_be_baseline(self) -> bool:
        """Whether later runs can be compared with this one."""
        result = self.result
        return not (result.interrupted or result.abort_reason or result.all_failed or result.problems)

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
            "result": self.result.as_dict(),
            "verdicts": [verdict.as_dict() for verdict in verdicts],
            "baseline": baseline.result.as_dict() if baseline.result else None,
            "paired": baseline.paired,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` returned."""
        baseline, date = data.get("baseline"), data.get("date")
        result = replace(
            JudgedResult.from_dict(data["result"]),
            verdicts=tuple(Verdict.from_dict(verdict) for verdict in data["verdicts"]),
            baseline=Baseline(Result.from_dict(baseline), paired=data["paired"]) if baseline else NO_BASELINE,
        )
        return cls(data["test"], result, data["number"], datetime.fromisoformat(date) if date else None)
