"""The gate: loads last as long as it takes to decide, and verdicts are wrong no more often than they may be."""

import random
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.objectives import gate as gate_module
from pytest_loadgen.objectives import judged as judged_module
from pytest_loadgen.objectives.gate import Gate, Judging
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.judgement import ALPHA, judge
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.stats import FEWEST_BATCHES
from pytest_loadgen.objectives.verdict import Outcome
from pytest_loadgen.traffic.plan import Plan, hold, ramp
from pytest_loadgen.units import Duration
from tests.builders.figures import interval, second
from tests.builders.traffic import plan

# What is asked of a load.


def test_of() -> None:
    """Objectives add up, those of the call last, each once however it is spaced; the other options are parsed."""
    found = Gate.of(
        ["errors == 0", "p99   <   1s", "errors == 0"],
        slo=["p99 < 1s", "max  <  2s"],
        max_duration="1m",
        stop_early=True,
        abort_if="errors > 9 over last 5s",
    )
    assert [slo.text for slo in found.objectives] == ["errors == 0", "p99 < 1s", "max < 2s"]
    assert found.max_duration == 60
    assert found.stop_early
    assert found.abort_if == SLO.parse("errors > 9 over last 5s")
    assert Gate.of(slo="p99 < 1s").objectives == (SLO.parse("p99 < 1s"),)
    assert Gate.of() == Gate()


@pytest.mark.parametrize(
    ("options", "objectives", "message"),
    [
        ({"slo": 5}, [], "slo=5: expected an objective ('p99 < 200ms') or a list of them"),
        ({"slo": [5]}, [], "slo=[5]: expected an objective ('p99 < 200ms') or a list of them"),
        ({}, [["p99 < 1s"]], "['p99 < 1s'] is not an objective: write a string such as 'p99 < 200ms'"),
        ({"slo": "p99 < 1"}, [], "'p99 < 1': 1 needs a unit: did you mean p99 < 1ms?"),
        ({"max_duration": "5"}, [], "max_duration: '5' needs a unit: write 5ms or 5s"),
        ({"max_duration": float("nan")}, [], "max_duration: nan is not a duration: write seconds *"),
        ({"max_duration": "0s"}, [], "max_duration='0s': must be a finite time > 0"),
        ({"stop_early": "false"}, [], "stop_early='false': expected True, False, or the time after which *('5s')"),
        ({"stop_early": None}, [], "stop_early=None: expected True, False, or the time after which *('5s')"),
        ({"stop_early": 0}, [], "stop_early=0: must be a finite time > 0"),
        ({"slo": iter(["p99 < 1s"])}, [], "slo=<list_iterator*>: expected an objective *"),
        ({"abort_if": 5}, [], "abort_if: 5 is not an objective: write a string such as 'p99 < 200ms'"),
        (
            {"abort_if": "errors > 9"},
            [],
            "abort_if='errors > 9': add a window of the last seconds, for example 'errors > 50% over last 5s'",
        ),
        (
            {"abort_if": "errors > 9 over any 5s"},
            [],
            "abort_if='errors > 9 over any 5s': add a window of the last seconds, "
            "for example 'errors > 50% over last 5s'",
        ),
        (
            {"abort_if": "errors > 50% over last 2s"},
            [],
            "abort_if: 'errors > 50% over last 2s': 2s is too short for a confidence interval; write 4s or more",
        ),
    ],
)  # fmt: skip
def test_wrong(options: Any, objectives: Sequence[Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        Gate.of(objectives, **options)
    assert fnmatch(str(caught.value), message.replace("[", "[[]"))


A_COUNT = "errors < 10 (needs the full length, as a count)"


@pytest.mark.parametrize(
    ("options", "load", "factor", "kept", "not_judged"),
    [
        ({"slo": ["p99 < 1s", "errors == 0"]}, plan(), 0.1, ["errors == 0"], ["p99 < 1s (needs 4s)"]),
        ({"slo": "p99 < 1s"}, plan(rate=10, duration=60), 0.1, [], ["p99 < 1s (needs 299 requests)"]),
        # It may be extended, as a full load may.
        ({"slo": "p99 < 1s"}, plan(rate=10, duration=60), 0.2, ["p99 < 1s"], []),
        (
            {"slo": "p99 < 1s", "max_duration": "60s"},
            plan(rate=10, duration=60),
            0.2,
            [],
            ["p99 < 1s (needs 299 requests)"],
        ),
        ({"slo": "p90 < 1s over any 10s"}, plan(duration=20), 0.1, [], ["p90 < 1s over any 10s (needs 10s)"]),
        (
            {"slo": "p99 < 1s over last 5s"},
            plan(stages=[ramp(0, 200, 60)]),
            0.05,
            [],
            ["p99 < 1s over last 5s (needs 4s)"],
        ),
        ({"slo": ["errors < 10", "max < 1s"]}, plan(), 0.5, ["max < 1s"], [A_COUNT]),
        ({"slo": ["errors < 10", "p99 < 1s"]}, plan(), 3, ["p99 < 1s"], [A_COUNT]),
        ({"abort_if": "errors > 9 over last 5s", "slo": "errors == 0"}, plan(), 0.1, ["errors == 0"], []),
        # Rounding makes no max_duration that is shorter than the load, or longer than one with stages.
        ({"max_duration": 0.7, "slo": "errors == 0"}, plan(duration=0.7), 0.1, ["errors == 0"], []),
        ({"max_duration": 1.4}, plan(stages=[hold(1, 0.7), ramp(1, 3, 0.7)]), 0.1, [], []),
    ],
)  # fmt: skip
def test_scaled(options: Any, load: Plan, factor: float, kept: list[str], not_judged: list[str]) -> None:
    """What a scaled load is too short for is left out, and named; the rest can be judged."""
    stretched = load.stretched(factor)
    found = Gate.of(**options).scaled(factor, stretched)
    assert [slo.text for slo in found.objectives] == kept
    assert list(found.not_judged) == not_judged
    found.lengthened(stretched)


def test_scaled_stop_early() -> None:
    """A load that is a tenth as long may end after a tenth of the time."""
    assert Gate.of(stop_early="10s").scaled(0.1, plan(duration=2)).stop_early == Duration("1s")
    assert Gate.of(stop_early=True).scaled(0.1, plan(duration=2)).stop_early is True


def test_scaled_max_duration() -> None:
    """The longest duration is multiplied, too; and a load that still can be is aborted."""
    found = Gate.of(max_duration="50s", abort_if="errors > 9 over last 5s").scaled(0.5, plan(duration=10))
    assert found.max_duration == 25
    assert found.abort_if


RAMPED = "0/s to 200/s in 4s, 50/s for 2s"


@pytest.mark.parametrize(
    ("slo", "longest", "load", "text"),
    [
        ((), None, plan(), "100/s for 5s"),
        (["p99 < 1s"], None, plan(), "100/s for 5s, 100/s for 10s"),
        (["p99 < 1s"], "7s", plan(), "100/s for 5s, 100/s for 2s"),
        (["p99 < 1s"], "5s", plan(), "100/s for 5s"),
        (["p99 < 1s"], None, plan(stages=[ramp(0, 200, 4), hold(50, 2)]), RAMPED),
        (["p99 < 1s"], None, plan(rate="max"), "max for 5s, max for 10s"),
        # Only just enough.
        (["p99 < 1s"], None, plan(rate=20, duration=5), "20/s for 5s, 20/s for 10s"),
        (["p90 < 1s"], None, plan(duration=1.2), "100/s for 1.2s, 100/s for 2.4s"),
        # What needs no proof needs no length: facts, and what is to be more.
        (["errors == 0", "max < 1s"], None, plan(rate=1, duration=1), "1/s for 1s"),
        (["errors == 0", "p90 < 1s"], None, plan(), "100/s for 5s, 100/s for 10s"),
        (["p99 > 1s"], None, plan(rate=1), "1/s for 5s, 1/s for 10s"),
    ],
)  # fmt: skip
def test_lengthened(slo: Sequence[str], longest: Any, load: Plan, text: str) -> None:
    """A load may last three times its duration, or max_duration, if it has an objective that is estimated."""
    found = Gate.of(slo=slo, max_duration=longest)
    assert str(found.lengthened(load)) == text


@pytest.mark.parametrize(
    ("slo", "longest", "load", "message"),
    [
        (
            "p99 < 1s",
            None,
            plan(rate=10),
            "'p99 < 1s' needs at least 299 requests to be decided with 95% confidence; "
            "this load has 50 in 5s, and 150 in the 15s that it may last while an objective is unclear: "
            "at 10/s, use duration='30s' or more",
        ),
        (
            "p99.9 < 1s",
            "5s",
            plan(),
            "'p99.9 < 1s' needs at least 2,995 requests to be decided with 95% confidence; "
            "this load has 500 in 5s: "
            "at 100/s, use duration='30s' or more",
        ),
        (
            "errors < 0.1%",
            None,
            plan(stages=[ramp(0, 100, 4)]),
            "'errors < 0.1%' needs at least 14,975 requests to be decided with 95% confidence "
            "(bad requests are assumed to come in bursts of 5); "
            "this load has 200 in 4s: at 50/s, use duration='5m' or more",
        ),
        (
            "status 200 > 99.9%",
            "5s",
            plan(),
            "'status 200 > 99.9%' needs at least 14,975 requests to be decided with 95% confidence "
            "(bad requests are assumed to come in bursts of 5); "
            "this load has 500 in 5s: at 100/s, use duration='2m30s' or more",
        ),
        (
            "p50 < 1s",
            None,
            plan(duration=1),
            "'p50 < 1s' needs at least 4s for a confidence interval; "
            "this load lasts 1s, and at most 3s while an objective is unclear: use duration='4s' or more",
        ),
        (
            "rate > 1/s",
            "2s",
            plan(duration=2, rate="max"),
            "'rate > 1/s' needs at least 4s for a confidence interval; this load lasts 2s: use duration='4s' or more",
        ),
        (
            "p99 < 1s over any 10s",
            None,
            plan(rate=20, duration="1m"),
            "'p99 < 1s over any 10s' needs at least 299 requests to be decided with 95% confidence; "
            "10s of this load have at most 200: "
            "use 'over any 15s' or more",
        ),
        (
            "max < 1s over any 10s",
            None,
            plan(),
            "'max < 1s over any 10s': this load lasts 5s: use duration='10s' or more",
        ),
        ("max < 1s", "4s", plan(), "max_duration=4s is shorter than the duration, 5s"),
    ],
)
def test_too_small(slo: str, longest: Any, load: Plan, message: str) -> None:
    """A load that cannot show an objective even with the best service is refused, and the message says what could."""
    found = Gate.of(slo=slo, max_duration=longest)
    with pytest.raises(PlanError) as caught:
        found.lengthened(load)
    assert str(caught.value) == message


# When a load is at its end.


def begin(slo: str | Sequence[str] = "p99 < 100ms", load: Plan | None = None, **options: Any) -> Judging:
    return Gate.of(slo=slo, **options).begin(JudgedResult(load or plan(), "mine"))


def ended(judging: Judging, intervals: Sequence[Interval]) -> int:
    """Give intervals to a judging until it has enough, and return how many that was."""
    for count in range(1, len(intervals) + 1):
        if judging.enough(intervals[:count]):
            return count
    return 0


def outcomes(judging: Judging, intervals: Sequence[Interval]) -> list[Outcome]:
    return [verdict.outcome for verdict in judging.judged(intervals).verdicts]


FAST = [second(at, 0) for at in range(15)]
SLOW = [second(at, 20) for at in range(15)]
DOUBTFUL = [second(at, at % 3 > 0) for at in range(15)]


@pytest.mark.parametrize(
    ("intervals", "outcome"), [(FAST, "met"), (SLOW, "missed"), ([second(0, 5), *FAST[1:]], "unclear")]
)
def test_duration(intervals: list[Interval], outcome: Outcome) -> None:
    """A load whose objectives are decided ends at its duration; others are extended."""
    judging = begin(load=plan(duration=10), max_duration=15)
    end = ended(judging, intervals)
    assert end == (0 if outcome == "unclear" else 10)
    assert outcomes(judging, intervals[: end or 15]) == [outcome]


def test_going_on() -> None:
    """A load is extended while an objective is unclear, up to max_duration, and ends when all are decided."""
    judging = begin(["errors == 0", "p99 < 100ms"])
    assert ended(judging, DOUBTFUL) == 0
    assert outcomes(judging, DOUBTFUL) == ["met", "unclear"]
    judging = begin(["errors == 0", "p99 < 100ms"], plan(rate=100))
    soon = [second(0, 1), *FAST[1:]]
    assert 5 < ended(judging, soon) < 15
    assert judging.enough(soon)


@pytest.mark.parametrize(("slow", "end"), [(2, 5), (3, 0)])
def test_a_limit_that_the_machine_hides(slow: int, end: int) -> None:
    """A limit below the machine's own latency is not waited for, unless what is measured is well above both."""
    intervals = [second(at, slow * (at % 2)) for at in range(15)]
    for machine_p99, expected in ("0ms", 0), ("50ms", end):
        judging = begin(["errors == 0", "p99 < 100ms"])
        judging.blank = replace(judging.blank, machine_p99=Duration(machine_p99))
        assert ended(judging, intervals) == expected
        assert outcomes(judging, intervals[: expected or 15]) == ["met", "unclear"]


@pytest.mark.parametrize("intervals", [FAST, SLOW])
def test_stop_early(intervals: list[Interval]) -> None:
    """With a wide margin, a load that may stop early ends after half of its duration, or when it is told to look."""
    wide = [replace(each, outcomes={"200": 1000}, latency=_more(each.latency)) for each in intervals]
    assert ended(begin(stop_early=True, load=plan(rate=1000, duration=12)), wide) == 6
    assert ended(begin(stop_early="1s", load=plan(rate=1000, duration=12)), wide) == FEWEST_BATCHES
    assert ended(begin(load=plan(rate=1000, duration=10)), wide) == 10
    assert ended(begin(stop_early="1h", load=plan(rate=1000, duration=10)), wide) == 10


def _more(latency: Histogram) -> Histogram:
    return Histogram({edge: 10 * count for edge, count in latency.counts.items()})


@pytest.mark.parametrize(("seconds", "longest"), [(4, 4), (5, 5), (5, 5.4), (6, 18), (3.6, 3.6), (4.4, 9)])
@pytest.mark.parametrize("stop_early", [False, True])
@pytest.mark.parametrize("intervals", [FAST, DOUBTFUL, SLOW])
def test_any_length(seconds: float, longest: float, stop_early: bool, intervals: list[Interval]) -> None:
    """Whatever its duration and max_duration, a load has a verdict when it ends."""
    judging = begin("p90 < 400ms", plan(duration=seconds), max_duration=longest, stop_early=stop_early)
    whole = [
        *intervals[: int(longest)],
        *([replace(intervals[0], start=int(longest), seconds=longest % 1)] * (longest % 1 > 0)),
    ]
    end = ended(judging, whole)
    (outcome,) = outcomes(judging, whole[: end or len(whole)])
    assert outcome == ("missed" if intervals is SLOW else "met")


FLAWED = [interval({"200": 199, "503": 1}, start=at) for at in range(30)]


@pytest.mark.parametrize(
    ("slo", "end", "outcome"),
    [
        # What has been so far may be otherwise at the end; what is missed by then stays missed.
        ("errors < 15", 10, "met"),
        ("errors < 5", 5, "missed"),
        ("errors > 15", 10, "missed"),
        ("errors > 5", 6, "met"),
        ("errors == 0", 5, "missed"),
        ("timeouts == 0", 10, "met"),
        ("max < 1s", 10, "met"),
        ("max < 1ms", 5, "missed"),
    ],
)
def test_a_fact_so_far(slo: str, end: int, outcome: Outcome) -> None:
    """A load that may stop early lasts until facts are final, and estimates are sure."""
    judging = begin([slo, "errors < 50%"], plan(rate=200, duration=10), stop_early=True)
    assert ended(judging, FLAWED) == end
    assert outcomes(judging, FLAWED[:end]) == [outcome, "met"]


def test_a_count_in_an_extended_load() -> None:
    """In a load that was extended for another objective, a count is judged by its average per planned duration."""
    judging = begin(["errors < 7", "errors < 0.5%"], plan(rate=200, duration=5))
    assert ended(judging, FLAWED[:15]) == 0
    assert judging.extended_by == pytest.approx(3)
    tally, share = judging.judged(FLAWED[:15]).verdicts
    assert (tally.outcome, tally.value, tally.remark) == ("met", "15", "the load was extended: 5 per 5s")
    assert share.outcome == "unclear"


def test_a_load_that_goes_on_says_so() -> None:
    """A load that lasts longer than planned says how long, and which objectives it was for."""
    judging = begin(["errors == 0", "p99 < 100ms"])
    ended(judging, DOUBTFUL)
    assert judging.judged(DOUBTFUL).went_on == "was extended to 15s while p99 < 100ms was unclear"
    # Also where it was too small to be looked at before, and where it was decided in the end.
    judging = begin("p99 < 100ms", plan(rate=20))
    few = [second(at, 0, of=20) for at in range(15)]
    assert ended(judging, few) == 0
    found = judging.judged(few)
    assert (found.went_on, found.verdicts[0].outcome) == ("was extended to 15s while p99 < 100ms was unclear", "met")
    judging = begin(load=plan(duration=10))
    assert judging.judged(FAST[: ended(judging, FAST)]).went_on == ""


# Windows.


@pytest.mark.parametrize("at", [0, 2, 5, 9])
@pytest.mark.parametrize("slo", ["p99 < 100ms over any 5s", ["errors == 0", "p99 < 100ms over any 5s"]])
def test_a_window_that_is_unclear_stays_so(slo: Any, at: int) -> None:
    """The worst of any stretch does not get better by going on, so the load is as long as planned."""
    load = plan(duration=10)
    assert Gate.of(slo=slo).lengthened(load).duration == 10
    burst = [second(each, 8 if each == at else 0) for each in range(30)]
    judging = begin(slo, load)
    assert ended(judging, burst[:10]) == 0
    assert outcomes(judging, burst[:10])[-1] == "unclear"


def test_a_window_does_not_lengthen_a_load_that_goes_on_for_another() -> None:
    """A load goes on for an objective that more of it can decide, and no longer than that."""
    slo = ["p99 < 100ms over any 5s", "errors < 2%"]
    burst = [
        replace(second(at, 8 if at == 1 else 0), outcomes={"200": 99, "503": int(at in {1, 3, 5, 7, 9})})
        for at in range(30)
    ]
    judging = begin(slo, plan(duration=10))
    end = ended(judging, burst)
    assert 10 < end < 30
    found = judging.judged(burst[:end])
    assert [verdict.outcome for verdict in found.verdicts] == ["unclear", "met"]
    assert found.went_on == f"was extended to {end}s while errors < 2% was unclear"


def test_the_worst_window_may_be_still_to_come() -> None:
    """A load that may stop early does not before each of its windows was seen, unless one is missed."""
    late = [second(each, 50 if each >= 8 else 0) for each in range(10)]
    judging = begin("p90 < 100ms over any 4s", plan(duration=10), stop_early=True)
    end = ended(judging, late)
    assert end in {0, 10}
    assert outcomes(judging, late) == ["unclear"] or outcomes(judging, late) == ["missed"]
    judging = begin("p90 < 100ms over any 4s", plan(duration=30), stop_early=True)
    assert ended(judging, [second(each, 50) for each in range(30)]) < 30


def test_a_window_longer_than_the_load() -> None:
    """A load goes on until there is a window of the length; it need not go on after that."""
    assert Gate.of(slo="p90 < 1s over any 8s").lengthened(plan()).duration == 8
    assert Gate.of(slo="p90 < 1s over last 8s").lengthened(plan()).duration == 15


NEEDS = "'p99 < 1s over {}' needs at least 299 requests to be decided with 95% confidence; "


@pytest.mark.parametrize(
    ("window", "stages", "message"),
    [
        ("last 4s", [hold(200, 4), hold(20, 5)], "the last 4s of this load have at most 80: use 'over last 6s' *"),
        ("any 4s", [hold(200, 4), hold(20, 5)], "the quietest 4s of this load have at most 80: use 'over any 6s' *"),
        ("any 4s", [hold(200, 4), hold(0, 2), hold(200, 4)], "the quietest 4s * 400: *"),
        ("any 10s", [ramp(0, 50, 60)], "the quietest 10s of this load have at most 42: use 'over any 27s' or more"),
        ("last 4s", [hold(200, 4), hold(1, 5)], "the last 4s of this load have at most 4: use 'over last 7s' or more"),
        ("any 4s", [hold(50, 5)], "4s of this load have at most 200: use 'over any 6s' or more, and as long a load"),
        ("last 10s", [hold(20, 8), hold(30, 4)], "*: raise the rate there, or leave the window out"),
    ],
)  # fmt: skip
def test_a_window_with_too_few_requests(window: str, stages: list[Any], message: str) -> None:
    """A window in which too few requests are due is refused, whatever other stages have."""
    gate = Gate.of(slo=f"p99 < 1s over {window}")
    if "400" in message:  # enough
        gate.lengthened(plan(stages=stages))
        return
    with pytest.raises(PlanError) as caught:
        gate.lengthened(plan(stages=stages))
    assert fnmatch(str(caught.value), NEEDS.format(window) + message)


def test_without_objectives() -> None:
    """A load without objectives lasts its duration and has no verdicts."""
    judging = Gate.of(stop_early=True).begin(JudgedResult(plan(), "mine"))
    assert ended(judging, FAST) == 0
    assert outcomes(judging, FAST) == []
    assert not judging.enough([])


# When it is hopeless.

BROKEN = [interval({"200": 20, "503": 80}, start=at) for at in range(15)]
SILENT = [interval({"timeout": 100}, start=at) for at in range(15)]


def test_abort() -> None:
    """A load is aborted once abort_if is surely true of its last seconds, and says so."""
    judging = begin((), abort_if="errors > 50% over last 5s")
    intervals = [*FAST[:3], *(replace(each, start=each.start + 3) for each in BROKEN)]
    end = ended(judging, intervals)
    assert 6 <= end <= 8
    assert judging._abort_reason.startswith("errors > 50% over last 5s (")
    assert judging.enough(intervals[: end + 1])
    doubtful = [interval({"200": 50, "503": 50}, start=at) for at in range(15)]
    assert ended(begin((), abort_if="errors > 50% over last 5s"), doubtful) == 0
    assert ended(begin((), abort_if="errors > 50 over last 5s"), BROKEN) == 5


@pytest.mark.parametrize(
    "stopped", [("timeout", {"stalled": 6.0}), ("timeout", {"lag": 6.0}), ("filehandles", {}), ("ports", {})]
)
def test_a_stopped_generator_aborts_nothing(stopped: Any) -> None:
    """What came of no request while the generator did not run, or had run out, is not the service's silence."""
    kind, rest = stopped
    intervals = [*FAST[:3], *(interval({kind: 100}, start=at, **rest) for at in range(3, 9))]
    assert ended(begin((), abort_if="errors > 50% over last 5s"), intervals) == 0
    assert ended(begin(()), intervals) == 0


def test_abort_spends_nothing() -> None:
    """The verdicts of an aborted load are of all its intervals."""
    judging = begin(["max < 100ms", "errors < 1%"], abort_if="errors > 50% over last 5s")
    end = ended(judging, BROKEN)
    found = judging.judged(BROKEN[:end])
    assert found.abort_reason.startswith("errors > 50% over last 5s (")
    assert [verdict.outcome for verdict in found.verdicts] == ["unclear", "missed"]  # as fast as it is wrong


@pytest.mark.parametrize(
    ("intervals", "end"),
    [
        (SILENT, 5),
        (FAST, 0),
        (BROKEN, 0),
        # It goes silent, and what was sent is still open.
        ([*FAST[:3], *(Interval(at, 1) for at in range(3, 4)), *SILENT[4:]], 8),
        # From the start, and no time-out has come yet.
        ([Interval(at, 1, lag=FAST[0].lag) for at in range(15)], 5),
        # One answer in a while is one.
        ([FAST[0] if at % 4 == 0 else SILENT[at] for at in range(15)], 0),
        # Nothing was asked: one request in ten seconds, answered.
        ([replace(second(at, 0, 1), start=at) if at % 10 == 0 else Interval(at, 1) for at in range(30)], 0),
        # One that failed, and a pause in which what was sent before it fails.
        ([replace(second(at, 0, 1), outcomes={"timeout": 1}) if at == 4 else Interval(at, 1) for at in range(15)], 0),
        ([*FAST[:3], *(Interval(at, 1, outcomes={"timeout": 9} if at == 4 else {}) for at in range(3, 15))], 0),
        # The last of them is still under way.
        ([second(0, 0, 1), *(Interval(at, 1) for at in range(1, 10)), Interval(10, 1, lag=FAST[0].lag)], 0),
    ],
)
def test_silence(intervals: list[Interval], end: int) -> None:
    """A load without responses for five seconds is aborted; one that sends nothing is not."""
    judging = begin(())
    assert ended(judging, intervals) == end
    assert judging._abort_reason == ("no responses for 5s" if end else "")


# How often it may be wrong.


@pytest.mark.parametrize("stop_early", [False, True])
@pytest.mark.parametrize(("seconds", "longest"), [(5, 15), (10, 11), (60, 600), (4, 4), (20, 20)])
def test_error_spent(monkeypatch: pytest.MonkeyPatch, stop_early: bool, seconds: int, longest: int) -> None:
    """However many looks there are, together they keep to the error of one."""
    alphas: list[float] = []

    def spy(slo: SLO, found: Any, alpha: float = ALPHA, _: float = 1, **rest: Any) -> Any:
        alphas.append(alpha)
        return replace(judge(slo, found, alpha), outcome="unclear")

    monkeypatch.setattr(gate_module, "judge", spy)
    monkeypatch.setattr(judged_module, "judge", spy)
    judging = begin("errors < 50%", plan(duration=seconds), stop_early=stop_early, max_duration=longest)
    intervals = [interval({"200": 1}, start=at) for at in range(longest)]
    assert ended(judging, intervals) == 0
    judging.judged(intervals)
    assert all(0 < alpha <= ALPHA for alpha in alphas)
    assert alphas[-1] > ALPHA / 2
    assert len(alphas) <= (24 if longest == 600 else 10)


def test_at_its_limit() -> None:
    """A service exactly at its limit is met or missed no more often than is allowed."""
    wrong = dict.fromkeys(["met", "missed"], 0)
    runs, rate, longest = 200, 50, 16
    for seed in range(runs):
        random_ = random.Random(seed)
        judging = begin("errors < 5%", plan(rate=rate), stop_early=True, max_duration=longest)
        intervals: list[Interval] = []
        for at in range(longest):
            bad = sum(random_.random() < 0.05 for _ in range(rate))
            intervals.append(Interval(at, 1, outcomes={"200": rate - bad, "503": bad}))
            if judging.enough(intervals):
                break
        (outcome,) = outcomes(judging, intervals)
        if outcome in wrong:
            wrong[outcome] += 1
    # Each way 5 % of 200 is 10; twice its standard deviation is 6.
    assert max(wrong.values()) <= 16, wrong
