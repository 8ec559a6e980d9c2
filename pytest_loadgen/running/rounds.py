"""A load in rounds: one part of the plan after another, each in a new run."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import Intervals, LoadGenerator, Running, Wrapper
from pytest_loadgen.traffic.plan import Plan, consecutive


class Rounds(Wrapper):
    """A load generator that runs a plan in rounds of another generator.

    A program that reports its figures only at its end reports them once a round; and a load can end after
    any round.
    """

    def __init__(self, generator: LoadGenerator, plan: Plan, rounds: int = 1) -> None:
        """Take the plan and its number of rounds; a longer plan is run in more rounds of the same length.

        There are more rounds where the generator cannot run as long a load in one piece.
        """
        super().__init__(generator)
        self._seconds = round_length(plan, rounds, generator.max_duration)
        self._whole = plan.duration.is_integer() and self._seconds >= 1
        self.max_duration = math.inf

    def run(self, plan: Plan) -> _RoundsRunning:
        """Run one round after another; intervals come when their round ends, if not before."""
        return _RoundsRunning(self._generator, consecutive(cut(plan, self._seconds, whole=self._whole)))


def round_length(plan: Plan, rounds: int, longest: float = math.inf) -> float:
    """Give the length of a round in seconds, where there are that many or as many as `longest` makes necessary."""
    return plan.duration / max(rounds, math.ceil(plan.duration / longest))


def cut(plan: Plan, seconds: float, *, whole: bool = True) -> list[Plan]:
    """Cut a plan into parts of this length; with `whole`, at whole seconds where that is possible."""
    count = max(1, round(plan.duration / seconds))
    # The last part may be shorter than the others.
    count += count * seconds < plan.duration - 1e-6
    cuts = [min(seconds * number, float(plan.duration)) for number in range(count + 1)]
    if whole and seconds >= 1 and plan.duration.is_integer():
        cuts = [float(math.floor(cut + 0.5)) for cut in cuts]
    return [plan.between(start, end) for start, end in pairwise(cuts) if start < end]


class _RoundsRunning(Running):
    """The intervals of the rounds, each where it is in the whole."""

    def __init__(self, generator: LoadGenerator, parts: list[Plan]) -> None:
        super().__init__()
        self._generator = generator
        self._parts = parts
        self._current: Intervals | None = None
        self._finishing = False

    def finish(self) -> None:
        """Run no more rounds; the current one runs to its end."""
        self._finishing = True

    def _stop(self) -> None:
        if self._current:
            self._current.close()

    def _run(self) -> Generator[Interval]:
        begin = 0.0
        for part in self._parts:
            if self._stopped.is_set() or self._finishing:
                return
            end = begin + part.duration
            with closing(self._generator.run(part)) as self._current:
                for interval in self._current:
                    placed = replace(interval, start=interval.start + begin)
                    # A program may run on for a little.
                    end = max(end, placed.start + placed.seconds)
                    yield placed
            begin = end
