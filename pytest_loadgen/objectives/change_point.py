"""Where the figures of runs, one after another, change to another level: a merge made them slower, a machine changed.

The step is where two levels fit best: the likelihood ratio for one shift in normal values with a common variance
(Worsley 1979). It is where Student's t is largest of all places at which the runs can be divided; each place may be
wrong with its part of the probability of a false alarm (Bonferroni), which so is at most FALSE_ALARM.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from pytest_loadgen.objectives import stats

FALSE_ALARM = 0.01
"""The probability of a step in runs that have none."""
FEWEST = 6
"""In fewer runs no step is looked for."""
# The same without any one of the runs.
_WITHOUT_ONE = 0.05
# On each side of a step there are this many runs: a single one may be any hiccup.
_SIDE = 2
# Figures are exact to about this part, so that runs never vary less.
_EXACT = 0.001


def latest(logs: Sequence[float]) -> int:
    """Give the number of the first run after the last step, counted from 0; 0 where there is no step.

    Takes the logarithm of the figure of each run, the oldest first.
    """
    first = 0
    while step := _step(logs[first:]):
        first += step
    return first


def _step(logs: Sequence[float]) -> int:
    """Give where a step is, as the number of runs before it; 0 where there is none."""
    if len(logs) < FEWEST:
        return 0
    places = range(_SIDE, len(logs) - _SIDE + 1)
    chance, at = min((_chance(logs[:place], logs[place:]), place) for place in places)
    if chance * len(places) > FALSE_ALARM:
        return 0
    # What one run alone makes is none: among many runs that are alike, a single hiccup looks like a step.
    others = [(_without(logs[:at], one), _without(logs[at:], one - at)) for one in range(len(logs))]
    return at if all(_chance(*each) * len(places) <= _WITHOUT_ONE for each in others) else 0


def _without(values: Sequence[float], place: int) -> Sequence[float]:
    """Leave one value out, if the place is among them."""
    return [value for at, value in enumerate(values) if at != place]


def _chance(before: Sequence[float], after: Sequence[float]) -> float:
    """Give the probability of levels that differ as much where there is no step (Student's t)."""
    levels = fmean(before), fmean(after)
    squares = sum((each - level) ** 2 for part, level in zip((before, after), levels, strict=True) for each in part)
    freedom = len(before) + len(after) - 2
    variance = max(_EXACT**2, squares / freedom) * (1 / len(before) + 1 / len(after))
    # P(|T| > t) = I(freedom / (freedom + t²); freedom / 2, 1 / 2)
    return stats.beta(freedom / (freedom + (levels[1] - levels[0]) ** 2 / variance), freedom / 2, 0.5)
