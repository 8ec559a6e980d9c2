"""Temporary folders that do not outlive the run they are for."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR

# Of these folders only: others of this project are not locked.
_PREFIX = "pytest-loadgen-scratch-"
# A folder of another run may be so young that it is not locked yet, in seconds.
_YOUNG = 10.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder that only this user can read; remove it afterwards, and those that killed runs left behind."""
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        lock = os.open(folder, os.O_RDONLY)
        try:
            # The system releases it when the process ends, however that happens.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_abandoned(folder)
            yield folder
        finally:
            os.close(lock)


def _remove_abandoned(mine: Path) -> None:
    """Remove folders of this user that nobody holds a lock on."""
    now = mine.stat().st_mtime
    for other in mine.parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = other.lstat()
            if other == mine or not S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                continue
            if found.st_mtime > now - _YOUNG:
                continue
            lock = os.open(other, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(other, ignore_errors=True)
            finally:
                os.close(lock)
