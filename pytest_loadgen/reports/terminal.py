"""The table in pytest's summary, and the lines below it."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import summary
from pytest_loadgen.reports.summary import COLUMNS, TEXT_COLUMNS
from pytest_loadgen.wording import printable

_BRIEF = ("test", "request", "requests", "rate", "p50", "p99", "errors")
_VERBOSE = (
    *("test", "request", "generator", "requests", "offered", "rate"),
    *("p50", "p90", "p99", "p99.9", "max", "first byte p99", "lag p99", "CPU", "errors"),
)


def shown(line: str) -> str:
    """Return a line of which neither a terminal nor GitHub's log obeys a part."""
    line = printable(line).replace("##[", r"\x23#[")
    return line.replace("::", r"\x3a:", 1) if line.lstrip().startswith("::") else line


def table(runs: Sequence[Run], verbose: bool) -> str:
    """Draw a table with one row per load, and with more columns where verbose."""
    from tabulate import tabulate

    columns = summary.columns(runs, *(_VERBOSE if verbose else _BRIEF))
    if not verbose and len({run.result.generator for run in runs}) > 1:
        columns = (*columns[:2], "generator", *columns[2:])
    return tabulate(
        [[COLUMNS[column](row) for column in columns] for row in summary.rows(runs)],
        headers=columns,
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left" if column in TEXT_COLUMNS else "right" for column in columns],
    )


def remarks(runs: Sequence[Run]) -> list[str]:
    """List what a reader of the table has to know, a line each."""
    return [f"{run.test}: {remark}" for run in runs for remark in summary.remarks(run.result)]


def undecided(runs: Sequence[Run]) -> list[tuple[str, bool]]:
    """List the objectives that are unclear or invalid, a line each, and whether each is invalid."""
    return [
        (f"{run.test}: {verdict}", verdict.outcome == "invalid")
        for run in runs
        for verdict in run.result.verdicts
        if verdict.outcome in {"unclear", "invalid"}
    ]
