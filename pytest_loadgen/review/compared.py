"""Two kept runs of the same load: the figures before and after, and what changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.comparison import Baseline, describe_shift
from pytest_loadgen.objectives.slo import parse_metric
from pytest_loadgen.records.baseline_finder import differences
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import summary
from pytest_loadgen.reports.summary import COLUMNS, Row
from pytest_loadgen.wording import counted, listed

_METRICS = ("p50", "p90", "p99", "mean", "rate")
# Each bound alone is 95 % sure.
_HEADERS = ("", "before", "after", "change", "90% sure of")


@dataclass(frozen=True)
class Compared:
    """A load of one report, and the same load of an earlier one."""

    before: Run
    after: Run
    """With the other as its baseline, where they can be compared."""

    @classmethod
    def of(cls, before: Run, after: Run) -> Self:
        """Take the earlier run as the baseline of the later one, if it is of the same load."""
        different = differences(before.result, after.result)
        baseline = Baseline(missing=f"the load before was a different one: {listed(different)}")
        if not different:
            baseline = Baseline(replace(before.result, baseline=Baseline(), verdicts=()))
        return cls(before, replace(after, result=replace(after.result, baseline=baseline)))

    def lines(self) -> Iterator[str]:
        """Write what changed in a line and as a table, or why that is not known."""
        before, after = self.before.result, self.after.result
        if after.baseline.result is None:
            yield f"not compared: {after.baseline.missing}"
        elif not (before.requests and after.requests):
            yield f"not compared: there were no requests {'after' if before.requests else 'before'}"
        else:
            yield from _shifts(before, after)
            yield from self._table()

    def notes(self) -> Iterator[str]:
        """List what a reader of the figures has to know, and of which run it is said."""
        before, after = (dict.fromkeys(summary.notes(run)) for run in (self.before, self.after))
        yield from (f"before{' and after' if note in after else ''}: {note}" for note in before)
        yield from (f"after: {note}" for note in after if note not in before)

    def _table(self) -> Sequence[str]:
        from tabulate import tabulate

        rows = [
            *(self._row(metric) for metric in _METRICS),
            ("errors", *(COLUMNS["errors"](Row.of(run)) for run in (self.before, self.after)), "", ""),
        ]
        drawn = tabulate(
            rows,
            headers=_HEADERS,
            tablefmt="simple",
            disable_numparse=True,
            colalign=("left", "right", "right", "right", "left"),
        )
        return [line.rstrip() for line in drawn.splitlines()]

    def _row(self, metric: str) -> tuple[str, ...]:
        """Write a figure before and after, and how it changed where both are finite."""
        figures = [parse_metric(metric).figure(run.result) for run in (self.before, self.after)]
        try:
            change = self.after.result.change(metric)
        except PlanError:
            return metric, *map(str, figures), "", ""
        if not all(0 < figure < math.inf for figure in figures):
            return metric, *map(str, figures), "", ""
        sure = f"{change.low} to {change.high}" if change.low and math.isfinite(change.high) else "not known"
        return metric, *map(str, figures), str(change.estimate), sure


def _shifts(before: Result, after: Result) -> Iterator[str]:
    """Say in a line which latencies changed, and then of which names."""
    seconds = min(sum(bool(each.requests) for each in result.intervals) for result in (before, after))
    if seconds < stats.FEWEST_BATCHES:
        found = f"only {counted(seconds, 'interval')} to compare"
        yield f"{found}; at least {stats.FEWEST_BATCHES} are needed: use longer loads"
        return
    yield describe_shift(after, before, paired=False)
    for name in after.names:
        if name in before.names and before[name].requests and after[name].requests:
            yield f"{name}: {describe_shift(after[name], before[name], paired=False)}"
