"""The kept runs of a load, and the run that was compared with them, figure by figure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import Baseline, KeptRun
from pytest_loadgen.objectives.metric import Metric, Percentile
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.records.run import Run

_SHORT = 7


@dataclass(frozen=True)
class FigureHistory:
    """One figure of the kept runs and of the run itself."""

    metric: Metric
    name: str
    """The name of the requests that it is about; empty if it is about all."""
    baseline: Baseline
    """The kept runs, as far as they are about the same requests."""
    kept: Sequence[float | None]
    """The figure of each kept run, the oldest first; None where too many requests had no response."""
    left_out: int
    """How many of the oldest runs are left out, because they are from before the last step of the figure."""
    own: float | None
    verdicts: Sequence[Verdict]
    """The verdicts on its change from the baseline."""

    @property
    def said(self) -> str:
        """The figure and its requests: ``p99``, ``p50 of order``."""
        return f"{self.metric} of {self.name}" if self.name else str(self.metric)

    def write(self, value: float | None) -> str:
        """Write a figure with its unit."""
        return "no answer" if value is None else self.metric.write(value)


def figure_histories(run: Run) -> list[FigureHistory]:
    """Give the figures that were compared with kept runs; p50 and p99 where no objective says which.

    Empty where nothing is kept, or the run was compared side by side.
    """
    baseline = run.result.baseline
    if not baseline.runs or baseline.paired:
        return []
    by_figure: dict[tuple[str, Metric], list[Verdict]] = {}
    for verdict in run.result.verdicts:
        if verdict.slo.is_relative:
            by_figure.setdefault((verdict.slo.name, verdict.slo.metric), []).append(verdict)
    wanted = by_figure or {("", Percentile(50)): [], ("", Percentile(99)): []}
    return [
        _figure_history(
            name, metric, run.result[name] if name else run.result, baseline.of(name) if name else baseline, of
        )
        for (name, metric), of in wanted.items()
    ]


def _figure_history(
    name: str, metric: Metric, own: Result, baseline: Baseline, verdicts: Sequence[Verdict]
) -> FigureHistory:
    older, _ = baseline.divided(metric.figure)
    values = [_finite(metric.figure(each.result)) for each in baseline.runs]
    left_out = 1 + next(at for at, each in enumerate(baseline.runs) if each is older[-1]) if older else 0
    return FigureHistory(metric, name, baseline, values, left_out, _finite(metric.figure(own)), verdicts)


def origins(runs: Sequence[KeptRun]) -> Iterator[tuple[str, str]]:
    """Give the date and the commit of each run, as far as they are known."""
    for run in runs:
        yield f"{run.date:%Y-%m-%d %H:%M}" if run.date else "", run.commit[:_SHORT]


def _finite(figure: float) -> float | None:
    return float(figure) if math.isfinite(figure) else None
