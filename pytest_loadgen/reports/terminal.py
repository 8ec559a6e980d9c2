"""The table in pytest's summary, and the lines below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from pytest_loadgen.objectives.verdict import Outcome
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
    *("generator", "outcome", "rate", "p50", "request", "errors", "objectives"),
)
# The texts that may be shortened, and how much of them has to stay, in characters.
_SHORTEST = {"test": 22, "request": 14, "generator": 10, "errors": 8, "objectives": 14}
_BETWEEN = "  "

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
    columns = summary.columns(runs, *(_VERBOSE if verbose else _BRIEF))
    if not verbose and len({run.result.generator for run in runs}) > 1:
        columns = (*columns[:2], "generator", *columns[2:])
    if any(run.outcome not in {"", "passed"} for run in runs):
        columns = (columns[0], "outcome", *columns[1:])
    # Those of a load stay together.
    rows = [row for run in sorted(runs, key=_is_well) for row in summary.rows([run])]
    cells = {column: [column, *(COLUMNS[column](row) for row in rows)] for column in columns}
    sizes = _sizes(cells, width)
    if "request" not in sizes:  # the rows of a mix need their names
        cells["test"] = [test or request for test, request in zip(cells["test"], cells["request"], strict=True)]
    head, *body = _drawn(cells, sizes)
    rule = _BETWEEN.join("-" * size for size in sizes.values())
    return [Line(head), Line(rule), *map(Line, body, map(_colour, rows))]


def _is_well(run: Run) -> bool:
    return all(_colour(row) != "red" for row in summary.rows([run]))


def _colour(row: Row) -> Colour:
    outcomes = {verdict.outcome for verdict in row.verdicts}
    if row.outcome in {"failed", "error"} or outcomes & {"missed", "invalid"}:
        return "red"
    return "yellow" if "unclear" in outcomes else ""


def _sizes(cells: dict[str, list[str]], width: int) -> dict[str, int]:
    """Return the columns for which there is room, and how wide they are."""
    sizes = {column: max(map(len, each)) for column, each in cells.items()}
    shortest = {column: min(size, _SHORTEST.get(column, size)) for column, size in sizes.items()}
    dropped = iter(_LEAST_IMPORTANT)
    while _width(shortest) > width and (column := next(dropped, "")):
        sizes.pop(column, None)
        shortest.pop(column, None)
    while _width(sizes) > width and (long := [column for column in sizes if sizes[column] > shortest[column]]):
        sizes[max(long, key=sizes.__getitem__)] -= 1
    # However narrow it is.
    sizes["test"] = max(1, sizes["test"] - max(0, _width(sizes) - width))
    return sizes


def _drawn(cells: dict[str, list[str]], sizes: dict[str, int]) -> Iterator[str]:
    """Draw the rows: texts at the left of their columns, numbers at the right."""
    columns = [[_aligned(cell, sizes[column], column) for cell in cells[column]] for column in sizes]
    return (_BETWEEN.join(row).rstrip() for row in zip(*columns, strict=True))


def _width(sizes: dict[str, int]) -> int:
    return sum(sizes.values()) + len(_BETWEEN) * (len(sizes) - 1)


def _aligned(text: str, size: int, column: str) -> str:
    """Shorten a text, and pad it; of a test id the end stays, which is the test's name."""
    if len(text) > size:
        return f"…{text[len(text) - size + 1 :]}" if column == "test" else f"{text[: size - 1]}…"
    return text.ljust(size) if column in TEXT_COLUMNS else text.rjust(size)


def remarks(runs: Sequence[Run]) -> list[str]:
    """List what a reader of the table has to know, a line each."""
    return [f"{run.test}: {remark}" for run in runs for remark in summary.notes(run)]


def services(runs: Sequence[Run]) -> list[str]:
    """List what services used, a line for each load of which that is known."""
    return [f"{run.test}: service: {used}" for run in runs if (used := summary.service(run.result))]


def blind_spots(runs: Sequence[Run]) -> list[str]:
    """List what loads may be too short to show, a line each."""
    return [f"{run.test}: {text}" for run in runs if (text := run.result.blind_spots)]


def verdicts(runs: Sequence[Run], *, verbose: bool) -> list[Line]:
    """List the objectives that are unclear or invalid; if verbose, all of them, with what their verdicts rest on."""
    colours: dict[Outcome, Colour] = {"unclear": "yellow", "invalid": "red"}
    return [
        Line(
            f"{run.test}: {verdict}" + (f"; {verdict.basis}" if verbose and verdict.basis else ""),
            colours.get(verdict.outcome, ""),
        )
        for run in runs
        for verdict in run.result.verdicts
        if verbose or verdict.outcome in colours
    ]
