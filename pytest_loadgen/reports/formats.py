"""The report formats, by file extension."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from pytest_loadgen.errors import PlanError, ReportError
from pytest_loadgen.records.files import write_atomically
from pytest_loadgen.records.record import Record
from pytest_loadgen.reports import bmf, csv_file, ctrf, fortio, hdr_log, html_page, k6, markdown, open_metrics, smp
from pytest_loadgen.wording import did_you_mean


@dataclass(frozen=True)
class Report:
    """A report format."""

    render: Callable[[Record], str]
    per_run: bool = False
    """Whether a file holds only one run, so that several runs need several files."""
    libraries: tuple[str, ...] = ()
    """The optional libraries that it needs, as they are imported."""


FORMATS = {
    ".bmf.json": Report(bmf.document),
    ".csv": Report(csv_file.document),
    ".ctrf.json": Report(ctrf.document),
    ".fortio.json": Report(fortio.document, per_run=True),
    ".hlog": Report(hdr_log.document),
    ".html": Report(html_page.document, libraries=("jinja2",)),
    ".json": Report(Record.dumps),
    ".k6.json": Report(k6.document),
    ".md": Report(markdown.document),
    ".om": Report(open_metrics.document),
    ".smp.yaml": Report(smp.document),
}
"""The report of each file extension; the longest that matches a path wins."""


def check(path: Path, formats: Mapping[str, Report] = FORMATS) -> None:
    """Check a path before anything is sent.

    Raises PlanError for an unknown file extension, ReportError for a missing library.
    """
    _report(path, formats)


def write(path: Path, record: Record, formats: Mapping[str, Report] = FORMATS) -> list[Path]:
    """Write a record in the format of the path's file extension, and return the files written.

    A format that holds one run per file writes several runs to ``name.1.json``, ``name.2.json``
    and so on. Raises PlanError or ReportError.
    """
    extension, report = _report(path, formats)
    parts = {path: record}
    if report.per_run and len(record.runs) != 1:
        # In the path's own case: the extension found is in lower case.
        name, extension = path.name[: -len(extension)], path.name[-len(extension) :]
        numbered = enumerate(record.runs, 1)
        parts = {
            path.with_name(f"{name}.{number}{extension}"): replace(record, runs=(run,)) for number, run in numbered
        }
    for target, part in parts.items():
        _write(target, report.render(part))
    return list(parts)


def _report(path: Path, formats: Mapping[str, Report]) -> tuple[str, Report]:
    name = path.name.lower()
    extension = max(filter(name.endswith, formats), key=len, default="")
    if not extension:
        raise PlanError(f"--load-report {path}: unknown file extension: {did_you_mean(path.suffix, formats)}")
    report = formats[extension]
    if missing := [name for name in report.libraries if not _installed(name)]:
        ours = all(name in FORMATS[".html"].libraries for name in missing)
        remedy = "pip install 'pytest-loadgen[report]'" if ours else "install what is missing"
        raise ReportError(f"--load-report {path} needs {' and '.join(missing)}: {remedy}")
    return extension, report


def _installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ImportError:  # not even the package that it is in
        return False


def _write(path: Path, text: str) -> None:
    # A file name that is not UTF-8 may be part of the text: show its bytes as question marks.
    text = text.encode("utf-8", "replace").decode("utf-8")
    try:
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")  # a pipe or a device must not be replaced
        else:
            write_atomically(target, text)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        reason = getattr(error, "strerror", None) or error
        raise ReportError(f"--load-report: cannot write {path}: {reason}") from None
