"""What keeps a verdict from being believed, and what the whole run says where a sample cannot."""

from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.units import Duration
from tests.builders.figures import histogram, interval, seconds, statuses
from tests.builders.traffic import plan


def judged(*intervals: Interval, **rest: Any) -> JudgedResult:
    return JudgedResult(rest.pop("plan", plan()), "mine", tuple(intervals), **rest)


# Figures of the generator's, and of the machine's.

SHORT = interval({"200": 50}, lag=0.05)  # most requests left late
HELD = replace(interval({"200": 100}), lag=histogram(*[0] * 90, *[0.05] * 10))  # some did
SLOW = replace(interval({"200": 100}, ms=900), lag=HELD.lag)


@pytest.mark.parametrize(
    ("slo", "each", "outcome"),
    [
        # Late, it makes a service look slower than it is.
        ("p90 < 500ms", HELD, "met"),
        ("p90 < 880ms", SLOW, "invalid"),
        ("p90 < 500ms", SLOW, "missed"),  # by more than it was late
        ("p99.9 < 500ms", HELD, "invalid"),  # unclear otherwise
        # Sending too little, it makes it look faster.
        ("p90 < 500ms", SHORT, "invalid"),
        ("rate > 90/s", SHORT, "invalid"),
        ("rate > 90/s", HELD, "met"),
        # Of the generator itself its own figures are the truth.
        ("lag < 1ms", SHORT, "missed"),
        # A service that keeps its generator waiting is to blame itself.
        ("rate > 90/s", interval({"200": 50}, lag=0.001, cpu=0.1), "missed"),
    ],
)
def test_valid(slo: str, each: Interval, outcome: str) -> None:
    """A verdict is withheld where the generator was the limit, with what ailed it."""
    found = JudgedResult(plan(), "mine", tuple(replace(each, start=at) for at in range(5)))
    verdict = found.judge(slo)
    assert verdict.outcome == outcome


def test_meets() -> None:
    """A result judges what its load was not asked for, and says what is misspelt."""
    found = JudgedResult(plan(), "mine", seconds(*[0] * 5).intervals)
    assert found.judge("p99 < 100ms")
    assert not found.judge("p99 < 1ms")
    with pytest.raises(PlanError, match="did you mean 'errors'"):
        found.judge("error == 0")


@pytest.mark.parametrize(
    ("slo", "outcome"),
    [("p50 < 31ms", "met"), ("p50 < 29ms", "unclear"), ("max < 29ms", "unclear"), ("errors < 1", "met")],
)
def test_floor(slo: str, outcome: str) -> None:
    """A latency that this machine can hardly tell from none is not judged."""
    verdict = JudgedResult(plan(), "mine", seconds(*[0] * 5).intervals, machine_p99=Duration("10ms")).judge(slo)
    assert verdict.outcome == outcome
    why = "the limit is below 3 times 10ms, the p99 of a service that does nothing on this machine"
    assert (verdict.remark == why) == (outcome == "unclear")


SLOW_SECONDS, FAST_SECONDS = seconds(*[5] * 5).intervals, seconds(*[0] * 5).intervals


@pytest.mark.parametrize(
    ("slo", "intervals", "basis", "outcome"),
    [
        ("p99 < 100ms", FAST_SECONDS, "scheduled", "met"),
        # What waited to be sent is not in it: it may have been slow.
        ("p99 < 100ms", FAST_SECONDS, "sent", "unclear"),
        ("max < 100ms", FAST_SECONDS, "corrected", "unclear"),
        ("p99 > 100ms", FAST_SECONDS, "sent", "unclear"),
        # What is slow all the same is slow, and service time is counted from the sending anyway.
        ("p99 < 100ms", SLOW_SECONDS, "sent", "missed"),
        ("service p99 < 100ms", FAST_SECONDS, "sent", "met"),
        ("errors == 0", FAST_SECONDS, "sent", "met"),
    ],
)
def test_basis(slo: str, intervals: tuple[Interval, ...], basis: Any, outcome: str) -> None:
    """A generator that counts from when requests were sent cannot tell that none was slow."""
    verdict = judged(*intervals, latency_from=basis).judge(slo)
    assert verdict.outcome == outcome
    if outcome == "unclear":
        assert verdict.remark.startswith("mine counts from when requests were sent, not from when they were due: ")
    # As fast as answers come, a request is due when it is sent.
    at_most = judged(*intervals, latency_from=basis, plan=plan(rate="max")).judge(slo).outcome
    assert (at_most == outcome) == (outcome != "unclear")


@pytest.mark.parametrize(
    ("slo", "outcome"),
    [
        ("status 503 < 20%", "unclear"),
        ("status 503 > 1%", "unclear"),
        ("status 5xx < 20%", "met"),
        ("status 404 < 1", "met"),
    ],
)
def test_classes(slo: str, outcome: str) -> None:
    """Where no more is known than the class of a status, one of the class is not judged."""
    verdict = judged(*statuses(*[5] * 5, kind="5xx").intervals).judge(slo)
    assert verdict.outcome == outcome
    if outcome == "unclear":
        assert verdict.remark == "mine tells classes of statuses only: 'status 5xx' would tell"


@pytest.mark.parametrize(
    ("slo", "floor", "outcome"),
    [
        ("p99 < 495ms", "2ms", "missed"),
        ("p99 < 499ms", "2ms", "unclear"),
        ("p99 > 499ms", "2ms", "unclear"),
        ("p99 < 501ms", "2ms", "met"),  # it is faster still
        ("errors > 0", "2ms", "missed"),
    ],
)
def test_generator_floor(slo: str, floor: str, outcome: str) -> None:
    """What a generator adds itself is not the service's."""
    assert judged(*SLOW_SECONDS, added_latency=Duration(floor)).judge(slo).outcome == outcome


# What the whole run says.


@pytest.mark.parametrize(
    ("slo", "found", "outcome", "remark"),
    [
        # In one burst of a long run: it is not known how often that happens, nor does it matter.
        ("errors < 1%", statuses(90, *[0] * 9), "missed", "90 of 1,000 were so in this run, where 1% may be"),
        ("p99 < 100ms", seconds(90, *[0] * 9), "missed", "90 of 1,000 were slower in this run, where 1% may be"),
        ("errors < 1% over any 4s", statuses(*[0] * 9, 90, *[0] * 9), "missed", "90 of 400 were so in this run, *"),
        ("errors < 1% over last 4s", statuses(*[0] * 9, 90), "missed", "90 of 400 were so in this run, *"),
        # So little more than is allowed, or so few, that it may be chance.
        ("errors < 1%", statuses(40, *[0] * 9), "unclear", "*"),
        ("p99 < 100ms", seconds(40, *[0] * 9), "unclear", "*"),
        ("errors < 1%", statuses(1, *[0] * 4, of=4), "unclear", "*"),
        ("errors > 1%", statuses(90, *[0] * 9), "unclear", "*"),
    ],
)
def test_gross(slo: str, found: Any, outcome: str, remark: str) -> None:
    """A run of which many times too much is bad misses, in however few bursts it was."""
    verdict = judged(*found.intervals).judge(slo)
    assert verdict.outcome == outcome
    assert fnmatch(verdict.remark, remark)


@pytest.mark.parametrize(
    ("slo", "outcome"), [("p99 < 1s", "unclear"), ("errors > 50%", "met"), ("p99 < 1ms", "missed")]
)
def test_broken(slo: str, outcome: str) -> None:
    """Where most answers are wrong, that they are fast says nothing."""
    found = judged(*statuses(*[90] * 5).intervals)
    assert found.judge(slo).outcome == outcome
