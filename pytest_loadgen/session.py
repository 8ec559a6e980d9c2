"""The runs of a test session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_loadgen.runs import Run

# The attribute by which a test report carries its runs, through xdist too.
_CARRIED = "loadgen_runs"


class Session:
    """Gathers the runs of all tests, wherever they ran."""

    def __init__(self) -> None:
        """Start with none."""
        self.runs: list[Run] = []
        self._unreported: list[Run] = []

    def add(self, run: Run) -> None:
        """Take a run of the test that is under way."""
        self._unreported.append(run)

    def attach(self, report: pytest.TestReport) -> None:
        """Let a report carry what ran since the last one."""
        if self._unreported:
            setattr(report, _CARRIED, [run.as_dict() for run in self._unreported])
            self._unreported.clear()

    def gather(self, report: pytest.TestReport) -> None:
        """Take what a report carries."""
        carried: Iterable[dict[str, Any]] = getattr(report, _CARRIED, ())
        if carried:
            from pytest_loadgen.runs import Run

            self.runs += map(Run.from_dict, carried)

    def finish(self) -> None:
        """Keep the runs that no report came for, as the session was interrupted."""
        self.runs += self._unreported
        self._unreported.clear()
