"""CSV with one row per interval, and of a mix one more for each name, for spreadsheets and data frames.

Times are in seconds. Latencies cover all requests that finished in the interval: ``inf`` where the
figure falls among requests without a response, empty where no request finished. Rows of a name leave out
what is of the load as a whole: the generator's lag and CPU, connections, requests that were sent again, and what the
service used, which is empty where it is not known.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.wording import printable

# A spreadsheet takes a cell that starts with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def document(record: Record) -> str:
    """Write the record as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["run", *_RUN_COLUMNS, "name", *_INTERVAL_COLUMNS])
    for number, run in enumerate(record.runs, 1):
        first = [number, *(_safe(column(run)) for column in _RUN_COLUMNS.values())]
        for interval in run.result.intervals:
            part = replace(run.result, intervals=(interval,))
            writer.writerow([*first, "", *(column(part, interval) for column in _INTERVAL_COLUMNS.values())])
            for name in run.result.names:
                writer.writerow([*first, _safe(name), *_named(part[name])])
    return text.getvalue()


def _named(part: Result) -> list[float | str]:
    """Give the cells of a name."""
    (interval,) = part.intervals
    return ["" if name in _OF_THE_WHOLE else column(part, interval) for name, column in _INTERVAL_COLUMNS.items()]


def _latency(percent: float, part: Result, _: Interval) -> float | str:
    return float(part.percentile(percent)) if part.requests else ""


def _service(percent: float, part: Result, interval: Interval) -> float | str:
    return float(part.percentile(percent, service=True)) if interval.service_time else ""


def _first_byte(percent: float, part: Result, interval: Interval) -> float | str:
    return float(part.by_first_byte.percentile(percent)) if interval.first_byte else ""


def _mean(part: Result, _: Interval) -> float | str:
    return float(part.mean) if part.requests else ""


def _lag(_: Result, interval: Interval) -> float | str:
    return float(interval.lag.percentile(99)) if interval.lag else ""


def _used(figure: str, _: Result, interval: Interval) -> float | str:
    return float(getattr(interval.service, figure)) if interval.service else ""


def _outcomes(part: Result, _: Interval) -> str:
    return _safe(" ".join(f"{outcome}={count}" for outcome, count in part.outcomes.items()))


def _safe(text: str) -> str:
    return printable(f"'{text}" if text.startswith(_FORMULA) else text)


_RUN_COLUMNS: Mapping[str, Callable[[Run], str]] = {
    "test": lambda run: run.test,
    "test_outcome": lambda run: run.outcome,
    "request": lambda run: run.result.plan.name,
    "generator": lambda run: run.result.generator,
}
_SERVICE = {
    "service_cpu_cores": "cpu",
    "service_cores": "cores",
    "service_busiest_cores": "busiest",
    "service_memory_bytes": "memory",
    "service_threads": "threads",
    "service_files": "files",
    "service_throttled_s": "throttled",
}
_INTERVAL_COLUMNS: Mapping[str, Callable[[Result, Interval], float | str]] = {
    "start_s": lambda _, interval: interval.start,
    "length_s": lambda _, interval: interval.seconds,
    "requests": lambda part, _: part.requests,
    "errors": lambda part, _: part.errors,
    "unanswered": lambda _, interval: interval.unanswered,
    "rate_per_s": lambda part, _: float(part.rate),
    "latency_mean_s": _mean,
    "latency_p50_s": partial(_latency, 50),
    "latency_p90_s": partial(_latency, 90),
    "latency_p99_s": partial(_latency, 99),
    "latency_p99.9_s": partial(_latency, 99.9),
    "latency_max_s": partial(_latency, 100),
    "service_p50_s": partial(_service, 50),
    "service_p99_s": partial(_service, 99),
    "first_byte_p50_s": partial(_first_byte, 50),
    "first_byte_p99_s": partial(_first_byte, 99),
    "lag_p99_s": _lag,
    "cpu_cores": lambda _, interval: interval.cpu,
    "throttled_s": lambda _, interval: interval.throttled,
    "received_bytes": lambda _, interval: interval.received,
    "connections": lambda _, interval: "" if interval.connections is None else interval.connections,
    "retried": lambda _, interval: interval.retried,
    "never_sent": lambda _, interval: interval.never_sent,
    "outcomes": _outcomes,
    **{name: partial(_used, figure) for name, figure in _SERVICE.items()},
}
_OF_THE_WHOLE = frozenset({"lag_p99_s", "cpu_cores", "throttled_s", "connections", "retried", *_SERVICE})
