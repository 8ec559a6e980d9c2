"""A capacity: what it says, and what it is when it is compared with a rate."""

import json
import math
import operator

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.objectives.capacity import Capacity, Step
from pytest_loadgen.units import Rate, Share

SHARP = Capacity(Rate(812), Rate(853), limited_by="p99 < 50ms")
NO_END = Capacity(Rate(5000), Rate(math.inf), limited_by="the range ends there")
NONE_HOLDS = Capacity(Rate(0), Rate(1), limited_by="errors < 1%")


@pytest.mark.parametrize(
    ("capacity", "sign", "rate", "expected"),
    [
        (SHARP, operator.ge, "800/s", True),
        (SHARP, operator.ge, 812, True),
        (SHARP, operator.ge, "853/s", False),
        (SHARP, operator.ge, "900/s", False),
        (SHARP, operator.gt, "800/s", True),
        (SHARP, operator.lt, "900/s", True),
        (SHARP, operator.lt, "800/s", False),
        (SHARP, operator.le, "853/s", True),
        (NO_END, operator.ge, "5000/s", True),
        (NONE_HOLDS, operator.ge, "1/s", False),
        (NONE_HOLDS, operator.lt, "1/s", True),
    ],
)
def test_a_comparison_that_is_decided(capacity: Capacity, sign: object, rate: object, expected: bool) -> None:
    assert sign(capacity, rate) is expected  # type: ignore[operator]


@pytest.mark.parametrize("sign", [operator.ge, operator.gt, operator.lt, operator.le])
def test_a_comparison_between_the_two_rates_is_unclear_and_true(sign: object) -> None:
    said: list[str] = []
    capacity = Capacity(Rate(812), Rate(853), (), "p99 < 50ms", said.append)
    assert sign(capacity, "830/s") is True  # type: ignore[operator]
    assert len(said) == 1
    assert said[0].endswith("830/s is unclear: 812/s holds, 853/s does not (p99 < 50ms)")


def test_a_rate_that_is_none() -> None:
    with pytest.raises(PlanError, match="'fast' is not a rate"):
        _ = SHARP >= "fast"


@pytest.mark.parametrize(
    ("capacity", "said"),
    [
        (SHARP, "812/s holds, 853/s does not (p99 < 50ms)"),
        (NO_END, "5,000/s holds; no rate is known that does not (the range ends there)"),
        (NONE_HOLDS, "1/s does not hold (errors < 1%); no rate is known that does"),
        (Capacity(Rate(0), Rate(math.inf), limited_by="within=10s ended the search"), "not found (within=10s ended "),
    ],
)
def test_what_it_says(capacity: Capacity, said: str) -> None:
    assert str(capacity).startswith(said)


def test_it_survives_json() -> None:
    steps = (
        Step(Rate(800), "met", 5.0, 4000, 0.002, 0.03, Share(0)),
        Step(Rate(1600), "missed", 5.0, 8000, 1.0, None, Share(0.5)),
    )
    for capacity in (Capacity(Rate(800), Rate(1600), steps, "p99 < 50ms"), NO_END):
        again = Capacity.from_dict(json.loads(json.dumps(capacity.as_dict())))
        assert (again.low, again.high, again.steps, again.limited_by) == (
            capacity.low,
            capacity.high,
            capacity.steps,
            capacity.limited_by,
        )
