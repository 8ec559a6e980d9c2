"""The record that all reports are tested with: a run that meets its objectives, one that misses some, one at the
maximum rate; and runs that are hard to show.
"""

import math
from dataclasses import replace
from datetime import UTC, datetime
from math import isqrt
from typing import Any

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval, NamedFigures
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import NO_BASELINE, Baseline, KeptRun
from pytest_loadgen.objectives.capacity import Capacity, Step
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import Outcome, Verdict
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.revision import Revision
from pytest_loadgen.records.run import Run
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.plan import Plan, hold, ramp
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Rate, Share
from tests.builders.figures import resources

SECRET = "hunter2"
"""Part of the headers, body, query and user name of every request here; no report may contain it."""
STARTED = datetime(2026, 3, 1, 11, 58, 30, 250_000, tzinfo=UTC)


def verdict(slo: str, *rest: Any, **more: Any) -> Verdict:
    return Verdict(SLO.recorded(slo), *rest, **more)


def plan(url: str, method: str = "GET", **options: Any) -> Plan:
    scheme, _, rest = url.partition("://")
    target = Target.of(
        f"{scheme}://{SECRET}:{SECRET}@{rest}?token={SECRET}",
        method=method,
        headers={"X-Token": SECRET},
        json={"password": SECRET},
    )
    return replace(Plan.of(target, **options), seed=7)


def latencies(count: int, fastest: float) -> Histogram:
    """Make latencies that grow by 3.16 with each nine, in whole numbers to be the same on every machine."""
    histogram, ns = Histogram(), round(fastest * 1e9)
    for number in range(count):
        histogram.record(isqrt(ns * ns * count // (count - number)) / 1e9)
    return histogram


def second(start: int, fastest: float, outcomes: dict[str, int], *, waited: float = 1, **rest: Any) -> Interval:
    answered = sum(count for outcome, count in outcomes.items() if outcome.isdigit())
    lag = Histogram()
    lag.record(0.0001, sum(outcomes.values()))
    return Interval(
        **{
            "start": start,
            "seconds": 1,
            "latency": latencies(answered, fastest * waited),
            "service_time": latencies(answered, fastest),
            "outcomes": outcomes,
            "lag": lag,
            "cpu": 0.12,
            "received": 1000 * answered,
            **rest,
        }
    )


def judged(run: Run, *verdicts: Verdict) -> Run:
    """Give a run other verdicts."""
    return replace(run, result=replace(run.result, verdicts=verdicts))


def compared(run: Run, baseline: Result | None) -> Run:
    """Give a run another baseline."""
    return replace(run, result=replace(run.result, baseline=Baseline.single(baseline) if baseline else NO_BASELINE))


WELL = Run(
    "tests/test_shop.py::test_search[tea]",
    JudgedResult(
        plan("http://127.0.0.1:8000/search", rate=500, duration=6, warmup=1),
        "embedded",
        tuple(second(at, 0.002, {"200": 500}, service=resources(0.5, 118e6 + at * 4e5)) for at in range(6)),
        version="0.1.0",
        verdicts=(
            verdict("p99 < 30ms", "met", "18.3ms", 0.0169, 0.0224, "95% sure of 22.4ms or less"),
            verdict("errors == 0", "met", "0", 0, 0),
            verdict("rate >= 495/s", "met", "500/s", 500, 500, "95% sure of 500/s or more"),
        ),
    ),
    date=STARTED,
    outcome="passed",
)
ILL = Run(
    "tests/test_shop.py::test_checkout[eu|west]",
    JudgedResult(
        plan(
            "https://shop.test/checkout",
            "POST",
            stages=[hold(100, "3s"), ramp(100, 300, "3s")],
            timeout=2,
            connections=5,
        ),
        "fortio",
        (
            *(second(at, 0.010, {"200": 97, "503": 3}, waited=1.2) for at in range(3)),
            second(3, 0.012, {"200": 120, "503": 10}, waited=1.5),
            second(4, 0.015, {"200": 180, "503": 15, "timeout": 1}, waited=2, throttled=0.4),
            second(5, 0.020, {"200": 190, "503": 30, "timeout": 7, "reset": 2}, waited=3, never_sent=1, retried=1),
            second(6, 0.020, {"200": 20, "timeout": 3}, waited=3, seconds=0),
        ),
        version="1.68.0",
        service_unknown="it runs on another machine (shop.test:443)",
        verdicts=(
            verdict("p99 < 200ms", "missed", "no answer", 0.212, math.inf, "95% sure of 212ms or more"),
            verdict("p50 < baseline + 10%", "missed", "+76.4%", 1.45, 2.14, "95% sure of +45% or more"),
            verdict(
                *("p50 < 40ms", "unclear", "37.2ms", 0.031, 0.046),
                "90% sure of 31ms to 46ms; a run 4x longer would decide",
            ),
            verdict("errors < 5%", "missed", "77 of 878", 0.0655, 0.11, "95% sure of 6.55% or more"),
            verdict("p90 < 1s over any 4s", "met", "139ms", 0.0983, 0.23, "95% sure of 230ms or less"),
            verdict("max < 1s", "invalid", "no answer", math.inf, math.inf, "the generator was the limit"),
        ),
    ),
    date=STARTED.replace(second=40),
    outcome="failed",
)
ILL = compared(
    ILL,
    Result(
        ILL.result.plan,
        "fortio",
        tuple(second(at, 0.015, {"200": 100 + 30 * max(0, at - 3)}) for at in range(6)),
        version="1.68.0",
    ),
)
WIDE = Histogram.from_buckets([(0.001, 0.002, 9_000), (0.002, 0.005, 2_900), (0.005, 0.020, 100)])
CLOSED = Run(
    "tests/test_shop.py::test_capacity",
    JudgedResult(
        plan("http://127.0.0.1:8000/", rate="max", duration=2, connections=32, expect=[200, "3xx"]),
        "wrk",
        (
            Interval(
                0,
                2,
                WIDE,
                WIDE,
                outcomes={"200": 11_990, "404": 10},
                cpu=0.99,
            ),
        ),
        version="4.1.0",
        latency_from="sent",
    ),
    outcome="passed",
)


def named(start: int, figures: dict[str, tuple[float, dict[str, int]]], **rest: Any) -> Interval:
    """Make a second of a mix, of each name as fast and with the outcomes that are given."""
    parts = {name: second(start, fastest, outcomes) for name, (fastest, outcomes) in figures.items()}
    total = Interval.merge_parallel(list(parts.values()))
    names = {
        name: NamedFigures(
            latency=part.latency,
            service_time=part.service_time,
            outcomes=part.outcomes,
            first_byte=part.service_time,
            received=part.received,
        )
        for name, part in parts.items()
    }
    return replace(total, names=names, first_byte=total.service_time, **rest)


def mix(url: str, **options: Any) -> Plan:
    """Make a plan of three requests, one of which is expected to find nothing, and one filled from data."""
    requests = (
        NamedRequest("GET /search", plan(f"{url}/search").target, weight=7),
        NamedRequest("order", plan(f"{url}/orders", "POST").target, weight=2, data="1,000 rows"),
        NamedRequest("missing|<b>", plan(f"{url}/none").target, weight=1, expect=("404",)),
    )
    return replace(plan(f"{url}/search", **options), mix=requests)


MIX = Run(
    "tests/test_shop.py::test_mix",
    JudgedResult(
        mix("http://127.0.0.1:8000", rate=200, duration=3),
        "embedded",
        tuple(
            named(
                at,
                {
                    "GET /search": (0.002, {"200": 140}),
                    "order": (0.010, {"200": 37, "503": 2, "check": 1}),
                    "missing|<b>": (0.001, {"404": 20}),
                },
                reasons={
                    "503": "its body is 'no capacity' (order)",
                    "check": "the body lacks 'id'; its status is 200 and its body is '<h1>Sorry</h1>' (order)",
                },
            )
            for at in range(3)
        ),
        version="0.1.0",
        verdicts=(
            verdict("p99 < 100ms", "met", "36.3ms", 0.0302, 0.0547, "95% sure of 54.7ms or less"),
            verdict("errors < 1%", "missed", "9 of 600", 0.0109, 0.02, "95% sure of 1.09% or more"),
        ),
    ),
    date=STARTED,
    outcome="failed",
)
STEPS: tuple[tuple[int, Outcome, float | None], ...] = (
    (100, "unclear", 0.011),
    (200, "unclear", 0.012),
    (400, "met", 0.016),
    (800, "missed", None),
    (440, "unclear", 0.029),
)
SEARCH = replace(
    WELL,
    test="tests/test_shop.py::test_capacity",
    capacity=Capacity(
        Rate(400),
        Rate(440),
        tuple(
            Step(Rate(rate), outcome, 5.0, 5 * rate, 0.002, p99, Share(0 if p99 else 0.5))
            for rate, outcome, p99 in STEPS
        ),
        "p99 < 30ms",
    ),
)
RECORD = Record(
    runs=(WELL, ILL, CLOSED, MIX),
    machine=Fingerprint("Linux 6.1.0 x86_64", "Example CPU @ 2.40GHz", 4, "CPython 3.13.1", "cpu 200000 100000"),
    revision=Revision("0123456789abcdef0123456789abcdef01234567", "faster-search"),
    date=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
    software="0.1.0",
)
EMPTY = replace(RECORD, runs=())
UNANSWERED = Run(
    "tests/test_down.py::test_down",
    JudgedResult(
        plan("http://127.0.0.1:9/", rate=10, duration=1), "embedded", (Interval(0, 1, outcomes={"timeout": 10}),)
    ),
)
"""A run without a response."""
NOTHING = Run("tests/test_down.py::test_stopped", replace(UNANSWERED.result, intervals=(), interrupted=True))
"""A run interrupted before its first request."""
MARKUP = (
    """</script><script>document.title='pwned'</script><img src=x onerror="document.title='pwned'">{{ 7 * 7 }}&'"|`_*"""
)
"""A name that is code in HTML, templates and Markdown."""
HOSTILE = Run(
    f"tests/test_x.py::test_x[{MARKUP}]",
    replace(
        WELL.result,
        generator=MARKUP,
        version=MARKUP,
        intervals=tuple(second(at, 0.002, {"200": 490, MARKUP: 10}) for at in range(6)),
        verdicts=(
            verdict("p99 < 200ms", "missed", MARKUP, 0.1, 0.3, MARKUP),
            verdict(MARKUP, "unclear", MARKUP, remark=MARKUP),
        ),
    ),
)
"""A run in which every name that users choose is code."""
KEPT = Run(
    "tests/test_shop.py::test_basket",
    replace(
        WELL.result,
        verdicts=(
            verdict("p50 < baseline + 10%", "missed", "2.4ms → 2.82ms, +17.5%", 1.13, 1.22, "95% sure of +13% or more"),
            verdict("p99 < baseline + 25%", "unclear", "15.6ms → 18.3ms, +17.5%", 1.05, 1.31, "90% sure of +5%"),
            verdict("rate > baseline - 5%", "met", "500/s → 500/s, +0%", 1, 1, "95% sure of +0% or more"),
        ),
        baseline=Baseline(
            tuple(
                KeptRun(
                    replace(WELL.result, intervals=tuple(second(at, fastest / 1e6, {"200": 500}) for at in range(6))),
                    f"{number:x}abcdef0123",
                    datetime(2026, 2, 1 + number, 3, 17, tzinfo=UTC) if number else None,
                )
                for number, fastest in enumerate((1200, 1210, 1190, 1205, 1700, 1710, 1705, 1690))
            )
        ),
    ),
    outcome="failed",
)
"""A run compared with eight that were kept, the first four from before a step."""
ODD = replace(RECORD, runs=(UNANSWERED, NOTHING, HOSTILE), revision=Revision("", MARKUP))
