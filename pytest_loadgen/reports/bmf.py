"""Bencher's metric format (BMF): a benchmark for each load, each name of a mix or journey, and each capacity.

Latencies are in nanoseconds and throughput is in responses per second, as Bencher's own measures are. Each bound is
that of a confidence interval: 95 % sure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.capacity import Capacity
from pytest_loadgen.objectives.judgement import judge
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.records.record import Record
from pytest_loadgen.reports.summary import titles

# How many of its unit are in ours, and an objective that is about the figure.
_MEASURES = {
    "latency": (1e9, SLO.parse("p50 < 1h")),
    "latency-p99": (1e9, SLO.parse("p99 < 1h")),
    "first-byte-p99": (1e9, SLO.parse("first byte p99 < 1h")),
    "throughput": (1.0, SLO.parse("rate > 1/h")),
    "error-rate": (1.0, SLO.parse("errors < 50%")),
}


def document(record: Record) -> str:
    """Write the loads as JSON; a load without requests has no figures, and is left out."""
    return json.dumps(dict(_benchmarks(record)), indent=1, allow_nan=False) + "\n"


def _benchmarks(record: Record) -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    for title, run in zip(titles(record.runs), record.runs, strict=True):
        named = {f"{title}: {name}": run.result[name] for name in run.result.names}
        for name, result in {title: run.result, **named}.items():
            if result.requests:
                yield name, dict(_metrics(result))
        if run.capacity:
            yield f"{title}: capacity", {"throughput": _between(run.capacity)}


def _between(capacity: Capacity) -> dict[str, float]:
    low, high = float(capacity.low), float(capacity.high)
    return {"value": low, "lower_value": low, **({"upper_value": high} if math.isfinite(high) else {})}


def _metrics(result: Result) -> Iterator[tuple[str, dict[str, float]]]:
    for measure, (unit, slo) in _MEASURES.items():
        if measure != "first-byte-p99" or result.total.first_byte:
            yield measure, {name: round(unit * value, 6) for name, value in _metric(slo, result).items()}


def _metric(slo: SLO, result: Result) -> dict[str, float]:
    """Give a figure with its bounds, where they are known and finite."""
    verdict = judge(slo, result)
    figure = float(result.error_rate if slo.metric.is_count else slo.metric.figure(result))
    if math.isinf(figure):  # a request without a response, which is never fast
        slowest = result.total.latency.percentile(100) if result.total.latency else 0.0
        figure = max(float(result.plan.timeout), float(slowest))
    bounds = {"lower_value": verdict.low, "upper_value": verdict.high}
    return {"value": figure, **{name: at for name, at in bounds.items() if at is not None and math.isfinite(at)}}
