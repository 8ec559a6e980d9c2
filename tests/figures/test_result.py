"""Results: figures count every request, and a result says when its generator was the limit."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.outcomes import FAILURES, is_answer
from pytest_loadgen.figures.problems import explained
from pytest_loadgen.figures.result import Result
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.units import NoAnswer
from pytest_loadgen.wording import counted
from tests.builders.figures import histogram, interval, result
from tests.builders.traffic import HERE, plan


def sometimes_late(outcomes: dict[str, int], **rest: Any) -> Interval:
    """Make an interval in which one request in twenty was sent 50 ms late."""
    each = sum(outcomes.values()) // 20
    late = Histogram()
    late.record(0.0001, 19 * each)
    late.record(0.05, each)
    return replace(interval(outcomes, **rest), lag=late)


FIRST = interval({"200": 60, "timeout": 2}, ms=10, cpu=0.2, received=600, retried=1, lag=0.001)
SECOND = interval({"200": 40, "503": 5}, ms=30, cpu=0.6, received=400, seconds=0.5, start=1)


def test_workers_add_up() -> None:
    """The intervals of two workers make one of the same time, with the CPU of the busier one."""
    both = FIRST + SECOND
    assert (both.start, both.seconds, both.cpu, both.received, both.retried) == (0, 1, 0.6, 1000, 1)
    assert both.outcomes == {"200": 100, "503": 5, "timeout": 2}
    assert (both.requests, both.unanswered) == (107, 2)
    assert both.latency == FIRST.latency + SECOND.latency
    assert both.service_time == FIRST.service_time + SECOND.service_time
    assert both.lag == FIRST.lag + SECOND.lag


def test_many_workers_add_up() -> None:
    """Any number of parallel intervals are merged as two are."""
    assert Interval.merge_parallel([FIRST, SECOND, FIRST]) == FIRST + SECOND + FIRST
    assert Interval.merge_parallel([FIRST]) == FIRST


def test_time_adds_up() -> None:
    """Consecutive intervals make one as long as both, with their average CPU."""
    whole = Interval.concatenate([FIRST, SECOND])
    assert (whole.start, whole.seconds) == (0, 1.5)
    assert whole.cpu == pytest.approx((0.2 * 1 + 0.6 * 0.5) / 1.5)
    assert whole.outcomes == {"200": 100, "503": 5, "timeout": 2}
    assert Interval.concatenate([]) == Interval(0, 0)


def test_a_mix_whose_generator_does_not_tell_requests_apart() -> None:
    """There are figures of the whole only, and nothing is said of one of its requests."""
    mix = tuple(NamedRequest(name, replace(HERE, method="POST")) for name in ("order", "pay"))
    whole = result(interval({"200": 1, "409": 99}), plan=plan(mix=mix))
    assert whole.names == ()
    assert (whole.errors, whole.failures) == (99, {"409": 99})
    assert explained(whole) == []
    with pytest.raises(KeyError, match="no figures of 'order': mine does not tell the requests of a mix apart; use"):
        _ = whole["order"]
    with pytest.raises(KeyError, match="did you mean 'order'"):
        _ = whole["odrer"]


def test_figures() -> None:
    """A result's figures are those of all its intervals."""
    found = result(FIRST, SECOND)
    assert (found.requests, found.errors, found.outcomes) == (107, 7, {"200": 100, "503": 5, "timeout": 2})
    assert list(found.outcomes) == ["200", "503", "timeout"]
    assert found.error_rate == pytest.approx(7 / 107)
    assert found.error_rate < "7%"
    assert (found.rate, found.offered) == (105 / 1.5, 107 / 1.5)
    assert [str(figure) for figure in (found.p50, found.p90, found.p95, found.p99)] == ["10ms", "30ms", "30ms", ">5s"]
    assert found.percentile(20) == found.p50
    assert found.mean == pytest.approx((60 * 0.01 + 45 * 0.03 + 2 * 5) / 107, rel=0.001)


@pytest.mark.parametrize(
    ("outcomes", "p50", "p90", "slowest"),
    [
        ({"200": 100}, "10ms", "10ms", "10ms"),
        ({"200": 90, "timeout": 10}, "10ms", "10ms", ">2s"),
        ({"200": 89, "timeout": 11}, "10ms", ">2s", ">2s"),
        ({"200": 89, "refused": 11}, "10ms", "no answer", "no answer"),
        ({"200": 89, "timeout": 10, "reset": 1}, "10ms", "no answer", "no answer"),
        ({"timeout": 5}, ">2s", ">2s", ">2s"),
        ({"closed": 5}, "no answer", "no answer", "no answer"),
        ({"503": 5}, "10ms", "10ms", "10ms"),
        ({"2xx": 85, "5xx": 5, "timeout": 10}, "10ms", "10ms", ">2s"),
    ],
)
def test_percentiles_count_the_unanswered(outcomes: dict[str, int], p50: str, p90: str, slowest: str) -> None:
    """A request without a response is slower than any other, and prints what is known of it."""
    found = result(interval(outcomes), plan=plan(timeout=2))
    assert [str(found.p50), str(found.p90), str(found.max)] == [p50, p90, slowest]


def test_answers_are_told_from_failures() -> None:
    """A status, a class or the word of another protocol is a response; no kind of failure is."""
    assert all(map(is_answer, ["200", "503", "5xx", "SERVING", "NOT_SERVING"]))
    assert not any(map(is_answer, FAILURES))


@pytest.mark.parametrize(
    ("outcomes", "mean"),
    [({"200": 4}, 0.01), ({"200": 2, "timeout": 2}, 1.005), ({"refused": 3}, 2), ({"200": 1, "reset": 1}, 1.005)],
)
def test_mean_counts_the_unanswered(outcomes: dict[str, int], mean: float) -> None:
    """A request without a response counts in the mean with the timeout."""
    found = result(interval(outcomes), plan=plan(timeout=2))
    assert found.mean == pytest.approx(mean, rel=0.001)


@pytest.mark.parametrize(("expect", "errors"), [(None, 9), (503, 95), ([200, 503], 8), ("2xx", 13)])
def test_errors_are_what_is_not_expected(expect: Any, errors: int) -> None:
    """Outcomes that the plan does not expect are errors; a missing response always is."""
    found = result(interval({"200": 87, "302": 4, "503": 5, "timeout": 1, "dns": 3}), plan=plan(expect=expect))
    assert found.errors == errors
    assert found.error_rate == errors / 100


@pytest.mark.parametrize("outcomes", [{"200": 100}, {"timeout": 100}, {"reset": 100}, {}])
@pytest.mark.parametrize("figure", ["p50", "p90", "p95", "p99", "max", "mean"])
def test_latencies_know_their_timeout(figure: str, outcomes: dict[str, int]) -> None:
    """A bare number above the timeout, which nothing can exceed, is refused by each latency of a result."""
    found = result(interval(outcomes), plan=plan(timeout=2))
    with pytest.raises(PlanError, match='no latency can exceed the timeout of 2s: did you mean "10ms"'):
        assert getattr(found, figure) < 10
    assert (getattr(found, figure) < 1.5) == (getattr(found, figure) < "1.5s")


@pytest.mark.parametrize("percent", [-1, 100.1, math.nan, "99", None, True])
def test_no_such_percentile(percent: Any) -> None:
    """What is no percentage is refused, also by an empty result."""
    for found in (result(FIRST), result()):
        with pytest.raises(PlanError, match=rf"^percentile\({percent!r}\): write a number from 0 to 100$"):
            found.percentile(percent)


def test_nothing() -> None:
    """A result without requests meets no objective: no answer, all errors, rate 0."""
    found = result()
    assert repr(found) == "<Result of mine: no requests>"
    assert (found.requests, found.errors, found.outcomes, found.rate, found.offered) == (0, 0, {}, 0.0, 0.0)
    assert all(isinstance(figure, NoAnswer) for figure in (found.p50, found.p99, found.max, found.mean))
    assert found.error_rate == 1
    assert found.problems == ()


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        ({"200": 30_000}, "<Result of mine: 30,000 requests, 30,000/s, p50 10ms, p99 10ms, 0 errors>"),
        ({"timeout": 1}, "<Result of mine: 1 request, 0/s, p50 >5s, p99 >5s, 1 error>"),
        ({"200": 3, "404": 2}, "<Result of mine: 5 requests, 5/s, p50 10ms, p99 10ms, 2 errors>"),
    ],
)
def test_printing(outcomes: dict[str, int], text: str) -> None:
    """A result prints as one line in a failed assert."""
    assert repr(result(interval(outcomes))) == text


@pytest.mark.parametrize(
    ("found", "remark"),
    [
        (result(interval({"200": 100}, lag=0.0099, cpu=0.94)), ""),
        (
            result(interval({"200": 97}, lag=0.05, cpu=1)),
            "the mine generator fell behind: requested 100/s, achieved 97/s. "
            "Use more workers (--load-workers), or a lower rate.",
        ),
        (
            result(interval({"200": 90, "timeout": 10}, lag=0.05, cpu=1, never_sent=10)),
            "the mine generator fell behind: requested 100/s, achieved 90/s. "
            "Use more workers (--load-workers), or a lower rate.",
        ),
        (
            result(sometimes_late({"200": 200}, cpu=0.9)),
            "the mine generator was late: it sent 1 request in 100 50ms or more after it was due. "
            "Use more workers (--load-workers), or a lower rate.",
        ),
        (
            result(sometimes_late({"200": 50}, cpu=0.02)),
            "the mine generator was late: it sent a request 50ms after it was due. "
            "It used only 2% of its CPU, so the machine was busy with other work: stop that, or use a lower rate.",
        ),
        (result(interval({"200": 100}, lag=0.001, cpu=1)), ""),
        (
            result(interval({"200": 9000}, cpu=1), plan=plan(rate="max")),
            "the mine generator's CPU was saturated (100%): the service may handle more. "
            "Use more workers (--load-workers).",
        ),
        (
            result(sometimes_late({"200": 100, "timeout": 100}, cpu=0.1, stalled=2)),
            "the mine generator did not run for 2s: it was stopped, the machine slept, or other work had its CPU. "
            "Run the load again.",
        ),
        (
            result(interval({"200": 100}, stalled=0.1)),
            "the mine generator did not run for 100ms: it was stopped, the machine slept, or other work had its CPU. "
            "Run the load again.",
        ),
        (result(interval({"200": 100}, stalled=0.01)), ""),
        (
            result(interval({"200": 99, "filehandles": 1})),
            "the generator ran out of file handles (1 request). Raise the limit (ulimit -n), or use fewer connections.",
        ),
        (
            result(interval({"200": 98, "ports": 2})),
            "the generator ran out of ports (2 requests). Use fewer connections, or a service that keeps them open.",
        ),
    ],
)
def test_problems(found: Result, remark: str) -> None:
    """A result says why the generator was the limit, what was found, and what to do."""
    assert found.problems == ((remark,) if remark else ())


def test_several_ailments() -> None:
    """Each problem is reported; a slow service is not a problem of the generator."""
    assert len(result(interval({"200": 50, "ports": 1, "filehandles": 1}, lag=0.05)).problems) == 3
    assert result(interval({"200": 10, "timeout": 40}, lag=0.001)).problems == ()


def test_as_json() -> None:
    """A result comes back from JSON as it went in."""
    for original in (result(FIRST, SECOND, interrupted=True), result()):
        back = Result.from_dict(json.loads(json.dumps(original.as_dict())))
        assert back.as_dict() == original.as_dict()
        assert back.intervals == original.intervals
        assert (back.generator, back.interrupted) == ("mine", original.interrupted)
        assert repr(back) == repr(original)


def test_counting() -> None:
    """A count of one is written in the singular."""
    assert [counted(count, "error") for count in (0, 1, 1000)] == ["0 errors", "1 error", "1,000 errors"]


def test_response_time_is_judged() -> None:
    """Percentiles are of the response time, from when a request was due, not of the service time."""
    found = result(Interval(0, 1, histogram(0.2), histogram(0.1), {"200": 1}))
    assert str(found.p50) == "200ms"
