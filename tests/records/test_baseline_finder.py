"""Each load is compared with the saved load of the same test and number, or a message says why it is not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.records.baseline_finder import BaselineFinder, differences
from pytest_loadgen.records.store import BaselineStore
from pytest_loadgen.traffic.plan import hold, ramp
from tests.builders.records import FAST, HERE, SLOW, THERE, record
from tests.builders.traffic import plan

LOAD = replace(FAST, intervals=())
"""A load before it runs."""


@pytest.fixture
def store(tmp_path: Path) -> BaselineStore:
    return BaselineStore(tmp_path)


def missing(store: BaselineStore, number: int = 0) -> str:
    return BaselineFinder(store, "main", HERE).find("x", number, LOAD).missing


def test_by_number(store: BaselineStore) -> None:
    """A test's first load is compared with its first, its second with its second."""
    store.save("main", record(("x", FAST), ("x", SLOW)))
    finder = BaselineFinder(store, "main", HERE)
    for number, saved in enumerate((FAST, SLOW)):
        found = finder.find("x", number, LOAD).result
        assert found
        assert found.intervals == saved.intervals
    assert missing(store, 2) == "the baseline 'main' has no entry for this load: add it with --load-save=main"


def test_gaps(store: BaselineStore) -> None:
    """Where the second load was not saved, it is not compared with the third."""
    saved = record(("x", FAST), ("x", FAST), ("x", SLOW))
    store.save("main", replace(saved, runs=(saved.runs[0], saved.runs[2])))
    assert "has no entry for this load" in missing(store, 1)
    found = BaselineFinder(store, "main", HERE).find("x", 2, LOAD).result
    assert found
    assert found.p50 == SLOW.p50


def test_no_baseline(store: BaselineStore) -> None:
    """Without a baseline of this name, the message says how to create it."""
    assert missing(store) == "there is no baseline 'main' yet: create it with --load-save=main"


def test_another_name(store: BaselineStore) -> None:
    """A name that nothing was saved under: the nearest one is proposed, or all are listed, of any machine."""
    store.save("mian", record(("x", FAST)))
    remedy = "create it with --load-save=main"
    assert missing(store) == f"there is no baseline 'main' (did you mean 'mian'?): {remedy}"
    store.save("nightly", record(("x", FAST), machine=THERE))
    found = BaselineFinder(store, "release", HERE).find("x", 0, LOAD).missing
    assert found.startswith("there is no baseline 'release' (saved: mian, nightly): create it with ")


def test_different_machine(store: BaselineStore) -> None:
    """A baseline from another machine is not used, and the message says how that machine differs."""
    store.save("main", record(("x", FAST), machine=THERE))
    assert missing(store) == (
        "the baseline 'main' is from a different machine (processor was Slow 100, now Quick 9000, cores were 4, "
        "now 2): create it with --load-save=main"
    )


@pytest.mark.parametrize(
    ("saved", "difference"),
    [
        ({"generator": "fortio"}, "generator was fortio, now mine"),
        ({"latency_from": "sent"}, "latency from was sent, now scheduled"),
        ({"plan": plan(rate=50)}, "rate and duration were 50/s for 5s, now 100/s for 5s"),
        (
            {"plan": plan(stages=[hold(100, 2), ramp(100, 0, 3)])},
            "rate and duration were 100/s for 2s, 100/s to 0/s for 3s, now 100/s for 5s",
        ),
        ({"plan": plan(arrivals="poisson")}, "arrivals were poisson, now constant"),
        ({"plan": plan(connections=7)}, "connections were 7, now 100"),
        ({"plan": plan(timeout=1)}, "timeout was 1s, now 5s"),
        ({"plan": plan(rate="100.1/s")}, "rate and duration were 100.1/s for 5s, now 100/s for 5s"),
        ({"plan": plan(warmup=1)}, "warmup was 1s, now 0s"),
        ({"plan": plan(expect=200)}, "expect was 200, now 2xx 3xx"),
        ({"sent_from": "lab:50051"}, "sent from was lab:50051, now this machine"),
    ],
)
def test_different_load(store: BaselineStore, saved: dict[str, Any], difference: str) -> None:
    """A different load is not compared, and the message says how it differs."""
    store.save("main", record(("x", replace(FAST, **saved))))
    assert missing(store).startswith(f"the baseline 'main' is of a different load: {difference}")
    assert differences(FAST, LOAD) == []
