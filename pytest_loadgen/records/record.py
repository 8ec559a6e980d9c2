"""A session's runs, with their machine, code and date: the content of JSON reports and saved baselines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from pytest_loadgen.errors import BaselineError
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.revision import Revision
from pytest_loadgen.records.run import Run

SCHEMA = 1
"""The version of the document. Older versions can be read, newer ones cannot."""
REMEDY = "delete it and re-create it with --load-save"
"""What to do with saved runs that cannot be read."""


@dataclass(frozen=True)
class Record:
    """The runs of a session."""

    runs: tuple[Run, ...]
    machine: Fingerprint
    revision: Revision = field(default_factory=Revision)
    date: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the record was made, in UTC."""
    software: str = ""
    """The version of pytest-loadgen."""

    @classmethod
    def of(cls, runs: tuple[Run, ...], folder: Path) -> Self:
        """Record runs made now on this machine, of the code in a folder."""
        return cls(runs, Fingerprint.here(), Revision.of(folder), software=version("pytest-loadgen"))

    def as_dict(self) -> dict[str, Any]:
        """Return the record for JSON; schema.json describes it."""
        return {
            "schema": SCHEMA,
            "software": f"pytest-loadgen {self.software}",
            "date": self.date.isoformat(),
            "commit": self.revision.commit,
            "branch": self.revision.branch,
            "machine": self.machine.as_dict(),
            "runs": [run.as_dict() for run in self.runs],
        }

    def dumps(self) -> str:
        """Write the record as JSON."""
        return json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n"

    @classmethod
    def loads(cls, text: str, source: str, remedy: str = REMEDY) -> Self:
        """Read what `dumps` wrote. Raises BaselineError, which names the source and the remedy."""
        with reading(source, remedy):
            data = parsed(text, source, remedy)
            return cls(
                runs=tuple(map(Run.from_dict, data["runs"])),
                machine=Fingerprint.from_dict(data["machine"]),
                revision=Revision(data["commit"], data["branch"]),
                date=datetime.fromisoformat(data["date"]),
                software=data["software"].removeprefix("pytest-loadgen "),
            )


@contextmanager
def reading(source: str, remedy: str = REMEDY) -> Iterator[None]:
    """Turn the errors of reading a damaged record into a BaselineError, which names the source and the remedy."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BaselineError(
            f"{source} is not a valid record of loads ({type(error).__name__}: {error}): {remedy}."
        ) from None


def parsed(text: str, source: str, remedy: str = REMEDY) -> Any:
    """Parse a record. Raises BaselineError for that of another version, and errors that `reading` turns into one."""
    data = json.loads(text, parse_constant=_refuse)
    schema = data["schema"]
    if not 1 <= schema <= SCHEMA:
        raise BaselineError(
            f"{source} was written by a different version ({data['software']}, schema {schema}; this version "
            f"reads schema {SCHEMA}): update pytest-loadgen, or {remedy}."
        )
    return data


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
