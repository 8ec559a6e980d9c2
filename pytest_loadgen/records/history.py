"""The runs that are kept under a name, on one machine: several of each load."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self

from pytest_loadgen.figures.result import Result
from pytest_loadgen.records.differences import differences
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.record import Record, parsed, reading
from pytest_loadgen.records.run import Run


@dataclass(frozen=True)
class History:
    """A record in which each load has several runs, the oldest first.

    They stay JSON until they are used: to read the histograms of ten runs of a minute takes seconds.
    """

    _data: dict[str, Any]
    _source: str = ""
    """The path or URL, for messages."""

    @classmethod
    def loads(cls, text: str, source: str) -> Self:
        """Read what `dumps` or a record wrote. Raises BaselineError, which names the source."""
        with reading(source):
            data = parsed(text, source)
            # Those of earlier versions are all of the record's commit.
            revision = {"commit": data["commit"], "branch": data["branch"]}
            found = cls({**data, "runs": [{**revision, **run} for run in data["runs"]]}, source)
            _ = found.machine, found.date, [_load(run) for run in found._data["runs"]]
            return found

    @classmethod
    def of(cls, record: Record) -> Self:
        """Begin with the runs of a session."""
        runs = [replace(run, date=run.date or record.date, revision=record.revision) for run in record.runs]
        return cls(replace(record, runs=tuple(runs)).as_dict())

    def dumps(self) -> str:
        """Write the runs as JSON."""
        return json.dumps(self._data, indent=1, allow_nan=False) + "\n"

    @property
    def machine(self) -> Fingerprint:
        """The machine that they ran on."""
        return Fingerprint.from_dict(self._data["machine"])

    @property
    def date(self) -> datetime:
        """When the newest were saved."""
        return datetime.fromisoformat(self._data["date"]).astimezone(UTC)

    def runs(self, test: str, number: int) -> list[Run]:
        """Give the runs of a test's load (counted from 0). Raises BaselineError where the file is damaged."""
        with reading(self._source):
            return [Run.from_dict(run) for run in self._data["runs"] if _load(run) == (test, number)]

    def followed_by(self, record: Record, keep: int) -> tuple[History, int]:
        """Add the runs of a session, and keep the newest of each load; those of a load that has changed are dropped.

        Gives also how many were dropped for that.
        """
        new = History.of(record)._data
        newest = {_load(run): _unread(run) for run in new["runs"]}
        with reading(self._source):
            alike = [run for run in self._data["runs"] if _is_same_load(run, newest.get(_load(run)))]
        kept = alike + new["runs"]
        left = Counter(map(_load, kept))
        runs = []
        for run in kept:
            if left[_load(run)] <= keep:
                runs.append(run)
            left[_load(run)] -= 1
        return History({**new, "runs": runs}), len(self._data["runs"]) - len(alike)


def _load(run: dict[str, Any]) -> tuple[str, int]:
    """Give the test of a run, and the number of its load."""
    return run["test"], run["number"]


def _is_same_load(run: dict[str, Any], newest: Result | None) -> bool:
    return newest is None or not differences(_unread(run), newest)


def _unread(run: dict[str, Any]) -> Result:
    """Give the result of a run without its intervals, which take long to read."""
    return Result.from_dict({**run["result"], "intervals": []})
