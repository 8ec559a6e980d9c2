"""Traffic: what a mix of requests, and data for each of them, cost beside one address; and what peers make of them."""

import gc
import json
import marshal
import os
import random
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import memory, nginx, report
from pytest_loadgen.figures.histogram import MASKS
from pytest_loadgen.generators.embedded import Embedded, protocol, worker
from pytest_loadgen.generators.embedded.engine import Engine
from pytest_loadgen.running.runner import run as load
from pytest_loadgen.traffic.data import each
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.request import get

CONNECTIONS = 32
SECONDS = 2
ROUNDS = 7
NAMES = 100
ROWS = 1_000_000
ROW_SIZE = 50
RATE = 1_000
LEAST = 0.85
# How much more lag is still "unchanged" between runs on one machine, in seconds.
MOST_LAG = 0.0002
MEMORY_RATE, MEMORY_SECONDS, MOST_MEMORY = 10_000, 20, 200.0
NAMED_RATE, MOST_EMIT, MOST_TAKE = 10_000, 0.005, 0.010
ONE, MIX, DATA = "one address", f"mix of {NAMES}", "million rows"


class Cost(NamedTuple):
    """What a load took; times in seconds."""

    rate: float
    cpu: float
    """CPU time of the sending process for each request, user and system."""
    here: float = 0.0
    """That of the process that has the rows, for each request."""
    lag: float = 0.0
    """The p99 of how late requests were sent."""


def run() -> None:
    rows = [f"{number:0{ROW_SIZE}}" for number in range(ROWS)]
    with nginx.running() as service, closing(Embedded()) as generator, tempfile.TemporaryDirectory() as folder:
        url = service.http
        kinds: dict[str, Any] = {
            ONE: url,
            MIX: [get(f"{url}items/{number}", name=f"item {number}") for number in range(NAMES)],
            DATA: [get(f"{url}items/{{}}", each(rows), name="item")],
        }
        _memory(kinds[DATA], generator)
        _closed_model(url, kinds, generator, Path(folder))
        _lag(kinds, generator)
    _intervals()


def _closed_model(url: str, kinds: dict[str, Any], generator: Embedded, folder: Path) -> None:
    runs: dict[tuple[str, str], Callable[[], Cost]] = {
        ("embedded", kind): partial(_embedded, generator, _plan(traffic, "max", SECONDS))
        for kind, traffic in kinds.items()
    }
    for peer, once in _peers(url, folder).items():
        runs[peer, MIX] = once
    costs: dict[tuple[str, str], list[Cost]] = {key: [] for key in runs}
    runs["embedded", ONE]()  # starts the process
    for _ in range(ROUNDS):
        for key, once in runs.items():
            costs[key].append(once())
    # By CPU time, because other processes on the machine take less from it than from the rate.
    share = {
        key: [base.cpu / one.cpu for base, one in zip(costs["embedded", ONE], found, strict=True)]
        for key, found in costs.items()
    }
    table = [
        (
            peer,
            kind,
            f"{median(one.rate for one in found):,.0f}/s",
            f"{median(one.cpu for one in found) * 1e6:.1f} us",
            f"{median(share[peer, kind]):.2f}",
            f"{median(one.here for one in found) * 1e6:.1f} us" if peer == "embedded" else "",
        )
        for (peer, kind), found in costs.items()
    ]
    report.table(
        f"Traffic: {CONNECTIONS} connections, medians of {ROUNDS} rounds of {SECONDS} s",
        ("Generator", "Load", "throughput", "CPU per request", "of one address", "test process"),
        table,
    )
    for kind in (MIX, DATA):
        found = median(share["embedded", kind])
        report.expected(f"{kind} / one address at least {LEAST}, by CPU time", f"{found:.2f}", found >= LEAST)


def _lag(kinds: dict[str, Any], generator: Embedded) -> None:
    lags: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, traffic in kinds.items():
            lags[kind].append(_embedded(generator, _plan(traffic, RATE, SECONDS)).lag)
    found = {kind: median(each) for kind, each in lags.items()}
    rows = [(kind, report.milliseconds(lag)) for kind, lag in found.items()]
    report.table(f"Traffic: lag at {RATE:,}/s, medians of {ROUNDS} rounds of {SECONDS} s", ("Load", "lag p99"), rows)
    for kind in (MIX, DATA):
        more = found[kind] - found[ONE]
        what = f"lag p99 of {kind} within {report.milliseconds(MOST_LAG)} of that of one address"
        report.expected(what, report.milliseconds(more), more <= MOST_LAG)


def _memory(traffic: Any, generator: Embedded) -> None:
    process = _process(generator)
    sizes: list[tuple[float, float]] = []
    plan = _plan(traffic, MEMORY_RATE, MEMORY_SECONDS)
    load(
        plan,
        generator,
        lambda _: sizes.append((memory._resident(process) / 1024, memory._resident(os.getpid()) / 1024)),
    )
    moments = (1, MEMORY_SECONDS // 2, MEMORY_SECONDS)
    rows = [(f"{moment} s", *(f"{size:.1f} MiB" for size in sizes[moment - 1])) for moment in moments]
    report.table(
        f"Traffic: memory with {ROWS:,} rows of {ROW_SIZE} bytes in a list, at {MEMORY_RATE:,}/s",
        ("After", "generator", "test process"),
        rows,
    )
    most = max(map(sum, sizes))
    report.expected(f"at most {MOST_MEMORY:.0f} MB in all", f"{most * 1.048576:.0f} MB", most * 1.048576 <= MOST_MEMORY)
    grown = sum(sizes[MEMORY_SECONDS - 1]) / sum(sizes[0]) - 1
    report.expected("it to stay within 10%", report.percent(grown, "+"), grown <= 0.1)


def _intervals() -> None:
    """Time the two ends of an interval of many names, with latencies like those of a service."""
    plan = plan_of(
        [get(f"http://127.0.0.1/{number}", name=str(number)) for number in range(NAMES)], {"rate": NAMED_RATE}
    )
    sent: list[bytes] = []

    def emit(figures: protocol.Figures) -> None:
        plain: Any = figures._replace(names=[tuple(each) for each in figures.names])  # type: ignore[misc]
        sent.append(marshal.dumps(plain[:], 2))

    engine = Engine(plan, emit)
    engine._end = 1 << 62
    draw = random.Random(1)
    emitting: list[float] = []
    taking: list[float] = []
    for _ in range(20):
        engine._begin_interval(0)
        for number in range(NAMED_RATE):
            counts = engine._counts[number % NAMES]
            for figure in ("latency", "service_time"):
                elapsed = int(draw.lognormvariate(13, 0.5))
                for each_of in (counts, engine._total):
                    getattr(each_of, figure)[elapsed & MASKS[elapsed.bit_length()]] += 1
            counts.outcomes[200] = counts.outcomes.get(200, 0) + 1
        gc.disable()  # as the engine does while it sends
        started = time.process_time()
        engine._emit_interval(1_000_000_000)
        emitting.append(time.process_time() - started)
        gc.enable()
        started = time.process_time()
        worker.interval_of(protocol.Figures(*marshal.loads(sent[-1])), plan)
        taking.append(time.process_time() - started)
    engine.poller.close()
    report.table(
        f"Traffic: an interval of {NAMES} names at {NAMED_RATE:,}/s, {len(sent[-1]) / 1024:.0f} KiB, CPU time of 20",
        ("Where", "fastest", "median"),
        [
            ("emit, in the generator", *map(report.milliseconds, (min(emitting), median(emitting)))),
            ("take in, in the test process", *map(report.milliseconds, (min(taking), median(taking)))),
        ],
    )
    # The fastest: other processes only ever add to it.
    for what, times, most in (("emitted", emitting, MOST_EMIT), ("taken in", taking, MOST_TAKE)):
        found = min(times)
        report.expected(f"it {what} in at most {report.milliseconds(most)}", report.milliseconds(found), found <= most)


def _plan(traffic: Any, rate: float | str, seconds: float) -> Plan:
    options: Any = {"rate": rate, "duration": seconds, "connections": CONNECTIONS, "warmup": 0}
    return plan_of(traffic, options)


def _embedded(generator: Embedded, plan: Plan) -> Cost:
    process = _process(generator)
    before, here = _cpu(process), time.process_time()
    result = load(plan, generator)
    used, here = _cpu(process) - before, time.process_time() - here
    if result.errors:
        raise SystemExit(f"embedded: {result.outcomes}")
    lag = result.total.lag
    return Cost(
        result.rate, used / result.requests, here / result.requests, float(lag.percentile(99)) if lag.count else 0.0
    )


def _process(generator: Embedded) -> int:
    """Return the process that the next load gets."""
    free = generator.acquire()
    generator.release(free)
    return free._process.pid


def _cpu(process: int) -> float:
    """Return the CPU time of a process, in seconds."""
    ticks = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


# Peers, each with the mix as it takes it; those that are not installed are left out.


def _peers(url: str, folder: Path) -> dict[str, Callable[[], Cost]]:
    paths = [f"items/{number}" for number in range(NAMES)]
    script, targets, plan = folder / "mix.lua", folder / "targets.txt", folder / "mix.json"
    listed = ", ".join(f'wrk.format("GET", "/{path}")' for path in paths)
    script.write_text(
        f"local all, next = {{}}, 0\nfunction init() all = {{{listed}}} end\n"
        f"function request() next = next % {NAMES} + 1; return all[next] end\n",
        encoding="utf-8",
    )
    targets.write_text("".join(f"GET {url}{path}\n" for path in paths), encoding="utf-8")
    steps = [{"request": {"url": f"{url}{path}"}} for path in paths]
    plan.write_text(json.dumps({"options": {}, "flows": {"default": steps}}), encoding="utf-8")
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}", "-s", str(script), url]
    attack = ["vegeta", "attack", "-rate=0", f"-max-workers={CONNECTIONS}", f"-workers={CONNECTIONS}"]
    attack += [
        f"-connections={CONNECTIONS}",
        f"-duration={SECONDS}s",
        f"-targets={targets}",
        f"-output={folder / 'out'}",
    ]
    k9 = ["k9", "run", "--discard-response-bodies", f"-u{CONNECTIONS}", f"-d{SECONDS}s", str(plan)]
    found: dict[str, Callable[[], Cost]] = {
        "wrk": partial(_counted, wrk, r"(\d+) requests in"),
        "vegeta": partial(
            _counted, attack, r'"requests":(\d+)', ["vegeta", "report", "-type=json", str(folder / "out")]
        ),
        "k9": partial(_counted, k9, r"http_reqs\W+(\d+)"),
    }
    return {peer: once for peer, once in found.items() if shutil.which(peer)}


def _counted(command: Sequence[str], count: str, then: Sequence[str] = ()) -> Cost:
    """Run a program that prints, or lets another command print, how many requests it sent."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    printed = _printed(command)
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if then:
        printed = _printed(then)
    if (found := re.search(count, printed)) is None or "Non-2xx" in printed:
        raise SystemExit(f"{command[0]}: {printed}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(int(found[1]) / took, used / int(found[1]))


def _printed(command: Sequence[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with exit status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr
