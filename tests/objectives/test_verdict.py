"""Verdicts: met or missed where that is sure, unclear where it is not."""

import json
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.judgement import judge
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.objectives.windows import last
from tests.builders.figures import interval, means, rates, result, second, seconds, statuses
from tests.builders.traffic import plan

CLUSTERED = seconds(*[0] * 9, 20, of=200)


@pytest.mark.parametrize(
    ("slo", "found", "outcome", "value"),
    [
        # Percentiles: the share above the limit.
        ("p99 < 100ms", seconds(*[0] * 5), "met", "10ms"),
        ("p99 < 100ms", seconds(*[5] * 5), "missed", "500ms"),
        ("p99 < 100ms", seconds(0, 1, 2, 0, 1), "unclear", "10ms"),
        ("p90 < 100ms", seconds(0, 1, 2, 0, 1), "met", "10ms"),
        ("p99 <= 500ms", seconds(*[5] * 5), "met", "500ms"),
        ("p99 < 600ms", seconds(*[5] * 5), "met", "500ms"),
        ("p99 > 100ms", seconds(*[5] * 5), "met", "500ms"),
        ("p99 > 100ms", seconds(*[0] * 5), "missed", "10ms"),
        ("p99 > 100ms", seconds(0, 1, 2, 0, 1), "unclear", "10ms"),
        # 20 of 2,000 spread out would miss p99.5; all in one second they tell nothing.
        ("p99.5 < 100ms", seconds(*[2] * 10, of=200), "missed", "500ms"),
        ("p99.5 < 100ms", CLUSTERED, "unclear", "500ms"),
        # Response time from when a request was due, service time from when it was sent.
        ("p99 < 100ms", seconds(*[5] * 5, served=False), "missed", "500ms"),
        ("service p99 < 100ms", seconds(*[5] * 5, served=False), "met", "10ms"),
        ("service p99 < 100ms", seconds(*[5] * 5), "missed", "500ms"),
        ("service p99 < 100ms", seconds(0, 1, 2, 0, 1), "unclear", "10ms"),
        # Without an answer is slower than any limit.
        ("p99 < 1h", seconds(*[0] * 5, timeout=5), "missed", ">5s"),
        ("service p99 < 1h", seconds(*[0] * 5, reset=5), "missed", "no answer"),
        ("max < 1h", seconds(0, 0, timeout=1), "missed", ">5s"),
        ("service max < 1h", seconds(0, 0, reset=1), "missed", "no answer"),
        ("mean < 100ms", seconds(*[0] * 5, timeout=5), "missed", "248ms"),
        ("service mean < 100ms", seconds(*[0] * 5, timeout=5), "missed", "248ms"),
        ("rate >= 99/s", statuses(*[20] * 5, kind="timeout"), "missed", "80/s"),
        # Means.
        ("mean < 30ms", means(10, 20, 10, 20), "met", "15ms"),
        ("mean < 5ms", means(10, 20, 10, 20), "missed", "15ms"),
        ("mean < 20ms", means(10, 20, 10, 20), "unclear", "15ms"),
        ("mean > 5ms", means(10, 20, 10, 20), "met", "15ms"),
        ("service mean < 30ms", means(10, 20, 10, 20), "met", "15ms"),
        # Rates.
        ("rate >= 90/s", rates(99, 100, 101, 100), "met", "100/s"),
        ("rate >= 100/s", rates(100, 100, 100, 100), "met", "100/s"),
        ("rate > 100/s", rates(100, 100, 100, 100), "unclear", "100/s"),
        ("rate >= 110/s", rates(99, 100, 101, 100), "missed", "100/s"),
        ("rate >= 100/s", rates(99, 100, 101, 100), "unclear", "100/s"),
        ("rate < 110/s", rates(99, 100, 101, 100), "met", "100/s"),
        # Shares of wrong answers.
        ("errors < 5%", statuses(*[0] * 5), "met", "0 of 500"),
        ("errors < 1%", statuses(*[5] * 5), "missed", "25 of 500"),
        ("errors < 1%", statuses(1, 0, 0, 1, 0), "unclear", "2 of 500"),
        ("errors > 50%", statuses(*[90] * 5), "met", "450 of 500"),
        ("status 503 < 1%", statuses(*[5] * 5), "missed", "25 of 500"),
        ("status 500 < 5%", statuses(*[5] * 5), "met", "0 of 500"),
        ("status 5xx < 1%", statuses(*[5] * 5), "missed", "25 of 500"),
        ("status 5xx < 1%", statuses(*[5] * 5, kind="5xx"), "missed", "25 of 500"),
        ("status 4xx < 5%", statuses(*[5] * 5), "met", "0 of 500"),
        ("status 2xx > 50%", statuses(*[5] * 5), "met", "475 of 500"),
        ("timeouts < 1%", statuses(*[5] * 5, kind="timeout"), "missed", "25 of 500"),
        ("timeouts < 5%", statuses(*[5] * 5, kind="reset"), "met", "0 of 500"),
        # Facts: counts, the slowest request, the generator's own lag.
        ("errors == 0", statuses(0, 0), "met", "0"),
        ("errors == 0", statuses(0, 1), "missed", "1"),
        ("errors < 1,500", statuses(1000, 499, of=1000), "met", "1,499"),
        ("status 503 <= 3", statuses(3, 1), "missed", "4"),
        ("timeouts < 1", statuses(1, kind="reset"), "met", "0"),
        ("max < 500ms", seconds(1), "missed", "500ms"),
        ("max < 501ms", seconds(1), "met", "500ms"),
        ("lag < 1ms", seconds(0, 0), "met", "100us"),
        ("lag < 0.1ms", seconds(0, 0), "missed", "100us"),
        # Of nothing, and of little, nothing is known.
        ("p99 < 100ms", result(), "unclear", "no requests"),
        ("errors == 0", result(), "unclear", "no requests"),
        ("p99 < 100ms", seconds(*[0] * 3, of=1000), "unclear", "10ms"),
        ("errors < 1%", statuses(*[0] * 3, of=1000), "unclear", "0 of 3,000"),
        ("rate >= 9/s", rates(100, 100, 100), "unclear", "100/s"),
        ("mean < 1s", means(10, 10, 10), "unclear", "10ms"),
    ],
)
def test_outcome(slo: str, found: Result, outcome: str, value: str) -> None:
    verdict = judge(SLO.parse(slo), found)
    assert (str(verdict.slo), verdict.outcome, verdict.value) == (slo, outcome, value)
    assert bool(verdict) == (outcome == "met")


@pytest.mark.parametrize(
    ("slo", "found", "remark"),
    [
        ("p99 < 100ms", seconds(*[0] * 5), "95% sure of 10ms or less"),
        ("p99 < 100ms", seconds(*[5] * 5), "95% sure of 500ms or more"),
        ("p99 > 100ms", seconds(*[5] * 5), "95% sure of 500ms or more"),
        ("p99 < 100ms", seconds(0, 1, 2, 0, 0), "95% sure of 10ms or more; a run 20x longer would decide"),
        ("p99 < 100ms", seconds(1, 1, 1, 1, 1), "90% sure of 10ms to 500ms; too close to the limit to decide"),
        ("p90 < 100ms", seconds(0, 1, 2, 0, 1), "95% sure of 10ms or less"),
        ("p99 < 501ms", seconds(*[0] * 4, 4, of=1000), "95% sure of 10ms or less"),
        ("p99 < 1h", seconds(*[0] * 5, timeout=5), "95% sure of no answer"),
        ("errors < 1%", statuses(*[5] * 5), "95% sure of 3.58% or more"),
        ("errors < 5%", statuses(*[0] * 5), "95% sure of 2.95% or less"),
        (
            "errors < 1%",
            statuses(1, 0, 0, 1, 0),
            "90% sure of 0.0976% to 3.2%; at least 1,495 requests are needed to decide",
        ),
        ("mean < 30ms", means(10, 20, 10, 20), "95% sure of 25.1ms or less"),
        ("mean < 20ms", means(10, 20, 10, 20), "90% sure of 8.21ms to 25.1ms; a run 5x longer would decide"),
        ("rate >= 99/s", rates(99, 100, 101, 100), "90% sure of 97.5/s to 102/s; a run 7x longer would decide"),
        ("rate >= 110/s", rates(99, 100, 101, 100), "95% sure of 102/s or less"),
        ("errors == 0", statuses(0, 0), ""),
        ("p99 < 1s", seconds(0, 0, 0), "only 3 intervals; at least 4 are needed: load for 4s or longer"),
    ],
)
def test_remark(slo: str, found: Result, remark: str) -> None:
    """A verdict says how sure it is, or what would decide it."""
    assert judge(SLO.parse(slo), found).remark == remark


def test_how_sure() -> None:
    """The fewer requests may be bad, the more requests it takes to show it."""
    found = seconds(*[0] * 5)
    slo = SLO.parse("p99 < 100ms")
    assert [judge(slo, found, alpha).outcome for alpha in (0.05, 0.01, 0.005)] == ["met", "met", "unclear"]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from([5, 20, 80])), min_size=4, max_size=12),
    st.sampled_from([50, 90, 95, 99]),
    st.sampled_from([1, 10, 30, 100, 500]),
    st.sampled_from("<>"),
)
def test_bounds_agree(drawn: list[tuple[int, int]], percent: int, limit: int, compare: str) -> None:
    """A percentile is within its bounds, and these are on the side of the limit that the verdict says."""
    found = result(*(second(at, slow, ms=ms) for at, (slow, ms) in enumerate(drawn)))
    verdict = judge(SLO.parse(f"p{percent} {compare} {limit}ms"), found)
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= verdict.high
    below = {"met": compare == "<", "missed": compare == ">"}
    if verdict.outcome in below:
        assert verdict.high <= limit / 1000 if below[verdict.outcome] else verdict.low >= limit / 1000


def test_stragglers() -> None:
    """Late responses, in an interval of their own, count as requests and not as a second."""
    late = interval({"200": 1}, ms=3000, start=5, seconds=0)
    for slo in ("mean < 60ms", "service mean < 60ms", "rate > 90/s"):
        assert judge(SLO.parse(slo), replace(means(10, 12, 10, 11, 10), intervals=(*means(*[10] * 50).intervals, late)))


def test_service_time_is_of_what_was_sent() -> None:
    """A request that was never sent has no service time."""
    found = seconds(*[0] * 5, timeout=5)
    assert judge(SLO.parse("service p99 < 100ms"), found).outcome == "missed"
    never_sent = replace(found, intervals=tuple(replace(each, never_sent=5) for each in found.intervals))
    for slo in ("service p99 < 100ms", "service mean < 100ms", "service max < 100ms"):
        assert judge(SLO.parse(slo), never_sent)
    assert judge(SLO.parse("p99 < 100ms"), never_sent).outcome == "missed"


COARSE = Histogram.from_buckets([(0.001, 0.010, 90), (0.010, 0.100, 10)])


@pytest.mark.parametrize(
    ("slo", "outcome", "value"),
    [
        # The limit is an edge of the buckets, or beyond them: it is known how many are over it.
        ("p90 < 200ms", "met", "10ms"),
        ("p50 < 10ms", "met", "10ms"),
        ("p95 < 10ms", "missed", "100ms"),
        ("max < 200ms", "met", "100ms"),
        ("mean < 30ms", "met", "19ms"),
        ("mean < 1ms", "missed", "19ms"),
        # It is in one, and no guess tells.
        ("p95 < 50ms", "unclear", "10ms to 100ms"),
        ("p50 < 5ms", "unclear", "1ms to 10ms"),
        ("max < 50ms", "unclear", "10ms to 100ms"),
        ("mean < 10ms", "unclear", "1.9ms to 19ms"),
        ("p95 < 50ms over any 4s", "unclear", "10ms to 100ms"),
    ],
)
def test_wide_buckets(slo: str, outcome: str, value: str) -> None:
    """Latencies in wide buckets are judged by the ends of the buckets, never by a guess in between."""
    found = result(*(Interval(at, 1, COARSE, COARSE, {"200": 100}) for at in range(8)))
    verdict = judge(SLO.parse(slo), found)
    assert (verdict.outcome, verdict.value) == (outcome, value)
    if outcome == "unclear":
        assert verdict.remark == "the generator's latency buckets are too wide to decide"


# Windows.


def late(count: int) -> Result:
    """Make a result of eight good seconds, and of requests that are given up after them."""
    good = statuses(*[0] * 8)
    return replace(good, intervals=(*good.intervals, interval({"timeout": count}, start=13, seconds=0, lag=0)))


LATE, LATE_LONG = late(9), late(100)


@pytest.mark.parametrize(
    ("slo", "found", "outcome", "value"),
    [
        ("errors < 5% over last 4s", statuses(*[50] * 3, *[0] * 4), "met", "0 of 400"),
        ("errors < 1% over last 4s", statuses(*[0] * 3, *[50] * 4), "missed", "200 of 400"),
        ("errors < 1%", statuses(*[50, 0] * 3, 50), "missed", "200 of 700"),
        ("errors == 0 over last 1s", statuses(5, 0), "met", "0"),
        ("p99 < 100ms over last 4s", seconds(*[50] * 3, *[0] * 4), "met", "10ms"),
        ("rate > 90/s over last 5s", rates(10, 10, *[100] * 5), "met", "100/s"),
        # The worst of any.
        ("p99 < 100ms over any 4s", seconds(*[0] * 12, of=200), "met", "10ms"),
        ("p99 < 100ms over any 4s", seconds(*[0] * 6, *[20] * 4, *[0] * 6), "missed", "500ms"),
        ("errors < 1% over any 4s", statuses(*[0] * 6, 2, 3, 2, 2, *[0] * 6, of=200), "unclear", "9 of 800"),
        ("rate > 50/s over any 4s", rates(*[100] * 5, *[10] * 5, *[100] * 5), "missed", "10/s"),
        ("errors < 5 over any 2s", statuses(0, 3, 3, 0, 40, 0, 3), "missed", "40"),
        ("errors < 50 over any 2s", statuses(0, 3, 3, 0, 40, 0, 3), "met", "40"),
        ("max < 1s over any 1s", means(10, 30, 20), "met", "30ms"),
        # What came in after the last interval is in the last windows.
        ("errors == 0 over any 2s", LATE, "missed", "9"),
        ("errors < 1% over any 4s", LATE, "unclear", "9 of 409"),
        ("p90 < 100ms over any 4s", LATE_LONG, "unclear", ">5s"),
        ("max < 100ms over last 2s", LATE, "missed", ">5s"),
        # A run as long as its window is one; a shorter one is none.
        ("errors == 0 over any 3s", statuses(0, 0, 0), "met", "0"),
        ("errors == 0 over any 4s", statuses(0, 0, 0), "unclear", "-"),
        ("errors == 0 over last 4s", statuses(0, 0, 0), "unclear", "-"),
    ],
)
def test_window(slo: str, found: Result, outcome: str, value: str) -> None:
    verdict = judge(SLO.parse(slo), found)
    assert (verdict.outcome, verdict.value) == (outcome, value)


def test_many_windows() -> None:
    """One bad window of many takes more evidence than the only window; that none is bad takes no more."""
    slo = SLO.parse("p99 < 100ms over any 4s")
    slow = [3, 2, 3, 2]
    assert judge(slo, seconds(*slow)).outcome == "missed"
    assert judge(slo, seconds(*[0] * 60, *slow, *[0] * 60)).outcome == "unclear"
    assert judge(slo, seconds(*[0] * 4)).outcome == "met"
    assert judge(slo, seconds(*[0] * 120)).outcome == "met"


def test_an_hour_of_windows() -> None:
    """The windows of an hour are judged in seconds, not in minutes."""
    found = seconds(*[0] * 3600)
    for slo in (
        "p99 < 100ms over any 10s",
        "mean < 100ms over any 10s",
        "rate > 9/s over any 10s",
        "max < 1s over any 1s",
    ):
        started = time.process_time()
        assert judge(SLO.parse(slo), found)
        assert time.process_time() - started < 10


@pytest.mark.parametrize(("wanted", "starts"), [(1, [6]), (2, [5, 6]), (4, [2, 4, 5, 6]), (99, [0, 2, 4, 5, 6])])
def test_last(wanted: float, starts: list[int]) -> None:
    """The last seconds are exact to half a second, and include the responses that came in after them."""
    lengths = {0: 2, 2: 2, 4: 1, 5: 1, 6: 1, 7: 0}
    intervals = [Interval(start, length) for start, length in lengths.items()]
    assert [each.start for each in last(intervals, wanted)] == [*starts, 7]


@pytest.mark.parametrize(
    ("slo", "outcome", "value", "remark"),
    [
        ("errors < 5", "met", "12", "the load was extended: 4 per 5s"),
        ("errors < 4", "missed", "12", "the load was extended: 4 per 5s"),
        ("errors > 5", "missed", "12", "the load was extended: 4 per 5s"),
        # None at all is none of any load, a share does not grow, and a window is as long as it is.
        ("errors == 0", "missed", "12", ""),
        ("errors < 1", "missed", "12", ""),
        ("errors < 2%", "met", "12 of 1,500", "95% sure of *% or less"),
        ("errors < 5 over last 5s", "missed", "5", ""),
    ],
)
def test_an_extended_load(slo: str, outcome: str, value: str, remark: str) -> None:
    """A count is meant for the planned duration: of an extended load, the average of that length is judged."""
    found = JudgedResult(plan(), "mine", statuses(*[1] * 7, 0, 0, 0, *[1] * 5).intervals, extended_by=3)
    verdict = found.judge(slo)
    assert (verdict.outcome, verdict.value) == (outcome, value)
    assert fnmatch(verdict.remark, remark)


# A service that is getting worse.


@pytest.mark.parametrize(
    ("ms", "slo", "outcome", "remark"),
    [
        ([10] * 12, "p50 < 100ms", "met", "95% sure of 10ms or less"),
        (
            range(10, 58, 4),
            "p50 < 100ms",
            "unclear",
            "95% sure of *; still climbing: p50 +12.5%/s, and would exceed the limit within another run of this length",
        ),
        (range(10, 58, 4), "mean < 1s", "met", "95% sure of *; still climbing: p50 +12.5%/s"),
        (range(10, 58, 4), "p50 < 5ms", "missed", "95% sure of *; still climbing: p50 +12.5%/s"),
        (range(54, 6, -4), "p50 < 200ms", "met", "95% sure of *; still falling: p50 -12.5%/s"),
        (
            range(54, 6, -4),
            "p50 < 12ms",
            "unclear",
            "95% sure of *; still falling: p50 -12.5%/s, and would meet the limit within another run of this "
            "length: use a longer warmup",
        ),
        ([10, 14, 18, 22], "p50 < 60ms", "met", "95% sure of 18ms or less"),  # too short to tell
    ],
)
def test_climbing(ms: Iterable[int], slo: str, outcome: str, remark: str) -> None:
    """A climbing latency is reported; if it is about to exceed its limit, the objective is not met."""
    verdict = judge(SLO.parse(slo), means(*ms))
    assert verdict.outcome == outcome
    assert fnmatch(verdict.remark, remark)


# As text and as JSON.


def test_printing() -> None:
    """A verdict prints as a line of a table."""
    assert str(judge(SLO.parse("p99 < 100ms"), seconds(*[0] * 5))) == (
        "met      p99 < 100ms              10ms  (95% sure of 10ms or less)"
    )
    assert str(judge(SLO.parse("errors == 0"), statuses(1))) == "missed   errors == 0              1"
    assert (
        str(Verdict(SLO.parse("max < 1s"), "invalid", "1ms", remark="why"))
        == "invalid  max < 1s                 1ms  (why)"
    )
    assert repr(judge(SLO.parse("errors == 0"), statuses(1))) == "<missed errors == 0 1>"


@pytest.mark.parametrize("slo", ["p99 < 100ms", "errors < 1%", "errors == 0", "mean < 1s", "rate > 1/s"])
def test_json(slo: str) -> None:
    """A verdict comes back from JSON as it went in."""
    for found in (seconds(0, 0), seconds(*[0] * 5)):
        verdict = judge(SLO.parse(slo), found)
        assert Verdict.from_dict(json.loads(json.dumps(verdict.as_dict()))) == verdict


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("percent", [50, 90, 99])
def test_the_figure_of_windows_is_that_of_the_worst(percent: int, upper: bool) -> None:
    """Whatever the verdict, the value is the figure of the slowest window, or of the fastest for a lower bound."""
    draw = random.Random(percent)
    parts = [
        interval({"200": 50 + each, "timeout": draw.choice([0, 0, 0, 9])}, ms=draw.randint(5, 300), start=each)
        for each in range(40)
    ]
    found = result(*parts)
    figures = [result(*parts[at : at + 4]).percentile(percent) for at in range(37)]
    worst = max(figures) if upper else min(figures)
    for limit in ("1ms", "150ms", "10s"):
        verdict = judge(SLO.parse(f"p{percent} {'<' if upper else '>'} {limit} over any 4s"), found)
        assert verdict.value == str(worst)
