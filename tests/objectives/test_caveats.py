"""Caveats: what the circumstances of a load do to its verdicts."""

from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.units import Duration
from tests.builders.figures import histogram, interval, resources, seconds, statuses
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


BUSY = resources(1.8, 900e6)
IDLE = resources(0.2, 100e6)


@pytest.mark.parametrize(
    ("slo", "each", "outcome"),
    [
        # Sending too little, the generator makes it look as if the service needed little.
        ("cpu < 80%", replace(SHORT, service=IDLE), "invalid"),
        ("memory < 500MB", replace(SHORT, service=IDLE), "invalid"),
        ("cpu < 80%", replace(SHORT, service=BUSY), "missed"),
        ("memory < 500MB", replace(SHORT, service=BUSY), "missed"),
        ("cpu > 80%", replace(SHORT, service=IDLE), "invalid"),
        ("cpu > 80%", replace(SHORT, service=BUSY), "met"),
        # Sending late, it sends as much.
        ("cpu < 80%", replace(HELD, service=IDLE), "met"),
        ("cpu < 80%", replace(HELD, service=BUSY), "missed"),
        # What is not known is unclear all the same.
        ("cpu < 80%", SHORT, "unclear"),
        ("memory < 500MB", SHORT, "unclear"),
        ("memory growth < 1MB/s", HELD, "unclear"),
    ],
)
def test_what_the_service_used(slo: str, each: Interval, outcome: str) -> None:
    """A service that is too busy with less than the load is so with all of it."""
    assert judged(*(replace(each, start=at) for at in range(5))).judge(slo).outcome == outcome


@pytest.mark.parametrize("slo", ["cpu < 80%", "memory < 500MB", "memory growth < 1MB/s", "cpu < 80% over last 4s"])
def test_a_service_that_is_not_known(slo: str) -> None:
    """The verdict says why its CPU and memory are not known."""
    found = judged(*seconds(*[0] * 5).intervals, service_unknown="it runs on another machine (10.0.0.5:80)").judge(slo)
    why = "the CPU and memory of the service are not known: it runs on another machine (10.0.0.5:80)"
    assert (found.outcome, found.value, found.remark) == ("unclear", "-", why)


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


@pytest.mark.parametrize(
    ("slo", "machine_p99", "outcome"),
    [
        # Every request takes 500 ms: by more than the machine's own latency above the limit, or not.
        ("p99 < 100ms", "300ms", "missed"),
        ("p99 < 250ms", "300ms", "unclear"),
        ("max < 100ms", "300ms", "missed"),
        ("mean < 100ms", "300ms", "missed"),
        ("p99 > 100ms", "300ms", "met"),
        ("p99 > 250ms", "300ms", "unclear"),
    ],
)
def test_a_miss_by_more_than_the_machine_adds(slo: str, machine_p99: str, outcome: str) -> None:
    """Beyond the limit by more than the machine's own p99, a latency is surely beyond it."""
    found = judged(*(interval({"200": 100}, ms=500, start=at) for at in range(6)), machine_p99=Duration(machine_p99))
    assert found.judge(slo).outcome == outcome


@pytest.mark.parametrize("silent", [1, 2, 3])
@pytest.mark.parametrize("added", [{"added_latency": Duration("2ms")}, {"machine_p99": Duration("90ms")}])
@pytest.mark.parametrize("slo", ["p99 < 200ms", "max < 200ms", "p99 < 200ms over any 4s"])
def test_requests_without_a_response_are_beyond_any_added_latency(silent: int, added: Any, slo: str) -> None:
    """What generator or machine may add to a latency does not explain requests that had no response."""
    answered = [interval({"200": 200}, ms=1, start=at) for at in range(6 - silent)]
    unanswered = [interval({"timeout": 200}, start=at) for at in range(6 - silent, 6)]
    assert (
        judged(*answered, *unanswered, **added).judge(slo).outcome == judged(*answered, *unanswered).judge(slo).outcome
    )
    assert judged(*answered, *unanswered, **added).judge("p99 < 200ms").outcome == "missed"


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
    """A generator that counts from sending cannot show that no request was slow."""
    verdict = judged(*intervals, latency_from=latency_from).judge(slo)
    assert verdict.outcome == outcome
    if outcome == "unclear":
        assert verdict.remark.startswith(
            "mine counts latency from when a request was sent, not from when it was due; use 'service "
        )
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


# A generator that did not run, or ran out.

WELL = [interval({"200": 100}, start=at, lag=0.0001, cpu=0.1) for at in range(12)]


def with_failures(*at: int, kind: str = "timeout", **rest: Any) -> list[Interval]:
    """Replace some seconds by ones in which each request ended in a failure."""
    return [interval({kind: 100}, start=each.start, **rest) if each.start in at else each for each in WELL]


@pytest.mark.parametrize(
    "slo", ["errors == 0", "errors < 1%", "timeouts == 0", "p99 < 200ms", "max < 1s", "rate > 90/s"]
)
@pytest.mark.parametrize(
    "intervals",
    [
        with_failures(3, 4, stalled=1.0),
        # The stop is noticed before or after the requests that it let fail.
        [replace(each, stalled=2.0 * (each.start == 1)) for each in with_failures(3, 4)],
        [replace(each, stalled=2.0 * (each.start == 7)) for each in with_failures(3, 4)],
        with_failures(3, 4, lag=2.0),
        with_failures(3, 4, kind="filehandles"),
        with_failures(3, 4, kind="ports"),
    ],
)
def test_failures_of_the_generator_are_not_the_services(slo: str, intervals: list[Interval]) -> None:
    """Where a generator was stopped, starved or had no file handles or ports, nothing is missed that may be its own."""
    found = judged(*intervals)
    verdict = found.judge(slo)
    excused = slo == "timeouts == 0" and not found.outcomes.get("timeout")
    assert verdict.outcome == ("met" if excused else "invalid")
    assert excused or verdict.remark == found.limited_by


@pytest.mark.parametrize("slo", ["errors == 0", "errors < 1%", "p99 < 200ms"])
@pytest.mark.parametrize("slow", [{"stalled": 0.6}, {"lag": 2.0}])
def test_failures_that_a_stop_does_not_explain(slo: str, slow: Any) -> None:
    """A service that failed long before its generator was stopped has failed; also one that answered with an error."""
    stopped = interval({"200": 100}, start=11, cpu=0.1, **slow)
    assert judged(*with_failures(0, 1, 2, 3)[:11], stopped).judge(slo).outcome == "missed"
    assert judged(*with_failures(9, 10, kind="503")[:11], stopped).judge("errors == 0").outcome == "missed"
    assert judged(*with_failures(9, 10)[:11], stopped).judge("errors == 0").outcome == "invalid"


def test_a_short_delay_does_not_explain_a_timeout() -> None:
    """A generator that was late by a small part of the timeout left the service nearly all of its time."""
    intervals = [
        replace(each, lag=histogram(*[0.05] * 100)) if each.start < 3 else each for each in with_failures(5, 6)
    ]
    assert judged(*intervals).judge("errors == 0").outcome == "missed"


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
