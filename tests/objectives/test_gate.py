"""What the gate promises: loads as long as it takes to tell, and no longer; and no more errors than it may make."""

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
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.stats import FEWEST_BATCHES
from pytest_loadgen.objectives.verdict import ALPHA, Outcome, judge
from pytest_loadgen.traffic.plan import Plan, hold, ramp
from tests.builders.figures import interval, second
from tests.builders.traffic import plan

# What is asked of a load.


def test_of() -> None:
    """Objectives add up, those of the call last and each once however it is spaced; the rest is read."""
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
        ({"slo": [5]}, [], "5 is not an objective: write text, as 'p99 < 200ms'"),
        ({}, [["p99 < 1s"]], "['p99 < 1s'] is not an objective: write text, as 'p99 < 200ms'"),
        ({"slo": "p99 < 1"}, [], "'p99 < 1': 1 needs a unit of time: is it p99 < 1ms?"),
        ({"max_duration": "5"}, [], "max_duration: '5' needs a unit of time: is it 5ms or 5s?"),
        ({"max_duration": float("nan")}, [], "max_duration: nan is not a duration: write seconds (0.2) or text *"),
        ({"max_duration": "0s"}, [], "max_duration='0s': write a time longer than 0 that ends"),
        ({"stop_early": "false"}, [], "stop_early='false': expected True or False"),
        ({"slo": iter(["p99 < 1s"])}, [], "slo=<list_iterator*>: expected an objective *"),
        ({"abort_if": 5}, [], "abort_if: 5 is not an objective: write text, as 'p99 < 200ms'"),
        (
            {"abort_if": "errors > 9"},
            [],
            "abort_if='errors > 9': write over which last stretch, as 'errors > 50% over last 5s'",
        ),
        (
            {"abort_if": "errors > 9 over any 5s"},
            [],
            "abort_if='errors > 9 over any 5s': write over which last stretch, as 'errors > 50% over last 5s'",
        ),
        (
            {"abort_if": "errors > 50% over last 2s"},
            [],
            "abort_if: 'errors > 50% over last 2s': 2s is too short to know how sure it is: 4s would do",
        ),
    ],
)  # fmt: skip
def test_wrong(options: Any, objectives: Sequence[Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        Gate.of(objectives, **options)
    assert fnmatch(str(caught.value), message.replace("[", "[[]"))


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
    """A load may go on for three times its duration, or as long as is said, if there is anything to judge."""
    found = Gate.of(slo=slo, max_duration=longest)
    assert str(found.lengthened(load)) == text


@pytest.mark.parametrize(
    ("slo", "longest", "load", "message"),
    [
        (
            "p99 < 1s",
            None,
            plan(rate=10),
            "'p99 < 1s' needs 299 requests to be shown at 95%, and this load has 150 in the 15s that it may last: "
            "at 10/s, a duration of 30s would do.",
        ),
        (
            "p99.9 < 1s",
            "5s",
            plan(),
            "'p99.9 < 1s' needs 2,995 requests to be shown at 95%, and this load has 500 in the 5s that it may last: "
            "at 100/s, a duration of 30s would do.",
        ),
        (
            "errors < 0.1%",
            None,
            plan(stages=[ramp(0, 100, 4)]),
            "'errors < 0.1%' needs 2,995 requests to be shown at 95%, and this load has 200 in the 4s that it may "
            "last: at 50/s, a duration of 1m would do.",
        ),
        (
            "p50 < 1s",
            None,
            plan(duration=1),
            "'p50 < 1s' needs 4s to know how sure it is, and this load lasts 3s at most: a duration of 4s would do.",
        ),
        (
            "rate > 1/s",
            "2s",
            plan(duration=2, rate="max"),
            "'rate > 1/s' needs 4s to know how sure it is, and this load lasts 2s at most: a duration of 4s would do.",
        ),
        (
            "p99 < 1s over any 10s",
            None,
            plan(rate=20, duration="1m"),
            "'p99 < 1s over any 10s' needs 299 requests to be shown at 95%, and 10s of this load have 200 at most: "
            "over any 15s would do.",
        ),
        (
            "max < 1s over any 10s",
            None,
            plan(),
            "'max < 1s over any 10s': this load lasts 5s at most: a duration of 10s would do.",
        ),
        ("max < 1s", "4s", plan(), "max_duration=4s is shorter than the duration, 5s"),
    ],
)
def test_too_small(slo: str, longest: Any, load: Plan, message: str) -> None:
    """A load that cannot show what is asked, whatever comes, is refused with what would do."""
    found = Gate.of(slo=slo, max_duration=longest)
    with pytest.raises(PlanError) as caught:
        found.lengthened(load)
    assert str(caught.value) == message


# When a load is at its end.


def begin(slo: str | Sequence[str] = "p99 < 100ms", load: Plan | None = None, **options: Any) -> Judging:
    return Gate.of(slo=slo, **options).begin(JudgedResult(load or plan(), "mine"))


def ended(judging: Judging, intervals: Sequence[Interval]) -> int:
    """Show intervals until there are enough of them, and tell how many that was."""
    for count in range(1, len(intervals) + 1):
        if judging.enough(intervals[:count]):
            return count
    return 0


def outcomes(judging: Judging, intervals: Sequence[Interval]) -> list[Outcome]:
    return [verdict.outcome for verdict in judging.judged(intervals).verdicts]


FAST = [second(at, 0) for at in range(15)]
SLOW = [second(at, 20) for at in range(15)]
DOUBTFUL = [second(at, at % 2) for at in range(15)]


@pytest.mark.parametrize(
    ("intervals", "outcome"), [(FAST, "met"), (SLOW, "missed"), ([second(0, 5), *FAST[1:]], "unclear")]
)
def test_duration(intervals: list[Interval], outcome: Outcome) -> None:
    """What is clear at its duration ends there, met or missed; what is not goes on."""
    judging = begin(load=plan(duration=10), max_duration=15)
    end = ended(judging, intervals)
    assert end == (0 if outcome == "unclear" else 10)
    assert outcomes(judging, intervals[: end or 15]) == [outcome]


def test_going_on() -> None:
    """A load goes on while any objective is unclear, to its longest and no further, and ends when all are clear."""
    judging = begin(["errors == 0", "p99 < 100ms"])
    assert ended(judging, DOUBTFUL) == 0
    assert outcomes(judging, DOUBTFUL) == ["met", "unclear"]
    judging = begin(["errors == 0", "p99 < 100ms"], plan(rate=100))
    soon = [second(0, 1), *FAST[1:]]
    assert 5 < ended(judging, soon) < 15
    assert judging.enough(soon)


@pytest.mark.parametrize("intervals", [FAST, SLOW])
def test_stop_early(intervals: list[Interval]) -> None:
    """With a wide margin a load that may stop early ends after the fewest seconds that tell anything."""
    wide = [replace(each, outcomes={"200": 1000}, latency=_more(each.latency)) for each in intervals]
    assert ended(begin(stop_early=True, load=plan(rate=1000, duration=60)), wide) == FEWEST_BATCHES
    assert ended(begin(load=plan(rate=1000, duration=10)), wide) == 10


def _more(latency: Histogram) -> Histogram:
    return Histogram({edge: 10 * count for edge, count in latency.counts.items()})


@pytest.mark.parametrize(("seconds", "longest"), [(4, 4), (5, 5), (5, 5.4), (6, 18), (3.6, 3.6), (4.4, 9)])
@pytest.mark.parametrize("stop_early", [False, True])
@pytest.mark.parametrize("intervals", [FAST, DOUBTFUL, SLOW])
def test_any_length(seconds: float, longest: float, stop_early: bool, intervals: list[Interval]) -> None:
    """However long a load is and may be, there is a verdict when it ends."""
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
        ("errors == 0", 4, "missed"),
        ("timeouts == 0", 10, "met"),
        ("max < 1s", 10, "met"),
        ("max < 1ms", 4, "missed"),
    ],
)
def test_a_fact_so_far(slo: str, end: int, outcome: Outcome) -> None:
    """A load that may stop early lasts until a fact is one, as well as what is a sample."""
    judging = begin([slo, "errors < 50%"], plan(rate=200, duration=10), stop_early=True)
    assert ended(judging, FLAWED) == end
    assert outcomes(judging, FLAWED[:end]) == [outcome, "met"]


def test_a_count_in_a_load_that_goes_on() -> None:
    """A load that goes on for another objective's sake is judged by its part of what it counts."""
    judging = begin(["errors < 7", "errors < 0.5%"], plan(rate=200, duration=5))
    assert ended(judging, FLAWED[:15]) == 0
    assert judging.stretch == pytest.approx(3)
    tally, share = judging.judged(FLAWED[:15]).verdicts
    assert (tally.outcome, tally.value, tally.remark) == ("met", "15", "the load went on: 5 in each 5s")
    assert share.outcome == "unclear"


def test_without_objectives() -> None:
    """A load without objectives is as long as it is, and has no verdicts."""
    judging = Gate.of(stop_early=True).begin(JudgedResult(plan(), "mine"))
    assert ended(judging, FAST) == 0
    assert outcomes(judging, FAST) == []
    assert not judging.enough([])


# When it is hopeless.

BROKEN = [interval({"200": 20, "503": 80}, start=at) for at in range(15)]
SILENT = [interval({"timeout": 100}, start=at) for at in range(15)]


def test_abort() -> None:
    """A load ends when it is sure that it is hopeless, over a stretch that is long enough, and says so."""
    judging = begin((), abort_if="errors > 50% over last 5s")
    intervals = [*FAST[:3], *(replace(each, start=each.start + 3) for each in BROKEN)]
    end = ended(judging, intervals)
    assert 6 <= end <= 8
    assert judging._given_up.startswith("errors > 50% over last 5s (")
    assert judging.enough(intervals[: end + 1])
    doubtful = [interval({"200": 50, "503": 50}, start=at) for at in range(15)]
    assert ended(begin((), abort_if="errors > 50% over last 5s"), doubtful) == 0
    assert ended(begin((), abort_if="errors > 50 over last 5s"), BROKEN) == 5


def test_abort_spends_nothing() -> None:
    """What was hopeless is judged by all that came before it."""
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
    """A load that nothing answers for five seconds is given up; one that asks nothing is not."""
    judging = begin(())
    assert ended(judging, intervals) == end
    assert judging._given_up == ("nothing was answered for 5s" if end else "")


# How often it may be wrong.


@pytest.mark.parametrize("stop_early", [False, True])
@pytest.mark.parametrize(("seconds", "longest"), [(5, 15), (10, 11), (60, 600), (4, 4), (20, 20)])
def test_error_spent(monkeypatch: pytest.MonkeyPatch, stop_early: bool, seconds: int, longest: int) -> None:
    """However many looks there are, together they are not wrong more often than one may be."""
    alphas: list[float] = []

    def spy(slo: SLO, found: Any, alpha: float = ALPHA, _: float = 1) -> Any:
        alphas.append(alpha)
        return replace(judge(slo, found, alpha), outcome="unclear")

    monkeypatch.setattr(gate_module, "judge", spy)
    monkeypatch.setattr(judged_module, "judge", spy)
    judging = begin("errors < 50%", plan(duration=seconds), stop_early=stop_early, max_duration=longest)
    intervals = [interval({"200": 1}, start=at) for at in range(longest)]
    assert ended(judging, intervals) == 0
    judging.judged(intervals)
    assert all(alpha > 0 for alpha in alphas)
    assert sum(alphas) == pytest.approx(ALPHA)
    assert len(alphas) <= (24 if longest == 600 else 10)


def test_at_its_limit() -> None:
    """A service exactly at its limit is called better or worse no more often than is allowed."""
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
