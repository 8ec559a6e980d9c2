"""What the processes of the service under test used: CPU, memory, threads, files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from pytest_loadgen.units import Duration, Share, Size, finite

THIS_PROCESS = "the test process"
"""The name of a service that runs in the process of the tests."""

# From these shares of its limit on, a service counts as at it.
_ALL_OF_IT, _THROTTLED = 0.95, 0.05
# A process that uses this many cores is bound to one: by a lock (such as Python's), or as it has one busy thread.
_ONE_CORE = (0.95, 1.05)


@dataclass(frozen=True)
class Resources:
    """What the processes of the service used in a period of time."""

    process: str
    """What they are called: "uvicorn", "uvicorn (3 processes)", "the test process"."""
    cpu: float
    """How many cores they used, on average."""
    cores: float
    """How many cores they may use: their CPU affinity, and the CPU limit of their container."""
    busiest: float
    """How many cores the busiest of them used, on average."""
    memory: Size
    """The most memory that they had, in bytes; pages that several of them share count once."""
    threads: int
    files: int
    """How many file descriptors they had open."""
    files_share: Share
    """The same as a share of its limit, of the process that was nearest to it; 0 where the limit is not known."""
    throttled: float
    """For how many seconds their container's CPU limit stopped them."""

    @property
    def cpu_share(self) -> Share:
        """The CPU that they used as a share of the cores that they may use."""
        return Share(self.cpu / self.cores)

    def limit(self, seconds: float) -> str:
        """Say which limit they were at in this time, in a sentence; empty where at none."""
        who = self.process if self.process == THIS_PROCESS else "the service"
        if self.throttled > _THROTTLED * seconds:
            # Each core that is stopped counts.
            stopped = Duration(min(self.throttled, seconds))
            return f"{who} was at its CPU limit: its container's CPU limit stopped it for {stopped}."
        if self.cpu_share >= _ALL_OF_IT and self.cores > _ONE_CORE[1]:
            return f"{who} used {self.cpu_share:.0%} of its {self.cores:.3g} cores: it is CPU-bound."
        if self.cpu_share >= _ALL_OF_IT and self.cores < _ONE_CORE[0]:
            return f"{who} used {self.cpu_share:.0%} of the {self.cores:.3g} cores that it may use: it is CPU-bound."
        if _ONE_CORE[0] <= self.busiest <= _ONE_CORE[1]:
            which = who if self.busiest > 0.9 * self.cpu else f"the busiest process of {who}"
            return f"{which} used {self.busiest:.0%} of one core: it is CPU-bound."
        if self.files_share >= _ALL_OF_IT:
            return f"{who} had {self.files_share:.0%} of the files open that it may open: raise its limit (ulimit -n)."
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Give them as JSON can hold them."""
        return {**asdict(self), "memory": int(self.memory), "files_share": float(self.files_share)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote. Raises KeyError or ValueError."""
        values = {each.name: data[each.name] for each in fields(cls)}
        numbers = {name: finite(value) for name, value in values.items() if name != "process"}
        if not isinstance(values["process"], str):
            raise ValueError(f"{values['process']!r} is not a name")
        numbers |= {"memory": Size(numbers["memory"]), "files_share": Share(numbers["files_share"])}
        return cls(process=values["process"], **numbers)

    @classmethod
    def of_one(cls, each: Sequence[Resources | None]) -> Resources | None:
        """Give those of the process that samples the service, of several that load it at the same time."""
        return next(filter(None, each), None)

    @classmethod
    def over_time(cls, each: Sequence[Resources | None], seconds: Sequence[float]) -> Resources | None:
        """Combine those of periods that followed one another; the periods in which they are not known do not count."""
        known = [(one, time) for one, time in zip(each, seconds, strict=True) if one is not None]
        if len(known) < 2:
            return known[0][0] if known else None
        parts = [one for one, _ in known]
        return cls(
            process=parts[-1].process,
            cpu=_average([(one.cpu, time) for one, time in known]),
            cores=parts[-1].cores,
            busiest=_average([(one.busiest, time) for one, time in known]),
            memory=max(one.memory for one in parts),
            threads=max(one.threads for one in parts),
            files=max(one.files for one in parts),
            files_share=max(one.files_share for one in parts),
            throttled=sum(one.throttled for one in parts),
        )


def _average(values: Sequence[tuple[float, float]]) -> float:
    total = sum(time for _, time in values)
    return sum(value * time for value, time in values) / total if total else sum(v for v, _ in values) / len(values)
