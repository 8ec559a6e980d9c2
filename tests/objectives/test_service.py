"""Objectives on what the service uses: its CPU, its memory, and how this grows."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.traffic.plan import Plan
from tests.builders.figures import interval, resources
from tests.builders.traffic import plan


def using(cpu: Sequence[float], memory: Sequence[float] = ()) -> list[Interval]:
    """Make a second for each number: the cores that the service used, and its memory in MB."""
    each = zip(cpu, memory or [100] * len(cpu), strict=True)
    return [interval({"200": 100}, start=at, service=resources(one, size * 1e6)) for at, (one, size) in enumerate(each)]


def judged(intervals: Sequence[Interval], load: Plan | None = None) -> JudgedResult:
    return JudgedResult(load or plan(duration=len(intervals)), "mine", tuple(intervals))


@pytest.mark.parametrize(
    ("slo", "outcome", "value", "remark"),
    [
        ("cpu < 60%", "met", "50%", "95% sure of 53.6% or less"),
        ("cpu < 40%", "missed", "50%", "95% sure of 46.4% or more"),
        ("cpu < 51%", "unclear", "50%", "90% sure of 46.4% to 53.6%; a run 13x longer would decide"),
        ("cpu > 30% over any 4s", "met", "50%", "95% sure of 43.2% or more"),
        ("memory < 110MB", "met", "100 MB", ""),
        ("memory < 100MB", "missed", "100 MB", ""),
        ("memory <= 100MB over last 2s", "met", "100 MB", ""),
        ("memory growth < 1kB/s", "met", "0 B/s", "95% sure of 0 B/s or less"),
    ],
)
def test_verdicts(slo: str, outcome: str, value: str, remark: str) -> None:
    """CPU is a share of the cores that the service may use, and an estimate; memory is a fact."""
    verdict = judged(using([0.9, 1.1] * 4)).judge(slo)
    assert (verdict.outcome, verdict.value, verdict.remark) == (outcome, value, remark)


def grown(count: int, growth: float, noise: float = 1.0) -> list[Interval]:
    rng = random.Random(4)
    return using([1] * count, [100 + growth * at + rng.gauss(0, noise) for at in range(count)])


@pytest.mark.parametrize(
    ("growth", "slo", "outcome"),
    [
        (0, "memory growth < 1MB/s", "met"),
        (2, "memory growth < 1MB/s", "missed"),
        (1, "memory growth < 1MB/s", "unclear"),
        (-3, "memory growth < 1MB/s", "met"),
        (2, "memory growth > 1MB/s", "met"),
        (2, "memory growth < 60MB/m over last 15s", "missed"),
        (2, "memory growth < 1MB/s over any 15s", "missed"),
    ],
)
def test_growth(growth: float, slo: str, outcome: str) -> None:
    """Memory that varies grows if its trend does, not if its last value is above its first."""
    verdict = judged(grown(30, growth)).judge(slo)
    assert verdict.outcome == outcome
    assert verdict.value.endswith("/s")


def test_growth_that_is_near_its_limit_says_what_would_decide() -> None:
    """The bounds of a trend close in faster than those of a mean."""
    verdict = judged(grown(10, 0.95)).judge("memory growth < 1MB/s")
    assert verdict.outcome == "unclear"
    assert verdict.remark.endswith("x longer would decide")


def test_seconds_of_which_nothing_is_known_do_not_count() -> None:
    """Such as those before the service was found."""
    known = using([1.0] * 6)
    found = judged([replace(known[0], service=None), *known[1:]])
    assert found.judge("cpu < 60%").value == "50%"
    assert found.judge("memory < 500MB")
    assert found.judge("memory growth < 1MB/s")
    few = judged([*(replace(each, service=None) for each in known[:3]), *known[3:]]).judge("cpu < 60%")
    assert few.outcome == "unclear"
    assert few.remark == "only 3 intervals; at least 4 are needed: load for 4s or longer"


def test_a_load_is_not_extended_for_what_is_not_known() -> None:
    """More of the load would not change it."""
    gate = Gate.of(slo="cpu < 80%")
    judging = gate.begin(JudgedResult(plan(duration=5), "mine", service_unknown="it runs on another machine"))
    unknown = [interval({"200": 100}, start=at) for at in range(5)]
    assert judging.enough(unknown)
    unclear = gate.begin(JudgedResult(plan(duration=5), "mine"))
    assert not unclear.enough(using([1.5, 1.7, 1.5, 1.7, 1.5]))
    assert gate.of_service
    assert not Gate.of(slo="p99 < 80ms").of_service
    assert Gate.of(abort_if="cpu > 95% over last 5s").of_service


def test_a_load_is_aborted_for_its_cpu() -> None:
    judging = Gate.of(abort_if="cpu > 90% over last 5s").begin(JudgedResult(plan(duration=20), "mine"))
    assert not judging.enough(using([1.0] * 6))
    assert judging.enough(using([1.0] * 6 + [2.0, 1.99] * 3))
