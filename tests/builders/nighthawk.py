"""Nighthawk's plans and its output."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan

URL = "http://127.0.0.1:8000/tea?key=sesam-1"


def plan(url: str = URL, **options: Any) -> Plan:
    chosen: Any = {"rate": 100, "duration": 5, "timeout": 2, **options}
    return plan_of(url, chosen)


def at(asked: Plan, *address: Any) -> Plan:
    """Set the address that the service was found at."""
    return replace(asked, target=replace(asked.target, address=address))


def second(**options: Any) -> Plan:
    """Make a plan of one second."""
    return plan(**{"duration": 1, "timeout": 1, **options})


def statistic(name: str, times: Sequence[float]) -> dict[str, Any]:
    """Write latencies as Nighthawk does: five percentiles for each halving of the distance to 100 %."""
    found = sorted(round(each * 1e9) for each in times)

    def row(percentile: float, value: int) -> dict[str, Any]:
        return {"percentile": percentile, "count": str(bisect_right(found, value)), "duration": written(value)}

    rows, percentile, last = [], 0.0, found[-1] if found else 0
    while found and (value := found[max(0, math.ceil(round(percentile * len(found), 6)) - 1)]) < last:
        rows.append(row(percentile, value))
        percentile += 1 / (5 * 2 ** (math.floor(math.log2(1 / (1 - percentile))) + 1))
    rows.append(row(1, last))
    low = found[0] if found else 0
    return {"count": str(len(found)), "id": name, "percentiles": rows, "min": written(low), "max": written(last)}


def written(ns: int) -> str:
    return f"{ns // 10**9}.{ns % 10**9:09d}s"


def output(
    answers: Mapping[str, int],
    times: Sequence[float] | None = None,
    *,
    service: Sequence[float] | None = None,
    failed: Sequence[float] = (),
    seconds: float = 5.0,
    more: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Write the output of a run: responses by class, their latencies, those of failed requests, other counters."""
    times = [0.01] * sum(answers.values()) if times is None else times
    counters = {f"benchmark.http_{kind}": count for kind, count in answers.items()}
    counters = {"upstream_rq_total": sum(answers.values()), **counters, **(more or {})}
    result = {
        "name": "global",
        "statistics": [
            statistic("benchmark_http_client.queue_to_connect", [0.0001] * len(times)),
            statistic("benchmark_http_client.request_to_response", times if service is None else service),
            {"count": "0", "id": "benchmark_http_client.response_body_size", "raw_mean": "NaN", "raw_pstdev": "NaN"},
            statistic("sequencer.callback", [*times, *failed]),
        ],
        "counters": [{"name": name, "value": str(count)} for name, count in counters.items() if count],
        "execution_duration": written(round(seconds * 1e9)),
    }
    header = {"header": {"key": "authorization", "value": "Bearer geheim-1"}, "append": False}
    return {"options": {"request_options": {"request_headers": [header]}}, "results": [result]}
