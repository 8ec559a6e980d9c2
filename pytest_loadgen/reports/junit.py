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
        (f"{number} {run.result.plan.target.name}: {name}", value)
        for number, run in enumerate(runs, 1)
        for name, value in _properties(run)
    ]


def _properties(run: Run) -> list[tuple[str, str]]:
    figures = [(name, COLUMNS[name](Row.of(run))) for name in ("requests", "rate", "p50", "p99")]
    verdicts = [(f"slo: {verdict.slo}", f"{verdict.outcome} {figure(verdict)}") for verdict in run.result.verdicts]
    return [*figures, ("error_rate", str(run.result.error_rate)), *verdicts]
