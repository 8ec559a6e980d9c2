"""The limits of the container that this process runs in (cgroup v2)."""

from contextlib import suppress
from functools import cache
from pathlib import Path


def throttled() -> float:
    """Return how long the CPU limit has stopped the container so far, in seconds; 0 if there is no limit."""
    path = _cpu_stat()
    if path is None:
        return 0.0
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("throttled_usec ")), 0.0)


def limits() -> str:
    """Return the limits of CPU and memory as the kernel writes them; empty if there are none."""
    path = _cpu_stat()
    if path is None:
        return ""
    found = []
    for name in ("cpu.max", "memory.max"):
        with suppress(OSError):
            text = (path.parent / name).read_text(encoding="ascii").strip()
            if not text.startswith("max"):
                found.append(f"{name} {text}")
    return ", ".join(found)


@cache
def _cpu_stat() -> Path | None:
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for group in groups:
        if group.startswith("0::"):
            # Inside a container, its own group is the root of the file system.
            for path in (Path("/sys/fs/cgroup" + group[3:]), Path("/sys/fs/cgroup")):
                if (path / "cpu.stat").is_file():
                    return path / "cpu.stat"
    return None
