"""Which machine figures are of, and which code."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from pytest_loadgen.generators import cgroup


@dataclass(frozen=True)
class Fingerprint:
    """What a machine is like, as far as figures depend on it."""

    system: str
    processor: str
    cores: int
    """Those that this process may use."""
    python: str
    limit: str
    """A container's limits of CPU and memory, as the kernel writes them; empty where there is none."""

    @classmethod
    @cache
    def here(cls) -> Self:
        """Look at this machine."""
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
        """A name for it that is no path and tells nothing secret: system, cores, and a hash of all."""
        digest = hashlib.sha256(repr(self.as_dict()).encode()).hexdigest()[:8]
        return f"{self.system.partition(' ')[0].lower() or 'unknown'}-{self.cores}-{digest}"

    def differences(self, other: Fingerprint) -> list[str]:
        """Tell, a phrase each, in what another machine differs."""
        mine, theirs = self.as_dict(), other.as_dict()
        return [f"{key} {theirs[key]} and not {mine[key]}" for key in mine if mine[key] != theirs[key]]

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON can hold it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote."""
        return cls(**data)


@dataclass(frozen=True)
class Revision:
    """Which code it was; empty where that cannot be known."""

    commit: str = ""
    branch: str = ""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Ask git, or the CI system, which checks out no branch."""
        branch = _git(folder, "symbolic-ref", "--short", "-q", "HEAD")
        named = next(filter(None, map(os.environ.get, ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_BRANCH"))), "")
        return cls(commit=_git(folder, "rev-parse", "HEAD"), branch=branch or named)


def _git(folder: Path, *arguments: str) -> str:
    git = shutil.which("git")
    with suppress(OSError, subprocess.SubprocessError):
        command = [git or "git", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
        return done.stdout.strip()
    return ""


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
