"""Kept runs, by name and machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from pytest_loadgen.errors import PlanError
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.history import History
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.storage import open_storage

FOLDER = ".loadgen"
"""The default folder, below pytest's root directory; --load-storage selects another."""
KEEP = 10
"""How many runs of each load are kept, unless the ini option load_keep says otherwise."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Saved(NamedTuple):
    """What became of runs that were to be kept."""

    where: str
    """The path or URL."""
    dropped: int
    """How many earlier runs are not kept any longer, because their load has changed."""


class BaselineStore:
    """The runs that --load-save keeps and --load-compare reads."""

    def __init__(self, location: str | Path) -> None:
        """Open a folder, or a URL that fsspec supports. Raises BaselineError."""
        self._storage = open_storage(location)

    def save(self, name: str, record: Record, keep: int = KEEP) -> Saved:
        """Add the runs of a session to those kept under a name.

        Keeps the newest runs of each load, `keep` at most, and drops those of a load that has changed.
        Raises BaselineError, or PlanError where the name is invalid.
        """
        key = _key(record.machine, name)
        with self._storage.locked():
            saved = self._read(key)
            history, dropped = saved.followed_by(record, keep) if saved else (History.of(record), 0)
            self._storage.write(key, history.dumps())
        return Saved(self._storage.location(key), dropped)

    def check_writable(self, name: str, machine: Fingerprint) -> None:
        """Check that runs can be added to those kept under a name. Raises BaselineError."""
        with self._storage.locked():
            self.find(name, machine)

    def find(self, name: str, machine: Fingerprint) -> History | None:
        """Return what was saved under a name on a machine, or None. Raises BaselineError."""
        return self._read(_key(machine, name))

    def find_on_any_machine(self, name: str) -> History | None:
        """Return what was saved last under a name, whatever the machine, or None. Raises BaselineError."""
        found = [self._read(key) for key in self._storage.keys(f"{check_name(name)}.json")]
        return max(filter(None, found), key=lambda history: history.date, default=None)

    def names(self) -> list[str]:
        """List the names that something was saved under, on any machine. Raises BaselineError."""
        return sorted({key.rpartition("/")[2].removesuffix(".json") for key in self._storage.keys("*.json")})

    def _read(self, key: str) -> History | None:
        text = self._storage.read(key)
        return None if text is None else History.loads(text, self._storage.location(key))


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
