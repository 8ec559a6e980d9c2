"""What a session tells of its loads: on the terminal, in reports, in JUnit's file, to GitHub, and to later sessions."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pytest

from pytest_loadgen.errors import LoadError
from pytest_loadgen.plugin.session import Session
from pytest_loadgen.wording import counted

if TYPE_CHECKING:
    from pytest_loadgen.records.record import Record
    from pytest_loadgen.records.run import Run
    from pytest_loadgen.records.store import BaselineStore
    from pytest_loadgen.reports.formats import Report


class Reporting:
    """Brings runs from tests to the summary."""

    def __init__(self, session: Session) -> None:
        """Take where the runs are."""
        self._session = session

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        item.user_properties += self._session.properties()
        report = yield
        # A mark of its module may be meant for others.
        marks = item.iter_markers("slo") if "load" in getattr(item, "fixturenames", ()) else item.own_markers
        objectives = any(mark.name == "slo" for mark in marks)
        if report.when == "call" and report.passed and objectives and item.nodeid not in self._session.loaded:
            self._session.say(f"{item.nodeid}: its objectives were not judged, as it did not load anything.")
        self._session.attach(report)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._session.gather(report)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        try:
            yield
        finally:  # whatever befalls other plugins
            self._session.finish()
            if not hasattr(session.config, "workerinput"):
                self._write(session)

    def _write(self, session: pytest.Session) -> None:
        """Write all that was asked for; what goes wrong with the one keeps none of the others."""
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
        """Give what is to be written at the end: by which option, and what writes it and tells where that is."""
        if name := config.getoption("load_save"):
            yield f"--load-save {name}", partial(self._save, config, name)
        for path in config.getoption("load_report"):
            yield f"--load-report {path}", partial(self._report, config, config.invocation_params.dir / path)

    def _save(self, config: pytest.Config, name: str) -> str:
        """Keep what others can be compared with, and say where."""
        # What each was compared with is kept already, where that is.
        kept = [run.without_baseline() for run in self._session.runs if run.can_be_baseline]
        left = len(self._session.runs) - len(kept)
        why = f"{counted(left, 'load')} failed, did not end, or the generator was the limit" if left else ""
        if not kept:
            return f"--load-save {name}: nothing is kept: {why or 'there was no load'}."
        where = baselines(config).save(name, self._record(config, kept))
        return f"kept as {name!r}: {where}" + (f"; not kept: {why}." if why else "")

    def _report(self, config: pytest.Config, path: Path) -> str:
        """Write a report, and say where."""
        from pytest_loadgen.reports import formats

        written = formats.write(path, self._record(config, self._session.runs), formats_of(config))
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
            self._tell_github(terminalreporter, config)

    def _tell_github(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Mark the tests whose objectives are not met, and write the table into the step's summary."""
        from pytest_loadgen.reports import github

        for run in self._session.runs:
            path, line = self._session.places.get(run.test, (run.test.partition("::")[0], 1))
            for mark in github.annotate(run, PurePath(path), line):
                terminalreporter.write_line(mark)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            text = github.summary(self._record(config, self._session.runs))
            try:
                # A file name may be of no encoding.
                with Path(summary).open("a", encoding="utf-8", errors="replace") as file:
                    file.write(text)
            except OSError as error:
                said = f"GITHUB_STEP_SUMMARY: cannot write {summary}: {error.strerror}"
                terminalreporter.write_line(said, yellow=True)


def baselines(config: pytest.Config) -> BaselineStore:
    """Tell where runs are kept."""
    from pytest_loadgen.records.store import FOLDER, BaselineStore

    return BaselineStore(config.getoption("load_storage") or config.rootpath / FOLDER)


def check_reports(config: pytest.Config) -> None:
    """Refuse reports that cannot be made before anything is sent for them."""
    for path in config.getoption("load_report"):
        from pytest_loadgen.reports import formats

        formats.check(Path(path), formats_of(config))


def formats_of(config: pytest.Config) -> Mapping[str, Report]:
    """Give the reports that there are: those that come with the plugin, and those of others."""
    from pytest_loadgen.reports.formats import FORMATS

    more = config.hook.pytest_loadgen_reports()
    return {**FORMATS, **{ending: report for each in more for ending, report in each.items()}}
