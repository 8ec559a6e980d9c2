"""Memory: whether the generator's process grows while it sends."""

import os
import subprocess
from contextlib import closing

from benchmarks import nginx, report
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.running.runner import run as load
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

RATE = 20_000
SECONDS = 60
MOMENTS = (1, 10, 30, SECONDS)
WITHIN = 0.1


def run() -> None:
    sizes: list[tuple[int, int]] = []
    with nginx.running() as service, closing(Embedded()) as generator:
        # The process that is free is the one that the load is given.
        worker = generator.acquire()
        generator.release(worker)
        process = worker._process.pid

        def watch(_: Interval) -> None:
            sizes.append((_resident(process), _resident(os.getpid())))

        result = load(Plan.of(Target.of(service.http), rate=RATE, duration=SECONDS), generator, watch)
    rows = [(f"{moment} s", *(f"{size / 1024:.1f} MiB" for size in sizes[moment - 1])) for moment in MOMENTS]
    report.table(f"Memory at {RATE:,}/s ({result.requests:,} requests)", ("After", "generator", "test process"), rows)
    grown = sizes[SECONDS - 1][0] / sizes[0][0] - 1
    report.expected(f"the generator to stay within {WITHIN:.0%}", report.percent(grown, "+"), abs(grown) <= WITHIN)


def _resident(process: int) -> int:
    """Return the resident memory of a process, in KiB."""
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, check=True).stdout)
