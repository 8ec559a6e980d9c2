"""Comparing: how often a comparison of two services is right: side by side, with a saved baseline, by pytest-benchmark.

The services are two copies of one whose delays scatter about 5 ms, and a third that is 10 % slower.
The same data is judged side by side and against the first run as a saved baseline. pytest-benchmark
measures the same services, one request after another, and fails if the mean is 10 % above that of
its own first run.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import delayed, report
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.objectives.baseline import Baseline
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.verdict import OUTCOMES
from pytest_loadgen.running.side_by_side import SideBySide
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

RATE = 200
SECONDS = 5
SCATTER = 0.2
SLOWER = 1.1
ALARM = "p50 < baseline + 10%"
# Detects a change of any size.
FOUND = "p50 < baseline"
MOST_ALARMS, LEAST_FOUND = 0.01, 0.95
LONGEST = 30.0
# Beside a process that takes a core for this long, again and again.
HOGGED_RUNS = 40
HOG_SECONDS, HOG_EVERY = 2.0, 4.0
HOGGED = ("p50 < baseline", "p50 < baseline + 10%", "p99 < baseline + 10%", "mean < baseline + 10%")
HOG = """
import random, sys, time
draw = random.Random(1)
end = time.monotonic() + 3600
while time.monotonic() < end:
    time.sleep(draw.expovariate(1 / float(sys.argv[2])))
    burst = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < burst:
        pass
"""
# A session of pytest-benchmark takes a few seconds.
PEER_RUNS = 30
TESTS = """
import http.client, os

def test_request(benchmark):
    connection = http.client.HTTPConnection(os.environ["SERVICE"])

    def request():
        connection.request("GET", "/")
        connection.getresponse().read()

    benchmark.pedantic(request, rounds=400, warmup_rounds=20)
"""


@dataclass
class Tally:
    """How often an alarm was raised, and how often a change was found."""

    alarms: int = 0
    found: int = 0
    runs: int = 0
    took: list[float] = field(default_factory=list)

    def add(self, result: JudgedResult, seconds: float = 0.0) -> None:
        """Judge a run."""
        self.runs += 1
        self.alarms += result.judge(ALARM).outcome == "missed"
        self.found += result.judge(FOUND).outcome == "missed"
        self.took.append(seconds)


def run(runs: int = 100) -> None:
    with ExitStack() as stack:
        generator = stack.enter_context(closing(Embedded()))
        delays = (delayed.DELAY, delayed.DELAY, delayed.DELAY * SLOWER)
        urls = [stack.enter_context(delayed.running(scatter=SCATTER, delay=delay, spin=False)).url for delay in delays]
        same, same_kept = _tallies(generator, urls[1], urls[0], runs)
        slow, slow_kept = _tallies(generator, urls[2], urls[0], max(20, runs * 2 // 5))
        peer_alarms, peer_found = (_benchmarked(urls[0], url) for url in (urls[1], urls[2]))
    rows = [
        ("side by side", *_cells(same), *_cells(slow), f"{max(same.took + slow.took):.1f} s"),
        ("saved baseline", *_cells(same_kept), *_cells(slow_kept), ""),
        ("pytest-benchmark, mean:10%", f"{peer_alarms} of {PEER_RUNS}", "", f"{peer_found} of {PEER_RUNS}", "", ""),
    ]
    headers = ("Comparison", "same: missed +10%", "differs", "10% slower: missed +10%", "differs", "longest run")
    report.table(f"Comparing: p50 at {RATE}/s, {SECONDS} s of each service a run", headers, rows)
    share = same.alarms / same.runs
    report.expected(
        f"{ALARM} missed for a copy in at most {MOST_ALARMS:.0%}", report.percent(share), share <= MOST_ALARMS
    )
    share = slow.found / slow.runs
    report.expected(f"10 % slower found in at least {LEAST_FOUND:.0%}", report.percent(share), share >= LEAST_FOUND)
    longest = max(same.took + slow.took)
    report.expected(f"each within {LONGEST:g} s", f"{longest:.1f} s", longest <= LONGEST)
    hogged()


def hogged(runs: int = HOGGED_RUNS) -> None:
    """Print how often a service is called worse than a copy of it while another process takes a core now and then."""
    outcomes = {slo: Counter[str]() for slo in HOGGED}
    with ExitStack() as stack:
        generator = stack.enter_context(closing(Embedded()))
        urls = [stack.enter_context(delayed.running(scatter=SCATTER, spin=False)).url for _ in range(2)]
        command = [sys.executable, "-c", HOG, str(HOG_SECONDS), str(HOG_EVERY)]
        hog = stack.enter_context(subprocess.Popen(command))
        stack.callback(hog.kill)
        plan = Plan.of(Target.of(urls[0]), rate=RATE, duration=SECONDS)
        for _ in range(runs):
            draft = JudgedResult(plan, generator.name)
            source = SideBySide(draft, replace(plan, target=Target.of(urls[1])), plan, generator)
            result = replace(draft, intervals=tuple(each.interval for each in source))
            for slo, counts in outcomes.items():
                counts[replace(result, baseline=source.baseline()).judge(slo).outcome] += 1
    report.table(
        f"Real: a service side by side with a copy of it, {RATE}/s, {SECONDS} s of each, beside a process that takes a "
        f"core for {HOG_SECONDS:g} s every {HOG_EVERY + HOG_SECONDS:g} s, {runs} runs",
        ("Objective", *OUTCOMES),
        [(slo, *(f"{counts[outcome]} of {runs}" for outcome in OUTCOMES)) for slo, counts in outcomes.items()],
    )
    missed = sum(counts["missed"] for slo, counts in outcomes.items() if slo.endswith("%"))
    report.expected("no copy more than 10 % worse", f"{missed} of {runs * (len(HOGGED) - 1)}", not missed)


def _tallies(generator: Embedded, mine: str, other: str, runs: int) -> tuple[Tally, Tally]:
    """Compare with the other service in the same run, and in the first run."""
    plan = Plan.of(Target.of(mine), rate=RATE, duration=SECONDS)
    by_pairs, by_first, first = Tally(), Tally(), None
    for _ in range(runs):
        started = time.monotonic()
        draft = JudgedResult(plan, generator.name)
        source = SideBySide(draft, replace(plan, target=Target.of(other)), plan, generator)
        result = replace(draft, intervals=tuple(each.interval for each in source))
        took = time.monotonic() - started
        paired = source.baseline()
        against = paired.result
        by_pairs.add(replace(result, baseline=paired), took)
        if first is not None:
            by_first.add(replace(result, baseline=Baseline.single(first)))
        first = first or against
    return by_pairs, by_first


def _cells(tally: Tally) -> tuple[str, str]:
    return f"{tally.alarms} of {tally.runs}", f"{tally.found} of {tally.runs}"


def _benchmarked(first: str, url: str) -> int:
    """Count how often pytest-benchmark finds a service more than 10 % slower than another one in a first session."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        (folder / "test_service.py").write_text(TESTS, encoding="utf-8")
        _session(folder, first, "--benchmark-save=first")
        fail = ("--benchmark-compare=0001", "--benchmark-compare-fail=mean:10%")
        return sum(_session(folder, url, *fail) != 0 for _ in range(PEER_RUNS))


def _session(folder: Path, url: str, *options: str) -> int:
    environment = {**os.environ, "SERVICE": url.removeprefix("http://").rstrip("/")}
    command = [sys.executable, "-m", "pytest", "-q", "-pno:cacheprovider", *options, "test_service.py"]
    done = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    printed = done.stdout + done.stderr
    # When it finds a regression, it ends without pytest's last line.
    if "1 passed" not in printed and "Performance has regressed" not in printed:
        raise SystemExit(f"pytest-benchmark: {printed}")
    return done.returncode
