"""GitHub: a job summary, and annotations that escape what they contain."""

from dataclasses import replace
from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest

from pytest_loadgen.objectives.verdict import Outcome
from pytest_loadgen.reports import markdown
from pytest_loadgen.reports.github import annotate, summary
from tests.reports.examples import RECORD, UNANSWERED, WELL, judged, verdict

PATH = PurePosixPath("tests/test_a.py")


def annotated(outcome: Outcome, slo: str = "p99 < 200ms", path: PurePath = PATH) -> list[str]:
    return list(annotate(replace(judged(WELL, verdict(slo, outcome, "9ms")), test="test_a"), path, 7))


def test_summary() -> None:
    """The summary is the Markdown report under a heading, and ends with an empty line."""
    assert summary(RECORD) == f"## Load tests\n\n{markdown.document(RECORD)}\n"


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ("missed", "::error file=tests/test_a.py,line=7,title=Objective missed::test_a: missed p99 < 200ms 9ms"),
        ("invalid", "::error file=tests/test_a.py,line=7,title=Objective invalid::test_a: invalid p99 < 200ms 9ms"),
        ("unclear", "::warning file=tests/test_a.py,line=7,title=Objective unclear::test_a: unclear p99 < 200ms 9ms"),
        ("met", ""),
    ],
)
def test_level(outcome: Outcome, line: str) -> None:
    """Missed and invalid are errors, unclear is a warning, and met has no annotation."""
    assert annotated(outcome) == ([line] if line else [])


def test_a_load_that_failed() -> None:
    """A load in which all requests failed has an annotation, with or without objectives."""
    (line,) = annotate(UNANSWERED, PATH, 7)
    message = "tests/test_down.py::test_down: all 10 requests failed: 10 × timeout"
    assert line == f"::error file=tests/test_a.py,line=7,title=Load failed::{message}"


def test_escaping() -> None:
    """Line ends, percent signs and separators are written as GitHub reads them."""
    (line,) = annotated("missed", "errors < 5%,\r\nb", PurePosixPath("a,b:c%\n.py"))
    assert line.startswith(
        "::error file=a%2Cb%3Ac%25%0A.py,line=7,title=Objective missed::test_a: missed errors < 5%25, b "
    )


def test_paths() -> None:
    """Paths are written with slashes."""
    assert "file=tests/test_a.py," in annotated("missed", path=PureWindowsPath("tests\\test_a.py"))[0]
