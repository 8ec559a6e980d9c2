"""What GitHub's forms promise: a summary to append, and annotations that cannot be broken out of."""

from dataclasses import replace
from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest

from pytest_loadgen.objectives.verdict import Outcome
from pytest_loadgen.reports import markdown
from pytest_loadgen.reports.github import marks, summary
from tests.reports.examples import RECORD, UNANSWERED, WELL, verdict

PATH = PurePosixPath("tests/test_a.py")


def marked(outcome: Outcome, slo: str = "p99 < 200ms", path: PurePath = PATH) -> list[str]:
    return list(marks(replace(WELL, test="test_a", verdicts=(verdict(slo, outcome, "9ms"),)), path, 7))


def test_summary() -> None:
    """The summary is the Markdown report under a heading, and what follows it starts anew."""
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
    """What fails is an error, what is unclear a warning, and what is met is not worth a line."""
    assert marked(outcome) == ([line] if line else [])


def test_a_load_that_failed() -> None:
    """It is marked whatever its objectives are."""
    (mark,) = marks(UNANSWERED, PATH, 7)
    said = "tests/test_down.py::test_down: all 10 requests failed: 10 × timeout"
    assert mark == f"::error file=tests/test_a.py,line=7,title=Load failed::{said}"


def test_escaping() -> None:
    """Line ends, percents and what separates properties are written as GitHub reads them."""
    (line,) = marked("missed", "errors < 5%,\r\nb", PurePosixPath("a,b:c%\n.py"))
    assert line.startswith(
        "::error file=a%2Cb%3Ac%25%0A.py,line=7,title=Objective missed::test_a: missed errors < 5%25, b "
    )


def test_paths() -> None:
    """Paths are written with slashes."""
    assert "file=tests/test_a.py," in marked("missed", path=PureWindowsPath("tests\\test_a.py"))[0]
