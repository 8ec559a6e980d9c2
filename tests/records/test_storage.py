"""Storages keep a text whole or not at all, and name what cannot be read or written."""

import os
from pathlib import Path

import pytest

from pytest_loadgen.errors import BaselineError
from pytest_loadgen.records.storage import FolderStorage, open_storage


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk the old text stays, and no temporary file is left."""
    storage = FolderStorage(tmp_path)
    storage.write("machine/main.json", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BaselineError, match=r"cannot write .*/main\.json: No space left on device"):
        storage.write("machine/main.json", "new")
    assert storage.read("machine/main.json") == "old"
    assert [path.name for path in (tmp_path / "machine").iterdir()] == ["main.json"]


def test_not_utf8(tmp_path: Path) -> None:
    """A file that is not text is named."""
    (tmp_path / "main.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BaselineError, match=rf"^cannot read {tmp_path}/main\.json: UnicodeDecodeError: "):
        FolderStorage(tmp_path).read("main.json")


def test_unknown_url() -> None:
    """A URL that fsspec does not support is named, with fsspec's reason."""
    pytest.importorskip("fsspec")
    with pytest.raises(BaselineError, match=r"^--load-storage: cannot use nosuch://x: ValueError: "):
        open_storage("nosuch://x")
