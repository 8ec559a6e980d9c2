"""How objectives are read: as people write them; a misspelt word is named, with a proposal."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_loadgen.errors import PlanError
from pytest_loadgen.objectives.metric import (
    Bound,
    Cpu,
    Errors,
    GeneratorLag,
    MaxLatency,
    MeanLatency,
    Memory,
    MemoryGrowth,
    Metric,
    Percentile,
    ResponseRate,
    Statuses,
    Timeouts,
)
from pytest_loadgen.objectives.slo import SLO, Window
from pytest_loadgen.units import Change, Duration, Rate, Share, Size


def slo(metric: Metric, comparison: str, bound: Bound, window: Window | None = None, name: str = "") -> SLO:
    return SLO("", metric, comparison, bound, window, name)


ANY, LAST = Window("any", Duration(10)), Window("last", Duration(30))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        # Metrics.
        ("p50 < 5ms", slo(Percentile(50), "<", Duration(0.005))),
        ("p5 > 1ms", slo(Percentile(5), ">", Duration(0.001))),
        ("p99.99 <= 1s", slo(Percentile(99.99), "<=", Duration(1))),
        ("P99 < 5ms", slo(Percentile(99), "<", Duration(0.005))),
        ("mean < 5ms", slo(MeanLatency(), "<", Duration(0.005))),
        ("max < 5ms", slo(MaxLatency(), "<", Duration(0.005))),
        ("lag < 5ms", slo(GeneratorLag(), "<", Duration(0.005))),
        ("cpu < 80%", slo(Cpu(), "<", Share(0.8))),
        ("CPU <= 80 % over any 10s", slo(Cpu(), "<=", Share(0.8), ANY)),
        ("memory < 500MB", slo(Memory(), "<", Size(500e6))),
        ("memory < 1.5 GiB", slo(Memory(), "<", Size(1.5 * 2**30))),
        ("memory growth < 1MB/s", slo(MemoryGrowth(), "<", Size(1e6))),
        ("Memory Growth < 60 kB/m over last 30s", slo(MemoryGrowth(), "<", Size(1e3), LAST)),
        ("rate >= 495/s", slo(ResponseRate(), ">=", Rate(495))),
        ("errors < 5", slo(Errors(), "<", 5)),
        ("errors < 0.1%", slo(Errors(), "<", Share(0.001))),
        ("status 503 < 1%", slo(Statuses("503"), "<", Share(0.01))),
        ("status 5XX < 3", slo(Statuses("5xx"), "<", 3)),
        ("timeouts < 0.5%", slo(Timeouts(), "<", Share(0.005))),
        ("timeouts == 0", slo(Timeouts(), "==", 0)),
        # Service time.
        ("service p99 < 5ms", slo(Percentile(99, clock="service"), "<", Duration(0.005))),
        ("service mean < 5ms", slo(MeanLatency(clock="service"), "<", Duration(0.005))),
        ("service max < 5ms", slo(MaxLatency(clock="service"), "<", Duration(0.005))),
        # Time to the first byte.
        ("first byte p99 < 5ms", slo(Percentile(99, clock="first byte"), "<", Duration(0.005))),
        ("first  byte mean < 5ms", slo(MeanLatency(clock="first byte"), "<", Duration(0.005))),
        ("first byte max < 5ms over last 30s", slo(MaxLatency(clock="first byte"), "<", Duration(0.005), LAST)),
        # Of the requests of one name.
        ("p99 of order < 5ms", slo(Percentile(99), "<", Duration(0.005), name="order")),
        ("p99 of order<5ms", slo(Percentile(99), "<", Duration(0.005), name="order")),
        ("errors of order == 0", slo(Errors(), "==", 0, name="order")),
        ("status 503 of order < 1%", slo(Statuses("503"), "<", Share(0.01), name="order")),
        ("rate of order > 10/s", slo(ResponseRate(), ">", Rate(10), name="order")),
        ("mean of order < baseline + 10%", slo(MeanLatency(), "<", Change(1.1), name="order")),
        ("first byte p99 of order < 5ms", slo(Percentile(99, clock="first byte"), "<", Duration(0.005), name="order")),
        (
            "service p99 of GET /items/{id} < 1s over any 10s",
            slo(Percentile(99, clock="service"), "<", Duration(1), ANY, "GET /items/{id}"),
        ),
        # A name may be any text: the last comparison operator is that of the objective.
        ("p99 of of < 5ms", slo(Percentile(99), "<", Duration(0.005), name="of")),
        ("p99 of GET /a?b=1 < 5ms", slo(Percentile(99), "<", Duration(0.005), name="GET /a?b=1")),
        ("p99 of a<b > c <= 5ms", slo(Percentile(99), "<=", Duration(0.005), name="a<b > c")),
        ("p99 of < < 5ms", slo(Percentile(99), "<", Duration(0.005), name="<")),
        ("p99 of p99 over any 10s < 5ms", slo(Percentile(99), "<", Duration(0.005), name="p99 over any 10s")),
        # Units.
        ("max < 300us", slo(MaxLatency(), "<", Duration(0.0003))),
        ("max < 300µs", slo(MaxLatency(), "<", Duration(0.0003))),
        ("max < 1.5s", slo(MaxLatency(), "<", Duration(1.5))),
        ("max < 2m", slo(MaxLatency(), "<", Duration(120))),
        ("max < 1m30s", slo(MaxLatency(), "<", Duration(90))),
        ("max < 1h", slo(MaxLatency(), "<", Duration(3600))),
        ("max < .5s", slo(MaxLatency(), "<", Duration(0.5))),
        ("rate > 30/m", slo(ResponseRate(), ">", Rate(0.5))),
        ("rate > 7200/h", slo(ResponseRate(), ">", Rate(2))),
        ("rate > 12,345/s", slo(ResponseRate(), ">", Rate(12_345))),
        ("errors < 1,000", slo(Errors(), "<", 1000)),
        ("errors < 1_000", slo(Errors(), "<", 1000)),
        ("errors <= 100%", slo(Errors(), "<=", Share(1))),
        ("mean < baseline", slo(MeanLatency(), "<", Change(1))),
        ("p99 < baseline + 10%", slo(Percentile(99), "<", Change(1.1))),
        ("p99 < baseline+2.5 %", slo(Percentile(99), "<", Change(1.025))),
        ("rate > baseline - 5%", slo(ResponseRate(), ">", Change(0.95))),
        ("errors > 0%", slo(Errors(), ">", Share(0))),
        # Comparisons.
        ("errors == 0", slo(Errors(), "==", 0)),
        ("errors <= 3", slo(Errors(), "<=", 3)),
        # Space, or none.
        ("p99<5ms", slo(Percentile(99), "<", Duration(0.005))),
        ("  p99\t<\n5 ms ", slo(Percentile(99), "<", Duration(0.005))),
        ("errors < 0.1 %", slo(Errors(), "<", Share(0.001))),
        ("rate >= 5 /s", slo(ResponseRate(), ">=", Rate(5))),
        # Windows.
        ("p99 < 5ms over any 10s", slo(Percentile(99), "<", Duration(0.005), window=ANY)),
        ("errors < 1% over last 30s", slo(Errors(), "<", Share(0.01), window=LAST)),
        ("rate > 5/s over last 0.5m", slo(ResponseRate(), ">", Rate(5), window=LAST)),
        ("errors == 0 over any 10 s", slo(Errors(), "==", 0, window=ANY)),
        ("max < 1s over last 1s", slo(MaxLatency(), "<", Duration(1), window=Window("last", Duration(1)))),
    ],
)
def test_meaning(text: str, meaning: SLO) -> None:
    """An objective means what it says, and prints as it was written."""
    found = SLO.parse(text)
    assert str(found) == " ".join(text.split())
    assert replace(found, text="") == meaning


@pytest.mark.parametrize(
    ("text", "upper", "is_sample", "allowed"),
    [
        ("p99 < 5ms", True, True, 0.01),
        ("p99.9 > 5ms", False, True, 0.001),
        ("errors < 0.1%", True, True, 0.001),
        ("status 503 >= 5%", False, True, 0.05),
        ("errors == 0", True, False, None),
        ("rate > 5/s", False, True, None),
        ("mean < 5s", True, True, None),
        ("max < 5s", True, False, None),
        ("cpu < 80%", True, True, None),
        ("memory < 5MB", True, False, None),
        ("memory growth < 5MB/s", True, True, None),
        ("p99 < baseline", True, True, None),
    ],
)
def test_kinds(text: str, upper: bool, is_sample: bool, allowed: float | None) -> None:
    """Which way an objective goes, whether its figure is an estimate, and which share of requests may be bad."""
    found = SLO.parse(text)
    assert (found.upper, found.is_sample) == (upper, is_sample)
    assert found.allowed == (allowed if allowed is None else pytest.approx(allowed))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # A missing word.
        ("", "'': a metric (p99, errors, rate, …) is missing"),
        ("p99", "'p99': a comparison operator (<, <=, >, >=) is missing"),
        ("p99 <", "'p99 <': a bound is missing"),
        ("status", "'status': a status (503, 5xx) is missing"),
        ("service", "'service': a metric (p99, errors, rate, …) is missing"),
        ("p99 < 5ms over", "'p99 < 5ms over': 'any' or 'last' is missing"),
        ("p99 < 5ms over any", "'p99 < 5ms over any': the length of the window (10s) is missing"),
        # Units.
        ("p99 < 200", "'p99 < 200': 200 needs a unit: did you mean p99 < 200ms?"),
        ("p99<200", "'p99<200': 200 needs a unit: did you mean p99 < 200ms?"),
        ("service p99 < 0.2", "'service p99 < 0.2': 0.2 needs a unit: did you mean service p99 < 0.2ms?"),
        ("p99 < 10 over any 10s", "'p99 < 10 over any 10s': 10 needs a unit: did you mean p99 < 10ms?"),
        ("rate > 500", "'rate > 500': 500 needs a unit: did you mean rate > 500/s?"),
        ("rate > 5% ", "'rate > 5%': '5%' is not a rate: write *"),
        ("p99 < 5x", "'p99 < 5x': '5x' is not a duration: write seconds (0.2) or a string ('200ms', '5s', '1m30s')"),
        ("p99 < -5ms", "'p99 < -5ms': '-5ms' is not a duration: *"),
        ("errors < 1.5", "'errors < 1.5': '1.5' is neither a count (5) nor a share (0.1%)"),
        ("errors < 5ms", "'errors < 5ms': '5ms' is neither a count (5) nor a share (0.1%)"),
        ("errors < ,", "'errors < ,': ',' is neither a count (5) nor a share (0.1%)"),
        ("errors < x%", "'errors < x%': 'x%' is not a share: write a number (0.001) or a string ('0.1%')"),
        ("errors < 101%", "'errors < 101%': 101% is more than all requests"),
        ("cpu < 0.8", "'cpu < 0.8': 0.8 is not a share: write 80%, of the cores that the service may use"),
        ("cpu < 150%", "'cpu < 150%': 150% is not between 0% and 100%, which are all cores that the service may use"),
        ("memory < 500", "'memory < 500': 500 needs a unit: did you mean memory < 500MB?"),
        ("memory < 500Mb", "'memory < 500Mb': '500Mb' is not a size: write a number of bytes (500_000_000) or *"),
        ("memory growth < 1MB", "'memory growth < 1MB': '1MB' is not a growth of memory: write 1MB/s, 20MB/m or 1GB/h"),
        ("memory growth < 1", "'memory growth < 1': 1 needs a unit: did you mean memory growth < 1MB/s?"),
        # Metrics.
        ("error < 1%", "'error < 1%': 'error' is not a metric: did you mean 'errors'?"),
        ("timeout < 1", "'timeout < 1': 'timeout' is not a metric: did you mean 'timeouts'?"),
        ("throughput > 5/s", "'throughput > 5/s': 'throughput' is not a metric: did you mean 'rate'?"),
        ("avg < 5ms", "'avg < 5ms': 'avg' is not a metric: did you mean 'mean'?"),
        (
            "zzz < 5ms",
            "'zzz < 5ms': 'zzz' is not a metric: "
            "choose from cpu, errors, first byte, lag, max, mean, memory, memory growth, p50, p90, p95, p99, p99.9, *",
        ),
        ("p0 < 5ms", "'p0 < 5ms': p0 is not a useful percentile"),
        ("< 5ms", "'< 5ms': '<' is not a metric: *"),
        ("p100 < 5ms", "'p100 < 5ms': 'p100' is not a metric: *"),
        ("p٩٩ < 5ms", "'p٩٩ < 5ms': 'p٩٩' is not a metric: *"),
        ("status 600 < 1", "'status 600 < 1': '600' is not a status: write a status (503) or a class (5xx)"),
        ("status < 1%", "'status < 1%': '<' is not a status: write a status (503) or a class (5xx)"),
        ("service rate > 5/s", "'service rate > 5/s': 'service' goes with a latency (service p99), not with rate"),
        ("first byte rate > 5/s", "'first byte rate > 5/s': 'first byte' goes with a latency (first byte p99), not *"),
        ("first p99 < 5ms", "'first p99 < 5ms': 'first' is not a metric: did you mean 'first byte'?"),
        ("ttfb < 5ms", "'ttfb < 5ms': 'ttfb' is not a metric: did you mean 'first byte'?"),
        # Names.
        ("p99 of", "'p99 of': the name of a request is missing"),
        ("p99 of < 5ms", "'p99 of < 5ms': the name of a request is missing"),
        ("p99 of order", "'p99 of order': a comparison operator (<, <=, >, >=) is missing"),
        ("p99 order < 5ms", "'p99 order < 5ms': 'order' is not a comparison operator: write <, <=, > or >="),
        ("p99 of order = 5ms", "'p99 of order = 5ms': '=' is not a comparison operator: write <, <=, > or >="),
        ("p99 of a=b < 5", "'p99 of a=b < 5': 5 needs a unit: did you mean p99 of a=b < 5ms?"),
        ("errors of a<b < 0%", "'errors of a<b < 0%': no load can prove '< 0%': write errors of a<b == 0"),
        (
            "lag of order < 5ms",
            "'lag of order < 5ms': lag is about the generator, not about a request: leave out 'of'",
        ),
        # Comparisons.
        ("p99 = 5ms", "'p99 = 5ms': '=' is not a comparison operator: write <, <=, > or >="),
        ("p99 => 5ms", "'p99 => 5ms': '=>' is not a comparison operator: did you mean >=?"),
        ("p99 =< 5ms", "'p99 =< 5ms': '=<' is not a comparison operator: did you mean <=?"),
        ("errors != 0", "'errors != 0': '!=' is not a comparison operator: write <, <=, > or >="),
        ("errors = 0", "'errors = 0': '=' is not a comparison operator: did you mean ==?"),
        ("errors < 0", "'errors < 0': a count cannot be below 0: write == 0"),
        ("median < 1s", "'median < 1s': 'median' is not a metric: did you mean 'p50'?"),
        (
            "p99 < 5ms, errors < 1%",
            "'p99 < 5ms, errors < 1%': pass each objective as its own string",
        ),
        ("status 200 == 100%", "'status 200 == 100%': no load can prove '== 100%': write status 200 >= 99.9%"),
        ("p99 under 5ms", "'p99 under 5ms': 'under' is not a comparison operator: write <, <=, > or >="),
        (
            "p99 == 5ms",
            "'p99 == 5ms': == is for counts (errors == 0); no other figure equals its bound exactly",
        ),
        ("errors == 0%", "'errors == 0%': no load can prove '== 0%': write errors == 0"),
        ("status 503 < 0%", "'status 503 < 0%': no load can prove '< 0%': write status 503 == 0"),
        # Baselines.
        ("errors < baseline", "'errors < baseline': errors cannot be compared with a baseline; these *"),
        ("p99 < baseline + 10", "'p99 < baseline + 10': after 'baseline': '+10' is not a change: *"),
        ("p99 < baseline * 2", "'p99 < baseline * 2': unexpected '*': only a window such as 'over any 10s' can *"),
        ("p99 < baseline - 100%", "'p99 < baseline - 100%': baseline -100% is 0 or less; no figure can be below it"),
        (
            "p99 of x < against + 10%",
            "'p99 of x < against + 10%': write p99 of x < baseline: with against=, that is the other service",
        ),
        ("p99 < baseline over any 9s", "'p99 < baseline over any 9s': a comparison with a baseline is of the whole *"),
        # Windows, and words too many.
        ("p99 < 5ms over all 5s", "'p99 < 5ms over all 5s': over 'all': choose from any, last."),
        ("p99 < 5ms over lst 5s", "'p99 < 5ms over lst 5s': over 'lst': did you mean 'last'?"),
        ("p99 < 5ms over any 5", "'p99 < 5ms over any 5': '5' needs a unit: write 5ms or 5s"),
        (
            "max < 5ms over any 0.5s",
            "'max < 5ms over any 0.5s': a window must be at least 1s long: figures are kept per second",
        ),
        (
            "p99 < 5ms over any 3s",
            "'p99 < 5ms over any 3s': 3s is too short for a confidence interval; write 4s or more",
        ),
        (
            "errors < 1% over last 2s",
            "'errors < 1% over last 2s': 2s is too short for a confidence interval; write 4s or more",
        ),
        (
            "p9 < 5s please",
            "'p9 < 5s please': unexpected 'please': only a window such as 'over any 10s' can follow the bound",
        ),
        ("p99 < 5ms,", "'p99 < 5ms,': '5ms,' is not a duration: *"),
    ],
)  # fmt: skip
def test_wrong(text: str, message: str) -> None:
    """What cannot be read is refused with the word at fault and what to write."""
    with pytest.raises(PlanError) as caught:
        SLO.parse(text)
    whole, end = (message.removesuffix("*"), None) if message.endswith("*") else (message, len(message))
    assert str(caught.value).startswith(whole)
    assert end is None or len(str(caught.value)) == end


@pytest.mark.parametrize("value", [5, None, ["p99 < 5ms"], b"p99 < 5ms"])
def test_not_a_string(value: Any) -> None:
    with pytest.raises(PlanError, match="is not an objective: write a string such as 'p99 < 200ms'"):
        SLO.parse(value)


# Objectives of requests.


@pytest.mark.parametrize(
    ("text", "name", "meaning"),
    [
        ("p99 < 80ms", "order", "p99 of order < 80ms"),
        ("p99<80ms", "order", "p99 of order <80ms"),
        ("service p99 < 1s over any 10s", "GET /items/{id}", "service p99 of GET /items/{id} < 1s over any 10s"),
        ("first byte mean <= 1s", "a <", "first byte mean of a < <= 1s"),
        ("status 5xx < 1%", "a=b", "status 5xx of a=b < 1%"),
        ("p99 of order < 80ms", "order", "p99 of order < 80ms"),
    ],
)
def test_of(text: str, name: str, meaning: str) -> None:
    """An objective that comes with a request is about the requests of that name, and reads as one that says so."""
    found = SLO.parse(text).of(name)
    assert found == SLO.parse(meaning)
    assert (found.text, found.name) == (meaning, name)


def test_of_others() -> None:
    with pytest.raises(PlanError) as caught:
        SLO.parse("p99 of order < 80ms").of("login")
    assert str(caught.value) == "'p99 of order < 80ms' is about other requests: give it to load(), not to a request"
    for text, subject in ("lag < 80ms", "generator"), ("memory growth < 1MB/s", "service"):
        with pytest.raises(PlanError, match=f"is about the {subject}, not about a request: leave out 'of'"):
            SLO.parse(text).of("login")


# No string crashes the parser.

SAID = (
    "p50 p99 p99.9 p00 mean max rate errors status 503 5xx timeouts lag service < <= > >= == = <> baseline + - 10% 5ms "
    "5 ms 1e99h 0 0% 100% 1,000 , _ % /s 500/s 1e-99/h over any last 10s 1s 1e9h nan inf -1s ٣ms ٣ µs "
    "first byte of order"
)
WORDS = st.sampled_from(SAID.split())
TEXTS = st.text() | st.lists(WORDS | st.text(max_size=3), max_size=10).map(" ".join) | st.lists(WORDS).map("".join)
METRICS = st.sampled_from(["p99.9", "mean", "max", "service p50", "rate", "errors of order", "status 5xx", "timeouts"])
BOUNDS = st.builds("{}{}".format, st.integers(0, 200) | st.floats(0, 200), st.sampled_from(["ms", "s", "/s", "%", ""]))
WINDOWS = st.just("") | st.builds(" over {} {}s".format, st.sampled_from(["any", "last"]), st.integers(0, 20))
LIKELY = st.builds("{} {} {}{}".format, METRICS, st.sampled_from(["<", "<=", ">", ">=", "=="]), BOUNDS, WINDOWS)


@settings(max_examples=1000)
@given(TEXTS | LIKELY)
def test_any_text(text: str) -> None:
    """Any text is an objective that is read the same again, or refused as one."""
    try:
        found = SLO.parse(text)
    except PlanError as error:
        assert str(error).startswith(repr(" ".join(text.split())))  # noqa: PT017  # most texts are refused
    else:
        assert SLO.parse(str(found)) == found
        assert found.bound >= 0
