"""A report of an earlier session: the file of a JSON report, or of kept runs, and its runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pytest_loadgen.errors import BaselineError, PlanError
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.summary import origin
from pytest_loadgen.wording import did_you_mean, listed

_WRITE = "write one with pytest --load-report=NAME.json"
# Keys that only other JSON formats have, and what these are.
_OTHERS = {"reportFormat": "a CTRF report", "DurationHistogram": "a fortio report", "root_group": "a k6 report"}


@dataclass(frozen=True)
class ReportFile:
    """The file of a JSON report, or of kept runs."""

    path: Path
    record: Record

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file. Raises BaselineError for one that is missing, or is not a report with runs."""
        text = _text(path)
        try:
            record = Record.loads(text, str(path), f"write it again with pytest --load-report={path.name}")
        except BaselineError:
            _refuse_others(path, text)
            raise
        if not record.runs:
            raise BaselineError(f"{path} has no loads: the session that wrote it ran none; {_WRITE}")
        return cls(path, record)

    @property
    def origin(self) -> str:
        """Its path, and when it was made, of which code, on which machine."""
        return f"{self.path}, {origin(self.record)}"

    @property
    def tests(self) -> list[str]:
        """The node ids of its tests."""
        return list(dict.fromkeys(run.test for run in self.record.runs))

    def matching(self, test: str) -> list[Run]:
        """Give the runs of the test of this node id or, where there is none, of all with this text in it."""
        runs = self.record.runs
        return [run for run in runs if run.test == test] or [run for run in runs if test in run.test]

    def select(self, test: str) -> list[Run]:
        """Give the same. Raises PlanError where there is no such run."""
        if found := self.matching(test):
            return found
        raise PlanError(f"--test {test}: {self.path} has no such test; its tests: {listed(self.tests)}")

    def same_load(self, run: Run) -> list[Run]:
        """Give the runs of the same load of the same test, the oldest first: in a report one, of kept runs several."""
        return [each for each in self.record.runs if (each.test, each.number) == (run.test, run.number)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some programs begin a file with a byte order mark
    except FileNotFoundError:
        raise BaselineError(f"{path}: no such file{_near(path)}; {_WRITE}") from None
    except IsADirectoryError:
        # Kept runs are in a directory for each machine.
        paths = sorted((*path.glob("*.json"), *path.glob("*/*.json")))
        found = [str(each.relative_to(path)) for each in paths if len(each.suffixes) == 1]  # no other format
        inside = f"name a file in it: {listed(found)}" if found else f"it has no JSON file; {_WRITE}"
        raise BaselineError(f"{path} is a directory, not a report: {inside}") from None
    except UnicodeDecodeError:
        raise BaselineError(f"{path} is not a JSON report: it is not text; {_WRITE}") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise BaselineError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def _near(path: Path) -> str:
    """Propose a file of that directory, where one has a similar name."""
    names = [each.name for each in path.parent.glob("*.json")] if path.parent.is_dir() else []
    proposal = did_you_mean(path.name, names, cutoff=0.8) if names else ""
    return f" ({proposal})" if proposal.startswith("did") else ""


def _refuse_others(path: Path, text: str) -> None:
    """Say what a file is, where it is not a report in JSON. Raises BaselineError."""
    try:
        data = json.loads(text)
    except RecursionError:
        return
    except ValueError as error:
        raise BaselineError(f"{path} is not a JSON report: {_kind(text) or error}; {_WRITE}") from None
    keys = list(data) if isinstance(data, dict) else []
    if kind := next((kind for key, kind in _OTHERS.items() if key in keys), ""):
        raise BaselineError(f"{path} is {kind}, which does not have the figures of each second; {_WRITE}")
    if not {"runs", "schema"}.issubset(keys):
        has = f" (it has {listed(keys)})" if keys else ""
        raise BaselineError(f"{path} is JSON, but not a report of pytest-loadgen{has}; {_WRITE}")


def _kind(text: str) -> str:
    """Say what a file is that is not JSON; empty where that is not known."""
    if not text.strip():
        return "it is empty"
    return "it is HTML" if text.lstrip()[:9].lower() == "<!doctype" else ""
