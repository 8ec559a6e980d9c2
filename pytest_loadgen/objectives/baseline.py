"""What a result is compared with: kept runs, or the other service of a load side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from statistics import fmean
from typing import Self

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import change_point
from pytest_loadgen.objectives.metric import Metric
from pytest_loadgen.objectives.scatter import Scattered, scattered

_SHORT = 7


@dataclass(frozen=True)
class KeptRun:
    """A run that was saved to compare others with."""

    result: Result
    commit: str = ""
    """The full hash of the code's commit; empty where unknown."""
    date: datetime | None = None
    """When the load began, where known."""
    _scattered: dict[Metric, Scattered] = field(default_factory=dict, init=False, repr=False, compare=False)

    def scattered(self, metric: Metric) -> Scattered:
        """Give a figure of the run, and how much it varies within the run."""
        if metric not in self._scattered:  # a running load is compared with it at each look
            self._scattered[metric] = scattered(metric, self.result)
        return self._scattered[metric]

    @property
    def origin(self) -> str:
        """Where it comes from: ``commit abc1234 (2026-11-20)``."""
        commit = f"commit {self.commit[:_SHORT]}" if self.commit else "an unknown commit"
        return f"{commit} ({self.date:%Y-%m-%d})" if self.date else commit


@dataclass(frozen=True)
class Baseline:
    """The runs to compare with, the oldest first, or why there are none."""

    runs: tuple[KeptRun, ...] = ()
    missing: str = ""
    paired: bool = False
    """Whether both services were loaded side by side, so that intervals can be compared pair by pair."""
    _named: dict[str, Baseline] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def single(cls, result: Result, *, paired: bool = False) -> Self:
        """Compare with one result."""
        return cls((KeptRun(result),), paired=paired)

    @property
    def result(self) -> Result | None:
        """The newest of the results, or None."""
        return self.runs[-1].result if self.runs else None

    def of(self, name: str) -> Baseline:
        """Give the baseline of the requests of one name."""
        if self.result is None:
            return self
        if name not in self._named:
            try:
                runs = tuple(replace(run, result=run.result[name]) for run in self.runs)
                self._named[name] = replace(self, runs=runs)
            except KeyError:
                self._named[name] = Baseline(missing=f"the baseline has no figures of {name!r}")
        return self._named[name]

    def divided(self, figure: Callable[[Result], float]) -> tuple[Sequence[KeptRun], Sequence[KeptRun]]:
        """Give the runs before and since this figure last changed to another level; most often there are none before.

        Runs without a figure (too many of their requests failed) take no part, unless none has one.
        """
        known = [run for run in self.runs if 0 < figure(run.result) < math.inf]
        first = change_point.latest(_logs(known, figure))
        return known[:first], known[first:] or self.runs

    def typical(self, figure: Callable[[Result], float]) -> float:
        """Give the geometric mean of a figure of the runs since it last changed."""
        return geometric_mean(self.divided(figure)[1], figure)


NO_BASELINE = Baseline(missing="there is no baseline: use --load-compare NAME, or against=")


def geometric_mean(runs: Sequence[KeptRun], figure: Callable[[Result], float]) -> float:
    """Give the geometric mean of a figure of runs."""
    return math.exp(fmean(_logs(runs, figure)))


def _logs(runs: Sequence[KeptRun], figure: Callable[[Result], float]) -> list[float]:
    return [math.log(found) if (found := figure(run.result)) else -math.inf for run in runs]
