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
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import delayed, report
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.objectives.baseline import Baseline
from pytest_loadgen.objectives.judged import JudgedResult
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
