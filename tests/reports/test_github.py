"""What GitHub's forms promise: a summary to append, and annotations that cannot be broken out of."""

from pathlib import PurePosixPath, PureWindowsPath

import pytest

from pytest_loadgen.reports import markdown
from pytest_loadgen.reports.github import annotation, summary
from pytest_loadgen.verdict import Outcome
from tests.reports.examples import RECORD

PATH = PurePosixPath("tests/test_a.py")


def test_summary() -> None:
    """The summary is the Markdown report under a heading, and what follows it starts anew."""
    assert summary(RECORD) == f"## Load tests\n\n{markdown.document(RECORD)}\n"


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ("missed", "::error file=tests/test_a.py,line=7,title=Objective missed::p99 < 200ms"),
        ("invalid", "::error file=tests/test_a.py,line=7,title=Objective invalid::p99 < 200ms"),
        ("unclear", "::warning file=tests/test_a.py,line=7,title=Objective unclear::p99 < 200ms"),
        ("met", ""),
    ],
)
def test_level(outcome: Outcome, line: str) -> None:
    """What fails is an error, what is unclear a warning, and what is met is not worth a line."""
    assert annotation(PATH, 7, outcome, "p99 < 200ms") == line


def test_escaping() -> None:
    """Line ends, percents and what separates properties are written as GitHub reads them."""
    line = annotation(PurePosixPath("a,b:c%\n.py"), 1, "missed", "50%: a\r\nb, c")
    assert line == "::error file=a%2Cb%3Ac%25%0A.py,line=1,title=Objective missed::50%25: a%0D%0Ab, c"


def test_paths() -> None:
    """Paths are written with slashes."""
    assert "file=tests/test_a.py," in annotation(PureWindowsPath("tests\\test_a.py"), 1, "missed", "")
