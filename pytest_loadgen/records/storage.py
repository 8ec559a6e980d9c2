"""Where saved records are stored: a folder, or any URL that fsspec supports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from pytest_loadgen.errors import BaselineError, LoadError
from pytest_loadgen.file_lock import locked
from pytest_loadgen.records.files import write_atomically

# A session saves in a moment: one that holds the lock for longer hangs.
_LONGEST_WAIT = 60.0


class Storage(Protocol):
    """Stores texts by key: a folder name and a file name with a slash between.

    All methods raise BaselineError.
    """

    def read(self, key: str) -> str | None:
        """Return the text of a key, or None where there is none."""

    def write(self, key: str, text: str) -> None:
        """Store a text, or replace it."""

    def keys(self, name: str) -> list[str]:
        """List the keys in all folders that have this file name, or one of this pattern."""

    def location(self, key: str) -> str:
        """Return the path or URL of a key, for messages."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep other sessions from saving, where the storage can."""


def open_storage(location: str | Path) -> Storage:
    """Open a folder, a file:// URL, or a URL that fsspec supports. Raises BaselineError."""
    text = str(location)
    if text.startswith("file://"):
        return FolderStorage(Path(text.removeprefix("file://")))
    return FsspecStorage(text) if "://" in text else FolderStorage(Path(location))


class FolderStorage:
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        """Use this folder; it is created with the first write."""
        self._folder = folder

    def read(self, key: str) -> str | None:
        """Return the text of a key, or None where there is none."""
        try:
            return (self._folder / key).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise BaselineError(f"cannot read {self.location(key)}: {_reason(error)}") from None

    def write(self, key: str, text: str) -> None:
        """Store a text, or replace it."""
        path = self._folder / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
        except OSError as error:
            raise BaselineError(f"cannot write {path}: {_reason(error)}") from None

    def keys(self, name: str) -> list[str]:
        """List the keys in all folders that have this file name, or one of this pattern."""
        return [f"{path.parent.name}/{path.name}" for path in sorted(self._folder.glob(f"*/{name}"))]

    def location(self, key: str) -> str:
        """Return the path of a key."""
        return str(self._folder / key)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a file lock, so that two sessions cannot overwrite each other's loads."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BaselineError(f"cannot write to {self._folder}: {_reason(error)}") from None
        if not os.access(self._folder, os.W_OK):
            raise BaselineError(f"cannot write to {self._folder}: permission denied")
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._folder / ".lock", longest_wait=_LONGEST_WAIT))
            except LoadError as error:
                raise BaselineError(f"cannot write to {self._folder}: {error}") from None
            yield


class FsspecStorage:
    """A URL that fsspec supports. Not safe for concurrent saves: there is no lock."""

    def __init__(self, url: str) -> None:
        """Open the file system of a URL. Raises BaselineError."""
        try:
            import fsspec
        except ImportError:
            raise BaselineError(f"--load-storage {url} needs fsspec: pip install 'pytest-loadgen[storage]'") from None
        self._url = url.rstrip("/")
        with self._errors(self._url):
            self._files, self._path = fsspec.core.url_to_fs(self._url)

    def read(self, key: str) -> str | None:
        """Return the text of a key, or None where there is none."""
        with self._errors(self.location(key)):
            try:
                content: bytes = self._files.cat_file(f"{self._path}/{key}")
            except FileNotFoundError:
                return None
            return content.decode()

    def write(self, key: str, text: str) -> None:
        """Store a text, or replace it."""
        with self._errors(self.location(key)):
            with suppress(NotImplementedError):  # some storages have no folders
                self._files.makedirs(f"{self._path}/{key.partition('/')[0]}", exist_ok=True)
            self._files.pipe_file(f"{self._path}/{key}", text.encode())

    def keys(self, name: str) -> list[str]:
        """List the keys in all folders that have this file name, or one of this pattern."""
        with self._errors(self._url):
            return ["/".join(path.rsplit("/", 2)[-2:]) for path in self._files.glob(f"{self._path}/*/{name}")]

    def location(self, key: str) -> str:
        """Return the URL of a key."""
        return f"{self._url}/{key}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Do nothing: object stores have no locks."""
        yield

    @contextmanager
    def _errors(self, location: str) -> Iterator[None]:
        """Turn the errors of any file system into a BaselineError."""
        try:
            yield
        except Exception as error:
            raise BaselineError(f"--load-storage: cannot use {location}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
