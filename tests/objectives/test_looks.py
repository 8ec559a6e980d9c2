"""Looks: however often a load is judged, all looks together keep to the error of one."""

import math
import random

import pytest

from pytest_loadgen.objectives.looks import ONE_LOOK, Looks
from pytest_loadgen.objectives.stats import normal_quantile

ALPHA = 0.05


def levels(longest: float, *moments: float, error: float = ALPHA) -> list[float]:
    looks, found = Looks.of(longest), []
    for moment in moments:
        looks = looks.at(moment, is_last=moment == moments[-1])
        found.append(looks.level(error))
    return found


@pytest.mark.parametrize("error", [0.05, 0.0025])
@pytest.mark.parametrize(
    "moments",
    [(5, 15), (5, 6.25, 7.8, 9.8, 12.2, 15), (2.5, 3.5, 5, 15), (14.9, 15), (60, 75, 600), tuple(range(1, 21))],
)
def test_all_looks_together(moments: tuple[float, ...], error: float) -> None:
    """Without drift, the boundaries of all looks are crossed in as many runs as the error says."""
    draw, runs = random.Random(1), 20_000
    limits = [-normal_quantile(level) for level in levels(moments[-1], *moments, error=error)]
    crossed = 0
    for _ in range(runs):
        place, before = 0.0, 0.0
        for moment, limit in zip(moments, limits, strict=True):
            place += draw.gauss(0, math.sqrt(moment - before))
            before = moment
            if place / math.sqrt(moment) > limit:
                crossed += 1
                break
    assert crossed / runs == pytest.approx(error, abs=3 * math.sqrt(error / runs))


def test_more_than_what_is_left() -> None:
    """The last look may have a larger error than what the looks before it left: they share their data."""
    *_, last = levels(15, 5, 7, 10, 15)
    assert ALPHA * (1 - (10 / 15) ** 2) < last < ALPHA


def test_one_look() -> None:
    """A load that is judged once has the whole error, also if it ends early."""
    assert ONE_LOOK.level(ALPHA) == ALPHA
    assert levels(15, 7) == [ALPHA]


def test_again_at_the_same_moment() -> None:
    """A load that ends at a look is judged once more, with what is left of the error."""
    looks = Looks.of(15).at(5).at(10)
    again = looks.at(10, is_last=True)
    assert again.moments == looks.moments
    assert looks.level(ALPHA) < again.level(ALPHA) < ALPHA
