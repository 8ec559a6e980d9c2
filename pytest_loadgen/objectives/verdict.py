"""The verdict on one objective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pytest_loadgen.objectives.slo import SLO

Outcome = Literal["met", "missed", "unclear", "invalid"]
OUTCOMES: tuple[Outcome, ...] = ("met", "missed", "unclear", "invalid")

# The least width of the column of objectives.
_WIDTH = 24


@dataclass(frozen=True, repr=False)
class Verdict:
    """The judgement of one objective; true if it is met."""

    slo: SLO
    outcome: Outcome
    value: str
    """The figure with its unit, as people read it."""
    low: float | None = None
    """The lower bound of the true figure, or the figure itself where it is a fact; in seconds, per second or as a
    share."""
    high: float | None = None
    remark: str = ""
    """How sure the verdict is, or why it is not."""
    basis: str = ""
    """What it rests on: ``3,000 requests in 15 intervals count as 410 independent ones``."""

    def __bool__(self) -> bool:
        return self.outcome == "met"

    def __str__(self) -> str:
        return self._line(_WIDTH)

    def __repr__(self) -> str:
        return f"<{' '.join(str(self).split())}>"

    def _line(self, width: int) -> str:
        remark = f"  ({self.remark})" if self.remark else ""
        return f"{self.outcome:<8} {self.slo.text:<{width}} {self.value}{remark}"

    def as_dict(self) -> dict[str, Any]:
        """Give the verdict as JSON can hold it."""
        return {
            "slo": self.slo.text,
            "outcome": self.outcome,
            "value": self.value,
            # JSON has no infinity, which a figure is where no request got a response.
            "low": None if self.low is None or math.isinf(self.low) else self.low,
            "high": None if self.high is None or math.isinf(self.high) else self.high,
            "remark": self.remark,
            "basis": self.basis,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        return cls(**{**data, "slo": SLO.recorded(data["slo"])})


def aligned(verdicts: Sequence[Verdict]) -> list[str]:
    """Write verdicts one per line, in columns."""
    width = max((len(verdict.slo.text) for verdict in verdicts), default=0)
    return [verdict._line(max(_WIDTH, width)) for verdict in verdicts]
