"""Caveats: what the circumstances of a load do to its verdicts."""

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
    """A verdict is invalid where it depends on what the generator could not do."""
    found = JudgedResult(plan(), "mine", tuple(replace(each, start=at) for at in range(5)))
    verdict = found.judge(slo)
    assert verdict.outcome == outcome


def test_judge() -> None:
    """A result judges objectives that its load did not have, and names a misspelt word."""
    found = JudgedResult(plan(), "mine", seconds(*[0] * 5).intervals)
    assert found.judge("p99 < 100ms")
    assert not found.judge("p99 < 1ms")
    with pytest.raises(PlanError, match="did you mean 'errors'"):
        found.judge("error == 0")


@pytest.mark.parametrize(
    ("slo", "outcome"),
    [("p50 < 31ms", "met"), ("p50 < 29ms", "unclear"), ("max < 29ms", "unclear"), ("errors < 1", "met")],
)
def test_machine_noise(slo: str, outcome: str) -> None:
    """A limit near the latency of this machine's no-op service is not judged."""
    verdict = JudgedResult(plan(), "mine", seconds(*[0] * 5).intervals, machine_p99=Duration("10ms")).judge(slo)
    assert verdict.outcome == outcome
    why = "the limit is below 3 × 10ms, this machine's own p99 (no-op service)"
    assert (verdict.remark == why) == (outcome == "unclear")


SLOW_SECONDS, FAST_SECONDS = seconds(*[5] * 5).intervals, seconds(*[0] * 5).intervals


@pytest.mark.parametrize(
    ("slo", "intervals", "latency_from", "outcome"),
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
def test_latency_from(slo: str, intervals: tuple[Interval, ...], latency_from: Any, outcome: str) -> None:
    """A generator that measures from send time cannot show that no request was slow."""
    verdict = judged(*intervals, latency_from=latency_from).judge(slo)
    assert verdict.outcome == outcome
    if outcome == "unclear":
        assert verdict.remark.startswith("mine measures from send time, not from schedule; use 'service ")
    # As fast as answers come, a request is due when it is sent.
    at_most = judged(*intervals, latency_from=latency_from, plan=plan(rate="max")).judge(slo).outcome
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
def test_status_classes(slo: str, outcome: str) -> None:
    """Where only the class of a status is reported, a single status is not judged."""
    verdict = judged(*statuses(*[5] * 5, kind="5xx").intervals).judge(slo)
    assert verdict.outcome == outcome
    if outcome == "unclear":
        assert verdict.remark == "mine only reports status classes; use 'status 5xx'"


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
    """Latency that the generator adds is not the service's."""
    assert judged(*SLOW_SECONDS, added_latency=Duration(floor)).judge(slo).outcome == outcome


# What the whole run says.


@pytest.mark.parametrize(
    ("slo", "found", "outcome", "remark"),
    [
        # In one burst of a long run: it is not known how often that happens, nor does it matter.
        ("errors < 1%", statuses(90, *[0] * 9), "missed", "90 of 1,000 requests failed in this run; 1% is allowed"),
        (
            "p99 < 100ms",
            seconds(90, *[0] * 9),
            "missed",
            "90 of 1,000 requests took longer than 100ms in this run; 1% is allowed",
        ),
        (
            "errors < 1% over any 4s",
            statuses(*[0] * 9, 90, *[0] * 9),
            "missed",
            "90 of 400 requests failed in this run; *",
        ),
        ("errors < 1% over last 4s", statuses(*[0] * 9, 90), "missed", "90 of 400 requests failed in this run; *"),
        # So little more than is allowed, or so few, that it may be chance.
        ("errors < 1%", statuses(40, *[0] * 9), "unclear", "*"),
        ("p99 < 100ms", seconds(40, *[0] * 9), "unclear", "*"),
        ("errors < 1%", statuses(1, *[0] * 4, of=4), "unclear", "*"),
        ("errors > 1%", statuses(90, *[0] * 9), "unclear", "*"),
    ],
)
def test_gross_misses(slo: str, found: Any, outcome: str, remark: str) -> None:
    """A run with many times the allowed share of bad requests is missed, in however few bursts."""
    verdict = judged(*found.intervals).judge(slo)
    assert verdict.outcome == outcome
    assert fnmatch(verdict.remark, remark)


@pytest.mark.parametrize(
    ("slo", "outcome"), [("p99 < 1s", "unclear"), ("errors > 50%", "met"), ("p99 < 1ms", "missed")]
)
def test_broken(slo: str, outcome: str) -> None:
    """Where most requests failed, low latency says nothing."""
    found = judged(*statuses(*[90] * 5).intervals)
    assert found.judge(slo).outcome == outcome


@pytest.mark.parametrize(
    ("slo", "outcome"),
    [
        ("errors == 0", "unclear"),
        ("errors < 4%", "unclear"),
        ("errors < 20%", "met"),
        ("p99 < 100ms", "unclear"),
        ("p50 < 100ms", "met"),
        ("max < 100ms", "unclear"),
        ("rate > 50/s", "met"),
        ("status 503 == 0", "met"),
        ("p99 < 1ms", "missed"),
    ],
)
def test_failures_that_the_generator_may_not_have_seen(slo: str, outcome: str) -> None:
    """What is met only if none of them was a failure is unclear."""
    found = judged(*(replace(interval({"200": 1000}), start=at, unseen=50) for at in range(5)))
    assert found.judge(slo).outcome == outcome
