"""The load generators to compare, all with the same interface."""

import math
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import cache
from statistics import median
from typing import NamedTuple, Protocol

from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.running.runner import run
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class Figures(NamedTuple):
    """What a generator reports; times in seconds."""

    rate: float
    p50: float
    p99: float
    cpu: float
    """Share of one core that the generator used."""
    lag: float = math.nan
    """The p99 of how late requests were sent."""


class Peer(Protocol):
    """A load generator. The rate is per second; None means as fast as it can."""

    def __call__(self, url: str, *, connections: int, seconds: int, rate: int | None = None) -> Figures:
        """Load a service, and return the figures."""


def embedded(url: str, *, connections: int, seconds: int, rate: int | None = None) -> Figures:
    """Run pytest-loadgen's own generator as a test does."""
    target = Target.of(url, verify=False)
    plan = Plan.of(target, rate=rate or "max", duration=seconds, connections=connections, warmup=1)
    result = run(plan, _generator())
    if result.errors:
        raise SystemExit(f"embedded: {result.outcomes}")
    lag = result.total.lag
    late = float(lag.percentile(99)) if lag.count else math.nan
    return Figures(result.rate, result.p50, result.p99, result.total.cpu, late)


def wrk(url: str, *, connections: int, seconds: int, rate: int | None = None) -> Figures:
    """Run wrk, which has the closed model only."""
    return _wrk(["wrk", f"-c{connections}", f"-d{seconds}", url])


def wrk2(url: str, *, connections: int, seconds: int, rate: int | None = None) -> Figures:
    """Run wrk2, which discards the figures of its calibration: it measures for `seconds` after that."""
    calibration = math.ceil(10 + 0.005 * connections)
    return _wrk(["wrk2", f"-R{rate}", f"-c{connections}", f"-d{seconds + calibration}", url])


def hey(url: str, *, connections: int, seconds: int, rate: int | None = None) -> Figures:
    """Run hey, which keeps a rate by pausing on each connection."""
    limit = ["-q", str(rate // connections)] if rate else []
    printed, cpu = _output(["hey", "-t", "5", "-c", str(connections), "-z", f"{seconds}s", *limit, url])
    if "Error distribution" in printed or set(re.findall(r"\[(\d+)\]\s+\d+ responses", printed)) != {"200"}:
        raise SystemExit(f"hey: {printed}")
    latency = {int(percent): float(seconds) for percent, seconds in re.findall(r"(\d+)%+ in ([\d.]+) secs", printed)}
    return Figures(_rate(printed), latency[50], latency[99], cpu)


def present(*peers: Peer) -> dict[str, Peer]:
    """Return the generators that are installed, by name."""
    named = {getattr(peer, "__name__", ""): peer for peer in peers}
    return {name: peer for name, peer in named.items() if name == "embedded" or shutil.which(name)}


def interleaved(runs: Mapping[str, Callable[[], Figures]], rounds: int) -> dict[str, list[Figures]]:
    """Run all in turn, several rounds, so that other load on the machine affects all of them."""
    found: dict[str, list[Figures]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, once in runs.items():
            found[name].append(once())
    return found


def medians(found: list[Figures]) -> Figures:
    """Return the median of each figure."""
    return Figures(*map(median, zip(*found, strict=True)))


@cache
def _generator() -> Embedded:
    return Embedded()


def _wrk(command: list[str]) -> Figures:
    printed, cpu = _output([*command[:1], "-t1", "--latency", "--timeout", "5s", *command[1:]])
    if "Socket errors" in printed or "Non-2xx" in printed:
        raise SystemExit(f"{command[0]}: {printed}")
    rows = re.findall(r"^ *([\d.]+)% +([\d.]+)(us|ms|s|m) *$", printed, re.MULTILINE)
    latency = {float(percent): float(number) * _UNITS[unit] for percent, number, unit in rows}
    return Figures(_rate(printed), latency[50.0], latency[99.0], cpu)


def _rate(printed: str) -> float:
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    return float(found[1]) if found else math.nan


def _output(command: list[str]) -> tuple[str, float]:
    """Return what a program printed, and the share of one core that it used."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with exit status {done.returncode}: {done.stdout}{done.stderr}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, used / took
