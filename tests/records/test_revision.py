"""The commit and branch come from git, or from the CI system."""

from pathlib import Path

import pytest

from pytest_loadgen.records.revision import Revision


def test_outside_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a branch in git, the CI system's variables name it; without both it is empty."""
    for name in ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_BRANCH"):
        monkeypatch.delenv(name, raising=False)
    assert Revision.of(tmp_path) == Revision()
    monkeypatch.setenv("GITHUB_REF_NAME", "tea")
    assert Revision.of(tmp_path).branch == "tea"
