"""Where the runs of a session are reported: the terminal, reports, JUnit's file, GitHub, and later sessions."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from pytest_loadgen.errors import LoadError
from pytest_loadgen.plugin.session import FIXTURES, Session, uses_load
from pytest_loadgen.plugin.settings import baselines, formats, keep
from pytest_loadgen.wording import counted

if TYPE_CHECKING:
    from pytest_loadgen.records.record import Record
    from pytest_loadgen.records.run import Run


_NOT_AWAITED = "load.run() was not awaited, so nothing was sent: write 'await load.run(…)'"


class Reporting:
    """Carries runs from tests to the summary and the reports."""

    def __init__(self, session: Session) -> None:
        """Take the session's runs."""
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._session.begin(item)
        if output := _service_output():
            output.begin_test()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        self._session.describe(item)
        report = yield
        if report.passed and report.when != "setup" and self._session.not_awaited:
            self._session.not_awaited.clear()
            report.outcome, report.longrepr = "failed", f"{item.nodeid}: {_NOT_AWAITED}"
        if report.passed and report.when == last_to_load(item) and self._is_unjudged(item):
            why = "was judged" if item.nodeid in self._session.loaded else "was run"
            said = f"has objectives, but no load {why}."
            if item.config.getoption("load_strict"):
                report.outcome, report.longrepr = (
                    "failed",
                    f"{item.nodeid}: {said} This fails because of --load-strict.",
                )
            else:
                self._session.say(said, item.nodeid)
        self._session.explain(report)
        self._session.attach(report)
        if report.failed:
            report.sections += _services(item)
        return report

    def _is_unjudged(self, item: pytest.Item) -> bool:
        """Whether a test that has passed has objectives, and none of its loads a verdict."""
        # A verdict on a load in a fixture of a module satisfies the marks of the module.
        chain = [node.nodeid for node in item.listchain()]
        judged = max((place for place, node in enumerate(chain) if node in self._session.judged), default=-1)
        marked = [chain.index(node.nodeid) for node, _ in item.iter_markers_with_node("slo")]
        # A mark on the module may be for other tests.
        return any(place > judged and (uses_load(item) or place == len(chain) - 1) for place in marked)

    def pytest_unconfigure(self) -> None:
        if output := _service_output():
            output.begin_test()  # there is none, and the last one has ended

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._session.gather(report)
        # Only now: a failure that another plugin repeats is none.
        if report.failed and (output := _service_output()):
            output.keep_named()

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
                self._session.conclude(write())
            except LoadError as error:
                self._session.conclude(str(error))
                session.exitstatus = pytest.ExitCode.USAGE_ERROR
            except Exception as error:
                self._session.conclude(f"{option} failed: {type(error).__name__}: {error}")
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def _asked(self, config: pytest.Config) -> Iterator[tuple[str, Callable[[], str]]]:
        """Give each option that writes something at the end, and the function that writes it and returns a remark."""
        if name := config.getoption("load_save"):
            yield f"--load-save {name}", partial(self._save, config, name)
        for path in config.getoption("load_report"):
            yield f"--load-report {path}", partial(self._report, config, config.invocation_params.dir / path)

    def _save(self, config: pytest.Config, name: str) -> str:
        """Save the runs that others can be compared with, and say where."""
        not_passed = self._session.not_passed
        saved, left = [], Counter[str]()
        for run in self._session.runs:
            if why := run.why_no_baseline or ("of a test that did not pass" if run.test in not_passed else ""):
                left[why] += 1
            else:
                # The baseline of each is saved already, under its own name.
                saved.append(run.without_baseline())
        why = ", ".join(f"{counted(count, 'load')} {reason}" for reason, count in left.items())
        if not saved:
            return f"--load-save {name}: nothing saved: {why or 'there was no load'}."
        where, dropped = baselines(config).save(name, self._record(config, saved), keep(config))
        said = [f"saved as {name!r}: {where}"]
        said += [f"{counted(dropped, 'earlier run')} dropped, because the load has changed"] if dropped else []
        said += [f"not saved: {why}"] if why else []
        return "; ".join(said) + ("." if len(said) > 1 else "")

    def _report(self, config: pytest.Config, path: Path) -> str:
        """Write a report, and say where."""
        from pytest_loadgen.reports.formats import write

        written = write(path, self._record(config, self._session.runs), formats(config))
        return f"report: {', '.join(map(str, written)) or f'no load for {path}'}"

    @staticmethod
    def _record(config: pytest.Config, runs: Sequence[Run]) -> Record:
        from pytest_loadgen.records.record import Record

        return Record.of(tuple(runs), config.rootpath)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        self._session.finish()
        runs, remarks = self._session.runs, self._session.remarks
        if not (runs or remarks) or terminalreporter.no_summary:
            return
        from pytest_loadgen.reports import terminal

        terminalreporter.write_sep("=", "load")
        if runs:
            for text, colour in terminal.table(runs, config.get_verbosity() > 0, _width(terminalreporter)):
                terminalreporter.write_line(terminal.shown(text), **({colour: True} if colour else {}))
        if config.get_verbosity() > 0:
            for said in [*terminal.services(runs), *terminal.blind_spots(runs)]:
                terminalreporter.write_line(terminal.shown(said))
        for remark in [*remarks, *terminal.remarks(runs)]:
            terminalreporter.write_line(terminal.shown(remark), yellow=True)
        for text, colour in terminal.verdicts(runs, verbose=config.get_verbosity() > 1):
            terminalreporter.write_line(terminal.shown(text), **({colour: True} if colour else {}))
        if os.environ.get("GITHUB_ACTIONS") == "true" and runs:
            self._annotate_github(terminalreporter, config)

    def _annotate_github(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Annotate the tests whose objectives are not met, and write the table into the step's summary."""
        from pytest_loadgen.reports import github

        for run in self._session.runs:
            path, line = self._session.locations.get(run.test, (run.test.partition("::")[0], 1))
            for mark in github.annotate(run, PurePath(path), line):
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


def _width(reporter: pytest.TerminalReporter) -> int:
    """Return how wide a row may be; a log has room for all columns, unless it is told otherwise."""
    is_wide = not reporter.isatty and "COLUMNS" not in os.environ
    return sys.maxsize if is_wide else reporter._tw.fullwidth  # pytest gives no other way to it


def _service_output() -> ModuleType | None:
    """Give the module that knows what services have printed, if there was one: the first imports it."""
    return sys.modules.get("pytest_loadgen.service.output")


def _services(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """Give sections of a report with what the services of a test have printed, and where all of it is."""
    if not (output := _service_output()):
        return
    for each in output.outputs():
        if not each.quoted and (each.is_new or uses_load(item)):
            said = each.end() or "(nothing during this test)"
            yield f"Output of {each.title}", said


def last_to_load(item: pytest.Item) -> str:
    """Give the phase in which a test may load last: a fixture that uses `load` may do so after the test."""
    info = getattr(item, "_fixtureinfo", None)  # pytest gives no other way to it
    fixtures = chain.from_iterable(info.name2fixturedefs.values() if info else ())
    return "teardown" if any(FIXTURES.intersection(fixture.argnames) for fixture in fixtures) else "call"
