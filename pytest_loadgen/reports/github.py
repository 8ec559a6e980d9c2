"""What GitHub Actions shows: a summary of the step, and annotations at lines of code."""

from __future__ import annotations

from pathlib import PurePath

from pytest_loadgen.record import Record
from pytest_loadgen.reports import markdown
from pytest_loadgen.verdict import Outcome

_LEVELS: dict[Outcome, str] = {"missed": "error", "invalid": "error", "unclear": "warning"}


def summary(record: Record) -> str:
    """Give what to append to ``$GITHUB_STEP_SUMMARY``."""
    return f"## Load tests\n\n{markdown.document(record)}\n"


def annotation(path: PurePath, line: int, outcome: Outcome, message: str) -> str:
    """Give the line to print that marks a line of code, counted from 1; nothing for an objective that is met."""
    if not (level := _LEVELS.get(outcome)):
        return ""
    properties = {"file": path.as_posix(), "line": str(line), "title": f"Objective {outcome}"}
    shown = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {shown}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
