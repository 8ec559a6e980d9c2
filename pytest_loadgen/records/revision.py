"""The code that was tested."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Revision:
    """A commit and its branch; empty where unknown."""

    commit: str = ""
    branch: str = ""

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Ask git; where no branch is checked out, as in CI, read the CI system's variables."""
        branch = _git(folder, "symbolic-ref", "--short", "-q", "HEAD")
        ci = next(filter(None, map(os.environ.get, ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_BRANCH"))), "")
        return cls(commit=_git(folder, "rev-parse", "HEAD"), branch=branch or ci)


def _git(folder: Path, *arguments: str) -> str:
    git = shutil.which("git")
    with suppress(OSError, subprocess.SubprocessError):
        command = [git or "git", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603
        return done.stdout.strip()
    return ""
