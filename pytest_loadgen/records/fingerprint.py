"""The machine that figures come from."""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from pytest_loadgen import cgroup
from pytest_loadgen.wording import changed


@dataclass(frozen=True)
class Fingerprint:
    """A machine, as far as it affects the figures."""

    system: str
    processor: str
    cores: int
    """The cores that this process may use."""
    python: str
    limit: str
    """The container's CPU and memory limits, as the kernel writes them; empty without limits."""

    @classmethod
    @cache
    def here(cls) -> Self:
        """Describe this machine."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return cls(
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            processor=_processor(),
            cores=cores,
            python=f"{platform.python_implementation()} {platform.python_version()}",
            limit=cgroup.limits(),
        )

    @property
    def name(self) -> str:
        """A folder name without anything secret: system, cores, and a hash of all fields."""
        digest = hashlib.sha256(repr(self.as_dict()).encode()).hexdigest()[:8]
        return f"{self.system.partition(' ')[0].lower() or 'unknown'}-{self.cores}-{digest}"

    def differences(self, other: Fingerprint) -> list[str]:
        """List how the machine of a baseline differs from this one."""
        mine, theirs = self.as_dict(), other.as_dict()
        return [changed(key, theirs[key], mine[key]) for key in mine if mine[key] != theirs[key]]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` returned."""
        return cls(**data)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
