"""What is promised of comparing generators; that they take turns is in test_selection."""

import pytest

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.running.cross_check import CrossCheck
from pytest_loadgen.traffic.options import plan_of

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
