"""CTRF, the Common Test Report Format: the tests that loaded, their outcomes, and their objectives as steps.

Times are in milliseconds; those of a test are of its loads.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from pytest_loadgen.objectives.verdict import Outcome
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import summary
from pytest_loadgen.reports.summary import COLUMNS, Row

_VERSION = "1.0.0"
_STATUSES = ("passed", "failed", "skipped", "pending", "other")
# The status of each outcome of a test. The first of them that the runs of a test have is the test's.
_TESTS = {"failed": "failed", "error": "failed", "": "other", "skipped": "skipped", "passed": "passed"}
_STEPS: dict[Outcome, str] = {"met": "passed", "missed": "failed", "invalid": "failed", "unclear": "other"}
_COLUMNS = ("request", "generator", "requests", "rate", "p50", "p99", "first byte p99", "errors")


def document(record: Record) -> str:
    """Write the tests as JSON."""
    runs: dict[str, list[Run]] = {}
    for run in record.runs:
        runs.setdefault(run.test, []).append(run)
    tests = [_test(test, each, record.date) for test, each in runs.items()]
    counts = Counter(test["status"] for test in tests)
    written = {
        "reportFormat": "CTRF",
        "specVersion": _VERSION,
        "timestamp": record.date.isoformat(),
        "generatedBy": f"pytest-loadgen {record.software}",
        "results": {
            "tool": {"name": "pytest-loadgen", "version": record.software},
            "summary": {
                "tests": len(tests),
                **{status: counts[status] for status in _STATUSES},
                "start": min((test["start"] for test in tests), default=_milliseconds(record.date)),
                "stop": max((test["stop"] for test in tests), default=_milliseconds(record.date)),
            },
            "tests": tests,
            "environment": {
                "commit": record.revision.commit,
                "branchName": record.revision.branch,
                "osVersion": record.machine.system,
            },
        },
    }
    return json.dumps(written, indent=1, allow_nan=False) + "\n"


def _test(test: str, runs: Sequence[Run], recorded: datetime) -> dict[str, Any]:
    outcomes = {run.outcome for run in runs}
    outcome = next(each for each in _TESTS if each in outcomes)
    begins = [_milliseconds(run.date or recorded) for run in runs]
    lengths = [round(1e3 * run.result.total.seconds) for run in runs]
    file, *suites = test.partition("[")[0].split("::")
    message = "\n".join(line for run in runs for line in _lines(run))
    return {
        "name": test,
        "status": _TESTS[outcome],
        "rawStatus": outcome or "unknown",
        "duration": sum(lengths),
        "start": min(begins),
        "stop": max(begin + length for begin, length in zip(begins, lengths, strict=True)),
        "suite": [file, *suites[:-1]],
        "filePath": file,
        "type": "load",
        **({"message": message} if message else {}),
        "steps": [
            {"name": f"{verdict.slo}: {summary.figure(verdict)}", "status": _STEPS[verdict.outcome]}
            for run in runs
            for verdict in run.result.verdicts
        ],
        "extra": {"loads": [_figures(row) for run in runs for row in summary.rows([run])]},
    }


def _lines(run: Run) -> Iterator[str]:
    """Yield what needs attention."""
    for verdict in run.result.verdicts:
        if not verdict:
            yield f"{run.result.plan.name}: {verdict.outcome}: {verdict.slo}: {summary.figure(verdict)}"
    for remark in summary.notes(run):
        yield f"{run.result.plan.name}: {remark}"


def _figures(row: Row) -> dict[str, str]:
    """Give the figures of a load, or of one name of it, as people read them."""
    return {column: text for column in _COLUMNS if (text := COLUMNS[column](row))}


def _milliseconds(moment: datetime) -> int:
    return round(1e3 * moment.timestamp())
