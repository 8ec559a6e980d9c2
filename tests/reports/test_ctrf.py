"""CTRF: each test that loaded, with its outcome, its objectives as steps, and the keys that the format has."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from pytest_loadgen.records.record import Record
from pytest_loadgen.reports.ctrf import document
from tests.reports.examples import EMPTY, ILL, MIX, ODD, RECORD, STARTED, UNANSWERED, WELL

STATUS = {"enum": ["passed", "failed", "skipped", "pending", "other"]}
COUNTS = ["tests", "passed", "failed", "skipped", "pending", "other", "start", "stop"]
NAME, STRING, INTEGER = {"type": "string", "minLength": 1}, {"type": "string"}, {"type": "integer"}


def strict(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


SCHEMA = strict(
    ["results", "reportFormat", "specVersion"],
    reportFormat={"const": "CTRF"},
    specVersion={"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
    timestamp={"type": "string", "format": "date-time"},
    generatedBy=STRING,
    results=strict(
        ["tool", "summary", "tests"],
        tool=strict(["name"], name=NAME, version=STRING),
        summary=strict(COUNTS, **dict.fromkeys(COUNTS, INTEGER)),
        tests={
            "type": "array",
            "items": strict(
                ["name", "status", "duration"],
                name=NAME,
                status=STATUS,
                suite={"type": "array", "minItems": 1, "items": STRING},
                steps={
                    "type": "array",
                    "items": strict(["name", "status"], name=STRING, status=STATUS),
                },
                extra={"type": "object"},
                **dict.fromkeys(("duration", "start", "stop"), INTEGER),
                **dict.fromkeys(("rawStatus", "message", "filePath", "type"), STRING),
            ),
        },
        environment=strict([], **dict.fromkeys(("commit", "branchName", "osVersion"), STRING)),
    ),
)
"""The keys of CTRF's own schema that are written."""


def read(record: Record) -> Any:
    found = json.loads(document(record))
    jsonschema.validate(found, SCHEMA)
    return found["results"]


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    golden("report.ctrf.json", document(RECORD))


@pytest.mark.parametrize("record", [RECORD, EMPTY, ODD])
def test_schema(record: Record) -> None:
    """The keys are those of the format, and the counts add up."""
    summary = read(record)["summary"]
    assert summary["tests"] == sum(summary[status] for status in STATUS["enum"])


@pytest.mark.parametrize(
    ("outcomes", "status", "raw"),
    [
        (["passed"], "passed", "passed"),
        (["failed"], "failed", "failed"),
        (["error"], "failed", "error"),
        (["skipped"], "skipped", "skipped"),
        ([""], "other", "unknown"),
        # Two workers of xdist that carried out the same test.
        (["passed", "failed"], "failed", "failed"),
    ],
)
def test_status(outcomes: list[str], status: str, raw: str) -> None:
    """The status of a test is its outcome, whatever the verdicts."""
    runs = tuple(replace(ILL, outcome=outcome) for outcome in outcomes)
    (test,) = read(replace(RECORD, runs=runs))["tests"]
    assert (test["status"], test["rawStatus"]) == (status, raw)


def test_a_test_with_several_loads() -> None:
    """It is one test, whose objectives are steps, in the order of the loads."""
    second = replace(ILL, test=WELL.test, outcome="passed")
    (test,) = read(replace(RECORD, runs=(WELL, second)))["tests"]
    assert test["name"] == WELL.test
    assert test["suite"] == ["tests/test_shop.py"]
    assert test["duration"] == 12_000
    assert (test["start"], test["stop"] - test["start"]) == (round(STARTED.timestamp() * 1000), 16_000)
    assert [step["status"] for step in test["steps"]][:4] == ["passed", "passed", "passed", "failed"]
    assert test["message"].startswith("POST /checkout: missed: p99 < 200ms: no answer (95% sure of 212ms or more)\n")


def test_figures() -> None:
    """Each load has its figures, and each name of a mix."""
    (test,) = read(replace(RECORD, runs=(MIX,)))["tests"]
    assert [load["request"] for load in test["extra"]["loads"]] == [
        "mix of 3 requests",
        *("- GET /search", "- order", r"- missed|<b>".replace("missed", "missing")),
    ]
    assert test["extra"]["loads"][0]["requests"] == "600"


def test_suites() -> None:
    """A class is a suite in that of its file; a parameter may look like one."""
    runs = (replace(UNANSWERED, test="tests/test_a.py::TestShop::test_search[a::b]"),)
    (test,) = read(replace(RECORD, runs=runs))["tests"]
    assert test["suite"] == ["tests/test_a.py", "TestShop"]
    assert test["filePath"] == "tests/test_a.py"
