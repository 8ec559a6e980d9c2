"""The limits of the container that a process runs in (cgroup v2)."""

import math
from contextlib import suppress
from functools import cache
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def throttled(process: int | None = None) -> float:
    """Return how long a CPU limit has stopped the container of a process so far, in seconds; 0 without a limit.

    The process is this one by default.
    """
    return max(map(_throttled, _limiting(process)), default=0.0)


def cores(process: int | None = None) -> float:
    """Return how many cores the container of a process may use at a time; infinity without a limit."""
    return min(map(_cores, _limiting(process)), default=math.inf)


def limits() -> str:
    """Return the limits of CPU and memory of this process as the kernel writes them; empty if there are none."""
    found = []
    for group in _groups(None)[:1]:
        for name in ("cpu.max", "memory.max"):
            text = _read(group / name)
            if text and not text.startswith("max"):
                found.append(f"{name} {text}")
    return ", ".join(found)


def _limiting(process: int | None) -> tuple[Path, ...]:
    """Give the groups of a process that have a CPU limit: its own, and those that it is in."""
    if process is None:
        return _limiting_this_process()
    return tuple(group for group in _groups(process) if math.isfinite(_cores(group)))


@cache  # asked each second, by generators
def _limiting_this_process() -> tuple[Path, ...]:
    return tuple(group for group in _groups(None) if math.isfinite(_cores(group)))


def _groups(process: int | None) -> list[Path]:
    """Give the group of a process, and those around it as far as they can be seen from here."""
    for line in _read(Path(f"/proc/{process or 'self'}/cgroup")).splitlines():
        if line.startswith("0::"):
            # Inside a container, its own group is the root of the file system.
            for group in (Path(f"{_ROOT}{line[3:]}"), _ROOT):
                if (group / "cpu.stat").is_file():
                    return [each for each in (group, *group.parents) if each == _ROOT or _ROOT in each.parents]
    return []


def _throttled(group: Path) -> float:
    lines = _read(group / "cpu.stat").splitlines()
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("throttled_usec ")), 0.0)


def _cores(group: Path) -> float:
    quota, _, period = _read(group / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else math.inf


def _read(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text(encoding="ascii").strip()
    return ""
