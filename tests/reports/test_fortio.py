"""Fortio's format: its fields with their meaning, and failed requests never look fast."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.fortio import document
from pytest_loadgen.traffic.target import Target
from tests.conftest import recording
from tests.reports.examples import CLOSED, ILL, NOTHING, RECORD, UNANSWERED, WELL


def read(run: Run) -> Any:
    return json.loads(document(only(run)))


def only(run: Run) -> Record:
    return replace(RECORD, runs=(run,))


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    golden("report.fortio.json", document(only(ILL)))


@pytest.mark.parametrize("run", [WELL, ILL, CLOSED, UNANSWERED, NOTHING])
def test_sums(run: Run) -> None:
    """The histogram covers all calls, its buckets do not overlap, and its percentages add up."""
    found = read(run)
    histogram = found["DurationHistogram"]
    assert histogram["Count"] == sum(found["RetCodes"].values()) == run.result.requests
    assert found["ErrorsDurationHistogram"]["Count"] == run.result.errors
    assert found["ActualQPS"] * found["ActualDuration"] / 1e9 == pytest.approx(run.result.requests)
    buckets = histogram["Data"] or []
    assert sum(bucket["Count"] for bucket in buckets) == histogram["Count"]
    if buckets:
        assert (buckets[0]["Start"], buckets[-1]["End"]) == (histogram["Min"], histogram["Max"])
        assert buckets[-1]["Percent"] == 100
        assert histogram["Sum"] / histogram["Count"] == pytest.approx(histogram["Avg"]) == run.result.mean
        assert all(one["End"] <= other["Start"] < other["End"] for one, other in itertools.pairwise(buckets))


def test_figures() -> None:
    """Percentiles are exact, not read from the buckets."""
    percentiles = {each["Percentile"]: each["Value"] for each in read(WELL)["DurationHistogram"]["Percentiles"]}
    assert percentiles == {percent: WELL.result.percentile(percent) for percent in (50, 75, 90, 99, 99.9)}


def test_unanswered_are_slow() -> None:
    """A request without a response is a socket error (-1) that took the timeout."""
    found = read(ILL)
    assert found["RetCodes"] == {"200": 801, "503": 64, "-1": 13}
    assert found["DurationHistogram"]["Max"] == ILL.result.plan.timeout
    assert read(UNANSWERED)["DurationHistogram"]["Min"] == UNANSWERED.result.plan.timeout


@pytest.mark.parametrize(
    ("run", "qps", "duration", "threads"),
    [(WELL, "500", "6s", 100), (ILL, "150", "6s", 5), (CLOSED, "max", "2s", 32)],
)
def test_requested_load(run: Run, qps: str, duration: str, threads: int) -> None:
    """The requested load is written as fortio writes it."""
    found = read(run)
    assert (found["RequestedQPS"], found["RequestedDuration"], found["NumThreads"]) == (qps, duration, threads)
    assert found["RunType"] == "HTTP"


def test_other_protocols() -> None:
    """Other protocols than HTTP have their own run type."""
    plan = replace(WELL.result.plan, target=Target.of("grpc://localhost:50051"))
    assert read(replace(WELL, result=replace(WELL.result, plan=plan)))["RunType"] == "GRPC"


def test_fields_are_fortios() -> None:
    """Each field is one that fortio writes, with the same type."""
    theirs = json.loads(recording("fortio/fortio-1.57.3-lib-n100.json").read_text(encoding="utf-8"))
    ours = read(WELL)
    del ours["TestOutcome"]  # fortio knows no tests
    assert {key: kind(value) for key, value in ours.items()} == {key: kind(theirs[key]) for key in ours}
    mine, its = ours["DurationHistogram"], theirs["DurationHistogram"]
    assert mine.keys() == its.keys()
    assert mine["Data"][0].keys() == its["Data"][0].keys()
    assert datetime.fromisoformat(ours["StartTime"]).tzinfo


def kind(value: Any) -> type:
    return float if isinstance(value, int) else type(value)
