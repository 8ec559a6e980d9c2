"""OpenMetrics, for Prometheus and tools that read its format. Times are in seconds.

Of a mix, samples with the label `request_name` are of the requests of that name; those without are of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from pytest_loadgen.figures.result import Result
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.summary import ordinals

_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


_Labelled = tuple[dict[str, str], Result, Mapping[str, Result]]
"""The labels of a run, its result, and those of its names."""


@dataclass(frozen=True)
class _Sample:
    value: float
    suffix: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Family:
    """A metric, and how to read it from a run."""

    kind: str
    help: str
    samples: Callable[[Result], Iterable[_Sample]]
    unit: str = ""
    by_name: bool = True


def document(record: Record) -> str:
    """Write all metrics of all runs."""
    labelled: list[_Labelled] = [
        (_labels(run, ordinal), run.result, {name: run.result[name] for name in run.result.names})
        for run, ordinal in zip(record.runs, ordinals(record.runs), strict=True)
    ]
    lines = [line for name, family in _FAMILIES.items() for line in _lines(name, family, labelled)]
    passed = _passed([(labels, run.outcome) for (labels, *_), run in zip(labelled, record.runs, strict=True)])
    return "\n".join([*lines, *passed, "# EOF", ""])


def _passed(labelled: list[tuple[dict[str, str], str]]) -> Iterator[str]:
    """Yield the outcomes of the tests, where they are known."""
    yield "# TYPE loadgen_test_passed gauge"
    yield "# HELP loadgen_test_passed 1 if the test passed, else 0."
    for labels, outcome in labelled:
        if outcome:
            yield f"loadgen_test_passed{_braced({**labels, 'outcome': outcome})} {int(outcome == 'passed')}"


def _labels(run: Run, ordinal: int) -> dict[str, str]:
    """Return the labels that identify a run; `run` numbers runs that are otherwise alike, from 1."""
    result = run.result
    labels = {"test": run.test, "request": result.plan.name, "generator": result.generator}
    return {**labels, "run": str(ordinal)}


def _lines(name: str, family: _Family, labelled: list[_Labelled]) -> Iterator[str]:
    yield f"# TYPE {name} {family.kind}"
    if family.unit:
        yield f"# UNIT {name} {family.unit}"
    yield f"# HELP {name} {family.help}"
    for labels, result, named in labelled:
        # The same objective may be given twice, the same sample may not.
        samples = {(sample.suffix, sample.labels): sample.value for sample in _samples(family, result, named)}
        for (suffix, more), value in samples.items():
            yield f"{name}{suffix}{_braced({**labels, **dict(more)})} {_number(value)}"


def _samples(family: _Family, result: Result, named: Mapping[str, Result]) -> Iterator[_Sample]:
    yield from family.samples(result)
    for name, part in named.items() if family.by_name else ():
        for sample in family.samples(part):
            yield replace(sample, labels=(("request_name", name), *sample.labels))


def _braced(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return "+Inf" if math.isinf(value) else repr(value)


def _first_byte(result: Result) -> Iterable[_Sample]:
    return _latency(result.by_first_byte) if result.total.first_byte else ()


def _latency(result: Result) -> Iterator[_Sample]:
    if not result.requests:
        return
    for quantile in _QUANTILES:
        latency = float(result.percentile(quantile * 100))
        yield _Sample(latency, labels=(("quantile", str(quantile)),))
    yield _Sample(result.requests, "_count")
    yield _Sample(float(result.mean) * result.requests, "_sum")


def _service(figure: str, result: Result) -> Iterator[_Sample]:
    if service := result.total.service:
        yield _Sample(float(getattr(service, figure)))


def _objectives(result: Result) -> Iterator[_Sample]:
    for verdict in getattr(result, "verdicts", ()):
        name = verdict.slo.name
        labels = (("slo", verdict.slo.text), ("outcome", verdict.outcome))
        yield _Sample(int(bool(verdict)), labels=((("request_name", name), *labels) if name else labels))


_FAMILIES = {
    "loadgen_requests": _Family(
        "counter", "Requests made, with or without a response.", lambda result: [_Sample(result.requests, "_total")]
    ),
    "loadgen_errors": _Family(
        "counter",
        "Requests that failed or got an unexpected status.",
        lambda result: [_Sample(result.errors, "_total")],
    ),
    "loadgen_unanswered": _Family(
        "counter", "Requests without a response.", lambda result: [_Sample(result.total.unanswered, "_total")]
    ),
    "loadgen_rate_per_second": _Family(
        "gauge", "Responses per second.", lambda result: [_Sample(float(result.rate))], unit="per_second"
    ),
    "loadgen_latency_seconds": _Family(
        "summary",
        "Latency of all requests; +Inf where there was no response, which the sum counts as the timeout.",
        _latency,
        unit="seconds",
    ),
    "loadgen_first_byte_seconds": _Family(
        "summary",
        "Time to the first byte of each response, where the generator measures it; +Inf where there was no response.",
        _first_byte,
        unit="seconds",
    ),
    "loadgen_service_cpu_cores": _Family(
        "gauge", "Cores that the service used.", partial(_service, "cpu"), unit="cores", by_name=False
    ),
    "loadgen_service_available_cores": _Family(
        "gauge", "Cores that the service may use.", partial(_service, "cores"), unit="cores", by_name=False
    ),
    "loadgen_service_memory_bytes": _Family(
        "gauge", "The most memory that the service had.", partial(_service, "memory"), unit="bytes", by_name=False
    ),
    "loadgen_service_threads": _Family(
        "gauge", "The most threads that the service had.", partial(_service, "threads"), by_name=False
    ),
    "loadgen_service_files": _Family(
        "gauge", "The most file descriptors that the service had open.", partial(_service, "files"), by_name=False
    ),
    "loadgen_service_throttled_seconds": _Family(
        "gauge",
        "How long the CPU limit of its container stopped the service.",
        partial(_service, "throttled"),
        unit="seconds",
        by_name=False,
    ),
    "loadgen_objective_met": _Family("gauge", "1 if the objective is met, else 0.", _objectives, by_name=False),
}
