"""Capacity: whether a search brackets the rate that a service can hold, simulated and for real."""

import heapq
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from statistics import median
from time import monotonic

from benchmarks import machine, report
from benchmarks.simulated import SEED, seconds_of
from pytest_loadgen import serve
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.objectives.capacity import Capacity
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.search import PRECISION, Search, Trial
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.running.calibration import calibrate
from pytest_loadgen.running.capacity import LENGTH, SHORT, WARMUP, CapacitySearch, Range
from pytest_loadgen.running.measurement import Environment, NoProgress
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration
from tests.builders import one_at_a_time

RUNS = 100
BUDGET = 60.0
PAUSE = 1.0
SLOW = 0.01
SERVICE_TIME = 0.002
REAL_RUNS = 10
AGREE = 0.1
HERE = Target.of("http://127.0.0.1/")


@dataclass(frozen=True)
class Queue:
    """An M/M/c queue: Poisson arrivals, exponential work, one queue for all servers."""

    servers: int
    work_rate: float
    """Of one server, in requests per second."""
    limit: float
    """Of the p99, in seconds."""

    def __str__(self) -> str:
        return f"M/M/{self.servers}, {self.servers * self.work_rate:,.0f}/s, p99 < {Duration(self.limit)}"

    def slow(self, rate: float) -> float:
        """Give the true share of requests that take longer than the limit (Erlang C)."""
        load, work = rate / self.work_rate, self.work_rate
        if load >= self.servers:
            return 1.0
        terms = [load**count / math.factorial(count) for count in range(self.servers)]
        last = load**self.servers / math.factorial(self.servers) / (1 - load / self.servers)
        waits, spare = last / (sum(terms) + last), self.servers * work - rate
        alone = math.exp(-work * self.limit)
        if math.isclose(work, spare):
            return alone * (1 + waits * work * self.limit)
        return alone + waits * work / (work - spare) * (math.exp(-spare * self.limit) - alone)

    @property
    def capacity(self) -> float:
        """The rate at which 1 % are slower than the limit."""
        low, high = 0.0, self.servers * self.work_rate
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if self.slow(middle) > SLOW else (middle, high)
        return low

    def times(self, draw: Random, rate: float, warmup: float, seconds: float) -> Iterator[list[float]]:
        """Draw the response times of each second of a load; the queue is empty before the warm-up."""
        free = [-warmup] * self.servers
        now = -warmup
        for second in range(round(seconds)):
            found: list[float] = []
            while (now := now + draw.expovariate(rate)) < second + 1:
                end = max(now, free[0]) + draw.expovariate(self.work_rate)
                heapq.heapreplace(free, end)
                if now >= 0:
                    found.append(end - now)
            yield found


QUEUES = (
    Queue(1, 1000, 0.020),
    Queue(1, 1000, 0.050),
    Queue(4, 250, 0.030),
    Queue(16, 100, 0.100),
    Queue(16, 250, 0.030),
)


def run() -> None:
    simulated()
    real()


def simulated() -> None:
    """Print how often a search brackets the true capacity, and how narrowly."""
    rows, inside = [], {}
    for queue in QUEUES:
        found = [_search(queue, Random(SEED + number)) for number in range(RUNS)]
        true = queue.capacity
        inside[queue] = sum(search.low <= true <= search.high for search, _ in found) / RUNS
        widths = sorted(search.high / search.low - 1 if search.low else math.inf for search, _ in found)
        wrong = [sum(search.low > true for search, _ in found), sum(search.high < true for search, _ in found)]
        rows.append(
            (
                str(queue),
                f"{true:,.0f}/s",
                report.percent(inside[queue]),
                *map(str, wrong),
                report.percent(median(widths)),
                report.percent(widths[int(0.9 * RUNS)]),
                f"{max(seconds for _, seconds in found):.0f} s",
            )
        )
    report.table(
        f"Capacity, simulated: {RUNS} searches of {BUDGET:.0f} s each",
        ("Service", "capacity", "inside", "low too high", "high too low", "width", "width, 9 of 10", "longest"),
        rows,
    )
    for queue, share in inside.items():
        report.expected(f"{queue}: inside in at least 95 %", report.percent(share), share >= 0.95)
    widest = max(rows, key=lambda row: float(row[5].rstrip("%")))
    what = f"a width of {PRECISION:.0%} (median)"
    report.expected(what, f"up to {widest[5]} ({widest[0]})", float(widest[5].rstrip("%")) <= 100 * PRECISION)


def _search(queue: Queue, draw: Random) -> tuple[Search, float]:
    """Search as `load.capacity()` does, and give how long it took."""
    slo = SLO.parse(f"p99 < {queue.limit * 1e3:g}ms")
    search, spent = Search(100, 1, 1e7), 0.0
    while (rate := search.next(int((BUDGET - PAUSE - spent) // (LENGTH + WARMUP)))) is not None:
        rough = search.is_rough
        length, warmup = (SHORT, 0.0) if rough else (LENGTH, WARMUP)
        intervals = seconds_of(queue.times(draw, rate, warmup, length))
        result = JudgedResult(Plan.of(HERE, rate=rate, duration=length), "simulated", tuple(intervals))
        trial = Trial(rate, replace(result, verdicts=tuple(judge_all([slo], result))), rough)
        search.add(trial)
        spent += length + warmup + (PAUSE if trial.excess >= 0 else 0)
    return search, spent


def real() -> None:
    """Print what searches find of a service of a known service time."""
    objectives = ("p99 < 50ms", "errors < 1%")
    found, lengths = [], []
    with _served() as url, closing(Embedded()) as generator:
        plan = Plan.of(Target.of(url), rate=1, duration=1, connections=1000)
        environment = Environment(nullcontext, partial(calibrate, generator), lambda *_: NoProgress())
        for _ in range(REAL_RUNS):
            draft, gate = JudgedResult(plan, generator.name), Gate.of(objectives)
            search = CapacitySearch(draft, gate, Range(seconds=BUDGET), lambda _: generator, environment)
            began = monotonic()
            search.run()
            lengths.append(monotonic() - began)
            found.append(search.capacity(_ignore))
    rows = [
        (str(number), str(each.low), str(each.high), f"{len(each.steps)}", f"{seconds:.0f} s")
        for number, (each, seconds) in enumerate(zip(found, lengths, strict=True), 1)
    ]
    title = f"Capacity, real: a service that takes {Duration(SERVICE_TIME)} for each request, one after another"
    report.table(title, ("Search", "holds", "does not", "loads", "time"), rows)
    lows = [each.low for each in found]
    spread = max(lows) / max(1.0, min(lows)) - 1
    report.expected(f"{REAL_RUNS} searches to agree within {AGREE:.0%}", report.percent(spread), spread <= AGREE)
    most = 1 / SERVICE_TIME
    right = sum(_brackets(each, most) for each in found)
    report.expected(f"{most:,.0f}/s between the two rates", f"in {right} of {REAL_RUNS}", right == REAL_RUNS)


def _brackets(found: Capacity, rate: float) -> bool:
    return float(found.low) <= rate <= float(found.high)


def _ignore(_: str) -> None:
    """Compare nothing."""


@contextmanager
def _served() -> Iterator[str]:
    with machine.on(machine.SERVICE):
        service = serve([sys.executable, one_at_a_time.__file__, "{port}", str(SERVICE_TIME)])
        url = service.__enter__()
    with ExitStack() as stack:
        stack.push(service)
        yield url
