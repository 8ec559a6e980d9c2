"""The search for a capacity, with services whose capacity is known."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.search import PRECISION, Search, Trial
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.units import Duration
from tests.builders.figures import second
from tests.builders.traffic import plan

P99 = (SLO.parse("p99 < 100ms"),)
Service = Callable[[float], float]


def sharp(capacity: float) -> Service:
    """Make a service of which no request is slow up to its capacity, and a third or more are above it."""
    return lambda rate: 0.0 if rate <= capacity else max(0.3, 1 - capacity / rate)


def smooth(capacity: float) -> Service:
    """Make a service with 1 % of slow requests at its capacity, ten times as many at one and a half times that."""
    return lambda rate: min(1.0, 0.01 * 10 ** ((rate / capacity - 1) * 2))


def load(service: Service, rate: float, short: bool, slos: Sequence[SLO] = P99) -> Trial:
    requests = max(1, round(rate))
    seconds: list[Interval] = [second(at, round(service(rate) * requests), requests) for at in range(2 if short else 5)]
    result = JudgedResult(plan(rate=requests, duration=len(seconds)), "mine", tuple(seconds))
    return Trial(rate, replace(result, verdicts=tuple(judge_all(slos, result))), short)


def search(service: Service, loads: int = 30, start: float = 100, lowest: float = 1, highest: float = 1e6) -> Search:
    found = Search(start, lowest, highest)
    for left in range(loads, -1, -1):
        if (rate := found.next(left)) is None:
            break
        assert lowest <= rate <= highest
        found.add(load(service, rate, found.is_rough))
    return found


@pytest.mark.parametrize(("kind", "width"), [(sharp, PRECISION), (smooth, 0.25)])
@pytest.mark.parametrize("capacity", [70, 500, 812, 20_000])
def test_the_capacity_is_between_two_rates_that_are_near(
    kind: Callable[[float], Service], width: float, capacity: float
) -> None:
    found = search(kind(capacity))
    assert found.low <= capacity <= found.high
    assert found.high <= found.low * (1 + width) * 1.01
    assert found.limited_by == "p99 < 100ms"


def test_the_first_loads_double_the_rate() -> None:
    assert [trial.rate for trial in search(sharp(900)).trials[:5]] == [100, 200, 400, 800, 1600]


def test_the_rate_that_holds_is_loaded_once_more() -> None:
    found = search(sharp(900))
    assert [trial.rate for trial in found.trials].count(found.low) >= 2


def test_a_service_that_holds_nothing() -> None:
    found = search(lambda _: 0.5, lowest=20)
    assert (found.low, found.high) == (0, 20)


def test_a_service_that_holds_the_whole_range() -> None:
    found = search(lambda _: 0.0, highest=1000)
    assert found.low == 1000
    assert found.high > 1e9
    assert found.limited_by == ""


@pytest.mark.parametrize(("lowest", "highest"), [(20, 1234), (123.4, 5000)])
def test_the_ends_of_the_range_are_tried_exactly(lowest: float, highest: float) -> None:
    """Other rates have three digits."""
    all_hold, none_holds = search(lambda _: 0.0, highest=highest), search(lambda _: 0.5, lowest=lowest)
    assert all_hold.low == highest
    assert none_holds.high == lowest
    assert len(all_hold.trials) + len(none_holds.trials) < 20


def test_a_search_that_ends_early_knows_what_it_has_shown() -> None:
    found = search(sharp(900), loads=5)
    assert 100 <= found.low <= 900 < found.high


def test_unclear_loads_decide_together() -> None:
    """Of a service with 0.5 % slow requests, five seconds at 100/s show nothing; several of them do."""
    found = Search(100, 1, 1e6)
    for _ in range(3):
        trial = load(lambda _: 0.0, 50, short=False)
        assert trial.outcome == "unclear"
        found.add(trial)
    assert found.low == 50


def test_no_verdict_from_loads_that_the_machine_spoilt() -> None:
    """A limit below the machine's own latency stays unclear, however many loads there are."""
    found = Search(100, 1, 1e6)
    for rate in (400, 410, 420):
        trial = load(lambda _: 0.0, rate, short=False)
        noisy = replace(trial.result, machine_p99=Duration(10 * trial.result.p99))
        verdicts = tuple(judge_all(P99, noisy))
        found.add(Trial(rate, replace(noisy, verdicts=verdicts)))
    assert found.low == 0


def test_figures_that_fall_with_the_rate_are_averaged() -> None:
    """One bad load at a low rate does not end the search there."""
    found = Search(100, 1, 1e6)
    for rate, slow in ((100, 0.0), (200, 0.03), (400, 0.0), (800, 0.0), (1600, 0.4)):
        found.add(load(lambda _, slow=slow: slow, rate, short=True))  # type: ignore[misc]
    following = found.next(10)
    assert following is not None
    assert 800 < following < 1600
