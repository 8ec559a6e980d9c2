"""The machine that runs the benchmarks."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tabulate import tabulate

_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
SERVICE = _CORES[:1]
GENERATOR = _CORES[-1:]


@contextmanager
def on(cores: list[int]) -> Iterator[None]:
    """Run processes that are started meanwhile on these cores, if the system supports it."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def described() -> str:
    """Return date, machine and versions as a table."""
    pinned = f"service on core {SERVICE[0]}, generator on core {GENERATOR[0]}" if _CORES else "processes are not pinned"
    return tabulate(
        [
            ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
            ("processor", f"{_processor()}, {os.cpu_count()} cores; {pinned}"),
            ("system", f"{platform.system()} {platform.release()}"),
            ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
            ("pytest-loadgen", version("pytest-loadgen")),
            *((peer, _version(peer)) for peer in ("nginx", "wrk", "wrk2", "hey")),
        ],
        headers=("", ""),
        tablefmt="github",
        disable_numparse=True,
    )


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        return subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], check=True, capture_output=True, text=True
        ).stdout.strip()
    return platform.machine()


def _version(program: str) -> str:
    """Return the version of a program; hey does not print one."""
    if not (path := shutil.which(program)):
        return "not installed"
    done = subprocess.run([path, "-v"], check=False, capture_output=True, text=True, timeout=10)
    said = (done.stdout or done.stderr).splitlines()
    return (
        said[0].partition("Copyright")[0].removeprefix("nginx version: ").strip()
        if said and program[:2] in said[0]
        else "installed"
    )
