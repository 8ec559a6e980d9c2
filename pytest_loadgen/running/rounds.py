"""A load in rounds: one part of the plan after another, each a run of its own."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import pairwise
from typing import Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import Intervals, LoadGenerator, Wrapper
from pytest_loadgen.traffic.plan import Plan


class Rounds(Wrapper):
    """A load generator that has another run a plan in rounds.

    A program that tells its figures at its end only tells them once a round so; and what comes
    after a round need not be run once it is known enough.
    """

    def __init__(self, generator: LoadGenerator, plan: Plan, rounds: int = 1) -> None:
        """Take the plan that is to be run in so many rounds; a longer one is run in more, as long as these.

        There are more rounds where the generator cannot do as long a load in one piece.
        Raises PlanError where that many cannot be.
        """
        super().__init__(generator)
        if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
            raise PlanError(f"rounds={rounds!r}: write a whole number, 1 or more")
        self._seconds = plan.duration / max(rounds, math.ceil(plan.duration / generator.max_duration))
        self._whole = plan.duration.is_integer() and self._seconds >= 1
        self.max_duration = math.inf

    def run(self, plan: Plan) -> _Running:
        """Run one round after another; intervals come when their round ends, if not before."""
        return _Running(self._generator, self.parts(plan))

    def parts(self, plan: Plan) -> list[Plan]:
        """Cut a plan into rounds, at whole seconds where there are as many of these."""
        count = max(1, round(plan.duration / self._seconds))
        # A last round may be shorter than the others.
        count += count * self._seconds < plan.duration - 1e-6
        cuts = [min(self._seconds * number, float(plan.duration)) for number in range(count + 1)]
        if self._whole and plan.duration.is_integer():
            cuts = [float(math.floor(cut + 0.5)) for cut in cuts]
        return [plan.between(start, end) for start, end in pairwise(cuts) if start < end]


class _Running:
    """An iterator over the intervals of the rounds, each where it is in the whole."""

    def __init__(self, generator: LoadGenerator, parts: list[Plan]) -> None:
        self._generator = generator
        self._parts = parts
        self._current: Intervals | None = None
        self._stopped = self._finishing = False
        self._intervals = self._run()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Interval:
        return next(self._intervals)

    def close(self) -> None:
        self._stopped = True
        if self._current:
            self._current.close()
        with suppress(ValueError):  # another thread is in it, and finds that the round has ended
            self._intervals.close()

    def finish(self) -> None:
        """Run no more rounds; the one that is under way is run to its end."""
        self._finishing = True

    def _run(self) -> Generator[Interval]:
        begin = 0.0
        for part in self._parts:
            if self._stopped or self._finishing:
                return
            end = begin + part.duration
            with closing(self._generator.run(part)) as self._current:
                for interval in self._current:
                    placed = replace(interval, start=interval.start + begin)
                    # A program may run on for a little.
                    end = max(end, placed.start + placed.seconds)
                    yield placed
            begin = end
