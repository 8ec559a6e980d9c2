"""What a metric promises: all that objectives need of it is in its class."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.metric import METRICS, Bound, Metric, UnknownMetric, find_metric
from pytest_loadgen.objectives.sample import Means
from pytest_loadgen.objectives.slo import SLO, parse_metric
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.units import Share
from tests.builders.figures import interval, resources
from tests.builders.traffic import plan

ANSWERS = interval({"200": 90, "503": 6, "timeout": 4}, lag=0.001, service=resources())
RESULT = Result(plan(timeout=5), "mine", (replace(ANSWERS, service_time=interval({"200": 96}, ms=4).latency),))


@pytest.mark.parametrize(
    ("text", "figure", "is_latency", "is_count", "is_comparable"),
    [
        ("p50", 0.01, True, False, True),
        ("p99", math.inf, True, False, True),
        ("service p50", 0.004, True, False, True),
        ("mean", 0.96 * 0.01 + 0.04 * 5, True, False, True),
        ("service mean", 0.96 * 0.004 + 0.04 * 5, True, False, True),
        ("max", math.inf, True, False, False),
        ("rate", 96, False, False, True),
        ("errors", 10, False, True, False),
        ("status 503", 6, False, True, False),
        ("status 5xx", 6, False, True, False),
        ("status 2xx", 90, False, True, False),
        ("timeouts", 4, False, True, False),
        ("lag", 0.001, False, False, False),
        ("cpu", 0.25, False, False, False),
        ("memory", 100e6, False, False, False),
        ("memory growth", 0, False, False, False),
    ],
)
def test_figures(text: str, figure: float, is_latency: bool, is_count: bool, is_comparable: bool) -> None:
    """A metric reads its figure from a result, and says of which kind it is; it prints as it is written."""
    found = parse_metric(text)
    assert str(found) == text
    assert float(found.figure(RESULT)) == pytest.approx(figure, rel=0.001)
    assert (found.is_latency, found.is_count, found.is_comparable) == (is_latency, is_count, is_comparable)


@pytest.mark.parametrize("text", ["mean < 1s", "rate > 1/s", "errors < 5", "timeouts < 5", "cpu < 9%", "memory < 9MB"])
def test_samples(text: str) -> None:
    """A sample of all intervals has the figure of the result."""
    slo = SLO.parse(text)
    result = replace(RESULT, intervals=tuple(replace(ANSWERS, start=at) for at in range(5)))
    assert slo.metric.sample(result, slo.bound).value == pytest.approx(float(slo.metric.figure(result)))


@pytest.mark.parametrize("kind", METRICS)
def test_words(kind: type[Metric]) -> None:
    """A metric is found by its words, and no other metric is."""
    assert kind.words
    for word in kind.words:
        assert find_metric(word) is kind
        assert [each for each in METRICS if each.matches(word)] == [kind]


@pytest.mark.parametrize(("synonym", "word"), [(s, w) for kind in METRICS for s, w in kind.synonyms.items()])
def test_synonyms(synonym: str, word: str) -> None:
    """The words of other tools are answered with the word to write here."""
    with pytest.raises(PlanError, match=f"'{synonym}' is not a metric: did you mean '{word}'"):
        find_metric(synonym)
    assert find_metric(word)


def test_a_metric_of_a_later_version() -> None:
    """An objective of a record that cannot be read keeps its text, and is about nothing."""
    found = SLO.recorded("p99 in Berlin < 1s")
    assert found.text == "p99 in Berlin < 1s"
    assert isinstance(found.metric, UnknownMetric)
    assert (found.metric.is_latency, found.is_relative, found.is_sample) == (False, False, False)
    assert SLO.recorded("p99 < 1s") == SLO.parse("p99 < 1s")


@dataclass(frozen=True)
class Busy(Metric):
    """The CPU that the generator used, on average: a metric as anyone may add it."""

    words: ClassVar = ("busy",)
    synonyms: ClassVar[Mapping[str, str]] = {"working": "busy"}
    unit: ClassVar = "%"
    is_estimated: ClassVar = True
    subject: ClassVar = "generator"

    def read_bound(self, text: str) -> Bound:
        return Share(text)

    def figure(self, result: Result) -> Share:
        return Share(result.total.cpu)

    def sample(self, result: Result, bound: Bound) -> Means:
        return Means([each.cpu for each in result.intervals], [each.seconds for each in result.intervals])

    def write(self, value: float) -> str:
        return str(Share(value))


@pytest.fixture
def _busy() -> Iterator[None]:
    METRICS.append(Busy)
    yield
    METRICS.remove(Busy)


@pytest.mark.usefixtures("_busy")
@pytest.mark.parametrize(
    ("slo", "outcome", "value", "remark"),
    [
        ("busy < 80%", "met", "50%", "95% sure of 50% or less"),
        ("busy < 40%", "missed", "50%", "95% sure of 50% or more"),
        ("busy > 20% over any 4s", "met", "50%", "95% sure of 50% or more"),
        ("busy < 50%", "unclear", "50%", "90% sure of 50% to 50%; too close to the limit to decide"),
    ],
)
def test_a_metric_of_ones_own(slo: str, outcome: str, value: str, remark: str) -> None:
    """A metric is added in one place: its class is read, judged, gated and written as the others are."""
    load = plan(duration=5)
    judging = Gate.of(slo=slo).begin(JudgedResult(load, "mine"))
    (verdict,) = judging.judged([interval({"200": 100}, cpu=0.5, start=at) for at in range(5)]).verdicts
    assert (str(verdict.slo), verdict.outcome, verdict.value, verdict.remark) == (slo, outcome, value, remark)
    assert Verdict.from_dict(verdict.as_dict()) == verdict


@pytest.mark.usefixtures("_busy")
@pytest.mark.parametrize(
    ("slo", "message"),
    [
        ("working < 80%", "'working' is not a metric: did you mean 'busy'?"),
        ("busy < 80", "80 needs a unit: did you mean busy < 80%?"),
        ("busy == 80%", "== is for counts"),
        ("service busy < 80%", "'service' goes with a latency (service p99), not with busy"),
        ("busy < baseline", "busy cannot be compared with a baseline; these can: p50, mean, rate"),
    ],
)
def test_misspelt_metrics_of_ones_own(slo: str, message: str) -> None:
    """Its errors are as helpful as those of the others."""
    with pytest.raises(PlanError, match=re.escape(message)):
        SLO.parse(slo)
