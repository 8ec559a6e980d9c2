"""k6's summary: what GitLab reads of it, of all loads together, and failed requests never look fast."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pytest_loadgen.figures.interval import Interval, NamedFigures
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.k6 import document
from pytest_loadgen.traffic.journey import Journey
from tests.builders.figures import histogram
from tests.reports.examples import CLOSED, EMPTY, ILL, MIX, NOTHING, ODD, RECORD, UNANSWERED, WELL


def read(*runs: Run) -> Any:
    return json.loads(document(replace(RECORD, runs=runs)))


def widget(report: Any) -> dict[str, Any]:
    """Read what GitLab's merge requests show; checks in percent."""
    metrics = report["metrics"]
    checks = metrics["checks"]
    return {
        "RPS": metrics["http_reqs"]["rate"],
        "TTFB P90": metrics["http_req_waiting"]["p(90)"],
        "TTFB P95": metrics["http_req_waiting"]["p(95)"],
        "Checks": 100 * checks["passes"] / (checks["passes"] + checks["fails"]),
    }


def test_golden(golden: Callable[[str, str], None]) -> None:
    """The format stays as it is; LOADGEN_GOLDEN=1 rewrites the file after an intended change."""
    golden("report.k6.json", document(RECORD))


def test_what_gitlab_shows() -> None:
    """Milliseconds, requests per second, and requests with the expected response."""
    assert widget(read(MIX)) == {
        "RPS": 200,
        "TTFB P90": pytest.approx(1000 * MIX.result.by_first_byte.percentile(90)),
        "TTFB P95": pytest.approx(1000 * MIX.result.by_first_byte.percentile(95)),
        "Checks": 98.5,
    }
    # Latency, where the first byte is not known.
    assert widget(read(WELL))["TTFB P90"] == pytest.approx(1000 * WELL.result.p90)


def test_all_loads_together() -> None:
    """Counts add up, and the rate is that of the time in which requests were sent."""
    found = read(WELL, ILL, CLOSED)
    assert found["metrics"]["http_reqs"] == {"count": 3000 + 878 + 12_000, "rate": pytest.approx(15_878 / 14)}
    assert found["metrics"]["http_req_failed"]["passes"] == found["metrics"]["checks"]["fails"] == 87
    checks = found["root_group"]["checks"].values()
    assert sum(check["fails"] for check in checks) == 87
    assert sum(check["passes"] for check in checks) == 15_878 - 87


def test_unanswered_are_slow() -> None:
    """A request without a response took the timeout, or as long as the slowest response."""
    durations = read(UNANSWERED)["metrics"]["http_req_duration"]
    assert set(durations) == {"avg", "min", "med", "max", "p(90)", "p(95)"}
    assert durations["min"] == pytest.approx(5000, rel=0.001)
    assert read(ILL)["metrics"]["http_req_duration"]["max"] == pytest.approx(2000, rel=0.001)


def test_requests_of_journeys() -> None:
    """The requests of a journey are requests, its steps are not, and each journey is an iteration."""

    async def shopper(client: object) -> None: ...

    seconds = Interval(
        0,
        1,
        latency=histogram(0.3, 0.3),
        outcomes={"OK": 2},
        names={
            "GET /": NamedFigures(histogram(0.1, 0.1), outcomes={"200": 1, "503": 1}, first_byte=histogram(0.05, 0.05)),
            "down": NamedFigures(outcomes={"timeout": 1}),
            "pay": NamedFigures(histogram(0.2, 0.2), outcomes={"OK": 2}),
        },
    )
    plan = replace(WELL.result.plan, journey=Journey.of(shopper))
    metrics = read(replace(WELL, result=replace(WELL.result, plan=plan, intervals=(seconds,))))["metrics"]
    assert metrics["iterations"]["count"] == 2
    assert metrics["http_reqs"]["count"] == 3
    assert (metrics["checks"]["passes"], metrics["checks"]["fails"]) == (1, 2)
    assert metrics["http_req_waiting"]["min"] == pytest.approx(50, rel=0.001)
    assert metrics["http_reqs{name:GET /}"] == {"count": 2, "rate": 2}
    assert metrics["group_duration{group:::pay}"]["med"] == pytest.approx(200, rel=0.001)


def test_by_name() -> None:
    """Each name of a mix has metrics with its tag, of all loads that have it."""
    metrics = read(MIX, MIX)["metrics"]
    assert metrics["http_reqs{name:order}"] == {"count": 240, "rate": 40}
    assert metrics["http_req_failed{name:order}"]["passes"] == 18
    assert metrics["http_req_duration{name:order}"]["med"] == pytest.approx(1000 * MIX.result["order"].p50, rel=0.001)


@pytest.mark.parametrize("record", [EMPTY, replace(RECORD, runs=(NOTHING,))])
def test_nothing(record: Record) -> None:
    """Without requests there are no metrics, as in k6."""
    assert json.loads(document(record))["metrics"] == {}


def test_names() -> None:
    """Loads that are alike have different names, and so do those that are hard to show."""
    assert len(read(WELL, WELL, ILL)["root_group"]["checks"]) == 3
    assert len(json.loads(document(ODD))["root_group"]["checks"]) == 3
