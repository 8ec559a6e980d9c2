"""Data: every request gets the next row, and no row comes twice before all came once."""

import json
import pickle
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.data import Data, RowsExhausted, each


def taken(data: Any, number: int) -> list[Any]:
    return [data.row(place) for place in range(number)]


@pytest.mark.parametrize("rows", [[1, 2, 3], (1, 2, 3), range(1, 4), {1: 0, 2: 0, 3: 0}, lambda n: n % 3 + 1])
def test_rows_come_in_sequence_and_again(rows: Any) -> None:
    assert taken(each(rows), 7) == [1, 2, 3, 1, 2, 3, 1]


@pytest.mark.parametrize(
    ("rows", "said"),
    [(["a"], "1 row"), (range(2000), "2,000 rows"), (count(), "rows of an iterator"), (str, "rows of a function")],
)
def test_in_words(rows: Any, said: str, tmp_path: Path) -> None:
    assert str(each(rows)) == said
    path = tmp_path / "a.csv"
    path.write_text("id\n1\n2\n")
    assert str(each(path, order="random")) == "2 rows of a.csv, in random order"


def test_an_endless_iterator_is_read_as_far_as_it_is_used() -> None:
    numbers = count()
    assert taken(each(numbers), 5) == [0, 1, 2, 3, 4]
    assert next(numbers) == 5


def test_an_example_is_not_used_up() -> None:
    data = each(iter("abc"))
    assert data.rows.example() == "a"
    assert taken(data, 3) == ["a", "b", "c"]


@given(st.integers(1, 50), st.integers(0, 5))
def test_random_order_uses_every_row_once_each_time_through(size: int, seed: int) -> None:
    data = each(range(size), order="random", seed=seed)
    found = taken(data, 2 * size)
    assert sorted(found[:size]) == sorted(found[size:]) == list(range(size))
    assert found == taken(each(range(size), order="random", seed=seed), 2 * size)


@pytest.mark.parametrize("exhausted", ["stop", "error"])
def test_rows_run_out(exhausted: Any) -> None:
    data = each([1, 2], exhausted=exhausted)
    assert taken(data, 2) == [1, 2]
    with pytest.raises(RowsExhausted):
        data.row(2)


def test_an_iterator_runs_out() -> None:
    with pytest.raises(RowsExhausted):
        taken(each(iter([1])), 2)


def test_a_csv_file(tmp_path: Path) -> None:
    """Rows are parsed as csv does: quoted commas, quotes and line breaks are part of a value."""
    path = tmp_path / "rows.csv"
    path.write_text('\ufeffid,text\r\n1,plain\r\n2,"a, ""b""\nc"\r\n\r\n3,ü\r\n', encoding="utf-8")
    assert taken(each(str(path)), 3) == [
        {"id": "1", "text": "plain"},
        {"id": "2", "text": 'a, "b"\nc'},
        {"id": "3", "text": "ü"},
    ]


def test_lines_before_the_header_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("\n\nid\n1\n")
    assert taken(each(path), 1) == [{"id": "1"}]


def test_two_turns_in_random_order_at_once() -> None:
    """Workers of one machine are threads; one is ahead of the other where rows start over."""
    data = each(range(9), order="random")
    turns = [[data.row(turn * 9 + place) for turn in range(3)] for place in range(9)]
    assert [sorted(column) for column in zip(*turns, strict=True)] == [list(range(9))] * 3


def test_a_file_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows: list[Any] = [{"id": 1}, {"id": 2, "tags": ["a", "b"]}, "text"]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert taken(each(path), 4) == [*rows, rows[0]]


def test_a_million_rows_of_a_file_cost_little_memory(tmp_path: Path) -> None:
    """The file's bytes, and 8 for where each row begins."""
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n" + "".join(f"{number},{'x' * 40}\n" for number in range(100_000)))
    data = each(path)
    assert data.row(99_999)["id"] == "99999"
    assert len(pickle.dumps(data)) < path.stat().st_size + 8 * 100_001 + 10_000


def failing(_: int) -> None:
    raise ValueError("no such thing")


def breaking() -> Iterator[int]:
    yield 1
    raise ValueError("no more")


def shrunk() -> Data:
    rows = [1, 2]
    data = each(rows)
    rows.pop()
    return data


def _lines(path: Path, content: bytes) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: each([]), "each() got no rows"),
        (lambda _: each(5), "each(int): expected a list, an iterator, a file's path or a function"),
        (lambda _: each(b"rows"), "each(bytes): expected a list, an iterator, a file's path or a function"),
        (lambda _: each("rows.txt"), "each('rows.txt'): expected a .csv, .jsonl or .ndjson file"),
        (lambda _: each("none.csv"), "each('none.csv'): cannot read the file: No such file or directory"),
        (lambda _: each([1], order="rand"), "each(order='rand'): did you mean 'random'?"),  # type: ignore[arg-type]
        (lambda _: each([1], exhausted="end"), "each(exhausted='end'): choose from again, error, stop."),  # type: ignore[arg-type]
        (lambda _: each(iter([1]), order="random"), "each(order='random') needs rows that can be counted: *"),
        (lambda _: each(failing).row(3), "each(failing): row 3: ValueError: no such thing"),
        (lambda _: taken(each(breaking()), 2), "each(): row 1 of the iterator: ValueError: no more"),
        (
            lambda _: pickle.dumps(each(iter([1]))),
            "each() of an iterator cannot be sent to another process*",
        ),
        (
            lambda path: each(path.write_text("id,a\n1\n") and path).row(0),
            "*row 0 has 1 values; the header has 2: *",
        ),
        (lambda path: each(path.write_text("id\n") and path), "*the file has no rows"),
        (lambda path: each(path.write_text("id,id\n1,2\n") and path), "*two fields have the same name: id, id"),
        (lambda path: each(path.write_text("id\n1\n", encoding="utf-16") and path), "*UTF-16: save it as UTF-8"),
        (lambda path: each(_lines(path, b'{"id": "\xe4"}\n')).row(0), "*row 0: 'utf-8' codec can't decode *"),
        (lambda _: each("a\0.csv"), "*cannot read the file: embedded null byte"),
        (lambda _: each(breaking), "each(breaking): expected a plain function; *: each(breaking())"),
        (lambda _: each(range(10**30)), "each(): more rows than can be counted; *"),
        (lambda _: shrunk().row(1), "each(): row 1: IndexError: list index out of range"),
        (lambda path: each(path.write_text('id\n"1\n') and path), "*rows.csv'), line *"),
    ],
)
def test_what_cannot_be_rows(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        make(tmp_path / "rows.csv")
    assert fnmatch(str(caught.value), message)
