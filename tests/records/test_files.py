"""Files are written as a whole."""

from pathlib import Path

from pytest_loadgen.records.files import write_atomically


def test_write_atomically(tmp_path: Path) -> None:
    """The file has the text in UTF-8, everyone may read it, and nothing else is left."""
    write_atomically(tmp_path / "x", "ü")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "ü"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]
