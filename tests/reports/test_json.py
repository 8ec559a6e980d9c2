"""JSON: what was written can be read, and the schema describes all of it."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

import pytest_loadgen
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import NO_BASELINE, Baseline, KeptRun
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import OUTCOMES, Verdict
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.record import SCHEMA, Record
from pytest_loadgen.records.revision import Revision
from pytest_loadgen.records.run import Run
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration
from tests.builders.traffic import HERE, OPEN_PLANS
from tests.reports.examples import EMPTY, KEPT, ODD, RECORD

DOCUMENT = json.loads(files(pytest_loadgen).joinpath("records", "schema.json").read_text(encoding="utf-8"))

TEXTS = st.text(max_size=20)
TIMES = st.floats(0, 1e4)
COUNTS = st.integers(0, 10**9)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
NANOSECONDS = st.dictionaries(st.integers(0, 3_600_000_000_000), st.integers(1, 10**6), max_size=5)


def histogram(latencies: dict[int, int]) -> Histogram:
    made = Histogram()
    for ns, count in latencies.items():
        made.record(ns / 1e9, count)
    return made


HISTOGRAMS = NANOSECONDS.map(histogram) | st.just(Histogram.from_buckets([(0.001, 0.002, 3), (0.002, 0.1, 4)]))
INTERVALS = st.builds(
    Interval,
    *(TIMES, TIMES, HISTOGRAMS, HISTOGRAMS),
    outcomes=st.dictionaries(st.sampled_from(["200", "503", "timeout", "SERVING"]), COUNTS),
    lag=HISTOGRAMS,
    cpu=TIMES,
    throttled=TIMES,
    stalled=TIMES,
    received=COUNTS,
    retried=COUNTS,
    never_sent=COUNTS,
    unseen=COUNTS,
)
CLOSED_PLAN = replace(Plan.of(HERE, rate="max", warmup=1, expect=[204, "SERVING"]), seed=3)
RESULT_FIELDS: list[st.SearchStrategy[Any]] = [
    OPEN_PLANS | st.just(CLOSED_PLAN),
    TEXTS,
    st.lists(INTERVALS, max_size=3).map(tuple),
    st.booleans(),
    *(TEXTS, TEXTS),
    st.sampled_from(["scheduled", "sent", "corrected"]),
    TIMES.map(Duration),
]
RESULTS = st.builds(Result, *RESULT_FIELDS)
KEPT_RUNS = st.builds(KeptRun, RESULTS, TEXTS, st.none() | MOMENTS)
BASELINES = (
    st.just(NO_BASELINE)
    | st.builds(Baseline.single, RESULTS, paired=st.booleans())
    | st.builds(Baseline, st.lists(KEPT_RUNS, min_size=1, max_size=3).map(tuple))
)
VERDICTS = st.builds(
    Verdict,
    TEXTS.map(SLO.recorded),
    st.sampled_from(OUTCOMES),
    TEXTS,
    st.none() | TIMES,
    st.none() | TIMES,
    remark=TEXTS,
)
JUDGED = st.builds(
    JudgedResult,
    *RESULT_FIELDS,
    verdicts=st.lists(VERDICTS, max_size=2).map(tuple),
    baseline=BASELINES,
    not_judged=st.lists(TEXTS, max_size=2).map(tuple),
    extended_by=st.floats(1, 10),
    machine_p99=(TIMES | st.just(math.inf)).map(Duration),
)
RUNS = st.builds(Run, TEXTS, JUDGED, st.integers(0, 9), st.none() | MOMENTS)
RECORDS = st.builds(
    Record,
    st.lists(RUNS, max_size=2).map(tuple),
    st.builds(Fingerprint, TEXTS, TEXTS, st.integers(1, 512), TEXTS, TEXTS),
    st.builds(Revision, TEXTS, TEXTS),
    MOMENTS,
    TEXTS,
)


def closed(schema: Any) -> Any:
    """Forbid all properties that a schema does not describe."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if "properties" in schema and "type" in schema else {}
    return {**more, **{key: closed(each) for key, each in schema.items()}}


STRICT = Draft202012Validator(closed(DOCUMENT))


@settings(max_examples=15)
@given(record=RECORDS)
def test_round_trip(record: Record) -> None:
    """Any record matches the schema, and is the same after reading."""
    text = record.dumps()
    STRICT.validate(json.loads(text))
    again = Record.loads(text, "here")
    assert again.dumps() == text
    assert again.runs == tuple(known(run) for run in record.runs)


def whole(result: Result) -> Result:
    return replace(result, intervals=(result.total,))


def known(run: Run) -> Run:
    """Return a run as it can be read: without headers, query and body."""
    found, verdicts = run.result.baseline, run.result.verdicts
    kept = [
        # Of all but the newest, the intervals together.
        replace(
            each, result=Result.from_dict((each.result if each is found.runs[-1] else whole(each.result)).as_dict())
        )
        for each in found.runs
    ]
    baseline = replace(found, runs=tuple(kept))
    rest = {name: getattr(run.result, name) for name in ("not_judged", "extended_by", "machine_p99")}
    result = JudgedResult.from_dict(run.result.as_dict())
    return replace(run, result=replace(result, verdicts=verdicts, baseline=baseline, **rest))


@pytest.mark.parametrize("record", [RECORD, EMPTY, ODD, replace(RECORD, runs=(KEPT,))])
def test_schema(record: Record) -> None:
    """The schema describes every property of unusual records too."""
    STRICT.validate(json.loads(record.dumps()))


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is.

    LOADGEN_GOLDEN=1 rewrites the file after an intended change; a change that breaks readers needs a new "schema".
    """
    golden("report.json", RECORD.dumps())


def test_schema_is_valid() -> None:
    """The schema is a valid JSON Schema, and has the version that is written."""
    Draft202012Validator.check_schema(DOCUMENT)
    assert DOCUMENT["properties"]["schema"]["const"] == SCHEMA


def properties(schema: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all properties of a schema, with their path."""
    if isinstance(schema, dict):
        for key, each in schema.items():
            if key == "properties":
                yield from ((f"{name}.{key}", described) for key, described in each.items())
            yield from properties(each, f"{name}.{key}")
    elif isinstance(schema, list):
        for number, each in enumerate(schema):
            yield from properties(each, f"{name}[{number}]")


PROPERTIES = dict(properties(DOCUMENT))


@pytest.mark.parametrize("path", sorted(PROPERTIES))
def test_each_property_has_a_description(path: str) -> None:
    """Each property has a sentence of its own, or the one of the definition that it refers to."""
    schema = PROPERTIES[path]
    if "$ref" in schema and "description" not in schema:
        schema = DOCUMENT["$defs"][schema["$ref"].rpartition("/")[2]]
    assert schema["description"].endswith(".")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"date": 7},
        {"runs": [{"test": "t"}]},
        {"machine": {"system": "Linux"}},
    ],
)
def test_the_schema_refuses(change: dict[str, Any]) -> None:
    """The schema refuses documents that are not records."""
    with pytest.raises(ValidationError):
        Draft202012Validator(DOCUMENT).validate({**RECORD.as_dict(), **change})


def test_old_runs() -> None:
    """Records from before runs had a date and a baseline can be read."""
    data = json.loads(RECORD.dumps())
    for run in data["runs"]:
        del run["date"], run["baseline"]
    Draft202012Validator(DOCUMENT).validate(data)
    assert [run.date for run in Record.loads(json.dumps(data), "here").runs] == [None] * 4
