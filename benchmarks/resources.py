"""Resources: what it costs to sample the CPU and memory of the service, and whether it makes the generator late.

The same load is sent with and without the samples, in pairs. The service is a small one in Python: one process, or
eight forked ones that share its socket and 100 MB of memory.
"""

import multiprocessing
import os
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median

from benchmarks import machine, report
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.running.runner import run as load
from pytest_loadgen.service.processes import Processes, Search
from pytest_loadgen.service.resources import Watch
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

RATE = 500
SECONDS = 10
PAIRS = 6
# Name, processes, connections.
SERVICES = (("1 process", 1, 32), ("8 processes", 8, 32), ("1 process, 1,000 connections", 1, 1_000))
SHARED = 100_000_000
MOST_CPU, MOST_LAG = 0.01, 0.0001
READINGS = 20
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Round:
    """A load, and the CPU time of the thread that sampled the service during it."""

    result: Result
    cpu: float = 0.0
    samples: int = 0

    @property
    def lag(self) -> float:
        """The p99 of how late requests were sent."""
        return self.result.total.lag.percentile(99)


def run() -> None:
    measured, costs = [], []
    with closing(Embedded()) as generator:
        for name, processes, connections in SERVICES:
            with _running(processes) as url:
                plan = Plan.of(Target.of(url), rate=RATE, duration=SECONDS, connections=connections, warmup=3)
                rounds = [_pair(plan, generator, first=bool(number % 2)) for number in range(PAIRS)]
                costs.append(_costs(name, plan.target))
            measured.append(_row(name, rounds))
    rows, shares, lags = zip(*measured, strict=True)
    headers = ("Service", "sampling CPU", "one sample", "lag p99", "with samples", "change", "p99", "with samples")
    report.table(f"Resources: at {RATE}/s for {SECONDS} s, medians of {PAIRS} pairs", headers, rows)
    report.expected(f"sampling below {MOST_CPU:.0%} of a core", report.percent(max(shares)), max(shares) < MOST_CPU)
    found = max(lags)
    report.expected(f"lag p99 to grow by less than {MOST_LAG * 1e3} ms", report.milliseconds(found), found < MOST_LAG)
    parts = ("Service", "find who listens", "again", "find children", "read all", "shared memory of one process")
    report.table(f"Resources: parts of a sample, medians of {READINGS}", parts, costs)


def _pair(plan: Plan, generator: Embedded, *, first: bool) -> tuple[Round, Round]:
    """Load without and with samples, in this order or the other."""
    found = {watched: _round(plan, generator, watched) for watched in (first, not first)}
    return found[False], found[True]


def _round(plan: Plan, generator: Embedded, watched: bool) -> Round:
    watch = Watch(plan.target) if watched else None
    with watch or nullcontext():
        result = load(plan, generator)
        if watch is None:
            return Round(result)
        assert watch._thread.ident
        cpu = time.clock_gettime(time.pthread_getcpuclockid(watch._thread.ident))
        return Round(result, cpu, len(watch.samples))


def _row(name: str, rounds: list[tuple[Round, Round]]) -> tuple[tuple[str, ...], float, float]:
    without, watched = zip(*rounds, strict=True)
    share = median(each.cpu for each in watched) / (SECONDS + 3)
    change = median(after.lag - before.lag for before, after in rounds)
    lags = [median(each.lag for each in kind) for kind in (without, watched)]
    latencies = [median(float(each.result.p99) for each in kind) for kind in (without, watched)]
    cells = (
        report.percent(share),
        report.milliseconds(median(each.cpu / each.samples for each in watched)),
        *map(report.milliseconds, lags),
        f"{change * 1e3:+.3f} ms",
        *map(report.milliseconds, latencies),
    )
    return (name, *cells), share, change


def _costs(name: str, target: Target) -> tuple[str, ...]:
    """Time the parts of a sample."""
    import psutil

    processes = Processes()
    search = Search(target)
    processes.roots = search.processes()
    processes.look()
    processes.read()
    timed = {
        "find": lambda: Search(target).processes(),
        "find again": search.processes,
        "look": processes.look,
        "read": processes.read,
        "shared": psutil.Process(min(processes.roots)).memory_full_info,
    }
    took = []
    for part in timed.values():
        times = []
        for _ in range(READINGS):
            begin = time.perf_counter()
            part()
            times.append(time.perf_counter() - begin)
        took.append(median(times))
    return name, *map(report.milliseconds, took)


@contextmanager
def _running(processes: int) -> Iterator[str]:
    """Run the service."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, processes), daemon=True)
    with machine.on(machine.SERVICE), theirs:
        process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}/"
    finally:
        ours.close()
        process.join(5)
        process.kill()


def _serve(owner: Connection, processes: int) -> None:
    """Serve until the owner closes its end, in several processes that share a socket and memory."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    memory = bytearray(os.urandom(SHARED // 100) * 100)
    first = all(os.fork() for _ in range(processes - 1))
    if first:
        owner.send(listener.getsockname()[1])
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(owner, selectors.EVENT_READ)
    while memory:
        for key, _ in selector.select():
            if key.fileobj is owner:
                return
            # Another process may have been faster.
            with suppress(BlockingIOError):
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                    selector.register(connection, selectors.EVENT_READ)
                else:
                    _answer(selector, key.fileobj)


def _answer(selector: selectors.BaseSelector, connection: object) -> None:
    assert isinstance(connection, socket.socket)
    try:
        data = connection.recv(65536)
    except ConnectionError:
        data = b""
    if data:
        connection.send(_RESPONSE)
    else:
        selector.unregister(connection)
        connection.close()
