"""The reports, by the ending of the path that they are written to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from pytest_loadgen.errors import PlanError, ReportError
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.store import write_whole
from pytest_loadgen.reports import csv_file, fortio, hdr_log, html_page, markdown, open_metrics, smp
from pytest_loadgen.wording import did_you_mean


@dataclass(frozen=True)
class Report:
    """A form that records are written in."""

    render: Callable[[Record], str]
    each: bool = False
    """Whether it holds one run only, so that several runs go to several files."""
    needs: tuple[str, ...] = ()
    """The libraries that it is made with, where these are not always there."""


FORMATS = {
    ".csv": Report(csv_file.document),
    ".fortio.json": Report(fortio.document, each=True),
    ".hlog": Report(hdr_log.document),
    ".html": Report(html_page.document, needs=("jinja2", "plotly")),
    ".json": Report(Record.dumps),
    ".md": Report(markdown.document),
    ".om": Report(open_metrics.document),
    ".smp.yaml": Report(smp.document),
}
"""The report for each ending; the longest that a path has is meant."""


def check(path: Path, formats: Mapping[str, Report] = FORMATS) -> None:
    """Refuse a path before anything is sent.

    Raises PlanError where its ending is unknown, ReportError where a library is missing.
    """
    _report(path, formats)


def write(path: Path, record: Record, formats: Mapping[str, Report] = FORMATS) -> list[Path]:
    """Write a record in the form that the path's ending says, and tell to which files.

    A form that holds one run only goes to ``name.1.ending``, ``name.2.ending`` where there are
    more. Raises PlanError or ReportError.
    """
    ending, report = _report(path, formats)
    parts = {path: record}
    if report.each and len(record.runs) != 1:
        name, ending = path.name[: -len(ending)], path.name[-len(ending) :]
        numbered = enumerate(record.runs, 1)
        parts = {path.with_name(f"{name}.{number}{ending}"): replace(record, runs=(run,)) for number, run in numbered}
    for place, part in parts.items():
        _put(place, report.render(part))
    return list(parts)


def _report(path: Path, formats: Mapping[str, Report]) -> tuple[str, Report]:
    name = path.name.lower()
    ending = max(filter(name.endswith, formats), key=len, default="")
    if not ending:
        raise PlanError(f"--load-report {path}: no report has this ending: {did_you_mean(path.suffix, formats)}")
    report = formats[ending]
    if not all(map(find_spec, report.needs)):
        needs = " and ".join(report.needs)
        raise ReportError(f"--load-report {path} needs {needs}: pip install 'pytest-loadgen[report]'")
    return ending, report


def _put(path: Path, text: str) -> None:
    # What is no text, as a piece of a file name that is not UTF-8, is shown by question marks.
    text = text.encode("utf-8", "replace").decode("utf-8")
    try:
        place = path.resolve()
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists() and not place.is_file():
            place.write_text(text, encoding="utf-8")  # a pipe or a device is written to, and not replaced
        else:
            write_whole(place, text)
    except (OSError, RuntimeError) as error:  # the latter of links that go in circles
        reason = getattr(error, "strerror", None) or error
        raise ReportError(f"--load-report: cannot write {path}: {reason}") from None
