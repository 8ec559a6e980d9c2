"""What this machine itself adds to a latency."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.running import runner
from pytest_loadgen.running.no_op_service import no_op_service
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.units import Duration, Share

# Enough to see what is typical, in half a second.
_RATE, _SECONDS = 400, 0.5
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
    """Load a no-op service for half a second. Raises LoadError where that fails."""
    total, stolen = _cpu_time()
    with no_op_service() as url:
        plan = plan_of(url, {"rate": _RATE, "duration": _SECONDS, "connections": 4, "warmup": 0.1})
        result = runner.run(plan, generator)
    total_after, stolen_after = _cpu_time()
    return Machine(
        p99=result.p99,
        jitter=result.total.lag.percentile(99) if result.total.lag else Duration(0),
        stolen=Share((stolen_after - stolen) / max(1, total_after - total)),
    )


def _cpu_time() -> tuple[int, int]:
    """Give the CPU time so far and the stolen part of it, in the kernel's ticks; 0 where unknown."""
    with suppress(OSError, ValueError, IndexError):
        fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]]
        return sum(fields), fields[7]
    return 0, 0
