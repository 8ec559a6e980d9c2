"""The runs of a test session, carried from tests to reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_loadgen.records.run import Run

# The attributes by which a test report carries its runs and remarks.
_RUNS, _REMARKS = "loadgen_runs", "loadgen_remarks"


class Session:
    """Gathers the runs of all tests, wherever they ran."""

    def __init__(self) -> None:
        """Start with none."""
        self.runs: list[Run] = []
        self.remarks: list[str] = []
        self.loaded: set[str] = set()
        """The tests that called `load`."""
        self.locations: dict[str, tuple[str, int]] = {}
        """File and line of tests; lines are counted from 1."""
        self._unreported: list[Run] = []
        self._unsaid: list[str] = []

    def say(self, remark: str) -> None:
        """Add a line to the summary."""
        self._unsaid.append(remark)

    def add(self, run: Run) -> None:
        """Add a run of the current test."""
        self._unreported.append(run)

    def properties(self) -> list[tuple[str, str]]:
        """Give the figures of the runs since the last report, as properties of a JUnit test case."""
        if not self._unreported:
            return []
        from pytest_loadgen.reports.junit import properties

        return properties(self._unreported)

    def attach(self, report: pytest.TestReport) -> None:
        """Let a report carry the runs and remarks since the last one."""
        if self._unreported:
            setattr(report, _RUNS, self._unreported)
            self._unreported = []
        if self._unsaid:
            setattr(report, _REMARKS, self._unsaid)
            self._unsaid = []

    def gather(self, report: pytest.TestReport) -> None:
        """Take the runs and remarks that a report carries."""
        self.remarks += getattr(report, _REMARKS, ())
        if runs := getattr(report, _RUNS, ()):
            self.runs += runs
            path, line, _ = report.location
            self.locations[report.nodeid] = path, (line or 0) + 1

    @staticmethod
    def pack(data: dict[str, Any]) -> None:
        """Turn the runs of a serialized report into plain values, as xdist's workers send them."""
        if runs := data.get(_RUNS):
            data[_RUNS] = [run.as_dict() for run in runs]

    @staticmethod
    def unpack(report: object) -> None:
        """Turn plain values back into runs."""
        if carried := getattr(report, _RUNS, ()):
            from pytest_loadgen.records.run import Run

            setattr(report, _RUNS, [Run.from_dict(each) for each in carried])

    def finish(self) -> None:
        """Keep the runs and remarks for which no report came, because the session was interrupted."""
        self.runs += self._unreported
        self._unreported.clear()


SESSION = pytest.StashKey[Session]()
