"""What GitHub Actions shows: a job summary, and annotations at lines of code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from pytest_loadgen.objectives.verdict import Outcome
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import markdown
from pytest_loadgen.wording import counted, one_line, tally

_LEVELS: dict[Outcome, str] = {"missed": "error", "invalid": "error", "unclear": "warning"}


def summary(record: Record) -> str:
    """Write the text to append to ``$GITHUB_STEP_SUMMARY``."""
    return f"## Load tests\n\n{markdown.document(record)}\n"


def annotate(run: Run, path: PurePath, line: int) -> Iterator[str]:
    """Yield lines to print that annotate a line of code (counted from 1): one per failed load or unmet objective."""
    result = run.result
    if result.all_failed:
        failure = f"all {counted(result.requests, 'request')} failed: {tally(result.outcomes)}"
        yield _annotation("error", path, line, "Load failed", f"{run.test}: {failure}")
    for verdict in run.result.verdicts:
        if level := _LEVELS.get(verdict.outcome):
            yield _annotation(level, path, line, f"Objective {verdict.outcome}", f"{run.test}: {verdict}")


def _annotation(level: str, path: PurePath, line: int, title: str, message: str) -> str:
    properties = {"file": path.as_posix(), "line": str(line), "title": title}
    shown = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {shown}::{_data(one_line(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
