"""The runs of a test session."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_loadgen.runs import Run

# The attributes by which a test report carries its runs, and what else there is to say of them,
# through xdist too.
_CARRIED, _FOUND = "loadgen_runs", "loadgen_remarks"


class Session:
    """Gathers the runs of all tests, wherever they ran."""

    def __init__(self) -> None:
        """Start with none."""
        self.runs: list[Run] = []
        self.remarks: list[str] = []
        self._unreported: list[Run] = []
        self._unsaid: list[str] = []

    def say(self, remark: str) -> None:
        """Take a line for the summary."""
        self._unsaid.append(remark)

    def add(self, run: Run) -> None:
        """Take a run of the test that is under way."""
        self._unreported.append(run)

    def attach(self, report: pytest.TestReport) -> None:
        """Let a report carry what ran since the last one."""
        if self._unreported:
            setattr(report, _CARRIED, [run.as_dict() for run in self._unreported])
            self._unreported.clear()
        if self._unsaid:
            setattr(report, _FOUND, self._unsaid)
            self._unsaid = []

    def gather(self, report: pytest.TestReport) -> None:
        """Take what a report carries."""
        self.remarks += getattr(report, _FOUND, ())
        carried: Iterable[dict[str, Any]] = getattr(report, _CARRIED, ())
        if carried:
            from pytest_loadgen.runs import Run

            self.runs += map(Run.from_dict, carried)

    def finish(self) -> None:
        """Keep the runs that no report came for, as the session was interrupted."""
        self.runs += self._unreported
        self._unreported.clear()
