"""k6's summary (``k6 run --summary-export``), which GitLab shows in merge requests as the load performance report.

As in k6, the figures are of all loads of the session together, those of requests with a name are also in metrics with
that tag, and times are in milliseconds. Latencies count from when requests were due. Requests without a response count
as the timeout. Where the generator does not measure the first byte, http_req_waiting is the whole latency. A request
passes its checks if its response is as expected.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.result import Result
from pytest_loadgen.records.record import Record
from pytest_loadgen.reports.summary import titles
from pytest_loadgen.traffic.journey import OK

_PERCENTILES = {"min": 0, "med": 50, "max": 100, "p(90)": 90, "p(95)": 95}


def document(record: Record) -> str:
    """Write the loads as JSON; without requests there are no metrics."""
    loads = [run.result for run in record.runs]
    checks = {
        name: _identified(name, f"::{name}") | _passes(_requests(load))
        for name, load in zip(titles(record.runs), loads, strict=True)
    }
    written = {
        "root_group": {**_identified("", ""), "groups": {}, "checks": checks},
        "metrics": _metrics(loads) if any(each.requests for each in loads) else {},
    }
    return json.dumps(written, indent=1, allow_nan=False) + "\n"


def _requests(load: Result) -> list[Result]:
    """Give the load, or the requests of a journey: its names that are no steps."""
    if not load.plan.journey:
        return [load]
    return [part for part in map(load.__getitem__, load.names) if not _is_step(part)]


def _is_step(part: Result) -> bool:
    """Whether the figures of a name are of a step: its outcome is no status of HTTP, unless it never succeeded."""
    return OK in part.outcomes


def _metrics(loads: Sequence[Result]) -> dict[str, Any]:
    seconds = sum(load.total.seconds for load in loads)
    requests = [part for load in loads for part in _requests(load)]
    named: dict[str, list[Result]] = {}
    for load in loads:
        for name in load.names:
            named.setdefault(name, []).append(load[name])
    found = {
        "iterations": _counter(sum(load.requests for load in loads), seconds),
        "iteration_duration": _trend(loads),
        "data_received": _counter(sum(load.total.received for load in loads), seconds),
        **_of_requests(requests, seconds),
    }
    if "http_reqs" in found:
        passes = _passes(requests)
        found["checks"] = {**passes, "value": passes["passes"] / sum(passes.values())}
    for name, parts in named.items():
        if any(map(_is_step, parts)):
            found[f"group_duration{{group:::{name}}}"] = _trend(parts)
        else:
            found |= {f"{metric}{{name:{name}}}": value for metric, value in _of_requests(parts, seconds).items()}
    return found


def _of_requests(requests: Sequence[Result], seconds: float) -> dict[str, Any]:
    """Give k6's metrics of HTTP requests; none without requests."""
    if not (count := sum(each.requests for each in requests)):
        return {}
    passes = _passes(requests)
    return {
        "http_reqs": _counter(count, seconds),
        "http_req_duration": _trend(requests),
        "http_req_waiting": _trend([each.by_first_byte if each.total.first_byte else each for each in requests]),
        # Passed, in k6, is what failed.
        "http_req_failed": {"passes": passes["fails"], "fails": passes["passes"], "value": passes["fails"] / count},
    }


def _counter(count: int, seconds: float) -> dict[str, float]:
    return {"count": count, "rate": count / seconds if seconds else 0.0}


def _trend(results: Sequence[Result]) -> dict[str, float]:
    latencies = Histogram.sum(each.total.latency for each in results)
    for each in results:
        if waiting := each.requests - each.total.latency.count:
            # Never faster than the slowest response.
            slowest = float(latencies.percentile(100)) if latencies else 0.0
            latencies.record(max(float(each.plan.timeout), slowest), waiting)
    percentiles = {name: latencies.percentile(percent) for name, percent in _PERCENTILES.items()}
    return {name: round(1e3 * seconds, 6) for name, seconds in {"avg": latencies.mean, **percentiles}.items()}


def _passes(requests: Sequence[Result]) -> dict[str, int]:
    fails = sum(each.errors for each in requests)
    return {"passes": sum(each.requests for each in requests) - fails, "fails": fails}


def _identified(name: str, path: str) -> dict[str, str]:
    """Identify a group or a check as k6 does."""
    digest = hashlib.md5(path.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
    return {"name": name, "path": path, "id": digest}
