"""What a load fails its test with."""

import re
from dataclasses import replace
from typing import Any

import pytest

from pytest_loadgen.errors import BaselineError, InvalidRun, ServiceError, SLOMissed
from pytest_loadgen.figures.interval import Interval, NamedFigures
from pytest_loadgen.objectives.baseline import Baseline
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.running.failure import raise_failure, require_baseline
from pytest_loadgen.traffic.journey import Journey
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration
from tests.builders.figures import interval, resources, result
from tests.builders.traffic import plan

OTHER = replace(plan(duration=6), target=Target.of("http://127.0.0.1:2/"))


def loaded(*intervals: Interval, slo: Any = (), load: Plan | None = None, **rest: Any) -> JudgedResult:
    """Judge a load that went as these intervals say."""
    draft = JudgedResult(load or plan(duration=len(intervals)), "mine", **rest)
    return Gate.of(slo=slo, max_duration=Duration(len(intervals))).begin(draft).judged(intervals)


def some(failed: int, kind: str = "409", **rest: Any) -> list[Interval]:
    return [interval({"200": 100 - failed, kind: failed}, start=at, **rest) for at in range(6)]


@pytest.mark.parametrize("slo", [(), "p99 < 500ms", "errors < 99.9%", "errors > 1%", ["errors < 99.9%", "p99 < 500ms"]])
@pytest.mark.parametrize("failed", [50, 99])
def test_half_is_not_what_was_expected(slo: Any, failed: int) -> None:
    """Where expect= says what success is, a load in which half or more is not fails, whatever its objectives."""
    expecting = plan(duration=6, expect=200)
    with pytest.raises(ServiceError) as caught:
        raise_failure(loaded(*some(failed), slo=slo, load=expecting), strict=False)
    assert str(caught.value) == (
        f"GET /: {6 * failed} of 600 requests failed: {6 * failed} × 409. Expected 200 (expect=)."
    )
    raise_failure(loaded(*some(49), load=expecting), strict=False)
    raise_failure(loaded(*some(99), load=plan(duration=6, expect=[200, 409])), strict=False)


def test_the_limit_that_the_service_was_at() -> None:
    """A failure says which limit the service was at, whatever it is that failed."""
    bound = [interval({"200": 100}, ms=900, start=at, service=resources(0.99)) for at in range(6)]
    with pytest.raises(SLOMissed, match=r"\n  The service used 99% of one core: it is CPU-bound\.$"):
        raise_failure(loaded(*bound, slo="p99 < 500ms"), strict=False)
    with pytest.raises(ServiceError, match=r"\n  The service used 99% of one core: it is CPU-bound\.$"):
        raise_failure(loaded(*some(100, "503", service=resources(0.99))), strict=False)
    with pytest.raises(SLOMissed) as caught:
        raise_failure(loaded(*some(9, service=resources(0.3)), slo="errors == 0"), strict=False)
    assert "CPU" not in str(caught.value)


def test_half_fails_where_nothing_is_expected() -> None:
    """Without expect=, an objective on errors decides how many may fail; without objectives the test itself."""
    with pytest.raises(ServiceError, match="594 of 600 requests failed: 594 × 503"):
        raise_failure(loaded(*some(99, "503"), slo="p99 < 500ms"), strict=False)
    raise_failure(loaded(*some(99, "503"), slo=["p99 < 500ms", "errors < 99.9%"]), strict=False)
    raise_failure(loaded(*some(99, "503")), strict=False)
    with pytest.raises(SLOMissed):
        raise_failure(loaded(*some(99, "503"), slo="errors == 0"), strict=False)


@pytest.mark.parametrize(
    ("slo", "may_fail"),
    [
        ("errors < 99%", True),
        ("errors of order < 99%", False),
        (["errors of order < 99%", "errors of view < 99%"], True),
        ("p99 of order < 9s", False),
    ],
)
def test_objectives_on_errors_of_all_names_decide(slo: Any, may_fail: bool) -> None:
    """How many of a mix may fail is decided by an objective on all errors, or by one for each name."""
    named = NamedFigures(outcomes={"200": 20, "503": 30})
    load = plan(duration=6, mix=tuple(NamedRequest(name, OTHER.target) for name in ("order", "view")))
    broken = [replace(each, names={"order": named, "view": named}) for each in some(60, "503")]
    found = loaded(*broken, slo=slo, load=load)
    if may_fail:
        raise_failure(found, strict=False)
    else:
        with pytest.raises(ServiceError, match="360 of 600 requests failed"):
            raise_failure(found, strict=False)


@pytest.mark.parametrize("load", [plan(duration=6), plan(duration=6, expect=200)])
@pytest.mark.parametrize("slo", ["errors == 0", "p99 < 500ms"])
@pytest.mark.parametrize(("kind", "rest"), [("filehandles", {}), ("ports", {}), ("timeout", {"stalled": 1.0})])
@pytest.mark.parametrize("failed", [60, 100])
def test_the_generators_own_failures(load: Plan, slo: str, kind: str, rest: Any, failed: int) -> None:
    """A generator that ran out or was stopped is an invalid run, however many requests it cost."""
    with pytest.raises(InvalidRun, match="ran out of" if not rest else "did not run for 6s"):
        raise_failure(loaded(*some(failed, kind, **rest), slo=slo, load=load), strict=False)


def test_which_of_two_services() -> None:
    """Side by side, the address says which service failed."""
    other = result(*some(100, "503"), plan=OTHER)
    found = loaded(*some(0), baseline=Baseline.single(other, paired=True))
    with pytest.raises(ServiceError, match=r"^GET / of http://127\.0\.0\.1:2 \(against=\): all 600 requests failed"):
        raise_failure(found, strict=False)
    other = result(*some(0), plan=OTHER)
    found = loaded(*some(100, "503"), baseline=Baseline.single(other, paired=True))
    with pytest.raises(ServiceError, match=r"^GET / of http://[^ ]*: all 600 requests failed"):
        raise_failure(found, strict=False)


def test_what_responses_said() -> None:
    """The reasons that the generator knows are in every kind of failure, a line for each kind."""
    reasons = {"409": "its body is 'twice'", "check": "the body lacks 'id'; its status is 200 and its body is empty"}
    said = "\n  One of 300 responses with status 409: its body is 'twice'."
    with pytest.raises(ServiceError, match=re.escape(f"Expected 200 (expect=).{said}")):
        raise_failure(loaded(*some(50, reasons=reasons), load=plan(duration=6, expect=200)), strict=False)
    with pytest.raises(SLOMissed, match=re.escape(said)):
        raise_failure(loaded(*some(50, reasons=reasons), slo="errors == 0"), strict=False)
    with pytest.raises(SLOMissed, match=re.escape(said)):
        raise_failure(replace(loaded(*some(50, reasons=reasons)), abort_reason="errors > 10%"), strict=False)
    said = (
        "\n  One of 300 responses that failed the check: the body lacks 'id'; its status is 200 and its body is empty."
    )
    with pytest.raises(ServiceError, match=re.escape(f"300 of 600 requests failed: 300 × check.{said}")):
        raise_failure(loaded(*some(50, "check", reasons=reasons), load=plan(duration=6, expect=200)), strict=False)


def test_which_of_a_mix() -> None:
    """Of a mix, the names that failed most are said."""
    requests = tuple(NamedRequest(name, OTHER.target) for name in ("fine", "broken", "flaky"))
    names = {
        "fine": NamedFigures(outcomes={"200": 10}),
        "broken": NamedFigures(outcomes={"503": 80}),
        "flaky": NamedFigures(outcomes={"200": 5, "503": 5}),
    }
    found = loaded(*some(85, "503", names=names), slo="p99 < 500ms", load=replace(plan(duration=6), mix=requests))
    with pytest.raises(ServiceError) as caught:
        raise_failure(found, strict=False)
    assert str(caught.value) == (
        "mix of 3 requests: 510 of 600 requests failed: 510 × 503. By name: broken (480 of 480), flaky (30 of 60)."
    )


@pytest.mark.parametrize(
    ("slo", "failed", "of", "fails"),
    [
        ("p99 < 500ms", 1, 1, True),
        ("p99 of fine < 500ms", 1, 1, True),
        (["p99 < 500ms", "errors of fine < 99%"], 1, 1, True),
        ("p99 < 500ms", 4, 10, False),
        ("errors < 99%", 1, 1, False),
        (["p99 < 500ms", "errors of order < 100"], 1, 1, False),
        ((), 1, 1, False),
    ],
)
def test_most_of_one_name_failed(slo: Any, failed: int, of: int, fails: bool) -> None:
    """Half of a name failing fails a load whose objectives say nothing of its errors, as half of all does."""
    names = {
        "fine": NamedFigures(outcomes={"200": 90}),
        "order": NamedFigures(outcomes={"200": of - failed, "503": failed}),
    }
    requests = (NamedRequest("fine", OTHER.target), NamedRequest("order", OTHER.target))
    made = [interval({"200": 90 + of - failed, "503": failed}, start=at, names=names) for at in range(6)]
    found = loaded(*made, slo=slo, load=replace(plan(duration=6), mix=requests))
    if fails:
        with pytest.raises(ServiceError, match=r"^order: all 6 requests failed: 6 × 503\."):
            raise_failure(found, strict=False)
    else:
        raise_failure(found, strict=False)


def test_few_of_one_name_failed() -> None:
    """Of a name with a handful of requests, all may fail by chance."""
    names = {"fine": NamedFigures(outcomes={"200": 90}), "order": NamedFigures(outcomes={"503": 1})}
    requests = (NamedRequest("fine", OTHER.target), NamedRequest("order", OTHER.target))
    made = [interval({"200": 90}, start=at, names={"fine": names["fine"]}) for at in range(6)]
    made[:4] = [interval({"200": 90, "503": 1}, start=at, names=names) for at in range(4)]
    raise_failure(loaded(*made, slo="p99 < 9s", load=replace(plan(duration=6), mix=requests)), strict=False)


@pytest.mark.parametrize("slo", [(), "errors < 99%"])
def test_half_of_one_name_is_not_what_was_expected(slo: Any) -> None:
    """Where the expect= of one request says what success is, its failures fail the load, whatever its objectives."""
    names = {
        "fine": NamedFigures(outcomes={"200": 90}),
        "order": NamedFigures(outcomes={"201": 5, "409": 5}),
    }
    for expect, fails in ((("201",), True), (("201", "409"), False), (("2xx", "3xx"), False)):
        requests = (NamedRequest("fine", OTHER.target), NamedRequest("order", OTHER.target, expect=expect))
        mixed = replace(plan(duration=6), mix=requests)
        made = [interval({"200": 90, "201": 5, "409": 5}, start=at, names=names) for at in range(6)]
        found = loaded(*made, slo=slo, load=mixed)
        if fails:
            with pytest.raises(ServiceError, match=r"^order: 30 of 60 requests failed: 30 × 409\. Expected 201"):
                raise_failure(found, strict=False)
        else:
            raise_failure(found, strict=False)


def test_a_baseline_without_the_step() -> None:
    """Which steps a journey has is known after the load: one that the baseline lacks fails it, too."""

    async def shopper(client: object) -> None: ...

    def journeys(*names: str) -> JudgedResult:
        each = interval({"OK": 1}, names={name: NamedFigures(outcomes={"200": 1}) for name in names})
        return JudgedResult(replace(plan(), journey=Journey.of(shopper)), "mine", (each,))

    now = replace(journeys("cart", "pay"), baseline=Baseline.single(journeys("cart")))
    require_baseline(now, [SLO.parse("p99 of cart < baseline + 10%")], compared=True)
    with pytest.raises(BaselineError) as caught:
        require_baseline(now, [SLO.parse("p99 of pay < baseline + 10%")], compared=True)
    assert str(caught.value) == (
        "shopper: p99 of pay < baseline + 10% needs a baseline (--load-require-baseline): "
        "the baseline has no figures of 'pay'"
    )
