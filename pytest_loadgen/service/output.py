"""What services have printed: a file each, which is kept where a test has failed."""

from __future__ import annotations

import atexit
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_loadgen.wording import describe_exit, printable

if TYPE_CHECKING:
    from pytest_loadgen.service.process import ServiceProcess

# How much of the end is quoted, in bytes, in lines, and of a line in characters.
_END = 4000
_LINES, _WIDTH = 30, 500
# Of terminals: some programs color what nobody sees.
_COLOR = re.compile(r"\x1b\[[\d;]*m")


@dataclass(eq=False)
class Output:
    """The output of one service."""

    name: str
    """The service, as the user wrote it."""
    path: Path
    process: ServiceProcess | None = None
    """The service, once it is ready."""
    ended: bool = False
    """Whether the service has ended: the next test does not need its output."""
    quoted: bool = False
    """Whether an error has quoted it already."""
    named: bool = False
    """Whether a message of the current test names the file."""
    kept: bool = False
    """Whether a message of a failed test does."""
    _seen: int = 0

    @classmethod
    def of(cls, name: str) -> Output:
        """Make a file for the output of a service."""
        handle, path = tempfile.mkstemp(prefix="pytest-loadgen-service-", suffix=".log")
        os.close(handle)
        _ALL.append(output := cls(name, Path(path)))
        return output

    @property
    def title(self) -> str:
        """Name the service, how it ended if it did so by itself, and the file if there is something in it."""
        fate = "" if self._status is None else f", which {describe_exit(self._status)}"
        return f"{self.name}{fate}{f': {self.path}' if self.named or self.kept else ''}"

    @property
    def is_new(self) -> bool:
        """Whether something was printed since the current test began."""
        return self._size() > self._seen

    def end(self, lines: int = _LINES) -> str:
        """Quote the last lines that were printed since the current test began; whoever shows them names the file."""
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(begin := max(self._seen, self._size() - _END))
            text = file.read(_END).decode(errors="replace")
            found = _COLOR.sub("", text).strip().expandtabs().splitlines()
            if begin > self._seen:
                found = found[1:] or found  # the first is cut
            self.named |= bool(found)
            return "\n".join(printable(line[:_WIDTH]) for line in found[-lines:])
        return ""

    def _size(self) -> int:
        with suppress(OSError):
            return self.path.stat().st_size
        return 0

    @property
    def _status(self) -> int | None:
        return self.process.status if self.process else None

    def _begin(self) -> None:
        self.named = False
        if self._status is None:  # the last words of a service are for all later tests
            self._seen = self._size()

    def _remove(self) -> None:
        with suppress(OSError):
            self.path.unlink()


_ALL: list[Output] = []


def outputs() -> list[Output]:
    """Give the output of each service that ran during the current test."""
    return list(_ALL)


def keep_named() -> None:
    """Keep the files that the report of a test names, because the test has failed."""
    for output in _ALL:
        output.kept |= output.named


def begin_test() -> None:
    """Forget the services that have ended, and what the others have printed so far."""
    for output in _ALL:
        output._begin()
    _forget([output for output in _ALL if output.ended])


def _forget(outputs: list[Output]) -> None:
    for output in outputs:
        _ALL.remove(output)
        if not (output.kept or output.named):
            output._remove()


def _forget_all(process: int = os.getpid()) -> None:
    if os.getpid() == process:  # not in a forked child
        _forget(list(_ALL))


atexit.register(_forget_all)
