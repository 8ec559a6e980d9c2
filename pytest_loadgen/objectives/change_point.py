"""Where the figures of runs, one after another, change to another level: a merge made them slower, a machine changed.

The step is where two levels fit best: the likelihood ratio for one shift in normal values with a common variance
(Worsley 1979). It is the largest Student's t of all places where the runs can be divided; each place may be wrong with
its part of the probability of a false alarm (Bonferroni), which so is at most FALSE_ALARM.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from pytest_loadgen.objectives import stats

FALSE_ALARM = 0.01
"""The probability of a step in runs that have none."""
FEWEST = 6
"""In fewer runs no step is looked for."""
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
    count = len(logs)
    if count < FEWEST:
        return 0
    places = range(_SIDE, count - _SIDE + 1)
    at = max(places, key=lambda place: _t(logs[:place], logs[place:]))
    freedom, t = count - 2, _t(logs[:at], logs[at:])
    # P(|T| > t) = I(freedom / (freedom + t²); freedom / 2, 1 / 2)
    chance = stats.beta(freedom / (freedom + t**2), freedom / 2, 0.5)
    return at if chance * len(places) <= FALSE_ALARM else 0


def _t(before: Sequence[float], after: Sequence[float]) -> float:
    """Give by how many standard errors two levels differ."""
    levels = fmean(before), fmean(after)
    squares = sum((each - level) ** 2 for part, level in zip((before, after), levels, strict=True) for each in part)
    variance = max(_EXACT**2, squares / (len(before) + len(after) - 2))
    return abs(levels[1] - levels[0]) / math.sqrt(variance * (1 / len(before) + 1 / len(after)))
