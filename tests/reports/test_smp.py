"""Service Mesh Performance: milliseconds, UTC, and failed requests never look fast."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.records.record import Record
from pytest_loadgen.reports.smp import document
from tests.reports.examples import EMPTY, HOSTILE, ILL, NOTHING, ODD, RECORD, STARTED, UNANSWERED, WELL


def read(record: Record) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(document(record)))


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    golden("report.smp.yaml", document(RECORD))


def test_figures() -> None:
    """Each run is a document; latencies are milliseconds, times UTC, labels text."""
    first, second, *_ = read(RECORD)
    assert first["latencies_ms"]["p99"] == pytest.approx(WELL.result.p99 * 1000)
    assert first["latencies_ms"]["average"] == pytest.approx(WELL.result.mean * 1000)
    assert first["actual_qps"] == 500
    assert first["start_time"].replace(tzinfo=UTC) == STARTED
    assert first["end_time"].replace(tzinfo=UTC) == STARTED + timedelta(seconds=6)
    assert second["labels"]["requested_rps"] == "150"
    assert all(isinstance(value, str) for value in second["labels"].values())


def test_percentiles_without_a_response() -> None:
    """A percentile without a response is omitted, with a comment; a label counts the unanswered requests."""
    (found,) = read(replace(RECORD, runs=(ILL,)))
    assert found["latencies_ms"].keys() == {"min", "average", "p50", "p90"}
    assert found["labels"]["unanswered"] == "13"
    assert "# p99, max: no response" in document(replace(RECORD, runs=(ILL,)))
    assert all(map(math.isfinite, found["latencies_ms"].values()))


@pytest.mark.parametrize(("run", "why"), [(UNANSWERED, "none of 10 requests got a response"), (NOTHING, "no requests")])
def test_omitted(run: Any, why: str) -> None:
    """A run without latencies is omitted, and a comment says why."""
    assert document(replace(RECORD, runs=(run,))) == f'# "{run.test}, GET /" is omitted: {why}.\n'
    assert read(replace(RECORD, runs=(run,))) == []


def test_no_runs() -> None:
    """Without runs there are no documents."""
    assert read(EMPTY) == []


def test_hostile() -> None:
    """Names that are code are text in the document."""
    (found,) = read(ODD)
    assert found["test_id"] == HOSTILE.test
    assert found["labels"]["load_generator"] == HOSTILE.result.generator


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_quoting(text: str) -> None:
    """Any text is unchanged after reading."""
    (found,) = read(replace(RECORD, runs=(replace(WELL, test=text),)))
    assert found["test_id"] == text


def test_times_of_other_zones() -> None:
    """A time in another time zone is converted to UTC."""
    date = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert "start_time: 2026-03-01T12:00:00.000000Z" in document(replace(RECORD, runs=(replace(WELL, date=date),)))
