"""What a load is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_loadgen.figures.result import Result


@dataclass(frozen=True)
class Baseline:
    """A result to compare with, or why there is none."""

    result: Result | None = None
    missing: str = ""
    paired: bool = False
    """Whether its intervals and those of the load were made by turns, pair by pair."""
