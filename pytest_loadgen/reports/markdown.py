"""A table of the runs in GitHub's Markdown, and what did not go well, a line each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import summary
from pytest_loadgen.reports.summary import COLUMNS, TEXTS

_COLUMNS = ("test", "request", "generator", "requests", "rate", "p50", "p99", "errors")
# What means something in Markdown; an underscore does so only at the edge of a word.
_MARKUP = re.compile(r"[\\`*\[\]<|~&$]|(?<!\w)_|_(?!\w)")


def document(record: Record) -> str:
    """Write the table and the lines, and of what they are."""
    parts = [_table(record), "\n".join(_lines(record)), _made(record)]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(record: Record) -> str:
    if not record.runs:
        return "No loads."
    columns = summary.columns(record.runs, *_COLUMNS)
    rules = ["---" if column in TEXTS else "--:" for column in columns]
    cells = [[escaped(COLUMNS[column](run)) for column in columns] for run in summary.rows(record.runs)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, rules, *cells])


def _lines(record: Record) -> Iterator[str]:
    for run in record.runs:
        for verdict in run.verdicts:
            if not verdict:
                yield _line(run, verdict.outcome, f"{verdict.slo}: {summary.figure(verdict)}")
        for remark in summary.remarks(run.result):
            yield _line(run, "note", remark)


def _line(run: Run, word: str, sentence: str) -> str:
    return f"- **{word}** {escaped(f'{run.test}, {run.result.plan.target.name}: {sentence}')}"


def _made(record: Record) -> str:
    """Tell of which code and machine this is."""
    of = f", commit {record.revision.commit[:12]}" if record.revision.commit else ""
    branch = f" on {record.revision.branch}" if record.revision.branch else ""
    machine = f"{record.machine.processor}, {record.machine.cores} cores, {record.machine.system}"
    return escaped(f"pytest-loadgen {record.software}, {record.date:%Y-%m-%d %H:%M} UTC{of}{branch}; {machine}.")


def escaped(text: str) -> str:
    """Give text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
