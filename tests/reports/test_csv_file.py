"""CSV: one row per interval, units in the names, and no cell that a spreadsheet executes."""

import csv
import io
import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.csv_file import document
from pytest_loadgen.wording import printable
from tests.reports.examples import HOSTILE, ILL, MIX, NOTHING, RECORD, UNANSWERED, WELL


def rows(record: Record) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(document(record), newline="")))


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    golden("report.csv", document(RECORD))


def test_one_row_per_interval() -> None:
    """Each interval of each run is a row with the figures of all its requests."""
    found = rows(RECORD)
    assert [row["run"] for row in found] == ["1"] * 6 + ["2"] * 7 + ["3"] + ["4"] * 12
    last = found[11]
    interval = replace(ILL.result, intervals=(ILL.result.intervals[5],))
    assert float(last["latency_p50_s"]) == interval.p50
    assert float(last["latency_p99_s"]) == math.inf
    assert last["outcomes"] == "200=190 503=30 timeout=7 reset=2"
    assert (last["requests"], last["errors"], last["unanswered"]) == ("229", "39", "9")


def test_service() -> None:
    """What the service used in each interval, where it is known."""
    well, ill = rows(replace(RECORD, runs=(WELL,)))[1], rows(replace(RECORD, runs=(ILL,)))[1]
    columns = ("service_cpu_cores", "service_cores", "service_memory_bytes", "service_threads", "service_files")
    assert [float(well[column]) for column in columns] == [0.5, 2, 118.4e6, 4, 20]
    assert {ill[column] for column in columns} == {""}


def test_rows_by_name() -> None:
    """Below each interval of a mix, each name has a row with its own figures, and none of the whole load's."""
    total, search, order, missing = rows(replace(RECORD, runs=(MIX,)))[:4]
    assert [row["name"] for row in (total, search, order, missing)] == ["", *MIX.result.names]
    assert (order["requests"], order["errors"], order["outcomes"]) == ("40", "3", "200=37 503=2 check=1")
    assert (missing["requests"], missing["errors"]) == ("20", "0")
    assert sum(int(row["requests"]) for row in (search, order, missing)) == int(total["requests"])
    assert float(search["first_byte_p99_s"]) == MIX.result["GET /search"].by_first_byte.p99
    assert total["cpu_cores"] == "0.12"
    assert {search[column] for column in ("cpu_cores", "lag_p99_s", "throttled_s", "retried")} == {""}
    assert {row["first_byte_p50_s"] for row in rows(replace(RECORD, runs=(WELL,)))} == {""}


@pytest.mark.parametrize(
    ("run", "latency"), [(UNANSWERED, "inf"), (replace(NOTHING, result=replace(WELL.result, intervals=())), None)]
)
def test_no_response(run: Run, latency: str | None) -> None:
    """A request without a response is slower than any number; without intervals there are no rows."""
    found = rows(replace(RECORD, runs=(run,)))
    assert [row["latency_p50_s"] for row in found] == ([latency] if latency else [])
    assert [row["service_p50_s"] for row in found] == ([""] if latency else [])


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_formulas(start: str) -> None:
    """A name that looks like a formula is escaped, and a terminal obeys no part of it."""
    name = f"{start}cmd|' /C calc'!A0"
    row = rows(replace(RECORD, runs=(replace(WELL, test=name),)))[0]
    assert row["test"] == f"'{printable(name)}"


def test_hostile() -> None:
    """Quotes, commas and markup in names are kept."""
    assert rows(replace(RECORD, runs=(HOSTILE,)))[0]["test"] == HOSTILE.test
