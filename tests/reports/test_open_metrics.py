"""OpenMetrics: Prometheus's own parser reads the types, labels and values."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pytest_loadgen.records.record import Record
from pytest_loadgen.reports.open_metrics import document
from tests.reports.examples import EMPTY, HOSTILE, ILL, MIX, ODD, RECORD, WELL, judged


def read(record: Record) -> dict[str, Metric]:
    families = text_string_to_metric_families(document(record))  # type: ignore[no-untyped-call]
    return {family.name: family for family in families}


def values(family: Metric, **labels: str) -> list[float]:
    return [sample.value for sample in family.samples if labels.items() <= sample.labels.items()]


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    golden("report.om", document(RECORD))


def test_types() -> None:
    """Counts are counters, latency is a summary, and the rest are gauges."""
    assert {name: family.type for name, family in read(RECORD).items()} == {
        "loadgen_requests": "counter",
        "loadgen_errors": "counter",
        "loadgen_unanswered": "counter",
        "loadgen_rate_per_second": "gauge",
        "loadgen_latency_seconds": "summary",
        "loadgen_first_byte_seconds": "summary",
        "loadgen_service_cpu_cores": "gauge",
        "loadgen_service_available_cores": "gauge",
        "loadgen_service_memory_bytes": "gauge",
        "loadgen_service_threads": "gauge",
        "loadgen_service_files": "gauge",
        "loadgen_service_throttled_seconds": "gauge",
        "loadgen_objective_met": "gauge",
        "loadgen_test_passed": "gauge",
    }


def test_figures() -> None:
    """Figures are the run's; a quantile without a response is infinite."""
    found = read(RECORD)
    ill = {"test": ILL.test, "request": "POST /checkout", "generator": "fortio"}
    assert values(found["loadgen_requests"], **ill) == [878]
    assert values(found["loadgen_errors"], **ill) == [77]
    assert values(found["loadgen_latency_seconds"], **ill, quantile="0.5") == [float(ILL.result.p50)]
    assert values(found["loadgen_latency_seconds"], **ill, quantile="0.99") == [inf]
    assert values(found["loadgen_objective_met"], **ill, slo="p99 < 200ms", outcome="missed") == [0]
    assert values(found["loadgen_objective_met"], test=WELL.test, slo="errors == 0", outcome="met") == [1]


def test_service() -> None:
    """What the service used is there where it is known."""
    found = read(RECORD)
    assert values(found["loadgen_service_cpu_cores"]) == [0.5]
    assert values(found["loadgen_service_memory_bytes"], test=WELL.test) == [120e6]


def test_by_name() -> None:
    """Of a mix, samples with a name are of its requests; without one, of all."""
    found = read(replace(RECORD, runs=(MIX,)))
    requests = {sample.labels.get("request_name"): sample.value for sample in found["loadgen_requests"].samples}
    assert requests == {None: 600, "GET /search": 420, "order": 120, "missing|<b>": 60}
    order, first_byte = MIX.result["order"], found["loadgen_first_byte_seconds"]
    assert values(found["loadgen_errors"], request_name="order") == [9]
    assert values(found["loadgen_latency_seconds"], request_name="order", quantile="0.5") == [float(order.p50)]
    assert values(first_byte, request_name="order", quantile="0.5") == [float(order.by_first_byte.p50)]
    assert len(found["loadgen_objective_met"].samples) == 2


def test_equal_runs_have_different_labels() -> None:
    """Equal loads differ by their run label; an objective given twice is one sample."""
    twice = judged(WELL, *WELL.result.verdicts * 2)
    found = read(replace(RECORD, runs=(twice, WELL)))
    assert values(found["loadgen_requests"], run="1") == values(found["loadgen_requests"], run="2") == [3000]
    assert len(values(found["loadgen_objective_met"], run="1")) == 3


@pytest.mark.parametrize("record", [EMPTY, ODD])
def test_unusual_runs(record: Record) -> None:
    """No runs and runs without requests can be read too."""
    assert len(read(record)["loadgen_requests"].samples) == len(record.runs)
    assert document(record).endswith("# EOF\n")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_labels(text: str) -> None:
    """Any text is unchanged after reading."""
    (sample,) = read(replace(RECORD, runs=(replace(HOSTILE, test=text),)))["loadgen_requests"].samples
    assert sample.labels["test"] == text
