"""The limits of containers, as the kernel writes them."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_loadgen import cgroup

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tree of groups in which this process has the group that it really has."""
    monkeypatch.setattr(cgroup, "_ROOT", tmp_path)
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::")), None)
    if own is None:
        pytest.skip("no cgroup v2")
    cgroup._limiting_this_process.cache_clear()
    (tmp_path / own.strip("/") / "inner").mkdir(parents=True)
    yield tmp_path / own.strip("/")
    cgroup._limiting_this_process.cache_clear()


def limit(group: Path, cpu: str, throttled: float) -> None:
    (group / "cpu.max").write_text(f"{cpu}\n")
    (group / "cpu.stat").write_text(f"usage_usec 1\nnr_throttled 3\nthrottled_usec {throttled * 1e6:.0f}\n")


@pytest.mark.parametrize("process", [None, os.getpid()], ids=["default", "number"])
def test_a_limit(groups: Path, process: int | None) -> None:
    limit(groups, "150000 100000", 2.5)
    assert cgroup.cores(process) == 1.5
    assert cgroup.throttled(process) == 2.5
    (groups / "memory.max").write_text("1000\n")
    assert cgroup.limits() == "cpu.max 150000 100000, memory.max 1000"


@pytest.mark.parametrize("process", [None, os.getpid()], ids=["default", "number"])
def test_no_limit(groups: Path, process: int | None) -> None:
    limit(groups, "max 100000", 0)
    assert cgroup.cores(process) == math.inf
    assert cgroup.throttled(process) == 0
    assert cgroup.limits() == ""


def test_no_groups(groups: Path) -> None:
    assert cgroup.cores() == math.inf
    assert cgroup.throttled() == 0
    assert cgroup.limits() == ""
    assert cgroup.throttled(2**22 + 1) == 0
