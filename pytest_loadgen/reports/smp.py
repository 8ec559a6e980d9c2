"""Results in the format of Service Mesh Performance, which Meshery reads: one YAML document per run.

Latencies are in milliseconds (latencies_ms), from each request's scheduled time.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from pytest_loadgen.figures.result import Result
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.wording import counted


def document(record: Record) -> str:
    """Write the runs; a comment names each run without latencies, which the format cannot hold."""
    return "".join(_document(record, number, run) for number, run in enumerate(record.runs, 1))


def _document(record: Record, number: int, run: Run) -> str:
    result = run.result
    name = _text(f"{run.test}, {result.plan.name}")
    if not result.total.latency:
        why = f"none of {counted(result.requests, 'request')} got a response" if result.requests else "no requests"
        return f"# {_quoted(name)} is omitted: {why}.\n"
    start = (run.date or record.date).astimezone(UTC)
    identity = uuid.uuid5(uuid.NAMESPACE_URL, f"{record.date.isoformat()} {number} {name}")
    latencies = _latencies(result)
    missing = [key for key, value in latencies.items() if math.isinf(value)]
    lines = [
        "---",
        *([f"# {', '.join(missing)}: no response"] if missing else []),
        "smp_version: v0.0.1",
        f"id: {_quoted(str(identity))}",
        "labels:",
        *_mapping(_labels(run)),
        f"start_time: {_time(start)}",
        f"end_time: {_time(start + timedelta(seconds=result.total.start + result.total.seconds))}",
        "latencies_ms:",
        # Plain digits, to the nanosecond: some YAML readers take 1e-05 for text.
        *(f"  {key}: {value:.6f}" for key, value in latencies.items() if key not in missing),
        f"actual_qps: {result.offered:.6f}",
        'details_uri: ""',
        f"test_id: {_quoted(run.test)}",
        'mesh_config_id: ""',
        f"env_id: {_quoted(record.machine.name)}",
    ]
    return "\n".join([*lines, ""])


def _latencies(result: Result) -> dict[str, float]:
    """Return the latencies that the format defines, in ms; infinite where there was no response."""
    fastest = {"min": result.percentile(0), "average": result.mean}
    others = {"p50": result.p50, "p90": result.p90, "p99": result.p99, "max": result.max}
    return {key: float(value) * 1e3 for key, value in {**fastest, **others}.items()}


def _labels(run: Run) -> dict[str, str]:
    """Return, as text, what the format has no field for."""
    result = run.result
    return {
        "request": result.plan.name if result.plan.is_mix else f"{result.plan.target.method} {result.plan.target.url}",
        "load_generator": result.generator,
        "requested_rps": "max" if result.plan.closed else f"{result.plan.rate:.9g}",
        "connections": str(result.plan.connections),
        "requests": str(result.requests),
        "errors": str(result.errors),
        "unanswered": str(result.total.unanswered),
        "test_outcome": run.outcome,
        **_first_byte(result),
        **{f"{name}: {label}": text for name in result.names for label, text in _of_a_name(result[name]).items()},
        **{f"slo {verdict.slo}": verdict.outcome for verdict in run.result.verdicts},
        "unit_note": "latencies in milliseconds",
    }


def _of_a_name(result: Result) -> dict[str, str]:
    """Return the figures of the requests of one name."""
    counts = {"requests": str(result.requests), "errors": str(result.errors)}
    latencies = {key: _milliseconds(value) for key, value in (_latencies(result) if result.requests else {}).items()}
    return {**counts, **latencies, **_first_byte(result)}


def _first_byte(result: Result) -> dict[str, str]:
    if not result.total.first_byte:
        return {}
    first = result.by_first_byte
    return {
        f"first_byte_{key}": _milliseconds(float(value) * 1e3)
        for key, value in (("p50", first.p50), ("p99", first.p99))
    }


def _milliseconds(value: float) -> str:
    return "no response" if math.isinf(value) else f"{value:.6f}"


def _mapping(labels: Mapping[str, str]) -> Iterator[str]:
    return (f"  {_quoted(key)}: {_quoted(value)}" for key, value in labels.items())


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _quoted(text: str) -> str:
    """Quote as JSON does, which YAML can read, except for characters beyond 16 bits."""
    return '"' + "".join(f"\\U{ord(c):08x}" if ord(c) > 0xFFFF else json.dumps(c)[1:-1] for c in _text(text)) + '"'


def _text(text: str) -> str:
    """Replace what is not valid UTF-8, which a file name may contain."""
    return text.encode("utf-8", "replace").decode()
