"""Saved records are found again by name and machine, and a session replaces only the loads that it ran."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_loadgen.errors import BaselineError, PlanError
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.store import BaselineStore, check_name
from tests.builders.records import FAST, HERE, SLOW, THERE, record


@pytest.fixture(params=["folder", "file-url", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaselineStore]:
    """Run a test with each kind of storage."""
    if request.param == "memory":
        fsspec = pytest.importorskip("fsspec")
        yield BaselineStore("memory://runs")
        fsspec.filesystem("memory").store.clear()
    else:
        yield BaselineStore(tmp_path if request.param == "folder" else f"file://{tmp_path}")


def same(one: Record | None, other: Record) -> bool:
    """Compare what is saved of two records; a saved request has no headers or body."""
    return one is not None and one.as_dict() == other.as_dict()


def test_save_and_find(store: BaselineStore) -> None:
    """A saved record is found unchanged, on the machine where it was made."""
    saved = record(("test_a.py::test_x", FAST), ("test_a.py::test_y", SLOW))
    location = store.save("main", saved)
    assert location.endswith(f"{HERE.name}/main.json")
    assert same(store.find("main", HERE), saved)
    assert store.find("main", THERE) is None
    assert store.find("other", HERE) is None


def test_find_on_any_machine(store: BaselineStore) -> None:
    """The newest record is found, whatever its machine."""
    newest = record(("x", SLOW), machine=THERE, day=2)
    store.save("main", newest)
    store.save("main", record(("x", FAST), day=1))
    assert same(store.find_on_any_machine("main"), newest)
    assert store.find_on_any_machine("other") is None


def test_loads_that_did_not_run_again_stay(store: BaselineStore) -> None:
    """Saving replaces the loads that ran, and keeps the others, even those of a test that ran only in part."""
    store.save("main", record(("x", FAST), ("x", SLOW), ("y", FAST)))
    store.save("main", record(("x", SLOW), ("y", SLOW), ("y", SLOW), ("z", SLOW), day=2))
    found = store.find("main", HERE)
    assert found
    assert found.date.day == 2
    assert [(run.test, run.number) for run in found.runs] == [("x", 1), ("x", 0), ("y", 0), ("y", 1), ("z", 0)]
    assert {run.result.p50 for run in found.runs} == {SLOW.p50}


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
    found = BaselineStore(tmp_path).find("main", HERE)
    assert found
    assert {run.test for run in found.runs} == {f"test_{number}" for number in range(8)}


def test_unwritable_storage(tmp_path: Path) -> None:
    """A storage that cannot be written is refused before any load, and when saving."""
    (tmp_path / "file").write_text("")
    store = BaselineStore(tmp_path / "file")
    with pytest.raises(BaselineError, match=r"cannot write to .*/file"):
        store.check_writable()
    with pytest.raises(BaselineError, match=r"cannot write to .*/file"):
        store.save("main", record(("x", FAST)))
