"""Data: a row for each request, from a list, a file, an iterator or a function."""

from __future__ import annotations

import csv
import inspect
import io
import json
import math
import os
import random
import threading
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.by_value import Sent
from pytest_loadgen.wording import counted, did_you_mean, printable

Order = Literal["sequence", "random"]
Exhausted = Literal["again", "stop", "error"]


class RowShare:
    """The rows that `next()` gives to the journeys of one part of a load."""

    def __init__(self, first: int = 0, apart: int = 1) -> None:
        """Take the number of the first row, and how far apart they are."""
        self._first, self._apart = first, apart
        self._taken: Counter[Data] = Counter()

    def next(self, data: Data) -> int:
        """Return the number of the next row."""
        self._taken[data] += 1
        return self._first + (self._taken[data] - 1) * self._apart


ROW_SHARE: ContextVar[RowShare] = ContextVar("pytest_loadgen_row_share")
"""The share of the journeys that run here."""
_OUTSIDE = RowShare()


class RowsExhausted(Exception):  # noqa: N818  # the end of the data, as StopIteration is
    """All rows were used once, and none is to be used again."""


@dataclass(frozen=True, eq=False)
class Data:
    """The rows of the requests of one name, made by `each`."""

    rows: Rows
    order: Order = "sequence"
    exhausted: Exhausted = "again"
    seed: int = 0
    _orders: dict[int, array[int]] = field(default_factory=dict, init=False, repr=False)

    def __str__(self) -> str:
        """Describe the rows and their order: ``1,000 rows of users.csv, in random order``."""
        return f"{self.rows}{', in random order' if self.order == 'random' else ''}"

    @property
    def end(self) -> float:
        """The number of the first row that there is not; infinite where rows are used again, or not counted."""
        return math.inf if self.rows.size is None or self.exhausted == "again" else self.rows.size

    def row(self, number: int) -> Any:
        """Give the row of a request, counted from 0 over all requests of its name.

        No row is used twice before all were used. Raises RowsExhausted after the last one, unless rows are used
        again; PlanError where a row cannot be read.
        """
        size = self.rows.size
        if size is None:
            return self.rows.row(number)
        if number < size and self.order == "sequence":
            return self.rows.row(number)
        turn, place = divmod(number, size)
        if turn and self.exhausted != "again":
            raise RowsExhausted
        return self.rows.row(self._shuffled(size, turn)[place] if self.order == "random" else place)

    def __next__(self) -> Any:
        """Return the next row, for a journey: no other journey of the load gets it before all rows were used.

        After the last row, raises RowsExhausted if the load is to stop, PlanError if it is to fail.
        """
        number = ROW_SHARE.get(_OUTSIDE).next(self)
        try:
            return self.row(number)
        except RowsExhausted:
            if self.exhausted == "stop":
                raise
            again = ", and a list can be used again" if self.exhausted == "again" else ""
            raise PlanError(f"each() has only {number:,} rows: exhausted='stop' ends the load there{again}") from None

    def _shuffled(self, size: int, turn: int) -> array[int]:
        """Give the numbers below size in random order; the last two such orders are remembered.

        Workers of this machine are threads here: one may still be in the turn before.
        """
        if (known := self._orders.get(turn)) is not None:
            return known
        numbers = array("L", range(size))
        random.Random(f"{self.seed} {turn}").shuffle(numbers)  # noqa: S311  # no secret
        for other in sorted(self._orders)[:-1]:
            self._orders.pop(other, None)
        self._orders[turn] = numbers
        return numbers


def each(rows: Any, *, order: Order = "sequence", exhausted: Exhausted = "again", seed: int | None = None) -> Data:
    """Give every request the next row of a list, a range, an iterator, a CSV or JSON Lines file, or a function.

    A function gets the number of the request, counted from 0. With ``order="random"`` rows are shuffled each time
    through, with `seed` or a random one. When all rows were used, they are used `again`, or the load ends (`stop`),
    or fails (`error`). Raises PlanError.
    """
    if order not in ("sequence", "random"):
        raise PlanError(f"each(order={order!r}): {did_you_mean(str(order), ['sequence', 'random'])}")
    if exhausted not in ("again", "stop", "error"):
        raise PlanError(f"each(exhausted={exhausted!r}): {did_you_mean(str(exhausted), ['again', 'stop', 'error'])}")
    found = _rows(rows)
    if order == "random" and found.size is None:
        raise PlanError("each(order='random') needs rows that can be counted: a list, a range or a file")
    return Data(found, order, exhausted, random.randrange(2**31) if seed is None else seed)  # noqa: S311  # no secret


class Rows(ABC):
    """Where rows come from."""

    size: int | None = None
    """How many there are; None if that is not known."""

    @abstractmethod
    def __str__(self) -> str:
        """Describe how many there are, or where they come from."""

    @abstractmethod
    def row(self, number: int) -> Any:
        """Give a row by its number, counted from 0. Raises RowsExhausted, or PlanError where it cannot be read."""

    def example(self) -> Any:
        """Give the first row, which is not used up by this. Raises PlanError."""
        try:
            return self.row(0)
        except RowsExhausted:
            raise PlanError("each() got no rows") from None


class ListedRows(Rows):
    """Rows of a list, a tuple, a range or another sequence."""

    def __init__(self, rows: Sequence[Any]) -> None:
        """Take the sequence as it is; it is not copied."""
        self._rows = rows
        self.size = len(rows)

    def __str__(self) -> str:
        """Count them."""
        return counted(len(self._rows), "row")

    def row(self, number: int) -> Any:
        """Look it up. Someone may have changed the list, and other sequences may read what they give."""
        try:
            return self._rows[number]
        except Exception as error:
            raise PlanError(f"each(): row {number:,}: {_described(error)}") from error


class ComputedRows(Rows):
    """Rows of a function of the request's number."""

    def __init__(self, function: Callable[[int], Any]) -> None:
        """Take the function."""
        self._function = function

    def __str__(self) -> str:
        """Name their kind; a lambda has no name."""
        return "rows of a function"

    def row(self, number: int) -> Any:
        """Call the function; StopIteration and IndexError end the data."""
        try:
            return self._function(number)
        except (StopIteration, IndexError):
            raise RowsExhausted from None
        except Exception as error:
            raise PlanError(f"each({_called(self._function)}): row {number:,}: {_described(error)}") from error

    def __getstate__(self) -> dict[str, Any]:
        """Send the function by value."""
        return {"_function": Sent(self._function, "each")}


class IteratedRows(Rows):
    """Rows of an iterator, which may be endless: each request that asks gets the next one."""

    def __init__(self, rows: Iterator[Any]) -> None:
        """Take the iterator, which is not read ahead."""
        self._iterator = rows
        self._given = 0
        self._ahead: list[Any] = []
        # The workers of this machine are threads here.
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Name their kind."""
        return "rows of an iterator"

    def row(self, number: int) -> Any:
        """Take the next row, whichever request it is for."""
        with self._lock:
            try:
                row = self._ahead.pop() if self._ahead else next(self._iterator)
            except StopIteration:
                raise RowsExhausted from None
            except Exception as error:
                raise PlanError(f"each(): row {self._given:,} of the iterator: {_described(error)}") from error
            self._given += 1
            return row

    def example(self) -> Any:
        """Read the first row, and keep it for the first request."""
        row = super().example()
        self._ahead.append(row)
        self._given -= 1
        return row

    def __reduce__(self) -> Any:
        raise PlanError(
            "each() of an iterator cannot be sent to another process or machine: pass a list, a file or a function"
        )


class FileRows(Rows):
    """Rows of a CSV file with a header, or of a JSON Lines file; a row is read when it is used."""

    def __init__(self, path: Path) -> None:
        """Read where each row begins. Raises PlanError."""
        self._path = path
        self._text = _read(path)
        self._fields: list[str] = []
        self._starts = array("Q", self._find_csv() if path.suffix.lower() == ".csv" else self._find_lines())
        self.size = len(self._starts) - 1
        if not self.size:
            raise PlanError(f"each({str(path)!r}): the file has no rows")

    def __str__(self) -> str:
        """Count them, and name the file."""
        return f"{counted(len(self._starts) - 1, 'row')} of {printable(self._path.name)}"

    def row(self, number: int) -> Any:
        """Parse it."""
        try:
            text = self._text[self._starts[number] : self._starts[number + 1]].decode()
            if not self._fields:
                return json.loads(text)
            (values,) = filter(None, csv.reader(io.StringIO(text, newline=""), strict=True))
        except (ValueError, csv.Error, RecursionError) as error:
            raise PlanError(f"each({str(self._path)!r}): row {number:,}: {error}") from None
        if len(values) != len(self._fields):
            raise PlanError(
                f"each({str(self._path)!r}): row {number:,} has {len(values)} values; "
                f"the header has {len(self._fields)}: {', '.join(self._fields)}"
            )
        return dict(zip(self._fields, values, strict=True))

    def _find_csv(self) -> Iterator[int]:
        # A quoted value may contain line breaks, so that rows are not lines.
        read = 0

        def lines() -> Iterator[str]:
            nonlocal read
            for line in io.BytesIO(self._text):
                read += len(line)
                yield line.decode()

        reader = csv.reader(lines(), strict=True)
        try:
            self._fields = [name.strip() for name in next(filter(None, reader), [])]
            yield read
            for values in reader:
                if values:
                    yield read
        except (csv.Error, UnicodeDecodeError) as error:
            raise PlanError(f"each({str(self._path)!r}), line {reader.line_num}: {error}") from None
        if len(set(self._fields)) < len(self._fields):
            raise PlanError(f"each({str(self._path)!r}): two fields have the same name: {', '.join(self._fields)}")

    def _find_lines(self) -> Iterator[int]:
        read = 0
        yield read
        for line in io.BytesIO(self._text):
            read += len(line)
            if line.strip():
                yield read


def _rows(rows: Any) -> Rows:
    if isinstance(rows, (str, os.PathLike)):
        path = Path(os.fspath(rows))
        if path.suffix.lower() not in (".csv", ".jsonl", ".ndjson"):
            raise PlanError(f"each({str(path)!r}): expected a .csv, .jsonl or .ndjson file")
        return FileRows(path)
    if inspect.isgeneratorfunction(rows) or inspect.isasyncgenfunction(rows) or inspect.iscoroutinefunction(rows):
        raise PlanError(
            f"each({_called(rows)}): expected a plain function; call one with yield: each({_called(rows)}())"
        )
    if callable(rows):
        return ComputedRows(rows)
    if isinstance(rows, Iterator):
        return IteratedRows(rows)
    if isinstance(rows, (bytes, bytearray)) or not isinstance(rows, Iterable):
        raise PlanError(f"each({type(rows).__name__}): expected a list, an iterator, a file's path or a function")
    try:
        listed = ListedRows(rows if isinstance(rows, Sequence) else list(rows))
    except OverflowError:
        raise PlanError("each(): more rows than can be counted; a function of the number has no end") from None
    if not listed.size:
        raise PlanError("each() got no rows")
    return listed


def _read(path: Path) -> bytes:
    try:
        text = path.read_bytes()
    except (OSError, ValueError) as error:
        raise PlanError(f"each({str(path)!r}): cannot read the file: {getattr(error, 'strerror', error)}") from None
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PlanError(f"each({str(path)!r}): the file is UTF-16: save it as UTF-8")
    return text.removeprefix(b"\xef\xbb\xbf")


def _called(function: Callable[[int], Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
