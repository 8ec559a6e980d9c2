"""Startup: what the plugin costs in a pytest session without a load."""

import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points
from pathlib import Path
from statistics import median

from benchmarks import report

ROUNDS = 30
MOST = 0.010
PLUGIN = "loadgen"
NO_TESTS = 5


def run() -> None:
    # Without other plugins, which may import the same modules.
    others = [f"-pno:{entry.name}" for entry in entry_points(group="pytest11") if entry.name != PLUGIN]
    arms = {"without": [*others, f"-pno:{PLUGIN}"], "with": others}
    took: dict[str, list[float]] = {arm: [] for arm in arms}
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        Path(folder, "test_empty.py").touch()
        for turn in range(ROUNDS + 1):
            for arm, options in arms.items():
                seconds = _session(folder, options)
                # The first round compiles modules.
                if turn:
                    took[arm].append(seconds)
    rows = [
        (f"{arm} the plugin", *map(report.milliseconds, (median(times), min(times), max(times))))
        for arm, times in took.items()
    ]
    title = f"Startup: pytest on an empty file, {ROUNDS} rounds"
    report.table(title, ("Session", "median", "fastest", "slowest"), rows)
    more = median(took["with"]) - median(took["without"])
    report.expected(f"at most {report.milliseconds(MOST)} more", report.milliseconds(more), more <= MOST)


def _session(folder: str, options: list[str]) -> float:
    environment = os.environ | {"PYTHONPYCACHEPREFIX": f"{folder}/cache"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", "-q", "-pno:cacheprovider", *options, "test_empty.py"]
    started = time.perf_counter()
    done = subprocess.run(command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    took = time.perf_counter() - started
    if done.returncode != NO_TESTS:
        raise SystemExit(f"pytest ended with exit status {done.returncode}: {done.stdout}{done.stderr}")
    return took
