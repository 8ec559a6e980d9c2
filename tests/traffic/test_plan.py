"""A plan: reads options as users write them, refuses impossible ones, and splits without loss."""

import json
import math
import pickle
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.plan import Plan, Stage, hold, ramp
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration
from tests.builders.traffic import HERE, OPEN_PLANS, plan


def test_defaults() -> None:
    """By default, a load sends 100/s for 5 s over enough connections, and expects 2xx and 3xx."""
    assert plan() == Plan(HERE, (hold(100, 5),), connections=100, timeout=Duration("5s"), expect=("2xx", "3xx"))
    assert plan(rate="max").connections == 10
    assert str(plan()) == "100/s for 5s"


@pytest.mark.parametrize(
    ("stage", "start", "end", "requests", "text"),
    [
        (hold(100, "30s"), 100, 100, 3000, "100/s for 30s"),
        (hold("30/m", 3), Fraction(1, 2), Fraction(1, 2), Fraction(3, 2), "0.5/s for 3s"),
        (hold(0, 1), 0, 0, 0, "0/s for 1s"),
        (hold("max", "10s"), None, None, 0, "max for 10s"),
        (ramp(100, 2000, "10s"), 100, 2000, 10_500, "100/s to 2,000/s in 10s"),
        (ramp("10/s", 0, 0.1), 10, 0, Fraction(1, 2), "10/s to 0/s in 100ms"),
    ],
)
def test_stages(stage: Stage, start: Fraction | None, end: Fraction | None, requests: Fraction, text: str) -> None:
    """The rate of a stage is an exact straight line; the area under it is the number of requests."""
    assert (stage.start, stage.end, stage.requests, str(stage)) == (start, end, requests, text)


def test_sums() -> None:
    """Duration, rate and requests of a plan are totals over its stages."""
    whole = plan(stages=[hold(100, 1), ramp(100, 300, 2), hold(0, 1)])
    assert (whole.duration, whole.rate, whole.requests, whole.closed) == (4.0, 125.0, 500, False)
    endless = plan(rate="max", duration="2s")
    assert (endless.duration, endless.rate, endless.requests, endless.closed) == (2.0, math.inf, 0, True)
    assert plan(rate=0.1, duration=1).requests == 1


SECONDS = "is not a duration: write seconds (0.2) or a string ('200ms', '5s', '1m30s')"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration": "5"}, "duration: '5' needs a unit: write 5ms or 5s"),
        ({"duration": 0}, "duration=0: must be a finite time > 0"),
        ({"duration": math.inf}, "duration=inf: must be a finite time > 0"),
        ({"timeout": -1}, "timeout=-1: must be a finite time > 0"),
        ({"timeout": None}, f"timeout: None {SECONDS}"),
        ({"warmup": "x"}, f"warmup: 'x' {SECONDS}"),
        ({"ready_timeout": -1}, "ready_timeout=-1: must be a finite time >= 0"),
        ({"rate": -5}, "rate=-5: write 0 to 10,000,000 per second, or 'max'"),
        ({"rate": "5"}, "rate: '5' is not a rate: write a number per second (500) or a string ('500/s', '30/m')"),
        ({"rate": math.inf}, "rate: a plan must be finite: 'inf' is neither a duration nor a rate"),
        ({"rate": 0}, "0/s for 5s: this plan sends no requests; raise the rate or the duration"),
        (
            {"stages": [hold(1, 1)], "rate": 5},
            "stages= sets the rate and duration: give either stages= or rate= and duration=",
        ),
        ({"stages": []}, "stages takes a list of hold(rate, duration) and ramp(start, end, duration)"),
        ({"stages": 5}, "stages takes a list of hold(rate, duration) and ramp(start, end, duration)"),
        (
            {"stages": [hold(1, 1), hold("max", 1)]},
            "stages with a set rate and stages with rate='max' cannot be combined",
        ),
        ({"arrivals": "poison"}, "arrivals='poison': did you mean 'poisson'?"),
        (
            {"rate": "max", "arrivals": "poisson"},
            "arrivals='poisson' needs a rate: with rate='max', each connection sends again once it has a response",
        ),
        ({"connections": 0}, "connections=0: write a whole number, 1 or more"),
        ({"connections": 1.5}, "connections=1.5: write a whole number, 1 or more"),
        ({"connections": True}, "connections=True: write a whole number, 1 or more"),
        (
            {"stages": [ramp(0, 9, 9)], "warmup": 1},
            "warmup= keeps the rate at which the first stage starts, which is 0/s: raise it, or leave warmup= out",
        ),
        ({"expect": "2x"}, "expect='2x': write a status (204), a class ('2xx') or a list of these"),
        ({"expect": [200, 600]}, "expect='600': write a status (204), a class ('2xx') or a list of these"),
        ({"expect": 2.5}, "expect='2.5': write a status (204), a class ('2xx') or a list of these"),
        ({"expect": []}, "expect=[]: give at least one status; with none, every response would be an error"),
    ],
)
def test_refusing(options: dict[str, Any], message: str) -> None:
    """An impossible plan is refused; the message says what to write instead."""
    with pytest.raises(PlanError) as caught:
        plan(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "factor", "text", "warmup", "iterations"),
    [
        ({"duration": 7, "warmup": 3}, 0.1, "100/s for 700ms", 0.3, None),
        ({"duration": 7, "warmup": 3}, 2, "100/s for 14s", 6, None),
        ({"stages": [hold(10, 3), ramp(10, 20, 6)]}, 0.1, "10/s for 300ms, 10/s to 20/s in 600ms", 0, None),
        ({"rate": "max", "iterations": 1000}, 0.1, "max for 1m", 0, 100),
        ({"rate": "max", "iterations": 3, "duration": 20}, 0.1, "max for 2s", 0, 1),
        ({"rate": 50, "iterations": 1000}, 0.1, "50/s for 2s", 0, None),
    ],
)
def test_stretched(options: dict[str, Any], factor: float, text: str, warmup: float, iterations: int | None) -> None:
    """All times are multiplied, the rates stay; so do timeouts."""
    found = plan(**options).stretched(factor)
    assert (str(found), found.warmup, found.iterations) == (text, warmup, iterations)
    assert found.timeout == found.ready_timeout == 5


@given(st.integers(1, 10**4), st.integers(1, 10**4), st.integers(1, 80))
def test_iterations_are_stretched(number: int, rate: int, tenths: int) -> None:
    """At a set rate, too: there are as many requests as said, or one more."""
    found = plan(rate=rate, iterations=number).stretched(tenths / 10)
    assert found.requests - math.ceil(Fraction(number * tenths, 10)) in {0, 1}


def test_stretched_too_far() -> None:
    """A load of more than a day is refused."""
    with pytest.raises(PlanError) as caught:
        plan(duration="1h").stretched(25)
    assert str(caught.value) == "100/s for 1h: 25 times as long is more than 24h, the longest load"


def test_ramps_have_two_rates() -> None:
    """A ramp cannot start or end at "max"."""
    with pytest.raises(PlanError, match=r"^ramp\(\) needs two rates: only hold\(\) takes 'max'$"):
        ramp("max", 5, 1)


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        ({}, {"http", "rate"}),
        ({"rate": "max"}, {"http", "max"}),
        ({"arrivals": "poisson"}, {"http", "rate", "poisson"}),
        ({"stages": [hold(1, 1), hold(2, 1)]}, {"http", "rate", "stages"}),
        ({"stages": ramp(1, 2, 1)}, {"http", "rate", "stages"}),
    ],
)
def test_needs(options: dict[str, Any], needs: set[str]) -> None:
    """A plan needs exactly the features that it uses."""
    assert plan(**options).needs == needs


def test_needs_of_the_target() -> None:
    """The scheme and HTTP/2 are among the needs."""
    target = Target.of("https+unix://%2Frun%2Fs/", http2=True)
    assert Plan.of(target).needs == {"https+unix", "http2", "rate"}


@pytest.mark.parametrize(
    ("expect", "right", "wrong"),
    [
        (None, {"200", "204", "302"}, {"404", "500", "101", "timeout", "refused"}),
        (404, {"404"}, {"200", "403", "4xx"}),
        (["2XX", "503"], {"200", "503"}, {"302", "500"}),
        ("2xx", {"299"}, {"300", "2-no-status"}),
        (["2xx", 404], {"2xx", "404"}, {"3xx", "4xx"}),  # as from a generator that reports classes only
    ],
)
def test_expecting(expect: Any, right: set[str], wrong: set[str]) -> None:
    """An outcome is a success if it is an expected status, or in an expected class."""
    asked = plan(expect=expect)
    assert {outcome for outcome in right | wrong if asked.expects(outcome)} == right


@pytest.mark.parametrize(
    "options",
    [{}, {"rate": "max", "duration": "1m"}, {"stages": [hold("1/m", 60), ramp(0, 0.1, 99)], "arrivals": "poisson"}],
)
def test_as_json(options: dict[str, Any]) -> None:
    """JSON and pickle keep a plan, with exact rates."""
    original = plan(**options, timeout="2s", ready_timeout=0, expect=[200, "4xx"])
    back = Plan.from_dict(json.loads(json.dumps(original.as_dict())))
    assert back.as_dict() == original.as_dict()
    assert (back.stages, back.expect, back.timeout) == (original.stages, original.expect, original.timeout)
    assert pickle.loads(pickle.dumps(original)) == original


def rates(plans: list[Plan]) -> list[tuple[Fraction | int, Fraction | int]]:
    """Add up the rates of the plans at the start and end of each stage."""
    together = zip(*(each.stages for each in plans), strict=True)
    return [(sum(stage.start or 0 for stage in same), sum(stage.end or 0 for stage in same)) for same in together]


@given(OPEN_PLANS, st.integers(1, 6), st.integers(1, 6))
def test_splitting(whole: Plan, parts: int, more: int) -> None:
    """The parts add up to exactly the plan; the parts of a part, to exactly that part."""
    for one, into in ((whole, parts), *((part, more) for part in whole.split(parts))):
        plans = one.split(into)
        assert len(plans) == into
        assert rates(plans) == rates([one])
        assert sum(part.connections for part in plans) == one.connections
        assert sum(part.requests for part in plans) == one.requests


@pytest.mark.parametrize(
    ("workers", "message"),
    [
        (0, "workers=0: write a whole number, 1 or more"),
        ("2", "workers='2': write a whole number, 1 or more"),
        (11, "10 connections cannot be shared by 11 workers: use connections=11 or more, or fewer workers."),
    ],
)
def test_refusing_to_split(workers: Any, message: str) -> None:
    """A plan is split into at least 1 and at most as many parts as it has connections."""
    with pytest.raises(PlanError) as caught:
        plan(rate="max").split(workers)
    assert str(caught.value) == message
