"""A run in fortio's result format, which fortio's and Meshery's pages show.

Times are in seconds, except ActualDuration, which is in nanoseconds. As in fortio, the histogram
covers all calls. Calls without a response count as the timeout, as they do in the mean; a
histogram of only the failed calls is not available.

FirstByteHistogram, Names (the figures of each request of a mix) and TestOutcome are not part of fortio's format;
readers skip them.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pytest_loadgen.figures.histogram import rank
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.figures.result import Result
from pytest_loadgen.records.record import Record
from pytest_loadgen.traffic.plan import Plan

_PERCENTILES = (50, 75, 90, 99, 99.9)
# Buckets per doubling of the latency.
_BUCKETS = 32

Rows = list[tuple[float, int]]
"""A latency in seconds, and how many calls did not exceed it."""


def document(record: Record) -> str:
    """Write the one run of a record as JSON."""
    (run,) = record.runs
    result, plan = run.result, run.result.plan
    written = {
        "RunType": "HTTP" if plan.target.scheme.startswith("http") else plan.target.method,
        "Labels": f"{run.test} -_- {plan.name}",
        "StartTime": (run.date or record.date).isoformat(),
        "RequestedQPS": "max" if plan.closed else f"{plan.rate:.9g}",
        "RequestedDuration": f"{plan.duration:.9g}s",
        "ActualDuration": round(result.total.seconds * 1e9),
        "NumThreads": plan.connections,
        "Version": f"{result.generator} {result.version}".strip(),
        **_figures(result),
        "URL": plan.target.origin if plan.is_mix else plan.target.url,
        "TestOutcome": run.outcome,
    }
    if result.names:
        written["Names"] = {name: _figures(result[name]) for name in result.names}
    return json.dumps(written, indent=1, allow_nan=False) + "\n"


_EMPTY: dict[str, Any] = {"Count": 0, "Min": 0, "Max": 0, "Sum": 0, "Avg": 0, "StdDev": 0, "Data": None}


def _figures(result: Result) -> dict[str, Any]:
    """Return the figures of all requests, or of those of one name."""
    first_byte = {"FirstByteHistogram": _histogram(result.by_first_byte)} if result.total.first_byte else {}
    return {
        "ActualQPS": float(result.offered),
        "DurationHistogram": _histogram(result),
        "ErrorsDurationHistogram": {**_EMPTY, "Count": result.errors},
        **first_byte,
        "RetCodes": _codes(result),
    }


def _codes(result: Result) -> dict[str, int]:
    codes: Counter[str] = Counter()
    for outcome, count in result.outcomes.items():
        codes[outcome if is_answer(outcome) else "-1"] += count
    return dict(codes)


def _histogram(result: Result) -> dict[str, Any]:
    rows = _rows(result)
    if not rows:
        return _EMPTY
    count = rows[-1][1]
    mean = float(result.mean)
    variance = sum((value - mean) ** 2 * number for value, number in _differences(rows)) / count
    return {
        "Count": count,
        "Min": rows[0][0],
        "Max": rows[-1][0],
        "Sum": mean * count,
        "Avg": mean,
        "StdDev": math.sqrt(variance),
        "Data": _data(rows),
        "Percentiles": [{"Percentile": percent, "Value": _at(rows, percent)} for percent in _PERCENTILES],
    }


def _rows(result: Result) -> Rows:
    rows = result.total.latency.spectrum()
    if result.total.unanswered:
        rows.append((_timeout(result.plan, rows), result.requests))
    return rows


def _timeout(plan: Plan, rows: Rows) -> float:
    # Never faster than the slowest response.
    return max(float(plan.timeout), rows[-1][0] if rows else 0.0)


def _differences(rows: Rows) -> Iterable[tuple[float, int]]:
    before = 0
    for value, seen in rows:
        yield value, seen - before
        before = seen


def _at(rows: Rows, percent: float) -> float:
    wanted = rank(percent, rows[-1][1])
    return next(value for value, seen in rows if seen >= wanted)


def _data(rows: Rows) -> list[dict[str, float]]:
    """Merge buckets that are too narrow to draw; a bucket excludes its start and includes its end."""
    count, joined = rows[-1][1], {}
    for value, seen in rows:
        joined[math.ceil(math.log2(value) * _BUCKETS)] = value, seen
    data, start, before = [], rows[0][0], 0
    for end, seen in joined.values():
        data.append({"Start": start, "End": end, "Percent": 100 * seen / count, "Count": seen - before})
        start, before = end, seen
    return data
