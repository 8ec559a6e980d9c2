"""Scale: the cost of sharing a load among workers, on this machine and on a Dask cluster.

First, a small load by one generator, by two workers of this machine, and by clusters of one and two
workers. Then the intervals of 64 workers are generated and merged, without 64 machines.
"""

import pickle
import time
from collections.abc import Callable
from contextlib import closing
from random import Random
from typing import NamedTuple

from benchmarks import cluster, nginx, report
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.running.runner import run as load
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.workers.distributed import Distributed

RATE = 1_000
SECONDS = 10
FEW = ("Workers", "requests", "p50", "p99", "lag p99", "overhead", "CPU here", "CPU of a worker", "idle")
WORKERS = 64
INTERVALS = 60
# Requests per second of each of the 64 workers.
EACH = (100, 1_000)
MANY = ("Each sends", "interval", "pickled in", "one second merged in", f"{INTERVALS} s merged in")
MOST_CPU = 0.02
MOST_TIME = 1.0
LATENCY, LAG, SCATTER = 1e-3, 50e-6, 0.5


def run() -> None:
    _few()
    _many()


def _few() -> None:
    with (
        nginx.running() as service,
        closing(Embedded()) as generator,
        cluster.running(1) as one,
        cluster.running(2) as two,
    ):
        plan = Plan.of(Target.of(service.http), rate=RATE, duration=SECONDS)
        rows = [
            (*_loaded("alone", plan, generator), "", ""),
            (*_loaded("2 on this machine", plan, Distributed(generator, 2)), "", ""),
        ]
        more = 0.0
        for name, address in (("Dask, 1", one), ("Dask, 2", two)):
            shared = Distributed(generator, address)
            load(plan.between(0, 1), shared)  # the first load imports modules in the workers
            found: list[tuple[str, ...]] = []
            busy = _cpu_of_workers(address, lambda: found.append(_loaded(name, plan, shared)))  # noqa: B023
            asleep = _cpu_of_workers(address, lambda: _sleep(address))  # noqa: B023
            rows.append((*found[0], report.percent(busy), report.percent(asleep)))
            more = max(more, busy - asleep)
    report.table(f"Scale: {RATE:,}/s for {SECONDS} s; CPU is without the generator's own process", FEW, rows)
    what = f"a Dask worker to use at most {report.percent(MOST_CPU)} of a core more than an idle one"
    report.expected(what, report.percent(more), more <= MOST_CPU)


def _loaded(name: str, plan: Plan, generator: LoadGenerator) -> tuple[str, ...]:
    started, before = time.perf_counter(), time.process_time()
    result: Result = load(plan, generator)
    took, cpu = time.perf_counter() - started, time.process_time() - before
    return (
        name,
        f"{result.requests:,}",
        report.milliseconds(result.p50),
        report.milliseconds(result.p99),
        report.milliseconds(result.total.lag.percentile(99)),
        report.milliseconds(took - SECONDS),
        report.percent(cpu / took),
    )


def _cpu_of_workers(address: str, act: Callable[[], object]) -> float:
    """Return the share of a core that the busiest worker used during an action."""
    with cluster.client(address) as client:
        before, started = client.run(time.process_time), time.perf_counter()
        act()
        after, took = client.run(time.process_time), time.perf_counter() - started
    return max(float(after[worker] - before[worker]) for worker in before) / took


def _sleep(address: str) -> None:
    """Let each worker sleep in a task, because Dask polls running tasks a hundred times a second."""
    with cluster.client(address) as client:
        client.gather([client.submit(time.sleep, SECONDS, workers=[one], pure=False) for one in client.nthreads()])


class Costs(NamedTuple):
    """The cost of merging the intervals of many workers; times in seconds, sizes in bytes."""

    size: float
    pack: float
    merge: float
    """For all intervals of all workers, with unpickling."""


def _many() -> None:
    plan = Plan.of(Target.of("http://localhost"), rate=EACH[-1] * WORKERS, duration=INTERVALS)
    started = time.perf_counter()
    for part in plan.split(WORKERS):
        pickle.dumps((Embedded(), part))
    split = time.perf_counter() - started
    found = {each: _costs(each) for each in EACH}
    rows = [
        (
            f"{each:,}/s",
            f"{costs.size / 1024:.1f} KiB",
            report.milliseconds(costs.pack),
            report.milliseconds(costs.merge / INTERVALS),
            f"{costs.merge:.2f} s",
        )
        for each, costs in found.items()
    ]
    report.table(f"Scale: generated intervals of {WORKERS} workers", MANY, rows)
    print(f"- Splitting a plan into {WORKERS} parts and pickling them takes {report.milliseconds(split)}.")
    for each, costs in found.items():
        what = f"{WORKERS} × {INTERVALS} intervals of {each:,} requests merged in at most {MOST_TIME:g} s"
        report.expected(what, f"{costs.merge:.2f} s", costs.merge <= MOST_TIME)


def _costs(each: int) -> Costs:
    draw = Random(each)
    intervals = [_interval(each, draw) for _ in range(WORKERS)]
    started = time.perf_counter()
    packed = [pickle.dumps(interval) for interval in intervals]
    pack = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(INTERVALS):
        Interval.merge_parallel([pickle.loads(one) for one in packed])
    return Costs(sum(map(len, packed)) / WORKERS, pack / WORKERS, time.perf_counter() - started)


def _interval(requests: int, draw: Random) -> Interval:
    latency, lag = (_histogram(requests, draw, median) for median in (LATENCY, LAG))
    return Interval(0, 1, latency, latency + Histogram(), {"200": requests}, lag)


def _histogram(count: int, draw: Random, median: float) -> Histogram:
    histogram = Histogram()
    for _ in range(count):
        histogram.record(median * draw.lognormvariate(0, SCATTER))
    return histogram
