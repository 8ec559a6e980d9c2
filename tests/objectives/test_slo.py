"""What objectives say: read as people write them, and what is misspelt is named, with a proposal."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_loadgen.errors import PlanError
from pytest_loadgen.objectives.slo import SLO, Bound, Window
from pytest_loadgen.units import Change, Duration, Rate, Share


def slo(kind: Any, compare: str, bound: Bound, **rest: Any) -> SLO:
    return SLO("", kind, compare, bound, **rest)


ANY, LAST = Window("any", Duration(10)), Window("last", Duration(30))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        # Metrics.
        ("p50 < 5ms", slo("percentile", "<", Duration(0.005), percent=50)),
        ("p5 > 1ms", slo("percentile", ">", Duration(0.001), percent=5)),
        ("p99.99 <= 1s", slo("percentile", "<=", Duration(1), percent=99.99)),
        ("P99 < 5ms", slo("percentile", "<", Duration(0.005), percent=99)),
        ("mean < 5ms", slo("mean", "<", Duration(0.005))),
        ("max < 5ms", slo("max", "<", Duration(0.005))),
        ("lag < 5ms", slo("lag", "<", Duration(0.005))),
        ("rate >= 495/s", slo("rate", ">=", Rate(495))),
        ("errors < 5", slo("errors", "<", 5)),
        ("errors < 0.1%", slo("errors", "<", Share(0.001))),
        ("status 503 < 1%", slo("status", "<", Share(0.01), status="503")),
        ("status 5XX < 3", slo("status", "<", 3, status="5xx")),
        ("timeouts < 0.5%", slo("timeouts", "<", Share(0.005))),
        ("timeouts == 0", slo("timeouts", "==", 0)),
        # Service time.
        ("service p99 < 5ms", slo("percentile", "<", Duration(0.005), percent=99, service=True)),
        ("service mean < 5ms", slo("mean", "<", Duration(0.005), service=True)),
        ("service max < 5ms", slo("max", "<", Duration(0.005), service=True)),
        # Units.
        ("max < 300us", slo("max", "<", Duration(0.0003))),
        ("max < 300µs", slo("max", "<", Duration(0.0003))),
        ("max < 1.5s", slo("max", "<", Duration(1.5))),
        ("max < 2m", slo("max", "<", Duration(120))),
        ("max < 1m30s", slo("max", "<", Duration(90))),
        ("max < 1h", slo("max", "<", Duration(3600))),
        ("max < .5s", slo("max", "<", Duration(0.5))),
        ("rate > 30/m", slo("rate", ">", Rate(0.5))),
        ("rate > 7200/h", slo("rate", ">", Rate(2))),
        ("rate > 12,345/s", slo("rate", ">", Rate(12_345))),
        ("errors < 1,000", slo("errors", "<", 1000)),
        ("errors < 1_000", slo("errors", "<", 1000)),
        ("errors <= 100%", slo("errors", "<=", Share(1))),
        ("mean < baseline", slo("mean", "<", Change(1))),
        ("p99 < baseline + 10%", slo("percentile", "<", Change(1.1), percent=99)),
        ("p99 < baseline+2.5 %", slo("percentile", "<", Change(1.025), percent=99)),
        ("rate > baseline - 5%", slo("rate", ">", Change(0.95))),
        ("errors > 0%", slo("errors", ">", Share(0))),
        # Comparisons.
        ("errors == 0", slo("errors", "==", 0)),
        ("errors <= 3", slo("errors", "<=", 3)),
        # Space, or none.
        ("p99<5ms", slo("percentile", "<", Duration(0.005), percent=99)),
        ("  p99\t<\n5 ms ", slo("percentile", "<", Duration(0.005), percent=99)),
        ("errors < 0.1 %", slo("errors", "<", Share(0.001))),
        ("rate >= 5 /s", slo("rate", ">=", Rate(5))),
        # Windows.
        ("p99 < 5ms over any 10s", slo("percentile", "<", Duration(0.005), percent=99, window=ANY)),
        ("errors < 1% over last 30s", slo("errors", "<", Share(0.01), window=LAST)),
        ("rate > 5/s over last 0.5m", slo("rate", ">", Rate(5), window=LAST)),
        ("errors == 0 over any 10 s", slo("errors", "==", 0, window=ANY)),
        ("max < 1s over last 1s", slo("max", "<", Duration(1), window=Window("last", Duration(1)))),
    ],
)
def test_meaning(text: str, meaning: SLO) -> None:
    """An objective means what it says, and prints as it was written."""
    found = SLO.parse(text)
    assert str(found) == " ".join(text.split())
    assert replace(found, text="") == meaning


@pytest.mark.parametrize(
    ("text", "upper", "is_share", "is_sample", "allowed"),
    [
        ("p99 < 5ms", True, True, True, 0.01),
        ("p99.9 > 5ms", False, True, True, 0.001),
        ("errors < 0.1%", True, True, True, 0.001),
        ("status 503 >= 5%", False, True, True, 0.05),
        ("errors == 0", True, False, False, 0),
        ("rate > 5/s", False, False, True, 5),
        ("mean < 5s", True, False, True, 5),
        ("max < 5s", True, False, False, 5),
    ],
)
def test_kinds(text: str, upper: bool, is_share: bool, is_sample: bool, allowed: float) -> None:
    """Which way an objective goes, whether it is of a share, and whether its figure is a sample's."""
    found = SLO.parse(text)
    assert (found.upper, found.is_share, found.is_sample) == (upper, is_share, is_sample)
    assert found.allowed == pytest.approx(allowed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # Something is missing.
        ("", "'': a metric (p99, errors, rate, …) is missing"),
        ("p99", "'p99': a comparison (<, <=, >, >=) is missing"),
        ("p99 <", "'p99 <': a bound is missing"),
        ("status", "'status': a status (503, 5xx) is missing"),
        ("service", "'service': a metric (p99, errors, rate, …) is missing"),
        ("p99 < 5ms over", "'p99 < 5ms over': 'any' or 'last' is missing"),
        ("p99 < 5ms over any", "'p99 < 5ms over any': a length of time (10s) is missing"),
        # Units.
        ("p99 < 200", "'p99 < 200': 200 needs a unit of time: is it p99 < 200ms?"),
        ("p99<200", "'p99<200': 200 needs a unit of time: is it p99 < 200ms?"),
        ("service p99 < 0.2", "'service p99 < 0.2': 0.2 needs a unit of time: is it service p99 < 0.2ms?"),
        ("p99 < 10 over any 10s", "'p99 < 10 over any 10s': 10 needs a unit of time: is it p99 < 10ms?"),
        ("rate > 500", "'rate > 500': 500 needs a unit: is it rate > 500/s?"),
        ("rate > 5% ", "'rate > 5%': '5%' is not a rate: write a number per second (500) or text ('500/s', '30/m')"),
        ("p99 < 5x", "'p99 < 5x': '5x' is not a duration: write seconds (0.2) or text ('200ms', '5s', '1m30s')"),
        ("p99 < -5ms", "'p99 < -5ms': '-5ms' is not a duration: write seconds (0.2) or text ('200ms', '5s', '1m30s')"),
        ("errors < 1.5", "'errors < 1.5': '1.5' is neither a count (5) nor a share (0.1%)"),
        ("errors < 5ms", "'errors < 5ms': '5ms' is neither a count (5) nor a share (0.1%)"),
        ("errors < ,", "'errors < ,': ',' is neither a count (5) nor a share (0.1%)"),
        ("errors < x%", "'errors < x%': 'x%' is not a share: write a number (0.001) or text ('0.1%')"),
        ("errors < 101%", "'errors < 101%': 101% is more than all requests"),
        # Metrics.
        ("error < 1%", "'error < 1%': 'error' is no metric: did you mean 'errors'?"),
        ("timeout < 1", "'timeout < 1': 'timeout' is no metric: did you mean 'timeouts'?"),
        ("throughput > 5/s", "'throughput > 5/s': 'throughput' is no metric: did you mean 'rate'?"),
        ("avg < 5ms", "'avg < 5ms': 'avg' is no metric: did you mean 'mean'?"),
        (
            "zzz < 5ms",
            "'zzz < 5ms': 'zzz' is no metric: "
            "there are: errors, lag, max, mean, p50, p90, p95, p99, p99.9, rate, status, timeouts.",
        ),
        ("p0 < 5ms", "'p0 < 5ms': p0 is no percentile that says anything"),
        ("< 5ms", "'< 5ms': '<' is no metric: *"),
        ("p100 < 5ms", "'p100 < 5ms': 'p100' is no metric: *"),
        ("p٩٩ < 5ms", "'p٩٩ < 5ms': 'p٩٩' is no metric: *"),
        ("status 600 < 1", "'status 600 < 1': '600' is no status: write 503 or 5xx"),
        ("status < 1%", "'status < 1%': '<' is no status: write 503 or 5xx"),
        ("service rate > 5/s", "'service rate > 5/s': service goes with a latency (service p99), not with rate"),
        # Comparisons.
        ("p99 = 5ms", "'p99 = 5ms': '=' is no comparison: write <, <=, > or >="),
        ("p99 => 5ms", "'p99 => 5ms': '=>' is no comparison: did you mean >=?"),
        ("p99 =< 5ms", "'p99 =< 5ms': '=<' is no comparison: did you mean <=?"),
        ("errors != 0", "'errors != 0': '!=' is no comparison: write <, <=, > or >="),
        ("errors = 0", "'errors = 0': '=' is no comparison: did you mean ==?"),
        ("errors < 0", "'errors < 0': no count is below 0: write == 0"),
        ("median < 1s", "'median < 1s': 'median' is no metric: did you mean 'p50'?"),
        (
            "p99 < 5ms, errors < 1%",
            "'p99 < 5ms, errors < 1%': write one objective in a text, and several as several texts",
        ),
        ("status 200 == 100%", "'status 200 == 100%': == 100% can be shown by no load: write status 200 >= 99.9%"),
        ("p99 under 5ms", "'p99 under 5ms': 'under' is no comparison: write <, <=, > or >="),
        (
            "p99 == 5ms",
            "'p99 == 5ms': == goes with a count (errors == 0); a latency or a rate never equals anything exactly",
        ),
        ("errors == 0%", "'errors == 0%': == 0% can be shown by no load: write a count, as errors == 0"),
        ("status 503 < 0%", "'status 503 < 0%': < 0% can be shown by no load: write a count, as status 503 == 0"),
        # What does not exist yet.
        ("errors < baseline", "'errors < baseline': errors is not compared with a baseline: only a percentile, *"),
        ("p99 < baseline + 10", "'p99 < baseline + 10': '+10' is not a change: *"),
        ("p99 < baseline * 2", "'p99 < baseline * 2': what is '*'? An objective ends after its bound, *"),
        ("p99 < baseline - 100%", "'p99 < baseline - 100%': baseline -100% is nothing, and nothing is below that"),
        ("p99 < baseline over any 9s", "'p99 < baseline over any 9s': a comparison with a baseline is of the whole *"),
        # Windows, and what is too much.
        ("p99 < 5ms over all 5s", "'p99 < 5ms over all 5s': over 'all': there are: any, last."),
        ("p99 < 5ms over lst 5s", "'p99 < 5ms over lst 5s': over 'lst': did you mean 'last'?"),
        ("p99 < 5ms over any 5", "'p99 < 5ms over any 5': '5' needs a unit of time: is it 5ms or 5s?"),
        (
            "max < 5ms over any 0.5s",
            "'max < 5ms over any 0.5s': a window is at least 1s long: figures are kept by the second",
        ),
        ("p99 < 5ms over any 3s", "'p99 < 5ms over any 3s': 3s is too short to know how sure it is: 4s would do"),
        ("errors < 1% over last 2s", "'errors < 1% over last 2s': 2s is too short to know how sure it is: 4s would do"),
        ("p9 < 5s please", "'p9 < 5s please': what is 'please'? An objective ends after its bound, or 'over any 10s'"),
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
def test_no_text(value: Any) -> None:
    with pytest.raises(PlanError, match="is not an objective: write text, as 'p99 < 200ms'"):
        SLO.parse(value)


# No text crashes it.

SAID = (
    "p50 p99 p99.9 p00 mean max rate errors status 503 5xx timeouts lag service < <= > >= == = <> baseline + - 10% 5ms "
    "5 ms 1e99h 0 0% 100% 1,000 , _ % /s 500/s 1e-99/h over any last 10s 1s 1e9h nan inf -1s ٣ms ٣ µs"
)
WORDS = st.sampled_from(SAID.split())
TEXTS = st.text() | st.lists(WORDS | st.text(max_size=3), max_size=10).map(" ".join) | st.lists(WORDS).map("".join)
METRICS = st.sampled_from(["p99.9", "mean", "max", "service p50", "rate", "errors", "status 5xx", "timeouts"])
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
        assert 0 <= found.percent < 100
        assert found.bound >= 0
