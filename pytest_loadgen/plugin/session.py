"""The runs of a test session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_loadgen.records.run import Run

# The attributes by which a test report carries its runs, and what else there is to say of them.
_CARRIED, _FOUND = "loadgen_runs", "loadgen_remarks"


class Session:
    """Gathers the runs of all tests, wherever they ran."""

    def __init__(self) -> None:
        """Start with none."""
        self.runs: list[Run] = []
        self.remarks: list[str] = []
        self.loaded: set[str] = set()
        """The tests that called `load`."""
        self.places: dict[str, tuple[str, int]] = {}
        """In which file and line tests are, counted from 1."""
        self._unreported: list[Run] = []
        self._unsaid: list[str] = []

    def say(self, remark: str) -> None:
        """Take a line for the summary."""
        self._unsaid.append(remark)

    def add(self, run: Run) -> None:
        """Take a run of the test that is under way."""
        self._unreported.append(run)

    def properties(self) -> list[tuple[str, str]]:
        """Give the figures of what ran since the last report, as properties of a test case."""
        if not self._unreported:
            return []
        from pytest_loadgen.reports.junit import properties

        return properties(self._unreported)

    def attach(self, report: pytest.TestReport) -> None:
        """Let a report carry what ran since the last one."""
        if self._unreported:
            setattr(report, _CARRIED, self._unreported)
            self._unreported = []
        if self._unsaid:
            setattr(report, _FOUND, self._unsaid)
            self._unsaid = []

    def gather(self, report: pytest.TestReport) -> None:
        """Take what a report carries."""
        self.remarks += getattr(report, _FOUND, ())
        if runs := getattr(report, _CARRIED, ()):
            self.runs += runs
            path, line, _ = report.location
            self.places[report.nodeid] = path, (line or 0) + 1

    @staticmethod
    def pack(data: dict[str, Any]) -> None:
        """Make what a report carries fit to be sent: xdist's workers send reports as plain values."""
        if runs := data.get(_CARRIED):
            data[_CARRIED] = [run.as_dict() for run in runs]

    @staticmethod
    def unpack(report: object) -> None:
        """Make runs again of what was sent."""
        if carried := getattr(report, _CARRIED, ()):
            from pytest_loadgen.records.run import Run

            setattr(report, _CARRIED, [Run.from_dict(each) for each in carried])

    def finish(self) -> None:
        """Keep the runs that no report came for, as the session was interrupted."""
        self.runs += self._unreported
        self._unreported.clear()
