"""What is not a valid record is refused: the message names the file, the problem, and the remedy."""

import json
from typing import Any

import pytest

from pytest_loadgen.errors import BaselineError
from pytest_loadgen.records.record import Record
from tests.builders.records import FAST, record


def refusal(text: str) -> str:
    with pytest.raises(BaselineError) as caught:
        Record.loads(text, "main.json")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a valid record of loads (JSONDecodeError: "),
        ("[]", "is not a valid record of loads (TypeError: "),
        ("{}", "is not a valid record of loads (KeyError: 'schema')"),
        ('{"schema": 1}', "is not a valid record of loads (KeyError: "),
        ('{"schema": NaN}', "is not a valid record of loads (ValueError: NaN is not a number)"),
        ("[" * 100_000, "is not a valid record of loads (RecursionError: "),
        ('{"schema": 2, "software": "x 9"}', "was written by a different version (x 9, schema 2; this version reads "),
        ('{"schema": -1, "software": "x 0"}', "was written by a different version (x 0, schema -1; this version "),
    ],
)
def test_not_a_record(text: str, message: str) -> None:
    """Text that is not JSON, not a record, or of another version is refused."""
    found = refusal(text)
    assert found.startswith(f"main.json {message}")
    assert "re-create it with --load-save." in found


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("intervals", None),
        ("latency", "not a histogram"),
        ("stages", None),
        ("stages", [["1/0", "1/0", 1]]),
        ("stages", [["1", "1", 10**400]]),
        ("runs", None),
        ("outcomes", {"200": -1}),
        ("outcomes", {"200": "1"}),
        ("cpu", "1"),
        ("seconds", -1),
        ("seconds", 1e999),
        ("start", None),
    ],
)
def test_damaged_record(key: str, value: Any) -> None:
    """A record with a damaged part is refused."""
    data = record(("x", FAST)).as_dict()
    result = data["runs"][0]["result"]
    for part in (data, result, result["plan"], result["intervals"][0]):
        if key in part:
            part[key] = value
    assert refusal(json.dumps(data)).startswith("main.json is not a valid record of loads (")
