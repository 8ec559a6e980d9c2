"""Markdown: a row per run, a line for everything that needs attention, and names are never markup."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from pytest_loadgen.reports.markdown import document, escaped
from tests.reports.examples import EMPTY, HOSTILE, MIX, RECORD, WELL, judged


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    golden("report.md", document(RECORD))


def test_met_objectives_need_no_line() -> None:
    """With all objectives met, there are only the table and the origin."""
    lines = document(replace(RECORD, runs=(WELL,))).splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 3
    assert not [line for line in lines if line.startswith("-")]


def test_rows_by_name() -> None:
    """Below the row of a mix is one for each name."""
    lines = [line for line in document(replace(RECORD, runs=(MIX,))).splitlines() if line.startswith("|")]
    assert [line.split("|")[3].strip() for line in lines[2:5]] == ["mix of 3 requests", "- GET /search", "- order"]
    assert {line.replace(r"\|", "").count("|") for line in lines} == {12}


def test_without_objectives_there_is_no_column() -> None:
    """Without objectives, the table has no column for them."""
    assert "objectives" not in document(replace(RECORD, runs=(judged(WELL),)))


def test_no_loads() -> None:
    """Without runs, a sentence takes the place of the table."""
    assert document(EMPTY).startswith("No loads were run.\n\npytest-loadgen 0.1.0, 2026-03-01 12:00 UTC")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tests/test_a.py::test_x", "tests/test_a.py::test_x"),
        ("a|b`c", r"a\|b\`c"),
        ("_x_ a_b __", r"\_x\_ a_b \_\_"),
        ("[a](b) <b> &lt; *", r"\[a\](b) \<b> \&lt; \*"),
        ("back\\slash\r\nline", r"back\\slash line"),
        ("p99 < 200ms", r"p99 \< 200ms"),
    ],
)
def test_escaped(text: str, shown: str) -> None:
    """Text is shown unchanged, on one line."""
    assert escaped(text) == shown


def test_hostile() -> None:
    """A name with pipes adds no cells."""
    lines = [line for line in document(replace(RECORD, runs=(HOSTILE,))).splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in lines} == {11}


def test_nothing_is_live() -> None:
    """GitHub makes no mention, link or reference of a name, and a terminal obeys none."""
    shown = escaped("@everyone me@x.example http://evil.test www.evil.test #12 GH-12 \x1b[31m")
    assert not re.search(r"@\w|https?:/|www\.|#\d|GH-\d|\x1b", shown)
    assert shown.replace("\u200b", "").startswith("@everyone me@x.example http://evil.test www.evil.test #12 GH-12 ")
