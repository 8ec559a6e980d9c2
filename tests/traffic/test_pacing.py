"""The schedule: requests are due at even steps of the area under the rate, each exactly once."""

import heapq
from itertools import pairwise
from statistics import mean, pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.traffic.pacing import schedule
from pytest_loadgen.traffic.plan import Plan, hold, ramp
from pytest_loadgen.traffic.target import Target
from tests.builders.traffic import HERE

RATES = st.integers(0, 500).map(lambda tenths: tenths / 10)
TIMES = st.integers(1, 50).map(lambda tenths: tenths / 10)
STAGES = st.lists(st.builds(hold, RATES, TIMES) | st.builds(ramp, RATES, RATES, TIMES), min_size=1, max_size=4)
PLANS = st.builds(Plan, st.just(HERE), STAGES.map(tuple), connections=st.integers(36, 100))


def due(**options: Any) -> list[float]:
    """Return when requests are due, in ms."""
    return [ns / 1e6 for ns in schedule(Plan.of(HERE, **options))]


@pytest.mark.parametrize(
    ("options", "milliseconds"),
    [
        # The first request is due at the start, none at the very end.
        ({"rate": 5, "duration": 1}, [0, 200, 400, 600, 800]),
        ({"rate": 3, "duration": 1}, [0, 333.333, 666.667]),
        ({"rate": "30/m", "duration": 5}, [0, 2000, 4000]),
        # On the way up to 4/s, request n is due at sqrt(n / 2); on the way down it is the mirror image.
        ({"stages": ramp(0, 4, 1)}, [0, 707.107]),
        ({"stages": ramp(4, 0, 1)}, [0, 292.893]),
        ({"stages": ramp(0, 8, 1)}, [0, 500, 707.107, 866.025]),
        ({"stages": ramp(2, 6, 1)}, [0, 366.025, 618.034, 822.876]),
        # Stages join: the next one continues on the way to the next request.
        ({"stages": [hold(2, 1), hold(4, 0.5)]}, [0, 500, 1000, 1250]),
        ({"stages": [hold(1, 0.5), hold(2, 1)]}, [0, 750, 1250]),
        ({"stages": [ramp(0, 2, 1), hold(2, 1)]}, [0, 1000, 1500]),
        # A pause only delays what comes after it.
        ({"stages": [hold(2, 1), hold(0, 3), hold(2, 1)]}, [0, 500, 4000, 4500]),
        ({"stages": [hold(1, 0.5), hold(0, 1), hold(1, 1)]}, [0, 2000]),
        ({"stages": [hold(0, 1), hold(1, 1)]}, [1000]),
        # The warm-up sends at the first rate before the plan starts, in addition to its requests.
        ({"rate": 2, "duration": 1, "warmup": 1}, [-1000, -500, 0, 500]),
        ({"rate": 2, "duration": 1, "warmup": 0.7}, [-700, -200, 0, 500]),
        ({"stages": ramp(2, 6, 0.5), "warmup": 0.5}, [-500, 0, 309.017]),
        # In the closed model, there is no schedule.
        ({"rate": "max", "duration": 1, "warmup": 1}, []),
    ],
)
def test_due(options: dict[str, Any], milliseconds: list[float]) -> None:
    """Requests are due where the area under the rate reaches 0, 1, 2, …"""
    assert due(**options) == pytest.approx(milliseconds, abs=0.001)


@given(PLANS)
def test_schedules(plan: Plan) -> None:
    """Each request of a plan is due once, in order, and before the plan ends."""
    times = list(schedule(plan))
    assert len(times) == plan.requests
    assert times == sorted(times)
    assert all(0 <= time <= plan.duration * 1e9 for time in times)


@given(PLANS, TIMES)
def test_warmup(plan: Plan, warmup: float) -> None:
    """A warm-up is over before the plan starts, and does not change it."""
    warm = Plan.of(HERE, stages=(hold(1, 1), *plan.stages), warmup=warmup)
    cold = Plan.of(HERE, stages=warm.stages)
    times = list(schedule(warm))
    before = [time for time in times if time < 0]
    assert before == [time - round(warmup * 1e9) for time in schedule(Plan.of(HERE, rate=1, duration=warmup))]
    assert times[len(before) :] == list(schedule(cold))


@given(PLANS, st.integers(1, 6), st.integers(1, 6))
def test_parts(plan: Plan, parts: int, more: int) -> None:
    """The schedules of the parts add up to the plan's; those of the parts of a part, to that part's."""
    for whole, into in ((plan, parts), *((part, more) for part in plan.split(parts))):
        merged = list(heapq.merge(*map(schedule, whole.split(into))))
        assert merged == pytest.approx(list(schedule(whole)), abs=2, rel=0)


def poisson(**options: Any) -> list[Plan]:
    """Make a hundred plans with different random schedules at this rate: the parts of one plan."""
    return Plan.of(Target.of("http://localhost"), arrivals="poisson", connections=100, **options).split(100)


@pytest.mark.parametrize(
    "options",
    [{"rate": 10_000, "duration": 1}, {"stages": [ramp(0, 10_000, 1), hold(0, 1), hold(5000, 1)]}],
)
def test_random_counts(options: dict[str, Any]) -> None:
    """Poisson arrivals have the mean and the spread of a Poisson count."""
    counts = [len(list(schedule(part))) for part in poisson(**options)]
    assert abs(sum(counts) - 10_000) < 5 * 10_000**0.5
    assert pstdev(counts) == pytest.approx(10, rel=0.3)


def test_random_gaps() -> None:
    """The gaps between Poisson arrivals are exponential: their standard deviation equals their mean."""
    times = [ns / 1e9 for ns in schedule(Plan.of(HERE, rate=1000, duration=20, arrivals="poisson"))]
    gaps = [after - before for before, after in pairwise(times)]
    assert mean(gaps) == pytest.approx(0.001, rel=0.04)
    assert pstdev(gaps) == pytest.approx(0.001, rel=0.05)
    assert sum(gap > 0.002 for gap in gaps) / len(gaps) == pytest.approx(0.1353, abs=0.013)


def test_random_times() -> None:
    """Poisson arrivals are in order, within the plan, reproducible, and different in each part."""
    whole = Plan.of(HERE, stages=[ramp(9, 99, 3), hold(50, 1)], arrivals="poisson", warmup=2)
    times = list(schedule(whole))
    assert times == sorted(times) == list(schedule(whole))
    assert -2e9 <= times[0] < 0 < times[-1] <= 4e9
    first, second = whole.split(2)
    assert not set(schedule(first)) & set(schedule(second))
