"""Markdown as GitHub shows it: a table of the runs, and a line for everything that needs attention."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import summary
from pytest_loadgen.reports.summary import COLUMNS, TEXT_COLUMNS
from pytest_loadgen.wording import one_line

_COLUMNS = ("test", "outcome", "request", "generator", "requests", "rate", "p50", "p99", "first byte p99", "errors")
# Characters with a meaning in Markdown; an underscore has one only at the edge of a word.
_MARKUP = re.compile(r"[\\`*\[\]<|~&$]|(?<!\w)_|_(?!\w)")
# What GitHub makes a mention, a reference or a link of. A backslash does not help; a space without width does.
_LIVE = re.compile(r"@(?=\w)|#(?=\d)|(?i:\b(?:GH-|www)(?=[\d.])|\b(?:https?|ftp|mailto|xmpp):)")


def document(record: Record) -> str:
    """Write the table, the lines, and the code and machine that they are of."""
    parts = [_table(record), "\n".join(_lines(record)), escaped(summary.origin(record))]
    return "\n\n".join(filter(None, parts)) + "\n"


def _table(record: Record) -> str:
    if not record.runs:
        return "No loads were run."
    columns = summary.columns(record.runs, *_COLUMNS)
    rules = ["---" if column in TEXT_COLUMNS else "--:" for column in columns]
    cells = [[escaped(COLUMNS[column](row)) for column in columns] for row in summary.rows(record.runs)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, rules, *cells])


def _lines(record: Record) -> Iterator[str]:
    for run in record.runs:
        for verdict in run.result.verdicts:
            if not verdict:
                yield _line(run, verdict.outcome, f"{verdict.slo}: {summary.figure(verdict)}")
        for remark in summary.notes(run):
            yield _line(run, "note", remark)


def _line(run: Run, word: str, sentence: str) -> str:
    return f"- **{word}** {escaped(f'{run.test}, {run.result.plan.name}: {sentence}')}"


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line; GitHub makes no link or mention of a part of it."""
    return _LIVE.sub("\\g<0>\u200b", _MARKUP.sub(r"\\\g<0>", one_line(text)))
