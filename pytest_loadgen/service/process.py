"""A service in a process of its own, which ends with this one."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pytest_loadgen import clock
from pytest_loadgen.errors import ServiceError
from pytest_loadgen.service import keeper

# How long a service has to end after SIGTERM, in seconds.
_GRACE = 5.0
# How long its keeper may take to start, and to end beyond that, in seconds.
_KEEPER = 10.0
_POLL = 0.005
# Of errors, what helps.
_ADVICE = {
    errno.ENOENT: "not found on PATH. Install it, or write its path; no shell runs the command (use env= and cwd=)",
    errno.EACCES: "permission denied. It has to be an executable file",
    errno.ENOEXEC: "it is not a program for this machine. A script has to begin with a line such as '#!/bin/sh'",
}


class ServiceProcess:
    """A service and all its children, behind a `keeper` that ends them when this process ends, however that ends."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] | None,
        inherited: Iterable[int],
        output: Path,
    ) -> None:
        """Start it; what it prints goes to a file. Raises ServiceError where it cannot be started."""
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._said = b""
        self._status: int | None = None
        listed = ",".join(map(str, inherited))
        arguments = [str(theirs.fileno()), str(os.getpid()), str(_GRACE), listed]
        with theirs, output.open("wb") as file:
            try:
                self._keeper = subprocess.Popen(  # noqa: S603  # this interpreter, our own code
                    [sys.executable, "-I", "-S", keeper.__file__, *arguments, *argv],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env=env,
                    pass_fds=[theirs.fileno(), *inherited],
                    start_new_session=True,  # this process handles Ctrl-C
                )
            except (OSError, ValueError, TypeError) as error:
                ours.close()
                raise ServiceError(f"cannot start {argv[0]}: {_reason(error)}") from None
        _ALL.add(self)
        try:
            self._hear_start(argv[0])
        except BaseException:
            self.end()
            raise

    def _hear_start(self, program: str) -> None:
        deadline = clock.monotonic() + _KEEPER
        while True:
            gone = self._keeper.poll() is not None
            if lines := self._lines():  # looked at last: it may end as soon as it has said something
                break
            if gone or clock.monotonic() > deadline:
                raise ServiceError(f"cannot start {program}: the process that watches it did not come up")
            clock.sleep(_POLL)
        what, _, number = lines[0].partition(" ")
        if what == "failed":
            raise ServiceError(f"cannot start {program}: {_why(program, int(number))}")

    @property
    def status(self) -> int | None:
        """Its exit status if it has ended by itself; if negative, the signal that killed it."""
        if self._socket.fileno() < 0:
            return self._status
        gone = self._keeper.poll() is not None
        for line in self._lines():
            what, _, number = line.partition(" ")
            if what == "ended":
                return int(number)
        return -signal.SIGKILL if gone else None  # without its keeper it was killed

    def end(self) -> None:
        """End it and everything it started, within the grace time."""
        self._status = self.status
        self._socket.close()
        deadline = clock.monotonic() + _GRACE + _KEEPER
        while self._keeper.poll() is None:
            if clock.monotonic() > deadline:
                self._keeper.kill()
                self._keeper.wait()
            clock.sleep(_POLL)

    def _lines(self) -> list[str]:
        """Give what the keeper has said so far, in whole lines."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        while poll.poll(0):
            with suppress(ConnectionError):
                if data := self._socket.recv(4096):
                    self._said += data
                    continue
            break
        return self._said.decode().split("\n")[:-1]


_ALL: weakref.WeakSet[ServiceProcess] = weakref.WeakSet()


def _close_inherited() -> None:
    """Close the sockets in a forked child: open ones would keep services alive when this process dies."""
    for process in _ALL:
        process._socket.close()


os.register_at_fork(after_in_child=_close_inherited)


def _why(program: str, number: int) -> str:
    """Say why a program was not started, and what helps."""
    if number == errno.ENOENT and os.sep in program:
        return "no such file, or it is a script whose first line ('#!…') names no file"
    return _ADVICE.get(number, os.strerror(number))


def _reason(error: Exception) -> str:
    """Say why nothing could be started, and of which file."""
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
