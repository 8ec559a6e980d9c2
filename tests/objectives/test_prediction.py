"""Predictions: the range in which one more run is expected, from few kept runs and from many."""

import math
import random
from dataclasses import replace

import pytest

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import Baseline, KeptRun
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.metric import MeanLatency, Percentile, ResponseRate
from pytest_loadgen.objectives.prediction import ASSUMED, ENOUGH, Prediction, predict
from tests.builders.figures import interval, means, rates, result
from tests.builders.traffic import plan

MEDIAN = Percentile(50)
FOUND = Prediction(value=1.0, runs=5, assumed=ASSUMED, between=0.02**2, own=0.01**2, kept=0.01**2, batches=5)


def kept(*ms: int) -> list[KeptRun]:
    """Make a run without scatter for each number."""
    return [KeptRun(means(*[each] * 8)) for each in ms]


def half_width(ms: int, *others: int, alpha: float = 0.05) -> float:
    return predict(MEDIAN, kept(ms)[0], kept(*others)).half_width(alpha)


def test_the_textbook() -> None:
    """With enough runs it is the prediction interval for one more value: Student's t, s and 1 + 1/k."""
    logs = [math.log(each) for each in (1000, 1020, 980, 1010, 990)]
    centre = sum(logs) / 5
    deviation = math.sqrt(sum((each - centre) ** 2 for each in logs) / 4)
    found = half_width(1100, 1000, 1020, 980, 1010, 990)
    assert found == pytest.approx(2.1318 * deviation * math.sqrt(1 + 1 / 5), rel=0.02)  # to the width of a bucket


def test_too_few_runs() -> None:
    """Each missing run counts as one that deviates by what is assumed."""
    assert half_width(1000, 1000) == pytest.approx(2.1318 * ASSUMED * math.sqrt(2), rel=0.001)
    assert half_width(1000, 1000, 1000, 1000) == pytest.approx(
        2.1318 * ASSUMED * math.sqrt(2 / 4) * math.sqrt(1 + 1 / 3), rel=0.001
    )
    widths = [half_width(1000, *[1000] * count) for count in range(1, ENOUGH + 1)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == 0
    # Two that differ by more than is assumed widen it.
    assert half_width(1000, 900, 1100) > half_width(1000, 1000, 1000)


def test_missing_runs() -> None:
    """Runs are missing as long as something is assumed."""
    assert [replace(FOUND, runs=runs).missing for runs in (1, 4, 5, 10)] == [4, 1, 0, 0]
    assert replace(FOUND, runs=1, assumed=0.0).missing == 0


def test_no_closer_than_within_runs() -> None:
    """Runs that agree by chance do not make bounds closer than the variance within runs allows."""
    agreeing = replace(FOUND, between=0.0)
    assert agreeing.half_width(0.05) > 1.7 * math.sqrt(agreeing.own + agreeing.kept / 5)
    # A running load has few seconds so far, so its bounds are wider.
    assert replace(FOUND, own=0.05**2).half_width(0.05) > 1.5 * FOUND.half_width(0.05)


def test_the_rate_of_a_plan() -> None:
    """The rate of an open load is set by its plan: no variance between runs is assumed."""
    found = predict(ResponseRate(), KeptRun(rates(*[100] * 8)), [KeptRun(rates(*[100] * 8))])
    assert (found.half_width(0.05), found.missing) == (0, 0)
    closed = replace(rates(*[100] * 8), plan=plan(rate="max"))
    assert predict(ResponseRate(), KeptRun(closed), [KeptRun(closed)]).half_width(0.05) > ASSUMED


def test_more_or_longer_runs() -> None:
    """Both narrow the interval; longer runs only down to the variance between runs."""
    assert FOUND.with_runs(10).half_width(0.05) < FOUND.half_width(0.05)
    assert FOUND.longer(4).half_width(0.05) < FOUND.half_width(0.05)
    assert FOUND.longer(1000).half_width(0.05) == pytest.approx(
        replace(FOUND, between=0.02**2 - 0.01**2).half_width(0.05), rel=0.1
    )


@pytest.mark.parametrize("count", [5, 10])
@pytest.mark.parametrize("between", [0.0, 0.05])
def test_how_often_it_is_wrong(count: int, between: float) -> None:
    """A change at the bound is called larger in 5 % of comparisons, however much runs differ."""
    draw, comparisons, wrong = random.Random(1), 200, 0

    def run() -> KeptRun:
        level = 1000 * draw.lognormvariate(0, between)
        return KeptRun(means(*(round(level * draw.lognormvariate(0, 0.02)) for _ in range(6))))

    for _ in range(comparisons):
        wrong += predict(MeanLatency(), run(), [run() for _ in range(count)]).interval(0.05).low > 1
    assert wrong <= comparisons * 0.05 + 2 * math.sqrt(comparisons * 0.05)


def test_runs_without_responses() -> None:
    """A kept run whose figure is unknown takes no part."""
    dead = result(*(interval({"timeout": 100}, start=at) for at in range(8)))
    baseline = Baseline((KeptRun(dead), *kept(1000, 1000)))
    assert compared(means(*[1000] * 8), baseline, "p50 < baseline + 20%") == ("met", "1s → 1s, +0%")
    assert compared(dead, baseline, "p50 < baseline + 20%")[0] == "missed"


def test_runs_with_too_few_requests() -> None:
    """A percentile that is about the slowest request varies more than its seconds show: nothing is decided."""
    few = [KeptRun(means(*[each] * 8)) for each in (1000, 500)]  # 800 requests each
    assert judged(1000, *few[:1], slo="p99 < baseline + 20%").startswith("met")
    assert judged(1000, *few[:1], slo="p99.9 < baseline + 20%").endswith(
        "1 kept run, so runs are assumed to differ by 3%: at least 2,995 requests of each run are needed to decide"
    )
    assert judged(1000, *few[1:], slo="p99.9 < baseline + 20%").startswith("unclear")


def test_runs_that_cannot_be_compared() -> None:
    """Kept runs whose figure is among requests without a response decide nothing, nor do those without requests."""
    poor = result(*(interval({"200": 95, "timeout": 5}, start=at) for at in range(8)))
    found = JudgedResult(poor.plan, "mine", poor.intervals, baseline=Baseline((KeptRun(poor), KeptRun(poor))))
    assert found.judge("p99 < baseline + 20%").remark.endswith(
        "2 kept runs, so runs are assumed to differ by 3%: too few of their requests had a response"
    )
    found = replace(found, baseline=Baseline((KeptRun(result()), KeptRun(poor))))
    assert found.judge("first byte p99 < baseline + 20%").outcome == "unclear"


def compared(mine: Result, baseline: Baseline, slo: str) -> tuple[str, str]:
    verdict = JudgedResult(mine.plan, "mine", mine.intervals, baseline=baseline).judge(slo)
    return verdict.outcome, verdict.value


def judged(ms: int, *others: KeptRun, slo: str = "mean < baseline + 10%") -> str:
    mine = means(*[ms] * 8)
    found = JudgedResult(mine.plan, "mine", mine.intervals, baseline=Baseline(others)).judge(slo)
    return f"{found.outcome}: {found.remark}"


@pytest.mark.parametrize(
    ("ms", "others", "said"),
    [
        (1000, [1000], "met: 95% sure of +9.47% or less; 1 kept run, so runs are assumed to differ by 3%: save 4 more"),
        (
            *(1030, [1000]),
            "unclear: 90% sure of -5.92% to +12.7%; 1 kept run, so runs are assumed to differ by 3%: "
            "5 more would decide",
        ),
        (1000, [1000] * 5, "met: 95% sure of +0% or less"),
        (
            *(1050, [970, 1000, 1030, 1000, 1000]),
            "unclear: 90% sure of -0.0581% to +10.3%; 5 kept runs that differ by 2.11%: 1 more would decide",
        ),
        (
            *(1090, [900, 1000, 1100, 1000, 1000]),
            "unclear: 90% sure of -7.52% to +29%; 5 kept runs that differ by 7.12%: "
            "too close to the limit to decide; compare side by side (against=)",
        ),
    ],
)
def test_remarks(ms: int, others: list[int], said: str) -> None:
    """A verdict says what is assumed, and what would decide."""
    assert judged(ms, *kept(*others)) == said
