"""A file that is not a report is refused: what was wanted, what was found, what to do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_loadgen.errors import BaselineError, PlanError
from pytest_loadgen.records.record import Record
from pytest_loadgen.reports import bmf, csv_file, ctrf, fortio, html_page, k6
from pytest_loadgen.review.report_file import ReportFile
from tests.builders.records import FAST, SLOW, record

TWO = record(("shop.py::test_a", FAST), ("shop.py::test_a", SLOW), ("shop.py::test_a_b", SLOW))
WRITE = "write one with pytest --load-report=NAME.json"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(path: str) -> str:
    with pytest.raises(BaselineError) as caught:
        ReportFile.read(Path(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"x.json is not a JSON report: it is empty; {WRITE}"),
        (
            "{",
            "x.json is not a JSON report: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        ("[1, 2]", f"x.json is JSON, but not a report of pytest-loadgen; {WRITE}"),
        ('{"a": 1}', f"x.json is JSON, but not a report of pytest-loadgen (it has a); {WRITE}"),
        ("[" * 100_000, "x.json is not a valid record of loads (RecursionError: "),
        (
            TWO.dumps().replace('"runs": [', '"runs": [7,'),
            "x.json is not a valid record of loads (AttributeError: 'int' object has no attribute 'get'): "
            "write it again with pytest --load-report=x.json.",
        ),
        (
            TWO.dumps().replace('"schema": 1', '"schema": 2'),
            "x.json was written by a different version (pytest-loadgen 0.1.0, schema 2; this version reads schema 1): "
            "update pytest-loadgen, or write it again with pytest --load-report=x.json.",
        ),
        (record().dumps(), f"x.json has no loads: the session that wrote it ran none; {WRITE}"),
    ],
    ids=lambda text: text[:20],
)
def test_not_a_report(folder: Path, text: str, message: str) -> None:
    """The message says what the file is."""
    (folder / "x.json").write_text(text, encoding="utf-8")
    assert refusal("x.json").startswith(message)


@pytest.mark.parametrize(
    ("render", "kind"),
    [
        (ctrf.document, "x.json is a CTRF report, which does not have the figures of each second"),
        (fortio.document, "x.json is a fortio report, which does not have the figures of each second"),
        (k6.document, "x.json is a k6 report, which does not have the figures of each second"),
        (bmf.document, "x.json is JSON, but not a report of pytest-loadgen"),
        (html_page.document, "x.json is not a JSON report: it is HTML"),
        (csv_file.document, "x.json is not a JSON report: Extra data"),
    ],
)
def test_report_of_another_format(folder: Path, render: Callable[[Record], str], kind: str) -> None:
    """The message says which format it is."""
    (folder / "x.json").write_text(render(record(("shop.py::test_a", FAST))), encoding="utf-8")
    assert refusal("x.json").startswith(kind)
    assert refusal("x.json").endswith(WRITE)


def test_bytes_are_not_a_report(folder: Path) -> None:
    (folder / "x.json").write_bytes(b"\xff\xfe\x00")
    assert refusal("x.json") == f"x.json is not a JSON report: it is not text; {WRITE}"


def test_a_missing_file(folder: Path) -> None:
    """A similar name is proposed."""
    (folder / "before.json").write_text("{}", encoding="utf-8")
    assert refusal("befor.json") == f"befor.json: no such file (did you mean 'before.json'?); {WRITE}"
    assert refusal("nope.json") == f"nope.json: no such file; {WRITE}"
    assert refusal("nowhere/x.json") == f"nowhere/x.json: no such file; {WRITE}"
    assert refusal("before.json/x.json") == "cannot read before.json/x.json: Not a directory"


def test_a_directory(folder: Path) -> None:
    """The files in it are proposed, also those of saved runs; those of other formats are not."""
    assert refusal(".") == f". is a directory, not a report: it has no JSON file; {WRITE}"
    (folder / "linux-2").mkdir()
    for name in "a.json", "a.ctrf.json", "linux-2/main.json":
        (folder / name).write_text("{}", encoding="utf-8")
    assert refusal(".") == ". is a directory, not a report: name a file in it: a.json, linux-2/main.json"


@pytest.mark.parametrize(
    ("test", "found"),
    [("", [0, 1, 2]), ("shop.py::test_a", [0, 1]), ("test_a", [0, 1, 2]), ("_b", [2])],
)
def test_select(folder: Path, test: str, found: list[int]) -> None:
    """A node id selects this test only, another text all tests whose node id contains it."""
    (folder / "x.json").write_text(TWO.dumps(), encoding="utf-8")
    report = ReportFile.read(Path("x.json"))
    assert report.select(test) == [report.record.runs[number] for number in found]


def test_select_nothing(folder: Path) -> None:
    (folder / "x.json").write_text(TWO.dumps(), encoding="utf-8")
    with pytest.raises(
        PlanError, match=r"--test pay: x\.json has no such test; its tests: shop\.py::test_a, shop\.py::test_a_b"
    ):
        ReportFile.read(Path("x.json")).select("pay")


def test_reports_of_older_versions(folder: Path) -> None:
    """Reports without what later versions add can be read."""
    data = json.loads(TWO.dumps())
    for run in data["runs"]:
        del run["extended_by"], run["machine_p99"]
    (folder / "x.json").write_text(json.dumps(data), encoding="utf-8-sig")  # as some programs copy it
    assert ReportFile.read(Path("x.json")).record.runs[0].result.extended_by == 1
