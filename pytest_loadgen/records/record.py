"""All that is told of a session: its runs, where and of what; the document that reports and baselines are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from pytest_loadgen.errors import BaselineError
from pytest_loadgen.records.fingerprint import Fingerprint, Revision
from pytest_loadgen.records.run import Run

SCHEMA = 1
"""The version of the document; a reader refuses newer ones, and reads older ones."""


@dataclass(frozen=True)
class Record:
    """A session's runs, and what they are of."""

    runs: tuple[Run, ...]
    machine: Fingerprint
    revision: Revision = field(default_factory=Revision)
    date: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When it was made, in UTC."""
    software: str = ""
    """The version of this package."""

    @classmethod
    def of(cls, runs: tuple[Run, ...], folder: Path) -> Self:
        """Make the record of runs that were made here and now, of the code in a folder."""
        return cls(runs, Fingerprint.here(), Revision.of(folder), software=version("pytest-loadgen"))

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON can hold it; what this is made of is in schema.json."""
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
        """Write it as JSON."""
        return json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n"

    @classmethod
    def loads(cls, text: str, where: str) -> Self:
        """Read what `dumps` wrote. Raises BaselineError that says where that was."""
        try:
            data = json.loads(text, parse_constant=_refused)
            schema = data["schema"]
            if not 1 <= schema <= SCHEMA:
                raise BaselineError(
                    f"{where} was written by another version ({data['software']}, schema {schema}; this one reads "
                    f"{SCHEMA}): update pytest-loadgen, or remove the file and make it anew with --load-save."
                )
            return cls(
                runs=tuple(map(Run.from_dict, data["runs"])),
                machine=Fingerprint.from_dict(data["machine"]),
                revision=Revision(data["commit"], data["branch"]),
                date=datetime.fromisoformat(data["date"]),
                software=data["software"].removeprefix("pytest-loadgen "),
            )
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise BaselineError(
                f"{where} cannot be read as a record of loads ({type(error).__name__}: {error}): "
                "remove it, and make it anew with --load-save."
            ) from None


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
