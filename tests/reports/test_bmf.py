"""Bencher's format: a benchmark for each load, its figures in Bencher's units, with bounds where they are known."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.bmf import document
from tests.reports.examples import CLOSED, EMPTY, ILL, MIX, NOTHING, ODD, RECORD, SEARCH, UNANSWERED, WELL

NUMBER = {"type": "number"}
METRIC = {
    "type": "object",
    "required": ["value"],
    "properties": {"value": NUMBER, "lower_value": NUMBER, "upper_value": NUMBER},
    "additionalProperties": False,
}
SCHEMA = {
    "type": "object",
    "additionalProperties": {"type": "object", "propertyNames": {"maxLength": 64}, "additionalProperties": METRIC},
}


def read(*runs: Run) -> Any:
    found = json.loads(document(replace(RECORD, runs=runs)))
    jsonschema.validate(found, SCHEMA)
    return found


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    golden("report.bmf.json", document(RECORD))


def test_figures() -> None:
    """Nanoseconds, responses per second, and the share of failed requests."""
    ((name, measures),) = read(WELL).items()
    assert name == f"{WELL.test}: GET /search (embedded)"
    assert {measure: metric["value"] for measure, metric in measures.items()} == {
        "latency": pytest.approx(1e9 * WELL.result.p50),
        "latency-p99": pytest.approx(1e9 * WELL.result.p99),
        "throughput": 500,
        "error-rate": 0,
    }


@pytest.mark.parametrize("run", [WELL, ILL, MIX])
def test_bounds(run: Run) -> None:
    """The bounds are on both sides of the value, where they are known."""
    for measures in read(run).values():
        for metric in measures.values():
            assert metric.get("lower_value", 0) <= metric["value"] * 1.001
            assert metric.get("upper_value", metric["value"]) >= metric["value"] * 0.999


def test_known_bounds() -> None:
    """Where they are known, both are written, but for an infinite one."""
    (measures,) = read(ILL).values()
    assert measures["latency"].keys() == {"value", "lower_value", "upper_value"}
    assert measures["latency-p99"].keys() == {"value", "lower_value"}


def test_few_intervals() -> None:
    """Where a load is too short for bounds, there are none."""
    ((_, measures),) = read(CLOSED).items()
    assert all(metric.keys() == {"value"} for metric in measures.values())


def test_unanswered_are_slow() -> None:
    """A percentile without a response is the timeout, or the slowest response."""
    ((_, measures),) = read(UNANSWERED).items()
    assert measures["latency"]["value"] == 5e9
    assert measures["error-rate"]["value"] == 1
    assert measures["throughput"]["value"] == 0
    ((_, measures),) = read(ILL).items()
    assert measures["latency-p99"]["value"] == 2e9


def test_capacity() -> None:
    """A capacity is a benchmark of its own, with the rates that it is between as its bounds."""
    found = read(SEARCH)[f"{SEARCH.test}: GET /search (embedded): capacity"]
    assert found == {"throughput": {"value": 400, "lower_value": 400, "upper_value": 440}}


def test_names() -> None:
    """Each name of a mix is a benchmark; loads that are alike are numbered; a load without requests is left out."""
    assert list(read(MIX, replace(WELL, test=MIX.test), WELL, WELL, NOTHING)) == [
        f"{MIX.test}: mix of 3 requests (embedded)",
        f"{MIX.test}: mix of 3 requests (embedded): GET /search",
        f"{MIX.test}: mix of 3 requests (embedded): order",
        f"{MIX.test}: mix of 3 requests (embedded): missing|<b>",
        f"{MIX.test}: GET /search (embedded)",
        f"{WELL.test}: GET /search (embedded)",
        f"{WELL.test}: GET /search (embedded, 2)",
    ]
    assert json.loads(document(EMPTY)) == {}
    assert len(json.loads(document(ODD))) == 2
