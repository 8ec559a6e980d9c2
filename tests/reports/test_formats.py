"""Writing reports: the file extension selects the format, files are written whole, and no secrets are in them."""

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.errors import LoadError, PlanError, ReportError
from pytest_loadgen.records.record import Record
from pytest_loadgen.reports import github, junit, terminal
from pytest_loadgen.reports.formats import FORMATS, Report, check, write
from tests.reports.examples import EMPTY, HOSTILE, MIX, ODD, RECORD, SECRET, WELL, latencies

ONE = replace(RECORD, runs=(WELL,))


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("report.json", ".json"),
        ("report.fortio.json", ".fortio.json"),
        ("v1.2.Report.HTML", ".html"),
        ("report.smp.yaml", ".smp.yaml"),
        (".om", ".om"),
    ],
)
def test_extension(name: str, extension: str, tmp_path: Path) -> None:
    """The longest known file extension selects the format, in upper or lower case."""
    check(tmp_path / name)
    assert write(tmp_path / name, ONE) == [tmp_path / name]
    assert (tmp_path / name).read_text(encoding="utf-8") == FORMATS[extension].render(ONE)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x.htm", "--load-report x.htm: unknown file extension: did you mean '.html'?"),
        ("x.yaml", "--load-report x.yaml: unknown file extension: did you mean '.smp.yaml'?"),
        ("x", f"--load-report x: unknown file extension: choose from {', '.join(sorted(FORMATS))}."),
        ("json", f"--load-report json: unknown file extension: choose from {', '.join(sorted(FORMATS))}."),
    ],
)
def test_unknown_extension(name: str, said: str) -> None:
    """An unknown file extension is refused before anything is sent, with a suggestion."""
    for refuse in (check, lambda path: write(path, RECORD)):
        with pytest.raises(PlanError) as caught:
            refuse(Path(name))
        assert str(caught.value) == said


@pytest.mark.parametrize(
    ("extension", "said"),
    [
        (".md", "mix of 3 requests"),
        (".html", "mix of 3 requests"),
        (".csv", "mix of 3 requests"),
        (".om", "mix of 3 requests"),
        (".hlog", "mix_of_3_requests"),
        (".smp.yaml", "mix of 3 requests"),
        (".fortio.json", '"URL": "http://127.0.0.1:8000"'),
        (".json", '"names": {}'),
    ],
)
def test_a_mix_that_was_counted_together(extension: str, said: str) -> None:
    """Where there are no figures by name, reports have those of the whole, and call it a mix."""
    together = tuple(replace(each, names={}, reasons={}) for each in MIX.result.intervals)
    run = replace(MIX, result=replace(MIX.result, intervals=together))
    assert said in FORMATS[extension].render(replace(RECORD, runs=(run,)))


@pytest.mark.parametrize("library", ["no_such_library", "no_such_package.part"])
def test_missing_library_of_a_plugin(library: str) -> None:
    """Our own extra does not bring what another plugin's report needs."""
    with pytest.raises(ReportError) as caught:
        check(Path("page.pdf"), {".pdf": Report(Record.dumps, libraries=(library,))})
    assert str(caught.value) == f"--load-report page.pdf needs {library}: install what is missing"


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its library, a report is refused before anything is sent; the message says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ReportError) as caught:
        check(Path("page.html"))
    needs = "--load-report page.html needs jinja2: pip install 'pytest-loadgen[report]'"
    assert str(caught.value) == needs
    check(Path("page.md"))


@pytest.mark.parametrize(
    ("record", "names"),
    [
        (ONE, ["r.fortio.json"]),
        (RECORD, ["r.1.fortio.json", "r.2.fortio.json", "r.3.fortio.json", "r.4.fortio.json"]),
        (EMPTY, []),
    ],
)
def test_one_file_per_run(record: Record, names: list[str], tmp_path: Path) -> None:
    """A format that holds one run per file writes several runs to numbered files."""
    assert write(tmp_path / "r.fortio.json", record) == [tmp_path / name for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_folders_are_created(tmp_path: Path) -> None:
    """Missing folders of a report's path are created."""
    write(tmp_path / "new" / "folder" / "r.md", RECORD)
    assert (tmp_path / "new" / "folder" / "r.md").is_file()


@pytest.mark.parametrize("name", ["file/r.md", "folder.md"])
def test_unwritable(name: str, tmp_path: Path) -> None:
    """A path that cannot be written is named, with the reason."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(ReportError) as caught:
        write(tmp_path / name, RECORD)
    assert str(caught.value).startswith(f"--load-report: cannot write {tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full does not exist")
def test_full_device(tmp_path: Path) -> None:
    """An error of a device is reported, and the device is not replaced by a file."""
    (tmp_path / "r.json").symlink_to("/dev/full")
    with pytest.raises(ReportError) as caught:
        write(tmp_path / "r.json", RECORD)
    assert str(caught.value) == f"--load-report: cannot write {tmp_path / 'r.json'}: No space left on device"
    assert Path("/dev/full").is_char_device()


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the previous report stays as it was, and no temporary file is left."""
    path = tmp_path / "r.md"
    path.write_text("before", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="No space left on device"):
        write(path, RECORD)
    assert [(each.name, each.read_text(encoding="utf-8")) for each in tmp_path.iterdir()] == [("r.md", "before")]


def test_links_are_followed(tmp_path: Path) -> None:
    """Where the path is a link, its target is written."""
    (tmp_path / "latest.md").symlink_to(tmp_path / "today.md")
    write(tmp_path / "latest.md", RECORD)
    assert (tmp_path / "latest.md").is_symlink()
    assert (tmp_path / "today.md").is_file()


def test_report_errors_are_load_errors() -> None:
    """`except LoadError` catches what goes wrong with a report."""
    assert issubclass(ReportError, LoadError)


FORMS: dict[str, Callable[[Record], object]] = {
    **{extension: report.render for extension, report in FORMATS.items()},
    "summary": lambda record: terminal.table(record.runs, verbose=True, width=500),
    "JUnit": lambda record: junit.properties(record.runs),
    "GitHub": github.summary,
}
"""Everything that shows figures."""


def with_order(**figures: Any) -> Record:
    """Give a record of a mix in which the requests named order have other figures, and all together the same."""
    intervals = tuple(
        replace(each, names={**each.names, "order": replace(each.names["order"], **figures)})
        for each in MIX.result.intervals
    )
    return replace(RECORD, runs=(replace(MIX, result=replace(MIX.result, intervals=intervals)),))


@pytest.mark.parametrize(
    "figures", [{"latency": latencies(40, 0.2)}, {"first_byte": latencies(40, 0.2)}, {"outcomes": {"200": 40}}]
)
@pytest.mark.parametrize("form", FORMS)
def test_figures_by_name(form: str, figures: Any) -> None:
    """Every form has the figures of each name: latency, first byte, outcomes."""
    assert FORMS[form](with_order(**figures)) != FORMS[form](with_order())


@pytest.mark.parametrize("form", FORMS)
def test_first_byte(form: str) -> None:
    """Every form has the time to the first byte, where the generator measures it."""
    intervals = tuple(replace(each, first_byte=latencies(500, 0.001)) for each in WELL.result.intervals)
    measured = replace(ONE, runs=(replace(WELL, result=replace(WELL.result, intervals=intervals)),))
    assert FORMS[form](measured) != FORMS[form](ONE)


@pytest.mark.parametrize("extension", sorted(FORMATS))
def test_no_secrets(extension: str, tmp_path: Path) -> None:
    """Headers, body, query, user name and password appear in no report."""
    for path in write(tmp_path / f"r{extension}", RECORD):
        text = path.read_text(encoding="utf-8")
        assert SECRET not in text
        assert "127.0.0.1" in text or "/search" in text or "/checkout" in text or "GET /" in text


@pytest.mark.parametrize("extension", sorted(FORMATS))
def test_unusual_runs(extension: str, tmp_path: Path) -> None:
    """No runs, runs without a response, and names that are code or not valid text: every format can write them."""
    for number, record in enumerate((EMPTY, ODD, replace(RECORD, runs=(replace(HOSTILE, test="\udcff\0💥\n,=1"),)))):
        for path in write(tmp_path / f"r{number}{extension}", record):
            assert "NaN" not in path.read_text(encoding="utf-8").partition("/*! https://github.com/leeoniya/uPlot")[0]
