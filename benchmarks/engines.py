"""Engines: every installed load generator against the same services, compared with the truth.

The steady service responds after 5 ms; the stalling one does nothing for 1 s in every 10 s (`truth`
has the arithmetic); nginx responds at once. The overhead of an adapter is the time that a load takes
beyond the run time of its program.
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from statistics import median
from typing import NamedTuple

from benchmarks import delayed, nginx, report
from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators import built_in
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.command import Command
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.running.rounds import Rounds
from pytest_loadgen.running.runner import run as load
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

RATE = 200
SECONDS = 20
# More requests than are due in a stall.
CONNECTIONS = 250
ROUNDS = 3
STALL = 1.0
TAIL = STALL + 2 * delayed.DELAY - delayed.PERIOD / 100
WITHIN = 0.05
HEADERS = (
    *("Generator", "Latency from", "requests", "errors"),
    *("p50", "off by", "p99", "off by", "service p99", "overhead"),
)
ALONE = "fortio alone"

Service = Callable[[], AbstractContextManager[str]]


class Figures(NamedTuple):
    """What a generator reports, and the overhead of its adapter; times in seconds."""

    requests: float
    errors: float
    p50: float
    p99: float
    service_p99: float
    overhead: float


def run() -> None:
    installed = {generator.name: generator for generator in built_in() if _is_installed(generator)}
    _compare("nginx, which responds at once", _nginx, installed)
    steady = _compare("responses after 5 ms", partial(_delayed, 0.0), installed, delayed.DELAY, delayed.DELAY)
    title = "responses after 5 ms, and stalls of 1 s in every 10 s"
    stalling = _compare(title, partial(_delayed, STALL), installed, delayed.DELAY, TAIL)
    for name, generator in installed.items():
        if generator.latency_from != "scheduled":
            continue
        off = max(abs(one.p50 - delayed.DELAY) for one in (steady[name], stalling[name])) - float(
            generator.added_latency
        )
        met = off <= WITHIN * delayed.DELAY
        report.expected(f"{name}: p50 within {WITHIN:.0%} beyond its added latency", report.milliseconds(off), met)
        off = abs(stalling[name].p99 / TAIL - 1)
        report.expected(f"{name}: p99 of the stall within {WITHIN:.0%}", report.percent(off), off <= WITHIN)


def _compare(
    title: str, service: Service, installed: dict[str, LoadGenerator], p50: float = 0.0, p99: float = 0.0
) -> dict[str, Figures]:
    found: defaultdict[str, list[Figures]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, generator in installed.items():
            with service() as url:
                one, alone = _once(url, generator)
            found[name].append(one)
            if alone:
                found[ALONE].append(alone)
    medians = {name: Figures(*map(median, zip(*figures, strict=True))) for name, figures in found.items()}
    truth = [("truth", "", f"{RATE * SECONDS:,}", "0", *_beside(p50, p50), *_beside(p99, p99), "", "")] if p50 else []
    rows = [
        (
            name,
            str(installed[name].latency_from if name in installed else "sent"),
            f"{one.requests:,.0f}",
            f"{one.errors:,.0f}",
            *_beside(one.p50, p50),
            *_beside(one.p99, p99),
            report.milliseconds(one.service_p99),
            report.milliseconds(one.overhead),
        )
        for name, one in medians.items()
    ]
    report.table(f"Engines: {title}, at {RATE}/s for {SECONDS} s, medians of {ROUNDS}", HEADERS, truth + rows)
    return medians


def _once(url: str, generator: LoadGenerator) -> tuple[Figures, Figures | None]:
    """Run a load; for fortio, return its own figures, too."""
    plan = Plan.of(Target.of(url), rate=RATE, duration=SECONDS, connections=CONNECTIONS)
    with _watched(generator) as ran:
        started = time.perf_counter()
        result = load(plan, generator if generator.streams_intervals else Rounds(generator, plan))
        wall = time.perf_counter() - started
    overhead = wall - (sum(output.seconds for output in ran) or SECONDS)
    service = result.percentile(99, service=True)
    figures = Figures(result.requests, result.errors, result.p50, result.p99, service, overhead)
    return figures, _by_itself(ran[0].stdout) if generator.name == "fortio" else None


def _by_itself(printed: str) -> Figures:
    histogram = json.loads(printed)["DurationHistogram"]
    said = {each["Percentile"]: each["Value"] for each in histogram["Percentiles"]}
    return Figures(histogram["Count"], 0, said[50], said[99], math.nan, math.nan)


@contextmanager
def _watched(generator: LoadGenerator) -> Iterator[list[CommandOutput]]:
    """Collect the output of each run of a generator's program."""
    outputs: list[CommandOutput] = []
    if not isinstance(generator, Command):
        yield outputs
        return
    parse = generator.parse

    def watching(output: CommandOutput, plan: Plan) -> Iterable[Interval]:
        outputs.append(output)
        return parse(output, plan)

    generator.parse = watching  # type: ignore[method-assign]
    try:
        yield outputs
    finally:
        del generator.parse


def _is_installed(generator: LoadGenerator) -> bool:
    try:
        generator.version()
    except GeneratorError:
        return False
    return "rate" in generator.features and not hasattr(generator, "address")


@contextmanager
def _nginx() -> Iterator[str]:
    with nginx.running() as addresses:
        yield addresses.http


@contextmanager
def _delayed(stall: float) -> Iterator[str]:
    with delayed.running(stall) as service:
        yield service.url


def _beside(found: float, truth: float) -> tuple[str, str]:
    return report.milliseconds(found), report.percent(found / truth - 1, "+") if truth else ""
