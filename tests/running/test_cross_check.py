"""What is promised of comparing generators; that they take turns is in test_selection."""

from dataclasses import replace

import pytest

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval, NamedFigures
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.running.cross_check import CrossCheck
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.request import get

PLAN = plan_of("http://127.0.0.1:9/", {"rate": 10, "duration": 1})


def result(name: str, requests: int) -> JudgedResult:
    latency = Histogram()
    latency.record(0.01, requests)
    return JudgedResult(PLAN, name, (Interval(0.0, 1.0, latency, latency, {"200": requests} if requests else {}),))


@pytest.mark.parametrize(
    ("one", "other", "disagreements"),
    [
        (10, 10, ()),
        (0, 0, ()),
        (10, 0, ("one made 10 requests, other made 0",)),
        (0, 10, ("one made 0 requests, other made 10",)),
    ],
)
def test_a_generator_that_made_no_requests_disagrees(one: int, other: int, disagreements: tuple[str, ...]) -> None:
    checked = CrossCheck(one=result("one", one), other=result("other", other))
    assert checked.disagreements == disagreements


def mixed(name: str, seconds: float, bad: int = 0) -> JudgedResult:
    """Make a result in which those named order took that long or failed, and as many others did not."""
    plan = plan_of([get("/", name="view"), get("/", name="order")], {"rate": 200, "duration": 8}, lambda: "http://x")
    figures = {}
    for each, took, failed in (("view", 0.01, 0), ("order", seconds, bad)):
        latency = Histogram()
        latency.record(took, 100)
        figures[each] = NamedFigures(latency, latency, {"200": 100 - failed, "503": failed})
    latency = Histogram.sum([each.latency for each in figures.values()])
    total = {"200": 200 - bad, "503": bad}
    return JudgedResult(plan, name, tuple(Interval(at, 1, latency, latency, total, names=figures) for at in range(8)))


def test_disagreements_by_name() -> None:
    """Generators may differ in one name although the figures of all requests agree."""
    assert CrossCheck(one=mixed("one", 0.02), other=mixed("other", 0.02)).disagreements == ()
    checked = CrossCheck(one=mixed("one", 0.02), other=mixed("other", 0.03, bad=40))
    assert "one and other disagree on p50 of order: 20ms and 30ms" in checked.disagreements
    assert "one and other disagree on errors of order: 0% and 40%" in checked.disagreements
    assert not [sentence for sentence in checked.disagreements if "view" in sentence]


def test_a_name_that_one_of_them_did_not_send() -> None:
    """One of them may have no request of a rare name: that is not a disagreement."""
    one, other = mixed("one", 0.02), mixed("other", 0.02)
    without = replace(other, intervals=tuple(replace(each, names={}) for each in other.intervals))
    assert CrossCheck(one=one, other=without).disagreements == ()
