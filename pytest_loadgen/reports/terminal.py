"""The table in pytest's summary, and the lines below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import summary
from pytest_loadgen.reports.summary import COLUMNS, TEXT_COLUMNS, Row
from pytest_loadgen.wording import printable

_BRIEF = ("test", "request", "requests", "rate", "p50", "p99", "errors")
_VERBOSE = (
    *("test", "request", "generator", "requests", "offered", "rate"),
    *("p50", "p90", "p99", "p99.9", "max", "first byte p99", "lag p99", "CPU", "errors"),
)
# What is left out first where there is no room; the test and p99 stay.
_LEAST_IMPORTANT = (
    *("CPU", "lag p99", "offered", "first byte p99", "p99.9", "p90", "max", "requests"),
    *("generator", "rate", "p50", "request", "outcome", "errors", "objectives"),
)
# The texts that may be shortened, the first one first, and how much of them has to stay, in characters.
_SHORTEST = {"errors": 14, "test": 24, "request": 14, "generator": 10}
_BETWEEN = 2

Colour = Literal["red", "yellow", ""]


class Line(NamedTuple):
    """A line of the table."""

    text: str
    colour: Colour = ""


def shown(line: str) -> str:
    """Return a line of which neither a terminal nor GitHub's log obeys a part."""
    line = printable(line).replace("##[", r"\x23#[")
    return line.replace("::", r"\x3a:", 1) if line.lstrip().startswith("::") else line


def table(runs: Sequence[Run], verbose: bool, width: int) -> list[Line]:
    """Draw a table with a row per load, failures first, and more columns where verbose; no row is wider than `width`.

    A row is red if its test failed or an objective is missed or invalid, and yellow if one is unclear.
    """
    from tabulate import tabulate

    columns = summary.columns(runs, *(_VERBOSE if verbose else _BRIEF))
    if not verbose and len({run.result.generator for run in runs}) > 1:
        columns = (*columns[:2], "generator", *columns[2:])
    if any(run.outcome not in {"", "passed"} for run in runs):
        columns = (columns[0], "outcome", *columns[1:])
    # Those of a load stay together.
    rows = [row for run in sorted(runs, key=_is_well) for row in summary.rows([run])]
    cells = {column: [column, *(COLUMNS[column](row) for row in rows)] for column in columns}
    fitted = _fitted(cells, width)
    drawn = tabulate(
        list(zip(*(each[1:] for each in fitted.values()), strict=True)),
        headers=[each[0] for each in fitted.values()],
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left" if column in TEXT_COLUMNS else "right" for column in fitted],
    )
    # As long as the longest row, where there is nothing in the last column.
    lines = [line.rstrip() for line in drawn.splitlines()]
    return [*map(Line, lines[:2]), *map(Line, lines[2:], map(_colour, rows))]


def _is_well(run: Run) -> bool:
    return all(_colour(row) != "red" for row in summary.rows([run]))


def _colour(row: Row) -> Colour:
    outcomes = {verdict.outcome for verdict in row.verdicts}
    if row.outcome in {"failed", "error"} or outcomes & {"missed", "invalid"}:
        return "red"
    return "yellow" if "unclear" in outcomes else ""


def _fitted(cells: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """Shorten and leave out columns until a row fits."""
    dropped = iter(_LEAST_IMPORTANT)
    while _width({column: min(size, _shortest(column, cells)) for column, size in _sizes(cells).items()}) > width:
        if (column := next(dropped, "")) == "":
            break
        cells = {name: each for name, each in cells.items() if name != column}
    sizes = _sizes(cells)
    for column in filter(sizes.__contains__, _SHORTEST):
        excess = max(0, _width(sizes) - width)
        sizes[column] = max(min(sizes[column], _shortest(column, cells)), sizes[column] - excess)
    # However narrow it is.
    sizes["test"] = max(1, sizes["test"] - max(0, _width(sizes) - width))
    return {column: [_cut(cell, sizes[column], column) for cell in each] for column, each in cells.items()}


def _sizes(cells: dict[str, list[str]]) -> dict[str, int]:
    return {column: max(map(len, each)) for column, each in cells.items()}


def _width(sizes: dict[str, int]) -> int:
    return sum(sizes.values()) + _BETWEEN * (len(sizes) - 1)


def _shortest(column: str, cells: dict[str, list[str]]) -> int:
    """Return how wide a column has to be."""
    return _SHORTEST.get(column, max(map(len, cells[column])))


def _cut(text: str, size: int, column: str) -> str:
    """Shorten a text; of a test id the end stays, which is the test's name."""
    if len(text) <= size:
        return text
    return f"…{text[len(text) - size + 1 :]}" if column == "test" else f"{text[: size - 1]}…"


def remarks(runs: Sequence[Run]) -> list[str]:
    """List what a reader of the table has to know, a line each."""
    return [f"{run.test}: {remark}" for run in runs for remark in summary.notes(run)]


def undecided(runs: Sequence[Run]) -> list[tuple[str, bool]]:
    """List the objectives that are unclear or invalid, a line each, and whether each is invalid."""
    return [
        (f"{run.test}: {verdict}", verdict.outcome == "invalid")
        for run in runs
        for verdict in run.result.verdicts
        if verdict.outcome in {"unclear", "invalid"}
    ]
