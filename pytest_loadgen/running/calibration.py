"""What this machine itself adds to a latency."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.running import runner
from pytest_loadgen.running.no_op_service import no_op_service
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.units import Duration, Share

# Enough to see what is typical, in half a second.
_RATE, _SECONDS, _PARTS = 400, 0.5, 5
# A machine that seems worse than this is measured again, at most this many times: it may have been a hiccup.
_GOOD, _ATTEMPTS = 0.002, 3
# From these values on, the summary has a remark on the machine.
_LATE, _STOLEN = 0.010, 0.05


@dataclass(frozen=True)
class Machine:
    """What the generator measured of this machine, with a service that does nothing."""

    p99: Duration
    """The p99 of the no-op service: a latency near it says little of a real service."""
    jitter: Duration
    """How late timers are, at the p99."""
    stolen: Share
    """The share of the CPU that the hypervisor gave to other guests."""

    def remarks(self) -> list[str]:
        """Say what makes measurements imprecise on this machine."""
        remarks = []
        if self.jitter > _LATE:
            remarks.append(f"measurements are imprecise: timers of this machine are late by {self.jitter} (p99).")
        if self.stolen > _STOLEN:
            remarks.append(f"measurements are imprecise: the hypervisor stole {self.stolen} of this machine's CPU.")
        return remarks


def calibrate(generator: LoadGenerator) -> Machine:
    """Load a no-op service for half a second; longer where the machine looks bad. Raises LoadError where that fails.

    One hiccup says nothing of the rest of a session: each figure is the median of parts.
    """
    total, stolen = _cpu_time()
    parts: list[Interval] = []
    with no_op_service() as url:
        plan = plan_of(url, {"rate": _RATE, "duration": _SECONDS / _PARTS, "connections": 4, "warmup": 0.02})
        for _ in range(_ATTEMPTS):
            for _ in range(_PARTS):
                parts += runner.run(plan, generator).intervals
            p99, jitter = (
                _typical((each.latency for each in parts), math.inf),
                _typical((each.lag for each in parts), 0),
            )
            if p99 < _GOOD and jitter < _GOOD:
                break
    total_after, stolen_after = _cpu_time()
    return Machine(p99=p99, jitter=jitter, stolen=Share((stolen_after - stolen) / max(1, total_after - total)))


def _typical(parts: Iterable[Histogram], unknown: float) -> Duration:
    """Give the median of the p99 of each part."""
    figures = [float(each.percentile(99)) for each in parts if each]
    return Duration(median(figures) if figures else unknown)


def _cpu_time() -> tuple[int, int]:
    """Give the CPU time so far and the stolen part of it, in the kernel's ticks; 0 where unknown."""
    with suppress(OSError, ValueError, IndexError):
        fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]]
        return sum(fields), fields[7]
    return 0, 0
