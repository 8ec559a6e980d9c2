"""Steps in the figures of runs: found where there is one, hardly ever where there is none."""

import math
import random

import pytest

from pytest_loadgen.objectives.change_point import FALSE_ALARM, FEWEST, latest


def logs(*figures: float) -> list[float]:
    return [math.log(figure) for figure in figures]


@pytest.mark.parametrize(
    ("figures", "first"),
    [
        ((10, 10.2, 9.9, 10.1, 12, 12.2, 11.9, 12.1), 4),
        ((12, 12.2, 11.9, 12.1, 10, 10.2, 9.9, 10.1), 4),
        # The last of two.
        ((10, 10.1, 9.9, 10, 15, 15.1, 14.9, 15, 12, 12.1, 11.9, 12), 8),
        # Two runs are enough where the step is large.
        ((10, 10.1, 9.9, 10, 10.1, 9.9, 10, 10.1, 13, 13.1), 8),
        # One is not: it may be a hiccup, wherever it is.
        ((10, 10.1, 9.9, 10, 10.1, 9.9, 10, 10.1, 9.9, 13), 0),
        ((13, 10.1, 9.9, 10, 10.1, 9.9, 10, 10.1, 9.9, 10), 0),
        ((10, 10.1, 9.9, 10, 10.1, 13, 10, 10.1, 9.9, 10), 0),
        # Without any scatter.
        ((10, 10, 10, 15, 15, 15), 3),
        ((10, 10, 10, 10, 10, 10), 0),
        ((), 0),
        # Within the width of a histogram's bucket.
        ((10, 10, 10, 10.01, 10.01, 10.01), 0),
    ],
)
def test_steps(figures: tuple[float, ...], first: int) -> None:
    """The runs since the last step are separated from those before it."""
    assert latest(logs(*figures)) == first


def test_few_runs() -> None:
    """With too few runs no step is found, however large it looks."""
    assert latest(logs(10, 10, *[20] * (FEWEST - 3))) == 0


@pytest.mark.parametrize("busy", [0.0, 0.1])
@pytest.mark.parametrize("length", [6, 10, 30])
def test_false_alarms(length: int, busy: float) -> None:
    """Without a step, one is found in about 1 % of histories, also if the machine was busy in some runs."""
    draw, histories = random.Random(1), 600

    def run() -> float:
        return draw.gauss(0, 0.02) + (abs(draw.gauss(0, 0.2)) if draw.random() < busy else 0)

    found = sum(latest([run() for _ in range(length)]) > 0 for _ in range(histories))
    assert found <= histories * FALSE_ALARM + 3 * math.sqrt(histories * FALSE_ALARM)
