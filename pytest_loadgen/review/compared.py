"""A load before and after: the figures, and what changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.baseline import NO_BASELINE, Baseline, KeptRun
from pytest_loadgen.objectives.comparison import describe_shift
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.slo import parse_metric
from pytest_loadgen.records.differences import differences
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
    """The newest, where several were kept."""
    after: Run
    """With those before as its baseline, where they can be compared."""

    @classmethod
    def of(cls, before: Sequence[Run], after: Run) -> Self:
        """Take the earlier runs (one or more) that are of the same load as the baseline of the later one."""
        newest = before[-1]
        comparable = [run for run in before if not differences(run.result, after.result)]
        baseline = Baseline(tuple(map(_kept, comparable)))
        if not comparable:
            different = differences(newest.result, after.result)
            baseline = Baseline(missing=f"the loads differ: {listed(different)}")
        return cls(
            comparable[-1] if comparable else newest, replace(after, result=replace(after.result, baseline=baseline))
        )

    def lines(self) -> Iterator[str]:
        """Write what changed in a line and as a table, or why that is not known."""
        before, after = self.before.result, self.after.result
        if after.baseline.result is None:
            yield f"not compared: {after.baseline.missing}"
        elif not (before.requests and after.requests):
            yield f"not compared: there were no requests {'after' if before.requests else 'before'}"
        else:
            yield from _shifts(after)
            yield from self._table()

    def notes(self) -> Iterator[str]:
        """List what a reader of the figures has to know, each note with the run that it is about."""
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
        parsed = parse_metric(metric)
        figures = [parsed.figure(run.result) for run in (self.before, self.after)]
        written = [*map(str, figures)]
        if len(self.after.result.baseline.runs) > 1:
            written[0] = parsed.write(self.after.result.baseline.typical(parsed.figure))
        try:
            change = self.after.result.change(metric)
        except PlanError:
            return metric, *written, "", ""
        if not all(0 < figure < math.inf for figure in figures):
            return metric, *written, "", ""
        sure = f"{change.low} to {change.high}" if change.low and math.isfinite(change.high) else "not known"
        return metric, *written, str(change.estimate), sure


def _kept(run: Run) -> KeptRun:
    return KeptRun(replace(run.result, baseline=NO_BASELINE, verdicts=()), run.revision.commit, run.date)


def _shifts(after: JudgedResult) -> Iterator[str]:
    """Say which latencies changed: a line for all requests, and one for each name."""
    results = [after, *(run.result for run in after.baseline.runs)]
    seconds = min(sum(bool(each.requests) for each in result.intervals) for result in results)
    if seconds < stats.FEWEST_BATCHES:
        found = f"only {counted(seconds, 'interval')} to compare"
        yield f"{found}; at least {stats.FEWEST_BATCHES} are needed: use longer loads"
        return
    yield describe_shift(after, after.baseline)
    for name in after.names:
        before = after.baseline.of(name).result
        if before and before.requests and after[name].requests:
            yield f"{name}: {describe_shift(after[name], after.baseline.of(name))}"
