"""Saved records, by name and machine."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from pytest_loadgen.errors import PlanError
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.storage import open_storage

FOLDER = ".loadgen"
"""The default folder, below pytest's root directory; --load-storage selects another."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class BaselineStore:
    """The records that --load-save keeps and --load-compare reads."""

    def __init__(self, location: str | Path) -> None:
        """Open a folder, or a URL that fsspec supports. Raises BaselineError."""
        self._storage = open_storage(location)

    def save(self, name: str, record: Record) -> str:
        """Save a record under a name and return its path or URL.

        Loads saved earlier stay, unless the record has the same load of the same test.
        Raises BaselineError, or PlanError where the name is invalid.
        """
        key = _key(record.machine, name)
        with self._storage.locked():
            saved = self._read(key)
            merged = self._merge(saved, record) if saved else record
            self._storage.write(key, merged.dumps())
        return self._storage.location(key)

    def check_writable(self) -> None:
        """Check that records can be saved. Raises BaselineError."""
        with self._storage.locked():
            pass

    def find(self, name: str, machine: Fingerprint) -> Record | None:
        """Return what was saved under a name on a machine, or None. Raises BaselineError."""
        return self._read(_key(machine, name))

    def find_on_any_machine(self, name: str) -> Record | None:
        """Return the newest record saved under a name, whatever the machine, or None. Raises BaselineError."""
        records = [self._read(key) for key in self._storage.keys(f"{check_name(name)}.json")]
        return max(filter(None, records), key=lambda record: record.date, default=None)

    def names(self) -> list[str]:
        """List the names that something was saved under, on any machine. Raises BaselineError."""
        return sorted({key.rpartition("/")[2].removesuffix(".json") for key in self._storage.keys("*.json")})

    def _read(self, key: str) -> Record | None:
        text = self._storage.read(key)
        return None if text is None else Record.loads(text, self._storage.location(key))

    @staticmethod
    def _merge(saved: Record, new: Record) -> Record:
        replaced = {(run.test, run.number) for run in new.runs}
        return replace(new, runs=(*(run for run in saved.runs if (run.test, run.number) not in replaced), *new.runs))


def check_name(name: str) -> str:
    """Return a name that is safe as a file name. Raises PlanError."""
    if not _NAME.fullmatch(name):
        raise PlanError(
            f"{name!r} is not a valid baseline name: use letters, digits, dots, dashes and underscores, "
            "starting with a letter or digit, at most 100 characters"
        )
    return name


def _key(machine: Fingerprint, name: str) -> str:
    return f"{machine.name}/{check_name(name)}.json"
