"""Where the runs of a session are reported: the terminal, reports, JUnit's file, GitHub, and later sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pytest

from pytest_loadgen.errors import LoadError
from pytest_loadgen.plugin.session import Session
from pytest_loadgen.plugin.settings import baselines, formats
from pytest_loadgen.wording import counted

if TYPE_CHECKING:
    from pytest_loadgen.records.record import Record
    from pytest_loadgen.records.run import Run


class Reporting:
    """Carries runs from tests to the summary and the reports."""

    def __init__(self, session: Session) -> None:
        """Take the session's runs."""
        self._session = session

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        item.user_properties += self._session.properties()
        report = yield
        # A mark on the module may be for other tests.
        marks = item.iter_markers("slo") if "load" in getattr(item, "fixturenames", ()) else item.own_markers
        objectives = any(mark.name == "slo" for mark in marks)
        if report.when == "call" and report.passed and objectives and item.nodeid not in self._session.loaded:
            self._session.say(f"{item.nodeid}: has objectives but ran no load; nothing was judged.")
        self._session.attach(report)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._session.gather(report)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        try:
            yield
        finally:  # even if another plugin fails
            self._session.finish()
            if not hasattr(session.config, "workerinput"):
                self._write(session)

    def _write(self, session: pytest.Session) -> None:
        """Write everything that was asked for; a failure of one does not prevent the others."""
        for option, write in self._asked(session.config):
            try:
                self._session.remarks.append(write())
            except LoadError as error:
                self._session.remarks.append(str(error))
                session.exitstatus = pytest.ExitCode.USAGE_ERROR
            except Exception as error:
                self._session.remarks.append(f"{option} failed: {type(error).__name__}: {error}")
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def _asked(self, config: pytest.Config) -> Iterator[tuple[str, Callable[[], str]]]:
        """Give each option that writes something at the end, and the function that writes it and returns a remark."""
        if name := config.getoption("load_save"):
            yield f"--load-save {name}", partial(self._save, config, name)
        for path in config.getoption("load_report"):
            yield f"--load-report {path}", partial(self._report, config, config.invocation_params.dir / path)

    def _save(self, config: pytest.Config, name: str) -> str:
        """Save the runs that others can be compared with, and say where."""
        # The baseline of each is saved already, under its own name.
        saved = [replace(run, baseline=None) for run in self._session.runs if run.is_sound]
        left = len(self._session.runs) - len(saved)
        why = f"{counted(left, 'load')} failed, did not finish, or met the limit of the generator" if left else ""
        if not saved:
            return f"--load-save {name}: nothing saved: {why or 'there was no load'}."
        where = baselines(config).save(name, self._record(config, saved))
        return f"saved as {name!r}: {where}" + (f"; not saved: {why}." if why else "")

    def _report(self, config: pytest.Config, path: Path) -> str:
        """Write a report, and say where."""
        from pytest_loadgen.reports.formats import write

        written = write(path, self._record(config, self._session.runs), formats(config))
        return f"report: {', '.join(map(str, written)) or f'no load for {path}'}"

    @staticmethod
    def _record(config: pytest.Config, runs: Sequence[Run]) -> Record:
        from pytest_loadgen.records.record import Record

        return Record.of(tuple(runs), config.rootpath)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
        data = yield
        if data:
            self._session.pack(data)
        return data

    @pytest.hookimpl(wrapper=True)
    def pytest_report_from_serializable(self) -> Generator[None, object, object]:
        report = yield
        self._session.unpack(report)
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        self._session.finish()
        runs, remarks = self._session.runs, self._session.remarks
        if not (runs or remarks) or terminalreporter.no_summary:
            return
        from pytest_loadgen.reports import terminal

        terminalreporter.write_sep("=", "load")
        if runs:
            terminalreporter.write_line(terminal.table(runs, verbose=config.get_verbosity() > 0))
        for remark in [*remarks, *terminal.remarks(runs)]:
            terminalreporter.write_line(remark, yellow=True)
        for line, invalid in terminal.undecided(runs):
            terminalreporter.write_line(line, yellow=not invalid, red=invalid)
        if os.environ.get("GITHUB_ACTIONS") == "true" and runs:
            self._annotate_github(terminalreporter, config)

    def _annotate_github(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Annotate the tests whose objectives are not met, and write the table into the step's summary."""
        from pytest_loadgen.reports import github

        for run in self._session.runs:
            path, line = self._session.locations.get(run.test, (run.test.partition("::")[0], 1))
            for mark in github.marks(run, PurePath(path), line):
                terminalreporter.write_line(mark)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            text = github.summary(self._record(config, self._session.runs))
            try:
                # File names need not be valid in any encoding.
                with Path(summary).open("a", encoding="utf-8", errors="replace") as file:
                    file.write(text)
            except OSError as error:
                said = f"GITHUB_STEP_SUMMARY: cannot write {summary}: {error.strerror}"
                terminalreporter.write_line(said, yellow=True)
