"""Where a service is to listen: a port, a unix socket, or a socket that it inherits."""

from __future__ import annotations

import errno
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

from pytest_loadgen.service.readiness import Address

HOST = "127.0.0.1"
Kind = Literal["port", "socket", "fd", "bound"]
_PLACEHOLDER = re.compile(r"\{(port|host|socket|fd)\}")
_BACKLOG = 1024
_LONGEST_FOLDER = 70


class Listener:
    """A place for one service, which nobody else takes meanwhile.

    A port is reserved: on Linux, a socket that is bound to it and does not listen keeps others from being given it, and
    lets servers bind it that set SO_REUSEADDR, as nearly all do. For one that does not, `reserved` is False: then the
    port is only known to be free.
    """

    url: str
    address: Address
    values: Mapping[str, str]
    """What replaces each placeholder."""
    inherited: tuple[int, ...] = ()
    """The descriptors that the service needs."""

    def __init__(self, kind: Kind, *, reserved: bool = True) -> None:
        """Find a place; as a context manager, give it back."""
        self._folder: str | None = None
        self._socket: socket.socket | None = None
        if kind == "socket":
            self._folder = tempfile.mkdtemp(prefix="loadgen-", dir=_short_folder())
            self.address = path = str(Path(self._folder, "service"))
            self.url, self.values = f"http+unix://{quote(path, safe='')}", {"socket": path}
            return
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((HOST, 0))
        port: int = self._socket.getsockname()[1]
        self.address, self.url = (HOST, port), f"http://{HOST}:{port}"
        self.values = {"host": HOST, "port": str(port), "fd": str(self._socket.fileno())}
        if kind == "port":
            if not reserved or sys.platform != "linux":
                self._release()
            return
        if kind == "fd":  # of an application, the server listens when it is ready
            self._socket.listen(_BACKLOG)
        self.inherited = (self._socket.fileno(),)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._release()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def started(self) -> None:
        """Leave an inherited socket to the service: when it dies, connections are to be refused."""
        if self.inherited:
            self._release()

    def take(self) -> socket.socket:
        """Give away the socket."""
        assert self._socket
        taken, self._socket = self._socket, None
        return taken

    def _release(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None


def _short_folder() -> str:
    """Give a folder for a unix socket, whose path may have 100 characters."""
    return folder if len(folder := tempfile.gettempdir()) < _LONGEST_FOLDER else "/tmp"  # noqa: S108  # mkdtemp's own


def placeholders(text: str) -> set[str]:
    """Give the names of the placeholders in a text."""
    return set(_PLACEHOLDER.findall(text))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders in a text; other braces are left as they are."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def is_taken(output: str) -> bool:
    """Whether the end of a service's output says that somebody else has its port."""
    return (
        re.search(rf"EADDRINUSE|address already in use|errno {errno.EADDRINUSE}\b", output, re.IGNORECASE) is not None
    )
