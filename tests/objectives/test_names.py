"""Objectives of the requests of one name, of the first byte, and of many at once."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval, NamedFigures
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import Baseline
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult, judge_all, judge_figures
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration
from tests.builders.figures import interval, result, second
from tests.builders.traffic import HERE, plan


def mixed(expect: dict[str, tuple[str, ...]] | None = None, *, rate: int = 200, **weights: int) -> Plan:
    """Plan a mix of requests with these weights."""
    requests = [
        NamedRequest(name, HERE, weight, (expect or {}).get(name, ("2xx", "3xx"))) for name, weight in weights.items()
    ]
    return plan(rate=rate, mix=tuple(requests))


def together(**parts: Interval) -> Interval:
    """Make the interval in which requests of several names had these figures."""
    names = {
        name: NamedFigures(each.latency, each.service_time, each.outcomes, each.first_byte)
        for name, each in parts.items()
    }
    return replace(Interval.merge_parallel(list(parts.values())), names=names)


def shop(
    order: Callable[[int], Interval], view: Callable[[int], Interval], count: int = 6, **rest: Any
) -> JudgedResult:
    """Make the result of a load of two requests, as often each."""
    load = rest.pop("load", mixed(order=1, view=1))
    return JudgedResult(load, "mine", tuple(together(order=order(at), view=view(at)) for at in range(count)), **rest)


def fast(at: int) -> Interval:
    return second(at, 0)


def slow(at: int) -> Interval:
    return second(at, 10)


def failing(at: int) -> Interval:
    return interval({"200": 90, "503": 10}, start=at)


def created(at: int) -> Interval:
    return interval({"201": 100}, start=at)


@pytest.mark.parametrize(
    ("slo", "order", "outcome", "value"),
    [
        ("p99 of order < 100ms", slow, "missed", "500ms"),
        ("p99 of view < 100ms", slow, "met", "10ms"),
        ("p99 < 100ms", slow, "missed", "500ms"),
        ("p90 < 100ms", slow, "met", "10ms"),
        ("p90 of order < 100ms", lambda at: second(at, 30), "missed", "500ms"),
        ("service p99 of order < 100ms", lambda at: second(at, 10, served=False), "met", "10ms"),
        ("mean of order < 30ms", slow, "missed", "59ms"),
        ("mean of view < 30ms", slow, "met", "10ms"),
        ("max of view < 100ms", slow, "met", "10ms"),
        ("p99 of order < 100ms over any 5s", slow, "missed", "500ms"),
        ("p99 of view < 100ms over last 5s", slow, "met", "10ms"),
        ("errors of order < 5%", failing, "missed", "60 of 600"),
        ("errors of view < 5%", failing, "met", "0 of 600"),
        ("errors of view == 0", failing, "met", "0"),
        ("errors < 8%", failing, "met", "60 of 1,200"),
        ("status 503 of order < 20%", failing, "met", "60 of 600"),
        ("rate of order > 90/s", fast, "met", "100/s"),
        ("rate of order > 150/s", fast, "missed", "100/s"),
        ("rate > 150/s", fast, "met", "200/s"),
    ],
)
def test_of_a_name(slo: str, order: Callable[[int], Interval], outcome: str, value: str) -> None:
    """An objective with a name is about the requests of that name, and about nothing else."""
    verdict = shop(order, fast).judge(slo)
    assert (verdict.outcome, verdict.value) == (outcome, value)


@pytest.mark.parametrize(
    ("slo", "expect", "outcome"),
    [
        ("errors of order < 5%", {"order": ("201",)}, "met"),
        ("errors of view < 5%", {"order": ("201",)}, "met"),
        ("errors < 5%", {"order": ("201",)}, "met"),
        ("errors < 1%", {"view": ("201",)}, "missed"),  # it got 200
        ("errors of view < 1%", {"view": ("201",)}, "missed"),
        ("errors of order < 5%", {"view": ("201",)}, "met"),
    ],
)
def test_each_expects_its_own_statuses(slo: str, expect: dict[str, tuple[str, ...]], outcome: str) -> None:
    """What is an error is what each request says, in an objective about all of them, too."""
    assert shop(created, fast, load=mixed(expect, order=1, view=1)).judge(slo).outcome == outcome


def test_a_single_request_has_all_figures() -> None:
    """A load of one request has no figures by name; those of its name are those of the load."""
    found = JudgedResult(mixed(order=1), "mine", tuple(slow(at) for at in range(6)))
    assert found.judge("p99 of order < 100ms").outcome == "missed"
    assert found["order"].requests == found.requests


@pytest.mark.parametrize("name", ["", "order", "view"])
def test_a_result_by_name(name: str) -> None:
    """The result of a name has the verdicts about it, and is judged in the same circumstances."""
    found = shop(slow, fast, machine_p99=Duration("40ms"), extended_by=2.0)
    objectives = [SLO.parse(f"p99{f' of {each}' if each else ''} < 200ms") for each in ("", "order", "view")]
    found = replace(found, verdicts=tuple(judge_all(objectives, found)))
    if not name:
        return
    part = found[name]
    assert isinstance(part, JudgedResult)
    assert [verdict.slo.name for verdict in part.verdicts] == [name]
    assert (part.machine_p99, part.extended_by) == (found.machine_p99, 2.0)
    assert part.judge("p99 < 200ms").outcome == found.judge(f"p99 of {name} < 200ms").outcome
    # Below three times what the machine itself takes.
    assert part.judge("p99 < 100ms").outcome == found.judge(f"p99 of {name} < 100ms").outcome
    assert found.judge("p99 of view < 100ms").outcome == "unclear"


def test_caveats_are_of_the_name() -> None:
    """That most requests of a name failed says nothing about those of another."""
    mostly = shop(lambda at: interval({"200": 10, "503": 90}, start=at), fast)
    assert mostly.judge("p99 of order < 100ms").outcome == "unclear"
    assert mostly.judge("p99 of view < 100ms").outcome == "met"
    stopped = shop(lambda at: interval({"timeout": 100}, start=at, stalled=1.0), fast)
    assert stopped.judge("errors of order < 1%").outcome == "invalid"
    assert stopped.judge("errors < 60%").outcome == "met"
    assert stopped.without_own_failures.errors == 0


UNKNOWN = [
    ("p99 of ordre < 1s", mixed(order=1, view=1), "did you mean 'order'?"),
    ("p99 of basket < 1s", mixed(order=1, view=1), "choose from order, view."),
    ("p99 of order < 1s", plan(), "leave out 'of order', or load a list of requests"),
]


@pytest.mark.parametrize(("slo", "load", "hint"), UNKNOWN)
def test_a_name_that_the_load_does_not_have(slo: str, load: Plan, hint: str) -> None:
    """A misspelt name is refused before the load, with a proposal; also where a result is judged."""
    message = f"{slo!r}: this load has no request named {SLO.parse(slo).name!r}: {hint}"
    of_abort = f"{slo} over last 5s"
    for refused, said in (
        (lambda: Gate.of(slo=slo).lengthened(load), message),
        (lambda: Gate.of(abort_if=of_abort).lengthened(load), message.replace(repr(slo), repr(of_abort))),
        (lambda: JudgedResult(load, "mine", (fast(0),)).judge(slo), message),
    ):
        with pytest.raises(PlanError) as caught:
            refused()
        assert str(caught.value) == said


# The gate.


@pytest.mark.parametrize(
    ("slo", "load", "message"),
    [
        ("p99 of view < 1s", mixed(order=1, view=9, rate=100), ""),
        ("p99 of order < 1s", mixed(order=1, view=1, rate=100), ""),
        (
            "p99 of order < 1s",
            mixed(order=1, view=9, rate=100),
            "'p99 of order < 1s' needs at least 299 requests to be decided with 95% confidence; this load has 50 of "
            "'order' in 5s, and 150 in the 15s that it may last while an objective is unclear: at 10/s, "
            "use duration='30s' or more",
        ),
        (
            "p99 of order < 1s over any 5s",
            mixed(order=1, view=9, rate=100),
            "'p99 of order < 1s over any 5s' needs at least 299 requests to be decided with 95% confidence; "
            "5s of this load have at most 50: use 'over any 30s' or more, and as long a load",
        ),
    ],
)
def test_a_share_of_the_load_that_is_too_small(slo: str, load: Plan, message: str) -> None:
    """The requests that an objective needs are those of its name."""
    gate = Gate.of(slo=slo)
    if not message:
        assert gate.lengthened(load).duration == 15
        return
    with pytest.raises(PlanError) as caught:
        gate.lengthened(load)
    assert str(caught.value) == message


def ended(gate: Gate, found: JudgedResult) -> int:
    judging = gate.begin(replace(found, intervals=()))
    return next(
        (end for end in range(1, len(found.intervals) + 1) if judging.enough(found.intervals[:end])),
        len(found.intervals) + 1,
    )


def test_a_load_goes_on_for_a_name() -> None:
    """A load lasts until the objectives of each name are decided."""
    doubtful = shop(lambda at: second(at, at % 2), fast, 15)
    assert ended(Gate.of(slo="p99 of view < 100ms"), doubtful) == 6
    assert ended(Gate.of(slo=["p99 of view < 100ms", "p99 of order < 100ms"]), doubtful) == 16
    # That of a name of which there are few is looked at once there are enough.
    rare = shop(lambda at: second(at, 0, 30), fast, 15, load=mixed(order=3, view=10, rate=130))
    assert 10 <= ended(Gate.of(slo="p99 of order < 100ms", stop_early=True), rare) <= 16


@pytest.mark.parametrize(("name", "end"), [("order", 4), ("view", 16)])
def test_aborted_for_a_name(name: str, end: int) -> None:
    """A load may be aborted for the requests of one name."""
    broken = shop(lambda at: interval({"503": 100}, start=at), fast, 15)
    assert ended(Gate.of(abort_if=f"errors of {name} > 50% over last 4s"), broken) == end


# Baselines.


def steady(ms: int) -> Callable[[int], Interval]:
    return lambda at: interval({"200": 100}, ms=ms + at % 2, start=at)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize(
    ("slo", "outcome"),
    [
        ("p50 of order < baseline + 10%", "missed"),
        ("p50 of view < baseline + 10%", "met"),
        ("mean of view < baseline + 10%", "met"),
        ("rate of order > baseline - 5%", "met"),
    ],
)
def test_compared_by_name(slo: str, outcome: str, paired: bool) -> None:
    """A change is that of the requests of a name, saved or side by side."""
    before = shop(steady(100), steady(100), 12)
    now = shop(steady(150), steady(100), 12, baseline=Baseline.single(before, paired=paired))
    assert now.judge(slo).outcome == outcome
    name = SLO.parse(slo).name
    assert now[name].judge(slo.replace(f" of {name}", "")).outcome == outcome
    assert now[name].baseline.result is not None
    if paired:
        assert now[name].against is not None


def test_a_baseline_without_the_name() -> None:
    """Where the other load had no such request, or nothing is there, the verdict says so."""
    before = replace(shop(steady(100), steady(100), 12), plan=mixed(basket=1, view=1))
    now = shop(steady(150), steady(100), 12, baseline=Baseline.single(before))
    verdict = now.judge("p50 of order < baseline + 10%")
    assert (verdict.outcome, verdict.remark) == ("unclear", "the baseline has no figures of 'order'")
    verdict = shop(steady(150), steady(100)).judge("p50 of order < baseline + 10%")
    assert verdict.remark == "there is no baseline: use --load-compare NAME, or against="


# The first byte.


def streamed(first: int, whole: int, **outcomes: int) -> Callable[[int], Interval]:
    """Make seconds in which the first byte of each answer came after some milliseconds, and the last after more."""
    return lambda at: replace(
        interval(outcomes or {"200": 100}, ms=whole, start=at),
        first_byte=interval({"200": outcomes.get("200", 100)}, ms=first).latency,
    )


@pytest.mark.parametrize(
    ("slo", "order", "outcome", "value"),
    [
        ("first byte p99 of order < 100ms", streamed(20, 800), "met", "20ms"),
        ("p99 of order < 100ms", streamed(20, 800), "missed", "800ms"),
        ("first byte p99 of order < 10ms", streamed(20, 800), "missed", "20ms"),
        ("first byte mean of order < 100ms", streamed(20, 800), "met", "20ms"),
        ("first byte max of order < 10ms", streamed(20, 800), "missed", "20ms"),
        ("first byte p50 of order < 100ms over any 4s", streamed(20, 800), "met", "20ms"),
        # Without an answer there is no first byte, and none is sooner than any limit.
        ("first byte p99 of order < 1h", streamed(20, 20, **{"200": 90, "timeout": 10}), "missed", ">5s"),
        ("first byte p99 of order < 1h", lambda at: interval({"timeout": 100}, start=at), "missed", ">5s"),
    ],
)
def test_first_byte(slo: str, order: Callable[[int], Interval], outcome: str, value: str) -> None:
    """The first byte is as late as it came after its request was due."""
    verdict = shop(order, streamed(1, 1)).judge(slo)
    assert (verdict.outcome, verdict.value) == (outcome, value)
    alone = JudgedResult(plan(), "mine", tuple(order(at) for at in range(6)))
    assert alone.judge(slo.replace(" of order", "")).outcome == outcome


@pytest.mark.parametrize("slo", ["first byte p95 < 1s", "first byte max < 1s", "first byte p95 > 1ms"])
def test_a_first_byte_that_is_not_measured(slo: str) -> None:
    """Where the generator does not measure it, nothing is met or missed."""
    found = JudgedResult(plan(), "wrk", tuple(fast(at) for at in range(6)))
    verdict = found.judge(slo)
    assert (verdict.outcome, verdict.value) == ("unclear", "-")
    assert verdict.remark == "wrk does not measure when the first byte of a response came; use another generator"
    # The load does not go on for it.
    assert ended(Gate.of(slo=[slo, "p50 < 1s"]), found) == 5


def test_a_baseline_without_first_bytes() -> None:
    """A generator that does not measure the first byte is no baseline for it: it would look infinitely slow."""
    now = JudgedResult(plan(), "mine", tuple(streamed(20, 30)(at) for at in range(8)))
    for mine, theirs in (
        (now.intervals, [fast(at) for at in range(8)]),
        ([fast(at) for at in range(8)], now.intervals),
    ):
        found = replace(now, intervals=tuple(mine), baseline=Baseline.single(result(*theirs)))
        assert found.judge("first byte p50 < baseline + 10%").outcome == "unclear"
        with pytest.raises(PlanError, match="does not measure when the first byte"):
            found.change("first byte p50")
    same = replace(now, baseline=Baseline.single(replace(result(), intervals=now.intervals)))
    assert same.judge("first byte p50 < baseline + 10%").outcome == "met"


# Many at once.

NAMES = [f"request {number}" for number in range(20)]


def bad(*counts: int, of: int = 500, seconds: int = 6) -> JudgedResult:
    """Make a result in which so many requests of each name failed each second."""
    names = NAMES[: len(counts)]
    weights: dict[str, Any] = dict.fromkeys(names, 1)
    load = mixed(rate=of * len(names), **weights)
    intervals = [
        together(
            **{
                name: interval({"200": of - count, "503": count}, start=at)
                for name, count in zip(names, counts, strict=True)
            }
        )
        for at in range(seconds)
    ]
    return JudgedResult(load, "mine", tuple(intervals))


def errors(count: int) -> Sequence[SLO]:
    return [SLO.parse(f"errors of {name} < 1%") for name in NAMES[:count]]


def outcomes(found: JudgedResult, count: int) -> list[str]:
    return [verdict.outcome for verdict in judge_all(errors(count), found)]


def test_a_miss_is_surer_among_many() -> None:
    """What would be missed alone may be chance among twenty; what is missed by far is missed among any number."""
    # 42 of 3,000 where 30 are allowed: p = 0.021.
    assert outcomes(bad(7, 0), 1) == ["missed"]
    assert outcomes(bad(7, *[0] * 19), 20) == ["unclear", *["met"] * 19]
    assert outcomes(bad(30, *[0] * 19), 20) == ["missed", *["met"] * 19]


def test_those_that_are_missed_leave_more_to_the_others() -> None:
    """Nineteen that are surely missed say nothing against the twentieth (Holm)."""
    assert outcomes(bad(7, *[30] * 19), 20) == ["missed"] * 20
    assert outcomes(bad(7, *[5] * 19), 20) == ["unclear"] * 20


def test_all_have_to_be_met_so_that_each_may_be_as_sure_as_one() -> None:
    """That an objective is met takes no more among many."""
    # 18 of 3,000: p = 0.01.
    alone, among = bad(3, 0), bad(3, *[0] * 19)
    one, of_many = judge_all(errors(1), alone)[0], judge_all(errors(20), among)[0]
    assert (one.outcome, one.high, one.remark) == (of_many.outcome, of_many.high, of_many.remark)
    assert of_many.outcome == "met"


@pytest.mark.parametrize("count", [1, 2, 20])
@pytest.mark.parametrize("compare", ["<", ">"])
def test_bounds_agree_with_verdicts(compare: str, count: int) -> None:
    """Among any number, a verdict shows a bound on the side of the limit that it says."""
    for failed in range(12):
        found = bad(failed, *[4] * (max(2, count) - 1))
        slos = [SLO.parse(f"errors of {name} {compare} 1%") for name in NAMES[:count]]
        verdict = judge_all(slos, found)[0]
        assert verdict.low is not None
        assert verdict.high is not None
        side = "above" if verdict.low > 0.01 else "below" if verdict.high < 0.01 else "open"
        above, below = ("missed", "met") if compare == "<" else ("met", "missed")
        assert verdict.outcome == {"above": above, "below": below, "open": "unclear"}[side]
        assert fnmatch(verdict.remark, "9[05]% sure of *")


def test_facts_and_what_has_no_baseline_take_no_error() -> None:
    """Only what chance can have missed shares the error."""
    found = bad(7, *[0] * 19)
    others = [SLO.parse(f"errors of {name} < 5") for name in NAMES]
    others += [SLO.parse("p50 < baseline + 10%")]
    assert judge_all([errors(1)[0], *others], found)[0].outcome == "missed"


def test_changes_and_limits_share_one_error() -> None:
    """A load with limits and changes from a baseline is missed by chance no more often than one of either."""
    draw = random.Random(1)

    def scattered(median: float) -> Result:
        return result(
            *(interval({"200": 100}, ms=round(median * draw.lognormvariate(0, 0.05)), start=at) for at in range(12))
        )

    now = scattered(1060)
    found = JudgedResult(plan(), "mine", now.intervals, baseline=Baseline.single(scattered(1000), paired=True))
    change = SLO.parse("mean < baseline")
    limits = [SLO.parse(f"p{percent} < 1100ms") for percent in range(30, 60)]
    alpha = next(
        each / 1000
        for each in range(1, 400)
        if judge_figures([change], found, alpha=each / 1000)[0].outcome == "missed"
    )
    assert judge_figures([change, *limits], found, alpha=alpha * 1.5)[0].outcome == "unclear"


def test_twenty_at_their_limits() -> None:
    """A service with each of twenty requests exactly at its limit is missed no more often than is allowed."""
    draw, runs, missed = random.Random(1), 60, 0
    for _ in range(runs):
        found = bad(*[0] * 20, of=100)
        rows = []
        for at in range(6):
            counts = [sum(draw.random() < 0.05 for _ in range(100)) for _ in NAMES]
            rows.append(
                together(
                    **{
                        name: interval({"200": 100 - count, "503": count}, start=at)
                        for name, count in zip(NAMES, counts, strict=True)
                    }
                )
            )
        slos = [SLO.parse(f"errors of {name} < 5%") for name in NAMES]
        verdicts = judge_all(slos, replace(found, intervals=tuple(rows)))
        missed += any(verdict.outcome == "missed" for verdict in verdicts)
    # 5 % of 60 is 3, and three times its standard deviation is 5.
    assert missed <= 3 + 3 * math.sqrt(runs * 0.05 * 0.95)


def test_objectives_of_the_same_requests_add_up_their_intervals_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = []
    add_up = Interval.concatenate.__func__  # type: ignore[attr-defined]  # it is a class method

    def count(cls: type[Interval], intervals: Sequence[Interval]) -> Interval:
        sums.append(len(intervals))
        return add_up(cls, intervals)  # type: ignore[no-any-return]

    monkeypatch.setattr(Interval, "concatenate", classmethod(count))
    texts = ["p50 of order < 100ms", "p99 of order < 100ms", "errors of order < 5%", "p50 < 100ms", "mean < 50ms"]
    judge_all([SLO.parse(text) for text in texts], shop(fast, fast, 20))
    assert sorted(length for length in sums if length > 1) == [20, 20]
