"""What is told of a load: which test it was in, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.verdict import Verdict


@dataclass(frozen=True)
class Run:
    """One load in one test."""

    test: str
    """The test's node id."""
    result: Result
    verdicts: tuple[Verdict, ...] = ()
    baseline: Result | None = None
    """What it was compared with."""
    date: datetime | None = None
    """When it began, where that is known."""
    number: int = 0
    """Which of the test's loads it is, counted from 0."""
    paired: bool = False
    """Whether it was compared with a service that was loaded by turns with it."""

    @property
    def is_sound(self) -> bool:
        """Whether others can be compared with it."""
        result = self.result
        return not (result.interrupted or result.abort_reason or result.all_failed or result.problems)

    def as_dict(self) -> dict[str, Any]:
        """Give the run as JSON can hold it."""
        return {
            "test": self.test,
            "result": self.result.as_dict(),
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "baseline": self.baseline.as_dict() if self.baseline else None,
            "date": self.date.isoformat() if self.date else None,
            "number": self.number,
            "paired": self.paired,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        baseline, date = data.get("baseline"), data.get("date")
        return cls(
            test=data["test"],
            result=Result.from_dict(data["result"]),
            verdicts=tuple(Verdict.from_dict(verdict) for verdict in data["verdicts"]),
            baseline=Result.from_dict(baseline) if baseline else None,
            date=datetime.fromisoformat(date) if date else None,
            number=data["number"],
            paired=data["paired"],
        )
