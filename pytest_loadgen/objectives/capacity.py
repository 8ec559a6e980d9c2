"""The capacity of a service: the highest rate at which objectives hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.verdict import Outcome
from pytest_loadgen.units import Duration, Rate, Share


@dataclass(frozen=True)
class Step:
    """One load of a search: its rate, and what came of it."""

    rate: Rate
    outcome: Outcome
    """Whether the objectives hold at this rate, by this load alone."""
    seconds: float
    requests: int
    p50: float | None
    """In seconds; None where it is that of a request without a response."""
    p99: float | None
    error_rate: Share

    @classmethod
    def of(cls, rate: float, outcome: Outcome, result: Result) -> Self:
        """Take the figures of a load."""
        p50, p99 = (float(result.percentile(percent)) if result.requests else math.inf for percent in (50, 99))
        return cls(
            Rate(rate),
            outcome,
            result.total.seconds,
            result.requests,
            p50 if math.isfinite(p50) else None,
            p99 if math.isfinite(p99) else None,
            result.error_rate,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `Capacity.as_dict` wrote of it."""
        return cls(**{**data, "rate": Rate(data["rate"]), "error_rate": Share(data["error_rate"])})

    def __str__(self) -> str:
        p99 = "no answer" if self.p99 is None else Duration(self.p99)
        return f"{self.rate} {self.outcome} (p99 {p99})"


def _nobody_asks(_: str) -> None:
    """Take note of an unclear comparison, where there is no test."""


@dataclass(frozen=True, eq=False)
class Capacity:
    """The highest rate at which objectives hold: at least `low`, and less than `high`.

    Compare it with a rate: ``capacity >= "800/s"`` is true where `low` is at least that, and false where `high` is
    at most that. In between it is unclear: then the comparison is true, and the test's summary says so. With
    --load-strict, or where the generator was the limit, the test fails.
    """

    low: Rate
    """The highest rate at which the objectives are known to hold; 0 if there is none."""
    high: Rate
    """The lowest rate at which they are known not to hold; infinite if there is none."""
    steps: tuple[Step, ...] = ()
    """The loads that the search made, in their order."""
    limited_by: str = ""
    """What does not hold at `high`; without it, why the search did not find it."""
    unclear: Callable[[str], None] = field(default=_nobody_asks, repr=False)
    """Takes note of an unclear comparison, or fails the test."""

    def __ge__(self, rate: float | str) -> bool:
        return self._is_above(rate, ">=")

    def __gt__(self, rate: float | str) -> bool:
        return self._is_above(rate, ">")

    def __lt__(self, rate: float | str) -> bool:
        return self._is_below(rate, "<")

    def __le__(self, rate: float | str) -> bool:
        return self._is_below(rate, "<=")

    def _is_above(self, rate: float | str, sign: str) -> bool:
        __tracebackhide__ = True
        wanted = Rate(rate)
        if self.low >= wanted or self.high <= wanted:
            return self.low >= wanted
        self._say_unclear(f"capacity {sign} {wanted}")
        return True

    def _is_below(self, rate: float | str, sign: str) -> bool:
        __tracebackhide__ = True
        wanted = Rate(rate)
        if self.low >= wanted or self.high <= wanted:
            return self.high <= wanted
        self._say_unclear(f"capacity {sign} {wanted}")
        return True

    def _say_unclear(self, comparison: str) -> None:
        __tracebackhide__ = True
        self.unclear(f"{comparison} is unclear: {self}")

    def __str__(self) -> str:
        if self.low and math.isfinite(self.high):
            return f"{self.low} holds, {self.high} does not ({self.limited_by})"
        if self.low:
            return f"{self.low} holds; no rate is known that does not ({self.limited_by})"
        if math.isfinite(self.high):
            return f"{self.high} does not hold ({self.limited_by}); no rate is known that does"
        return f"not found ({self.limited_by})"

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON can hold it."""
        return {
            "low": float(self.low),
            "high": float(self.high) if math.isfinite(self.high) else None,
            "steps": [
                {**asdict(step), "rate": float(step.rate), "error_rate": float(step.error_rate)} for step in self.steps
            ],
            "limited_by": self.limited_by,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        high = math.inf if data["high"] is None else data["high"]
        steps = tuple(map(Step.from_dict, data["steps"]))
        return cls(Rate(data["low"]), Rate(high), steps, data["limited_by"])
