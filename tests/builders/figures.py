"""Histograms, intervals and results."""

from typing import Any

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.figures.resources import Resources
from pytest_loadgen.figures.result import Result
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Share, Size
from tests.builders.traffic import plan

PLAN = plan()


def histogram(*latencies: float) -> Histogram:
    made = Histogram()
    for latency in latencies:
        made.record(latency)
    return made


def interval(outcomes: dict[str, int], *, ms: int = 10, lag: float = 0, **rest: Any) -> Interval:
    """Make an interval of one second in which each response took `ms`."""
    latency, late = Histogram(), Histogram()
    latency.record(ms / 1000, sum(count for outcome, count in outcomes.items() if is_answer(outcome)))
    late.record(lag, sum(outcomes.values()))
    made: dict[str, Any] = {"start": 0, "seconds": 1, "service_time": latency, **rest}
    return Interval(latency=latency, outcomes=outcomes, lag=late, **made)


def resources(cpu: float = 0.5, memory: float = 100e6, **rest: Any) -> Resources:
    """Make what a service used that may use two cores."""
    figures: dict[str, Any] = {"process": "shop", "cores": 2.0, "busiest": cpu, "threads": 4, "files": 20, **rest}
    return Resources(cpu=cpu, memory=Size(memory), **{"files_share": Share(0.02), "throttled": 0.0, **figures})


def result(*intervals: Interval, plan: Plan = PLAN, **rest: Any) -> Result:
    return Result(plan, "mine", intervals, **rest)


def second(start: int, slow: int, of: int = 100, *, ms: int = 10, served: bool = True, **failed: int) -> Interval:
    """Make a second with slow (500 ms) and failed requests; without `served`, they are slow only by being sent late."""
    latency, service = Histogram(), Histogram()
    for recorded, late in (latency, slow), (service, slow if served else 0):
        recorded.record(ms / 1000, of - late)
        recorded.record(0.5, late)
    lag = Histogram()
    lag.record(0.0001, of)
    return Interval(start, 1, latency, service, {"200": of, **failed}, lag, cpu=0.1)


def seconds(*slow: int, of: int = 100, **rest: Any) -> Result:
    """Make a result with a second for each number: how many of its requests are slow."""
    return result(*(second(at, each, of, **rest) for at, each in enumerate(slow)), plan=plan(rate=of))


def statuses(*bad: int, kind: str = "503", of: int = 100) -> Result:
    """Make a result with a second for each number: how many of its requests end in this outcome."""
    made = (interval({"200": of - each, kind: each}, start=at) for at, each in enumerate(bad))
    return result(*made, plan=plan(rate=of))


def rates(*answered: int) -> Result:
    """Make a result with a second for each number: how many responses it has."""
    return result(*(interval({"200": each}, start=at) for at, each in enumerate(answered)))


def means(*ms: int) -> Result:
    """Make a result with a second for each number: how long its responses took."""
    return result(*(interval({"200": 100}, ms=each, start=at) for at, each in enumerate(ms)))
