"""What writing promises: the form that the ending says, whole or not at all, without secrets, or one clear sentence."""

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_loadgen.errors import LoadError, PlanError, ReportError
from pytest_loadgen.records.record import Record
from pytest_loadgen.reports.formats import FORMATS, check, write
from tests.reports.examples import EMPTY, HOSTILE, ODD, RECORD, SECRET, WELL

ONE = replace(RECORD, runs=(WELL,))


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("report.json", ".json"),
        ("report.fortio.json", ".fortio.json"),
        ("v1.2.Report.HTML", ".html"),
        ("report.smp.yaml", ".smp.yaml"),
        (".om", ".om"),
    ],
)
def test_ending(name: str, ending: str, tmp_path: Path) -> None:
    """The longest ending that is known says which form it is, in whatever case."""
    check(tmp_path / name)
    assert write(tmp_path / name, ONE) == [tmp_path / name]
    assert (tmp_path / name).read_text(encoding="utf-8") == FORMATS[ending].render(ONE)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x.htm", "--load-report x.htm: no report has this ending: did you mean '.html'?"),
        ("x.yaml", "--load-report x.yaml: no report has this ending: did you mean '.smp.yaml'?"),
        ("x", f"--load-report x: no report has this ending: choose from {', '.join(sorted(FORMATS))}."),
        ("json", f"--load-report json: no report has this ending: choose from {', '.join(sorted(FORMATS))}."),
    ],
)
def test_unknown_ending(name: str, said: str) -> None:
    """An ending that is not known is refused before anything is sent, with the one that was meant."""
    for refuse in (check, lambda path: write(path, RECORD)):
        with pytest.raises(PlanError) as caught:
            refuse(Path(name))
        assert str(caught.value) == said


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report whose library is not installed says what to install, before anything is sent."""
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ReportError) as caught:
        check(Path("page.html"))
    needs = "--load-report page.html needs jinja2 and plotly: pip install 'pytest-loadgen[report]'"
    assert str(caught.value) == needs
    check(Path("page.md"))


@pytest.mark.parametrize(
    ("record", "names"),
    [
        (ONE, ["r.fortio.json"]),
        (RECORD, ["r.1.fortio.json", "r.2.fortio.json", "r.3.fortio.json"]),
        (EMPTY, []),
    ],
)
def test_a_file_each(record: Record, names: list[str], tmp_path: Path) -> None:
    """Where a form holds one run only, several runs go to several files, numbered."""
    assert write(tmp_path / "r.fortio.json", record) == [tmp_path / name for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_folders_are_made(tmp_path: Path) -> None:
    """Folders on the way to a report are made."""
    write(tmp_path / "new" / "folder" / "r.md", RECORD)
    assert (tmp_path / "new" / "folder" / "r.md").is_file()


@pytest.mark.parametrize("name", ["file/r.md", "folder.md"])
def test_unwritable(name: str, tmp_path: Path) -> None:
    """A place that cannot be written to is named, with the reason."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(ReportError) as caught:
        write(tmp_path / name, RECORD)
    assert str(caught.value).startswith(f"--load-report: cannot write {tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_full_device(tmp_path: Path) -> None:
    """A device that is full is said to be so, and stays a device."""
    (tmp_path / "r.json").symlink_to("/dev/full")
    with pytest.raises(ReportError) as caught:
        write(tmp_path / "r.json", RECORD)
    assert str(caught.value) == f"--load-report: cannot write {tmp_path / 'r.json'}: No space left on device"
    assert Path("/dev/full").is_char_device()


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full, the report of before stays as it was, and nothing is left over."""
    path = tmp_path / "r.md"
    path.write_text("before", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReportError, match="No space left on device"):
        write(path, RECORD)
    assert [(each.name, each.read_text(encoding="utf-8")) for each in tmp_path.iterdir()] == [("r.md", "before")]


def test_links_are_followed(tmp_path: Path) -> None:
    """Where the path is a link, what it points to is written."""
    (tmp_path / "latest.md").symlink_to(tmp_path / "today.md")
    write(tmp_path / "latest.md", RECORD)
    assert (tmp_path / "latest.md").is_symlink()
    assert (tmp_path / "today.md").is_file()


def test_no_error_of_its_own_kind() -> None:
    """What goes wrong with a report is caught as a LoadError."""
    assert issubclass(ReportError, LoadError)


@pytest.mark.parametrize("ending", sorted(FORMATS))
def test_no_secrets(ending: str, tmp_path: Path) -> None:
    """Nothing of headers, body, query, user name or password reaches a report."""
    for path in write(tmp_path / f"r{ending}", RECORD):
        text = path.read_text(encoding="utf-8")
        assert SECRET not in text
        assert "127.0.0.1" in text or "/search" in text or "/checkout" in text or "GET /" in text


@pytest.mark.parametrize("ending", sorted(FORMATS))
def test_whatever_the_runs(ending: str, tmp_path: Path) -> None:
    """No run, one without an answer, and names that are code or no text at all: each form has a way to tell them."""
    for number, record in enumerate((EMPTY, ODD, replace(RECORD, runs=(replace(HOSTILE, test="\udcff\0💥\n,=1"),)))):
        for path in write(tmp_path / f"r{number}{ending}", record):
            assert "NaN" not in path.read_text(encoding="utf-8").partition("/**\n* plotly.js")[0]
