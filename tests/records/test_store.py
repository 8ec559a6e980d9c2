"""What is promised of baselines: found again where they were made, comparable or said why not, and never half."""

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.errors import BaselineError, PlanError
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.records.fingerprint import Fingerprint, Revision
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.records.store import Baselines, Comparison, checked, differences, write_whole
from pytest_loadgen.traffic.plan import hold, ramp
from tests.builders.figures import means
from tests.builders.traffic import plan

HERE = Fingerprint("Linux 6 x86_64", "Quick 9000", 2, "CPython 3.12.1", "")
THERE = replace(HERE, processor="Slow 100", cores=4)
FIRST, SECOND = means(*[10] * 5), means(*[20] * 5)


def record(*runs: tuple[str, Any], machine: Fingerprint = HERE, day: int = 1) -> Record:
    date = datetime(2026, 1, day, tzinfo=UTC)
    seen: Counter[str] = Counter()
    numbered = []
    for test, result in runs:
        numbered.append(Run(test, result, number=seen[test]))
        seen[test] += 1
    return Record(tuple(numbered), machine, Revision("abc", "main"), date, "0.1.0")


def judged(result: Any = FIRST) -> JudgedResult:
    return JudgedResult(result.plan, "mine")


def same(one: Record | None, other: Record) -> bool:
    """Tell whether two records say the same; what is read names a request, and could not be sent."""
    return one is not None and one.as_dict() == other.as_dict()


@pytest.fixture(params=["folder", "file-url", "memory"])
def baselines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Baselines]:
    """The same promises wherever they are kept."""
    if request.param == "memory":
        fsspec = pytest.importorskip("fsspec")
        yield Baselines("memory://runs")
        fsspec.filesystem("memory").store.clear()
    else:
        yield Baselines(tmp_path if request.param == "folder" else f"file://{tmp_path}")


def test_kept_and_found(baselines: Baselines) -> None:
    """What was kept comes back as it was, on the machine where it was made."""
    kept = record(("test_a.py::test_x", FIRST), ("test_a.py::test_y", SECOND))
    where = baselines.save("main", kept)
    assert where.endswith(f"{HERE.name}/main.json")
    assert same(baselines.find("main", HERE), kept)
    assert baselines.find("main", THERE) is None
    assert baselines.find("other", HERE) is None
    assert same(baselines.elsewhere("main"), kept)


def test_what_was_not_run_again_stays(baselines: Baselines) -> None:
    """A session replaces the loads that it made, and leaves the rest, also of a test that it did not get through."""
    baselines.save("main", record(("x", FIRST), ("x", SECOND), ("y", FIRST)))
    baselines.save("main", record(("x", SECOND), ("y", SECOND), ("y", SECOND), ("z", SECOND), day=2))
    found = baselines.find("main", HERE)
    assert found
    assert found.date.day == 2
    assert [(run.test, run.number) for run in found.runs] == [("x", 1), ("x", 0), ("y", 0), ("y", 1), ("z", 0)]
    assert {run.result.p50 for run in found.runs} == {SECOND.p50}


def test_each_load_has_its_own(baselines: Baselines) -> None:
    """A test's first load is compared with its first, its second with its second."""
    baselines.save("main", record(("x", FIRST), ("x", SECOND)))
    comparison = Comparison(baselines, "main", HERE)
    for number, kept in enumerate((FIRST, SECOND)):
        found = comparison.of("x", number, judged())
        assert found.result
        assert found.result.intervals == kept.intervals
    missing = comparison.of("x", 2, judged()).missing
    assert missing == "the baseline 'main' has no such load: keep it with --load-save main"


def test_loads_that_were_not_kept_leave_a_gap(baselines: Baselines) -> None:
    """The second load is never compared with the third."""
    kept = record(("x", FIRST), ("x", FIRST), ("x", SECOND))
    baselines.save("main", replace(kept, runs=(kept.runs[0], kept.runs[2])))
    comparison = Comparison(baselines, "main", HERE)
    assert comparison.of("x", 1, judged()).missing.endswith("has no such load: keep it with --load-save main")
    found = comparison.of("x", 2, judged()).result
    assert found
    assert found.p50 == SECOND.p50


def test_none_yet(baselines: Baselines) -> None:
    missing = Comparison(baselines, "main", HERE).of("x", 0, judged()).missing
    assert missing == "there is no baseline 'main' yet: make one with --load-save main"


def test_of_another_machine(baselines: Baselines) -> None:
    """It is said what the other machine is like; the latest of several."""
    baselines.save("main", record(("x", FIRST), machine=THERE))
    missing = Comparison(baselines, "main", HERE).of("x", 0, judged()).missing
    assert missing == (
        "the baseline 'main' is of another machine (processor Slow 100 and not Quick 9000, cores 4 and not 2): "
        "make one with --load-save main"
    )


@pytest.mark.parametrize(
    ("kept", "different"),
    [
        ({"generator": "fortio"}, "generator fortio and not mine"),
        ({"latency_from": "sent"}, "latency from sent and not scheduled"),
        ({"plan": plan(rate=50)}, "load 50/s for 5s and not 100/s for 5s"),
        (
            {"plan": plan(stages=[hold(100, 2), ramp(100, 0, 3)])},
            "load 100/s for 2s, 100/s to 0/s for 3s and not 100/s for 5s",
        ),
        ({"plan": plan(arrivals="poisson")}, "arrivals poisson and not constant"),
        ({"plan": plan(connections=7)}, "connections 7 and not 100"),
        ({"plan": plan(timeout=1)}, "time-out 1s and not 5s"),
        ({"plan": plan(rate="100.1/s")}, "load 100.1/s for 5s and not 100/s for 5s"),
        ({"plan": plan(warmup=1)}, "warm-up 1s and not 0s"),
        ({"plan": plan(expect=200)}, "right answers 200 and not 2xx 3xx"),
        ({"sent_from": "lab:50051"}, "sent from lab:50051 and not this machine"),
    ],
)
def test_of_another_load(tmp_path: Path, kept: Any, different: str) -> None:
    """A load that was another is not compared, and it is said in what it differs."""
    baselines = Baselines(tmp_path)
    baselines.save("main", record(("x", replace(FIRST, **kept))))
    missing = Comparison(baselines, "main", HERE).of("x", 0, judged()).missing
    assert missing.startswith(f"the baseline 'main' is of another load: {different.rstrip('*')}")
    assert differences(FIRST, judged()) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 101, "ü"])
def test_no_name(name: str) -> None:
    """A name is one for a file, and leads nowhere else."""
    with pytest.raises(PlanError, match="is no name for a baseline: write letters, digits, dots, dashes"):
        checked(name)


# What can go wrong.


def spoilt(baselines: Baselines, tmp_path: Path, text: str | bytes) -> str:
    baselines.save("main", record(("x", FIRST)))
    path = tmp_path / HERE.name / "main.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BaselineError) as caught:
        baselines.find("main", HERE)
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", " cannot be read as a record of loads (JSONDecodeError: "),
        ("[]", " cannot be read as a record of loads (TypeError: "),
        ("{}", " cannot be read as a record of loads (KeyError: 'schema')"),
        ('{"schema": 1}', " cannot be read as a record of loads (KeyError: "),
        ('{"schema": 2, "software": "x 9.9"}', " was written by another version (x 9.9, schema 2; this one reads 1)"),
        ('{"schema": -1, "software": "x 0"}', " was written by another version (x 0, schema -1; this one reads 1)"),
        ('{"schema": NaN}', " cannot be read as a record of loads (ValueError: NaN is no number)"),
        ("[" * 100_000, " cannot be read as a record of loads (RecursionError: "),
    ],
)  # fmt: skip
def test_a_spoilt_file(tmp_path: Path, text: str, said: str) -> None:
    message = spoilt(Baselines(tmp_path), tmp_path, text)
    assert message.startswith(said)
    assert "--load-save" in message


def test_no_text_at_all(tmp_path: Path) -> None:
    assert "cannot" in spoilt(Baselines(tmp_path), tmp_path, b"\xff\xfe")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("intervals", None),
        ("latency", "no histogram"),
        ("stages", None),
        ("stages", [["1/0", "1/0", 1]]),
        ("stages", [["1", "1", 10**400]]),
        ("runs", None),
        ("outcomes", {"200": -1}),
        ("outcomes", {"200": "1"}),
        ("cpu", "1"),
        ("seconds", -1),
        ("seconds", 1e999),
        ("start", None),
    ],
)
def test_a_damaged_record(tmp_path: Path, key: str, value: Any) -> None:
    """Whatever is wrong within, the message names the file and what to do."""
    data = record(("x", FIRST)).as_dict()
    result = data["runs"][0]["result"]
    for part in (data, result, result["plan"], result["intervals"][0]):
        if key in part:
            part[key] = value
    message = spoilt(Baselines(tmp_path), tmp_path, json.dumps(data))
    assert message.startswith(" cannot be read as a record of loads (")


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BaselineError, match=r"cannot write into .*/file"):
        Baselines(tmp_path / "file").save("main", record(("x", FIRST)))


def test_a_full_disk_leaves_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is whole, the old one or the new one, and no piece is left beside it."""
    baselines = Baselines(tmp_path)
    baselines.save("main", record(("x", FIRST)))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BaselineError, match=r"cannot write .*/main\.json: No space left on device"):
        baselines.save("main", record(("x", SECOND)))
    monkeypatch.undo()
    assert same(baselines.find("main", HERE), record(("x", FIRST)))
    assert [path.name for path in (tmp_path / HERE.name).iterdir()] == ["main.json"]


def test_savers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Sessions that end at the same time each keep their tests."""
    barrier = threading.Barrier(8)

    def save(number: int) -> None:
        barrier.wait()
        Baselines(tmp_path).save("main", record((f"test_{number}", FIRST)))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = Baselines(tmp_path).find("main", HERE)
    assert found
    assert {run.test for run in found.runs} == {f"test_{number}" for number in range(8)}


def test_a_storage_that_does_not_exist() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(BaselineError, match=r"^--load-storage: nosuch://x cannot be used: ValueError: "):
        Baselines("nosuch://x")


def test_written_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "x", "ü")
    assert (tmp_path / "x").read_text(encoding="utf-8") == "ü"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


# The machine and the code.


def test_fingerprint() -> None:
    """A machine is itself again, and has a name that is no path."""
    assert Fingerprint.from_dict(json.loads(json.dumps(HERE.as_dict()))) == HERE
    assert HERE.name != THERE.name
    assert checked(Fingerprint.here().name)
    assert Fingerprint.here().cores >= 1
    assert HERE.differences(HERE) == []


def test_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where git knows nothing, the CI system may."""
    for name in ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_BRANCH"):
        monkeypatch.delenv(name, raising=False)
    assert Revision.of(tmp_path) == Revision()
    monkeypatch.setenv("GITHUB_REF_NAME", "tea")
    assert Revision.of(tmp_path).branch == "tea"
