"""The table in pytest's summary: it keeps to the terminal's width, and what failed is seen first."""

from dataclasses import replace

import pytest

from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.terminal import table
from tests.reports.examples import CLOSED, HOSTILE, ILL, MIX, NOTHING, RECORD, UNANSWERED, WELL, judged, verdict

ALL = (*RECORD.runs, UNANSWERED, NOTHING, HOSTILE)


def columns(*runs: Run, width: int, verbose: bool = False) -> list[str]:
    return table(runs, verbose, width)[0].text.replace("first byte p99", "first_byte").replace("lag p99", "lag").split()


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 130, 200])
def test_no_line_is_wider_than_the_terminal(width: int, verbose: bool) -> None:
    """Whatever the names, and however much there is to show; there is a line for each row."""
    lines = table(ALL, verbose, width)
    assert max(len(line.text) for line in lines) <= width
    assert len(lines) == 2 + len(ALL) + len(MIX.result.names)


def test_columns_are_left_out_by_importance() -> None:
    """The test and its p99 stay, then verdicts and errors; details go first."""
    assert columns(*ALL, width=500) == (
        ["test", "outcome", "request", "generator", "requests", "rate", "p50", "p99", "errors", "objectives"]
    )
    assert columns(WELL, ILL, width=99) == ["test", "outcome", "request", "rate", "p50", "p99", "errors", "objectives"]
    assert columns(WELL, ILL, width=60) == ["test", "p99", "errors", "objectives"]
    assert columns(WELL, ILL, width=20) == ["test", "p99"]
    assert columns(WELL, width=200, verbose=True)[-4:] == ["lag", "CPU", "errors", "objectives"]
    assert "CPU" not in columns(WELL, ILL, width=160, verbose=True)


def test_of_a_test_id_the_end_stays() -> None:
    """It is the name of the test; other texts keep their beginning."""
    long = replace(WELL, test=f"tests/{'deep/' * 20}test_shop.py::TestShop::test_search[tea]")
    rows = table([long, CLOSED], verbose=False, width=80)[2:]
    assert rows[0].text.startswith("…")
    assert "test_search[tea]" in rows[0].text
    assert rows[1].text.startswith("tests/test_shop.py") or "test_capacity" in rows[1].text


def drawn(*runs: Run) -> list[tuple[str, str]]:
    """Give the rows' tests, or names, and colours."""
    return [(line.text.split()[0], line.colour) for line in table(runs, verbose=False, width=500)[2:]]


def test_what_failed_is_red_and_first() -> None:
    """Failed tests and missed objectives come first, else loads keep their order; what is unclear is yellow."""
    unclear = replace(judged(CLOSED, verdict("p50 < 1s", "unclear", "1s")), test="unclear")
    missed = replace(judged(WELL, verdict("p50 < 1ms", "missed", "2ms")), test="missed")
    failed = replace(WELL, test="failed", outcome="failed")
    torn_down = replace(WELL, test="torn_down", outcome="error")
    well = replace(WELL, test="well")
    assert drawn(well, unclear, missed, failed, torn_down) == [
        ("missed", "red"),
        ("failed", "red"),
        ("torn_down", "red"),
        ("well", ""),
        ("unclear", "yellow"),
    ]


def test_rows_of_a_name_follow_their_load() -> None:
    """A name is red for its own objectives only."""
    mix = replace(judged(MIX, verdict("p99 of order < 1ms", "missed", "36ms")), outcome="passed", test="mix")
    found = table([WELL, mix], verbose=False, width=500)[2:]
    assert [line.colour for line in found] == ["", "", "red", "", ""]
    assert "order" in found[2].text
