"""Comparisons: the ratio, its confidence interval, and that several together are wrong no more often than one."""

import functools
import math
import operator
import random
import re
from dataclasses import replace

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.baseline import Baseline, KeptRun
from pytest_loadgen.objectives.comparison import describe_shift
from pytest_loadgen.objectives.judged import JudgedResult, judge_all, judge_figures
from pytest_loadgen.objectives.metric import Percentile
from pytest_loadgen.objectives.ratio import PairedRatio, ratio
from pytest_loadgen.objectives.slo import SLO, parse_metric
from tests.builders.figures import interval, means, rates, result
from tests.builders.traffic import plan

MEDIAN = Percentile(50)
single = Baseline.single


def several(*results: Result) -> Baseline:
    """Make a baseline of kept runs."""
    return Baseline(tuple(map(KeptRun, results)))


def lognormal(seed: int, median: float, *, seconds: int = 12, rate: int = 100, tail: float = 1.0) -> Result:
    """Make a result whose latencies scatter about a median; the slowest 2 % are longer by a factor."""
    draw = random.Random(seed)
    made = []
    for second in range(seconds):
        latency = Histogram()
        for _ in range(rate):
            took = median * draw.lognormvariate(0, 0.3)
            latency.record(took * tail if took > median * 1.85 else took)
        made.append(Interval(second, 1, latency, latency, {"200": rate}))
    return result(*made, plan=plan(rate=rate, duration=seconds))


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize(
    ("figure", "mine", "theirs", "value"),
    [
        ("p50", means(*[12] * 8), means(*[10] * 8), 1.2),
        ("mean", means(*[9] * 8), means(*[10] * 8), 0.9),
        ("rate", rates(*[95] * 8), rates(*[100] * 8), 0.95),
        ("p99", means(*[10] * 8), means(*[10] * 8), 1.0),
    ],
)
def test_ratio(paired: bool, figure: str, mine: Result, theirs: Result, value: float) -> None:
    """A ratio is that of the figures, paired or not; where nothing scatters its bounds are equal to it."""
    baseline = single(theirs, paired=True) if paired else several(*[theirs] * 5)
    found = ratio(parse_metric(figure), mine, baseline)
    assert found.value == pytest.approx(value, rel=0.002)
    bounds = found.interval(0.05)
    assert bounds.low == pytest.approx(value, rel=0.002)
    assert bounds.high == pytest.approx(value, rel=0.002)


@pytest.mark.parametrize("paired", [False, True])
def test_how_sure(paired: bool) -> None:
    """Bounds nearly always hold the true change, and a service hardly ever differs from itself."""
    held = alarms = 0
    for seed in range(25):
        base = lognormal(seed, 0.010)
        bounds = ratio(MEDIAN, lognormal(1000 + seed, 0.011), single(base, paired=paired)).interval(0.025)
        held += bounds.low <= 1.1 <= bounds.high
        same = ratio(MEDIAN, lognormal(2000 + seed, 0.010), single(base, paired=paired)).interval(0.025)
        alarms += not same.low <= 1 <= same.high
    assert held >= 21
    assert alarms <= 4


def test_pairs_cancel_noise() -> None:
    """Noise that slows both services down in the same second does not hide that one is slower."""
    draw = random.Random(1)
    noise = [draw.uniform(0.5, 2) for _ in range(16)]
    mine, theirs = (means(*(round(base * each) for each in noise)) for base in (1100, 1000))
    paired, apart = (ratio(MEDIAN, mine, single(theirs, paired=paired)).interval(0.05) for paired in (True, False))
    assert 1.09 < paired.low <= paired.high < 1.11
    assert apart.low < 1 < apart.high


@pytest.mark.parametrize("paired", [False, True])
def test_too_little(paired: bool) -> None:
    """With few intervals nothing is sure, and with none nothing is known."""
    few = ratio(MEDIAN, means(20, 20, 20), single(means(10, 10, 10), paired=paired))
    assert (few.interval(0.05).low, few.interval(0.05).high) == (0, math.inf)
    assert math.isnan(ratio(MEDIAN, result(), single(result(), paired=paired)).value)


@pytest.mark.parametrize("paired", [False, True])
def test_without_answers(paired: bool) -> None:
    """A service that does not respond is slower than any that does."""
    dead = result(*(interval({"timeout": 10}, start=at) for at in range(8)))
    assert ratio(MEDIAN, dead, single(means(*[10] * 8), paired=paired)).value == math.inf
    assert ratio(MEDIAN, means(*[10] * 8), single(dead, paired=paired)).value == 0
    assert ratio(MEDIAN, dead, single(dead, paired=paired)).value == 1
    found = JudgedResult(plan(), "mine", dead.intervals, baseline=single(means(*[10] * 8), paired=paired))
    assert found.judge("p50 < baseline + 10%").outcome == "missed"


def test_a_smaller_error_widens_the_interval() -> None:
    """The smaller the error that bounds may have, the farther they are from the ratio."""
    draw = random.Random(1)
    found = PairedRatio(1.2, sorted(draw.gauss(0, 0.05) for _ in range(2000)), 30)
    bounds = [found.interval(alpha) for alpha in (0.4, 0.1, 0.05, 0.01, 0.001)]
    assert [each.low for each in bounds] == sorted((each.low for each in bounds), reverse=True)
    assert [each.high for each in bounds] == sorted(each.high for each in bounds)
    assert bounds[0].low < 1.2 < bounds[0].high
    assert bounds[2].high == pytest.approx(1.3, abs=0.03)


@pytest.mark.parametrize(
    ("p_values", "alphas"),
    [
        ([0.01], [0.06]),
        ([0.01, 0.05], [0.03, 0.06]),
        ([0.05, 0.01], [0.06, 0.03]),
        ([0.021, 0.022, 0.023], [0.02, 0.02, 0.02]),
        ([0.001, 0.5, 0.9], [0.02, 0.03, 0.03]),
        # Two that are sure enough at once are not tested again.
        ([0.5, 0.001, 0.001], [0.06, 0.02, 0.02]),
        ([], []),
    ],
)
def test_holm(p_values: list[float], alphas: list[float]) -> None:
    """All tests share the error; those that do not reject then share it without those that do."""
    tests = [functools.partial(operator.le, p_value) for p_value in p_values]
    assert stats.holm(tests, 0.06) == pytest.approx(alphas)


def test_a_verdict_agrees_with_its_bound() -> None:
    """Among several changes, too, one that is decided shows a bound on the side that it is on."""
    theirs = lognormal(2, 0.010)
    for ms in range(90, 140, 3):
        mine = lognormal(3, ms / 10_000)
        slo = [
            f"{metric} < baseline + {percent}%" for metric in ("p50", "p90", "mean") for percent in (0, 5, 10, 15, 20)
        ]
        verdicts = judge_all([SLO.parse(each) for each in slo], compared("", mine, theirs))
        for verdict in verdicts:
            bound = float(verdict.slo.bound)
            assert verdict.low is not None
            assert verdict.high is not None
            expected = "missed" if verdict.low > bound else "met" if verdict.high < bound else "unclear"
            assert verdict.outcome == expected


def compared(slo: str, mine: Result, theirs: Result, *, paired: bool = False) -> JudgedResult:
    return JudgedResult(mine.plan, "mine", mine.intervals, baseline=single(theirs, paired=paired))


@pytest.mark.parametrize(
    ("slo", "mine", "outcome"),
    [
        ("p50 < baseline + 30%", 0.011, "met"),
        ("p50 < baseline", 0.013, "missed"),
        ("p50 < baseline + 10%", 0.011, "unclear"),
        ("p50 > baseline - 10%", 0.013, "met"),
        ("service p50 < baseline + 30%", 0.011, "met"),
        ("mean < baseline + 30%", 0.011, "met"),
        ("rate > baseline - 5%", 0.011, "met"),
        ("rate > baseline + 5%", 0.011, "missed"),
    ],
)
@pytest.mark.parametrize("paired", [False, True])
def test_verdict(slo: str, mine: float, outcome: str, paired: bool) -> None:
    verdict = compared(slo, lognormal(1, mine), lognormal(2, 0.010), paired=paired).judge(slo)
    assert verdict.outcome == outcome
    assert re.fullmatch(r"[\d.]+(ms|/s) → [\d.]+(ms|/s), [+-][\d.]+%", verdict.value)
    if outcome == "unclear":
        assert verdict.remark.startswith("90% sure of +")
    else:
        assert verdict.remark.startswith("95% sure of ")


def test_where_it_describe_shift() -> None:
    """A miss says whether all requests are slower, or the slow ones."""
    base = lognormal(2, 0.010, seconds=30)
    tail = lognormal(1, 0.010, seconds=30, tail=3)
    kept = several(*(lognormal(seed, 0.010, seconds=30) for seed in range(2, 7)))
    assert describe_shift(tail, kept).startswith("p50 same, p99 +")
    assert describe_shift(tail, kept).endswith(": only the tail")
    all_slower = lognormal(1, 0.013, seconds=30)
    assert describe_shift(all_slower, single(base)).startswith(("p50 +29", "p50 +3"))
    verdict = replace(compared("", tail, base), baseline=kept).judge("p99 < baseline + 10%")
    assert verdict.outcome == "missed"
    assert verdict.remark.endswith(": only the tail")


def test_what_is_not_known_is_not_the_same() -> None:
    """A percentile with a wide interval is not called the same."""
    wild = lognormal(5, 0.010, seconds=6, rate=40, tail=30)
    assert "p99 unclear" in describe_shift(wild, single(lognormal(2, 0.010, seconds=6, rate=40, tail=30)))


@pytest.mark.parametrize("slo", ["p50 < baseline + 10%", "p50 > baseline - 10%", "rate > baseline - 5%"])
def test_a_broken_baseline(slo: str) -> None:
    """A baseline that mostly failed is neither slower nor faster."""
    mine, broken = lognormal(1, 0.011), lognormal(2, 0.010)
    broken = replace(broken, intervals=tuple(replace(each, outcomes={"503": 100}) for each in broken.intervals))
    verdict = compared(slo, mine, broken).judge(slo)
    assert (verdict.outcome, verdict.remark) == ("unclear", "100% of the baseline's requests failed")


def test_a_baseline_of_a_generator_at_its_limit() -> None:
    """Compared with a baseline measured too slow everything is fast, so the verdict is invalid."""
    lagging = replace(LOADED, intervals=tuple(replace(each, lag=late()) for each in LOADED.intervals))
    verdict = compared("p50 < baseline + 900%", lognormal(1, 0.011), lagging).judge("p50 < baseline + 900%")
    assert (verdict.outcome, verdict.remark) == (
        "invalid",
        "the machine was busy with other work when the baseline was measured",
    )


LOADED = lognormal(2, 0.010)


def late() -> Histogram:
    lag = Histogram()
    lag.record(0.5, 100)
    return lag


def test_several_at_once() -> None:
    """A change that would be sure alone is not sure among many."""
    mine, theirs = lognormal(3, 0.0105), lognormal(2, 0.010)
    found = compared("", mine, theirs, paired=True)
    surest = SLO.parse("p50 < baseline")
    alone = judge_all([surest], found)[0]
    assert alone.outcome == "missed"
    others = [SLO.parse(f"p{percent} < baseline") for percent in range(80, 100)]
    change = ratio(surest.metric, mine, found.baseline)
    chance = next(each / 1001 for each in range(1, 400) if change.interval(each / 1001).low > 1)
    among = judge_figures([surest, *others], found, alpha=chance * 1.5)[0]
    assert judge_figures([surest], found, alpha=chance * 1.5)[0].outcome == "missed"
    assert among.outcome == "unclear"


def test_change_of_a_result() -> None:
    """A result gives the change of a metric with its bounds, for tests that decide for themselves."""
    found = compared("", lognormal(1, 0.012), lognormal(2, 0.010), paired=True)
    change = found.change("p50")
    assert change.low < change.estimate < change.high
    assert change.estimate == pytest.approx(1.2, rel=0.05)
    assert str(change.estimate).startswith("+")
    assert found.change("service p50").estimate == change.estimate
    assert found.against is found.baseline.result
    assert replace(found, baseline=replace(found.baseline, paired=False)).against is None


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("errors", r"change\('errors'\): errors cannot be compared with a baseline"),
        ("p9x", r"change\('p9x'\): 'p9x' is not a metric"),
        ("p50 < 5ms", r"change\('p50 < 5ms'\): unexpected '<': write a metric only"),
        ("p50", r"change\('p50'\): there is no baseline: use --load-compare NAME, or against="),
    ],
)
def test_no_change(metric: str, message: str) -> None:
    """A change that cannot be estimated is an error, and says why."""
    with pytest.raises(PlanError, match=message):
        JudgedResult(plan(), "mine", means(10).intervals).change(metric)
