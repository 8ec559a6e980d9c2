"""Steps in the figures of consecutive runs: a merge made the service slower, or the machine changed.

A step is where two levels fit best: the likelihood ratio for one shift in normal values with a common variance
(Worsley 1979). That is where Student's t is largest, of all places at which the runs can be divided. The places share
the probability of a false alarm (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pytest_loadgen.objectives import stats

FALSE_ALARM = 0.01
"""The probability of a step in runs that have none."""
FEWEST = 6
"""With fewer runs no step is looked for."""
# The same, when any one of the runs is left out.
_WITHOUT_ONE = 0.05
# A step has at least this many runs on each side: a single one may be a hiccup.
_FEWEST_ON_A_SIDE = 2
# The relative precision of figures, which is the least standard deviation of runs.
_PRECISION = 0.001


def latest(logs: Sequence[float]) -> int:
    """Give the number of the first run after the last step, counted from 0; 0 where there is no step.

    Takes the logarithm of the figure of each run, the oldest first.
    """
    first = 0
    while step := _step(logs[first:]):
        first += step
    return first


def _step(logs: Sequence[float]) -> int:
    """Give the number of runs before the step; 0 where there is none."""
    if len(logs) < FEWEST:
        return 0
    places = range(_FEWEST_ON_A_SIDE, len(logs) - _FEWEST_ON_A_SIDE + 1)
    chance, at = min((_p_value(logs[:place], logs[place:]), place) for place in places)
    if chance * len(places) > FALSE_ALARM:
        return 0
    # It must not depend on one run: among many similar runs, a single hiccup looks like a step.
    others = [(_without(logs[:at], one), _without(logs[at:], one - at)) for one in range(len(logs))]
    return at if all(_p_value(*each) * len(places) <= _WITHOUT_ONE for each in others) else 0


def _without(values: Sequence[float], place: int) -> Sequence[float]:
    """Leave one value out, if the place is among them."""
    return [value for at, value in enumerate(values) if at != place]


def _p_value(before: Sequence[float], after: Sequence[float]) -> float:
    """Give the probability of levels that differ this much or more without a step (Student's t)."""
    levels = fmean(before), fmean(after)
    squares = sum((each - level) ** 2 for part, level in zip((before, after), levels, strict=True) for each in part)
    freedom = len(before) + len(after) - 2
    variance = max(_PRECISION**2, squares / freedom) * (1 / len(before) + 1 / len(after))
    # P(|T| > t) = I(freedom / (freedom + t²); freedom / 2, 1 / 2)
    return stats.beta(freedom / (freedom + (levels[1] - levels[0]) ** 2 / variance), freedom / 2, 0.5)
