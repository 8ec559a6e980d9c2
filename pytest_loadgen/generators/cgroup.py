"""What a container's limits are, and how long that of the CPU has kept this process waiting."""

from contextlib import suppress
from functools import cache
from pathlib import Path


def throttled() -> float:
    """Give the seconds so far; 0 where there is no limit, or no cgroup of version 2."""
    path = _statistics()
    if path is None:
        return 0.0
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("throttled_usec ")), 0.0)


def limits() -> str:
    """Give the limits of CPU and memory, as the kernel writes them; nothing where there is none."""
    path = _statistics()
    if path is None:
        return ""
    found = []
    for name in ("cpu.max", "memory.max"):
        with suppress(OSError):
            text = (path.parent / name).read_text(encoding="ascii").strip()
            found += [f"{name} {text}"] * (not text.startswith("max"))
    return ", ".join(found)


@cache
def _statistics() -> Path | None:
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for group in groups:
        if group.startswith("0::"):
            # In a container, its own group is the root of what it sees.
            for path in (Path("/sys/fs/cgroup" + group[3:]), Path("/sys/fs/cgroup")):
                if (path / "cpu.stat").is_file():
                    return path / "cpu.stat"
    return None
