"""Kept runs are found again by name and machine, and a session adds to those of the loads that it ran."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.errors import BaselineError, PlanError
from pytest_loadgen.records.store import BaselineStore, check_name
from tests.builders.figures import means
from tests.builders.records import FAST, HERE, SLOW, THERE, record
from tests.builders.traffic import plan


@pytest.fixture(params=["folder", "file-url", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaselineStore]:
    """Run a test with each kind of storage."""
    if request.param == "memory":
        fsspec = pytest.importorskip("fsspec")
        yield BaselineStore("memory://runs")
        fsspec.filesystem("memory").store.clear()
    else:
        yield BaselineStore(tmp_path if request.param == "folder" else f"file://{tmp_path}")


def test_save_and_find(store: BaselineStore) -> None:
    """A saved run is found unchanged, with its commit and date, on the machine where it was made."""
    saved = record(("test_a.py::test_x", FAST), ("test_a.py::test_y", SLOW))
    where, _ = store.save("main", saved)
    assert where.endswith(f"{HERE.name}/main.json")
    found = store.find("main", HERE)
    assert found
    assert found.machine == HERE
    for run, result in zip(saved.runs, (FAST, SLOW), strict=True):
        (kept,) = found.runs(run.test, 0)
        assert kept.result.as_dict() == result.as_dict()
        assert (kept.revision, kept.date) == (saved.revision, saved.date)
    assert store.find("main", THERE) is None
    assert store.find("other", HERE) is None


def test_find_on_any_machine(store: BaselineStore) -> None:
    """The newest runs are found, whatever their machine."""
    store.save("main", record(("x", SLOW), machine=THERE, day=2))
    store.save("main", record(("x", FAST), day=1))
    newest = store.find_on_any_machine("main")
    assert newest
    assert newest.machine == THERE
    assert store.find_on_any_machine("other") is None


def medians(store: BaselineStore, test: str, number: int = 0) -> list[float]:
    """Give the p50 of the kept runs of a load, in milliseconds."""
    found = store.find("main", HERE)
    assert found
    return [round(run.result.p50 * 1e3) for run in found.runs(test, number)]


def test_runs_are_added(store: BaselineStore) -> None:
    """Saving adds to the runs of the loads that ran, and keeps the others, even those of a test that ran in part."""
    store.save("main", record(("x", FAST), ("x", SLOW), ("y", FAST)))
    store.save("main", record(("x", SLOW), ("y", SLOW), ("y", SLOW), ("z", SLOW), day=2))
    found = store.find("main", HERE)
    assert found
    assert found.date.day == 2
    assert [medians(store, *load) for load in (("x", 0), ("x", 1), ("y", 0), ("y", 1), ("z", 0))] == [
        [10, 20],
        [20],
        [10, 20],
        [20],
        [20],
    ]
    assert [run.date and run.date.day for run in found.runs("x", 0)] == [1, 2]


def test_the_newest_runs_are_kept(store: BaselineStore) -> None:
    """At most the requested number of runs of each load is kept."""
    for day in range(1, 8):
        store.save("main", record(("x", means(*[10 + day] * 5)), day=day), keep=3)
    store.save("main", record(("y", FAST), day=8), keep=3)
    assert medians(store, "x") == [15, 16, 17]
    assert medians(store, "y") == [10]


def test_a_load_that_has_changed(store: BaselineStore) -> None:
    """The earlier runs of a load that has changed are dropped; those of other loads stay."""
    for day in (1, 2):
        assert store.save("main", record(("x", FAST), ("y", FAST), day=day)).dropped == 0
    assert store.save("main", record(("x", replace(SLOW, plan=plan(rate=50))), day=3)).dropped == 2
    assert medians(store, "x") == [20]
    assert medians(store, "y") == [10, 10]


def test_one_run_a_load(store: BaselineStore, tmp_path: Path) -> None:
    """What was saved with one commit and one run for each load is read, and added to."""
    text = json.dumps(without_commits(record(("x", FAST)).as_dict()))
    path = Path(store.save("main", record(("x", SLOW))).where)
    if not path.is_absolute():
        pytest.skip("a text is put into folders only")
    Path(str(path).removeprefix("file://")).write_text(text)
    (kept,) = BaselineStore(tmp_path).find("main", HERE).runs("x", 0)  # type: ignore[union-attr]
    assert (kept.revision.commit, kept.date) == ("abc", None)
    store.save("main", record(("x", SLOW), day=2))
    assert medians(store, "x") == [10, 20]


def without_commits(data: dict[str, Any]) -> dict[str, Any]:
    data["runs"] = [{name: each for name, each in run.items() if name not in NEW} for run in data["runs"]]
    return data


NEW = {"commit", "branch", "kept"}


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 101, "ü"])
def test_invalid_name(name: str) -> None:
    """A name has to be safe as a file name, so that it cannot leave the storage."""
    with pytest.raises(PlanError, match="is not a valid baseline name: use letters, digits, dots, dashes"):
        check_name(name)


def test_concurrent_saves(tmp_path: Path) -> None:
    """Sessions that save at the same time all keep their loads."""
    barrier = threading.Barrier(8)

    def save(number: int) -> None:
        barrier.wait()
        BaselineStore(tmp_path).save("main", record((f"test_{number}", FAST)))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(medians(BaselineStore(tmp_path), f"test_{number}") == [10] for number in range(8))


def test_unwritable_storage(tmp_path: Path) -> None:
    """A storage that cannot be written is refused before any load, and when saving."""
    (tmp_path / "file").write_text("")
    store = BaselineStore(tmp_path / "file")
    with pytest.raises(BaselineError, match=r"cannot write to .*/file"):
        store.check_writable("main", HERE)
    with pytest.raises(BaselineError, match=r"cannot write to .*/file"):
        store.save("main", record(("x", FAST)))


def test_damaged_runs_are_refused_before_any_load(tmp_path: Path) -> None:
    """What cannot be added to is found before a session, and not after its loads."""
    store = BaselineStore(tmp_path)
    Path(store.save("main", record(("x", FAST))).where).write_text("{")
    with pytest.raises(BaselineError, match=r"main.json is not a valid record of loads"):
        store.check_writable("main", HERE)
    store.check_writable("other", HERE)


def test_dates_without_a_time_zone(tmp_path: Path) -> None:
    """Dates that another program wrote are compared with those of this one."""
    for machine in (HERE, THERE):
        path = Path(BaselineStore(tmp_path).save("main", record(("x", FAST), machine=machine)).where)
    path.write_text(path.read_text().replace('"2026-01-01T00:00:00+00:00"', '"2026-01-03T00:00:00"'))
    newest = BaselineStore(tmp_path).find_on_any_machine("main")
    assert newest
    assert newest.machine == THERE
