"""The figures of a test's loads, as properties of its test case in a JUnit file."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.summary import COLUMNS, Row, figure


def properties(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return names and values; with several loads, a name begins with the number of its load."""
    if len(runs) == 1:
        return _properties(runs[0])
    return [
        (f"{number} {run.result.plan.name}: {name}", value)
        for number, run in enumerate(runs, 1)
        for name, value in _properties(run)
    ]


def _properties(run: Run) -> list[tuple[str, str]]:
    own = Row.of(run)
    verdicts = [(f"slo: {verdict.slo}", f"{verdict.outcome} {figure(verdict)}") for verdict in run.result.verdicts]
    named = [(f"{row.name}: {name}", value) for row in own.named for name, value in _figures(row)]
    return [*_figures(own), *verdicts, *named]


def _figures(row: Row) -> list[tuple[str, str]]:
    columns = ["requests", "rate", "p50", "p99"]
    if row.result.total.first_byte:
        columns.append("first byte p99")
    figures = [(name.replace(" ", "_"), COLUMNS[name](row)) for name in columns]
    return [*figures, ("error_rate", str(row.result.error_rate))]
