"""The interval log: HdrHistogram's own reader finds each interval of each run."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.records.record import Record
from pytest_loadgen.reports.hdr_log import document
from tests.reports.examples import CLOSED, HOSTILE, ILL, MIX, RECORD, STARTED, UNANSWERED, WELL


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Record], list[Any]]:
    def read(record: Record) -> list[Any]:
        path = tmp_path / "r.hlog"
        path.write_text(document(record), encoding="utf-8")
        return list(_intervals(path))

    return read


def _intervals(path: Path) -> Iterator[Any]:
    reader = HistogramLogReader(str(path), HdrHistogram(1, 3_600_000_000_000, 3))
    while (histogram := reader.get_next_interval_histogram()) is not None:
        yield histogram
    reader.close()


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    golden("report.hlog", document(RECORD))


def test_round_trip(read: Callable[[Record], list[Any]]) -> None:
    """Each interval is read with its tag, its latencies and its time."""
    found = read(replace(RECORD, runs=(WELL,)))
    assert {each.get_tag() for each in found} == {"tests/test_shop.py::test_search[tea]_GET_/search_embedded"}
    starts = [each.get_start_time_stamp() / 1000 - STARTED.timestamp() for each in found]
    assert starts == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.001)
    for each, interval in zip(found, WELL.result.intervals, strict=True):
        assert Histogram.decode(each.encode().decode()) == interval.latency
        assert each.get_end_time_stamp() - each.get_start_time_stamp() == pytest.approx(1000)


def test_tags_of_names(read: Callable[[Record], list[Any]]) -> None:
    """Each name of a mix has a tag of its own, beside that of all requests."""
    found = read(replace(RECORD, runs=(MIX,)))
    own = "tests/test_shop.py::test_mix_mix_of_3_requests_embedded"
    tags = [own, *(f"{own}_{name}" for name in ("GET_/search", "order", "missing|<b>"))]
    assert sorted({each.get_tag() for each in found}) == sorted([*tags, *(f"{tag}_first_byte" for tag in tags)])
    orders = [each for each in found if each.get_tag() == f"{own}_order"]
    for each, interval in zip(orders, MIX.result["order"].intervals, strict=True):
        assert Histogram.decode(each.encode().decode()) == interval.latency
    first_bytes = [each for each in found if each.get_tag() == f"{own}_order_first_byte"]
    for each, interval in zip(first_bytes, MIX.result["order"].intervals, strict=True):
        assert Histogram.decode(each.encode().decode()) == interval.first_byte


def test_times_are_in_order(read: Callable[[Record], list[Any]]) -> None:
    """Runs are in the order in which they began, not in the order of the record."""
    found = read(replace(RECORD, runs=(ILL, WELL)))
    starts = [each.get_start_time_stamp() for each in found]
    assert starts == sorted(starts)
    assert found[0].get_tag().endswith("GET_/search_embedded")


def test_maximum() -> None:
    """The maximum is in milliseconds, as the header says."""
    lines = document(replace(RECORD, runs=(WELL,))).splitlines()
    assert lines[1] == "#[Histogram log format version 1.3]"
    assert "Interval_Max is in ms" in lines[4]
    assert float(lines[-1].split(",")[3]) == pytest.approx(WELL.result.max * 1e3, rel=0.001)


def test_unanswered(read: Callable[[Record], list[Any]]) -> None:
    """Requests without a response, which no histogram can hold, are in a comment."""
    assert "10 of 10 requests got no response" in document(replace(RECORD, runs=(UNANSWERED,)))
    assert [each.get_total_count() for each in read(replace(RECORD, runs=(UNANSWERED,)))] == [0]


def test_wide_buckets(read: Callable[[Record], list[Any]]) -> None:
    """Latencies counted in wide buckets are written as their worst case."""
    (found,) = read(replace(RECORD, runs=(CLOSED,)))
    assert Histogram.decode(found.encode().decode()) == CLOSED.result.total.latency.best_and_worst()[1]


def test_tags(read: Callable[[Record], list[Any]]) -> None:
    """Tags contain no commas or spaces, and two loads of a test have different tags."""
    text = document(replace(RECORD, runs=(HOSTILE, replace(WELL, test="a, b\n,c"), WELL, WELL)))
    tags = {
        match[1] for line in text.splitlines() if (match := re.match(r"Tag=([^,]*),[\d.]+,[\d.]+,[\d.]+,HIST", line))
    }
    assert len([line for line in text.splitlines() if line.startswith("Tag=")]) == 24
    assert len(tags) == 4
    assert not any(re.search(r"\s", tag) for tag in tags)
    assert f"{WELL.test}_GET_/search_embedded_#2" in tags
