"""How long a container's CPU limit has kept this process waiting."""

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
