"""The search for a capacity: which rate to try next, and at which rates objectives are known to hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

from pytest_loadgen.objectives.judged import JudgedResult, judge_figures
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import Outcome, Verdict

PRECISION = 0.05
"""The search ends where the two rates differ by this share."""
# A bound of the capacity may be wrong with this probability at each of the few rates near it, so that all together are
# wrong about twice as often.
_ALPHA = 0.025
# What trials at rates up to this much higher or lower showed counts for a rate, too.
_REACH = 1.1
# The first rates to be tried on either side of where the objectives seem to stop holding, and how much further out
# the next one is if that stays unclear.
_FIRST, _FURTHER = 1.08, 1.05
# A rate is not tried this close to one that is known, and what is estimated is at least this far from it.
_NEAR, _APART = 1.02, 1.001
# How far a figure can be from its bound, as the logarithm of their quotient: an overloaded service has no figure.
_FARTHEST = 2.0
# So many loads before the end, the rate that holds is loaded once more.
_LAST = 2
# How often a rate at the end of the range is tried.
_TRIES = 3


@dataclass(frozen=True)
class Trial:
    """One load of the search, judged."""

    rate: float
    result: JudgedResult
    short: bool = False
    """Whether it was only to find the order of magnitude."""

    @cached_property
    def outcome(self) -> Outcome:
        """Whether all objectives are met, or one is missed."""
        return _outcome(self.result.verdicts)

    @cached_property
    def is_withheld(self) -> bool:
        """Whether the verdict is not what the figures alone say: the generator or the machine was the limit."""
        if self.outcome == "invalid" or self.result.problems:
            return True
        figures = judge_figures([verdict.slo for verdict in self.result.verdicts], self.result)
        return self.outcome == "unclear" and _outcome(figures) != "unclear"

    @cached_property
    def excess(self) -> float:
        """How far the worst figure is beyond its bound: the logarithm of their quotient, below 0 within it."""
        return max(_excess(verdict.slo, self.result) for verdict in self.result.verdicts)

    @property
    def limited_by(self) -> str:
        """The objectives that are missed, or the one that is nearest to that."""
        slos = [verdict.slo for verdict in self.result.verdicts]
        missed = [verdict.slo.text for verdict in self.result.verdicts if verdict.outcome == "missed"]
        return ", ".join(missed) or max(slos, key=lambda slo: _excess(slo, self.result)).text


def _outcome(verdicts: Iterable[Verdict]) -> Outcome:
    found = {verdict.outcome for verdict in verdicts}
    order: tuple[Outcome, ...] = ("missed", "invalid", "unclear")
    return next((outcome for outcome in order if outcome in found), "met")


def _excess(slo: SLO, result: JudgedResult) -> float:
    view = slo.view(result)
    if not view.requests:
        return _FARTHEST
    figure = float(slo.metric.figure(view) if slo.metric.is_latency else slo.metric.sample(view, slo.bound).value)
    bound = float(slo.bound)
    if not slo.upper:
        figure, bound = bound, figure
    if not figure or math.isnan(figure):
        return -_FARTHEST
    if not bound or math.isinf(figure):
        return _FARTHEST
    return max(-_FARTHEST, min(_FARTHEST, math.log(figure / bound)))


def _between(known: float, inner: float, *, tried: bool) -> float:
    """Give the next rate between one that is known to hold and one that is not, which was tried or is estimated."""
    if not tried:
        return math.sqrt(known * inner) if known and inner < known * _FIRST**2 else inner / _FIRST
    return further if (further := inner / _FURTHER) > known * _NEAR else inner


class Search:
    """A noisy bisection: doubling to find the order of magnitude, then loads on both sides of where it seems to be.

    A service that holds its objectives at a rate holds them at lower ones. So a rate is known to hold if the loads at
    this rate and those up to 10 % above it, counted together, meet them, and not to hold if those at it and up to
    10 % below it miss them: several unclear loads decide what none of them does.
    """

    def __init__(self, start: float, lowest: float, highest: float) -> None:
        """Begin at a rate, and stay in a range of rates."""
        self._start, self._lowest, self._highest = start, lowest, highest
        self.trials: list[Trial] = []
        self._confirmed: set[float] = set()
        self.low = 0.0
        """The highest rate at which the objectives are known to hold; 0 if there is none."""
        self.high = math.inf
        """The lowest rate at which they are known not to hold; infinite if there is none."""

    @property
    def is_rough(self) -> bool:
        """Whether the next load is only to find the order of magnitude."""
        return not any(trial.excess >= 0 for trial in self.trials) and self._top < self._highest

    @property
    def limited_by(self) -> str:
        """The objectives that are missed at the lowest rate that does not hold; empty if there is no such rate."""
        beyond = [trial for trial in self.trials if trial.rate >= self.high]
        beyond.sort(key=lambda each: (each.outcome != "missed", each.rate))
        return beyond[0].limited_by if beyond else ""

    def add(self, trial: Trial) -> None:
        """Take what a load showed."""
        self.trials.append(trial)
        self.low = max(self._holding(), default=0.0)
        self.high = min(self._failing(), default=math.inf)
        if self.low >= self.high:
            # What one load alone showed is worth more.
            below = (each.rate for each in self.trials if each.outcome == "met" and each.rate < self.high)
            self.low = max(below, default=0.0)

    def next(self, left: int) -> float | None:
        """Give the next rate to try, where time for so many loads is left; None if the search has ended."""
        rate = self._next(left)
        if rate is None:
            return None
        return (
            float(f"{rate:.3g}") if self._lowest < rate < self._highest else min(max(rate, self._lowest), self._highest)
        )

    def _next(self, left: int) -> float | None:
        if left <= 0 or not self.trials:
            return None if left <= 0 else self._start
        crossing = self._crossing()
        if crossing is None:
            return self._beyond()
        done = self.high <= self.low * (1 + PRECISION)
        proven = any(trial.rate == self.low for trial in self._long)
        if proven and (done or left <= _LAST) and self.low not in self._confirmed:
            self._confirmed.add(self.low)
            return self.low
        if done:
            return None
        crossing = min(max(crossing, self.low * _APART), self.high / _APART)
        unclear = [each.rate for each in self._long if each.outcome == "unclear" and self.low < each.rate < self.high]
        inner = min([crossing, *unclear]), max([crossing, *unclear])
        # Where less is known. Of the inverses of rates, those that do not hold are those that do.
        if not self.low or inner[0] / self.low >= self.high / inner[1]:
            return _between(self.low, inner[0], tried=inner[0] in unclear)
        return 1 / _between(1 / self.high, 1 / inner[1], tried=inner[1] in unclear)

    @property
    def _top(self) -> float:
        return max((trial.rate for trial in self.trials), default=0.0)

    def _beyond(self) -> float | None:
        """Give the next rate where all hold so far, or none does."""
        if any(trial.excess < 0 for trial in self.trials):
            if self._top < self._highest:
                return min(2 * self._top, self._highest)
            end, known = self._highest, self.low >= self._highest
        else:
            bottom = min(trial.rate for trial in self.trials)
            if bottom > self._lowest:
                return max(bottom / 2, self._lowest)
            end, known = self._lowest, self.high <= self._lowest
        tried = sum(trial.rate == end and not trial.short for trial in self.trials)
        return None if known or tried >= _TRIES else end

    @property
    def _long(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.short]

    def _holding(self) -> Iterable[float]:
        """Give rates at which the objectives are known to hold."""
        for rate, own in self._by_rate.items():
            near = [each for each in self.trials if rate <= each.rate <= rate * _REACH and each.outcome != "missed"]
            if not any(each.outcome == "missed" for each in own) and "met" in map(self._judge, (own, near)):
                yield rate
        # Loads that only found the order of magnitude are long enough all together.
        first = [trial for trial in self.trials if trial.short and trial.excess < 0]
        for start, end in combinations(range(len(first) + 1), 2):
            if self._judge(first[start:end]) == "met":
                yield first[start].rate

    def _failing(self) -> Iterable[float]:
        """Give rates at which they are known not to."""
        for rate, own in self._by_rate.items():
            near = [each for each in self.trials if rate / _REACH <= each.rate <= rate and each.outcome != "met"]
            if not any(each.outcome == "met" for each in own) and "missed" in map(self._judge, (own, near)):
                yield rate

    @property
    def _by_rate(self) -> dict[float, list[Trial]]:
        found: dict[float, list[Trial]] = {}
        for trial in self.trials:
            found.setdefault(trial.rate, []).append(trial)
        return found

    def _judge(self, trials: Sequence[Trial]) -> Outcome:
        """Judge the figures of several loads together; unclear where something withholds the verdict of one of them."""
        if len(trials) == 1:
            return trials[0].outcome
        if not trials or any(trial.is_withheld for trial in trials):
            return "unclear"
        intervals = tuple(interval for trial in trials for interval in trial.result.intervals)
        result = replace(trials[-1].result, intervals=intervals)
        return _outcome(judge_figures([verdict.slo for verdict in result.verdicts], result, alpha=_ALPHA))

    def _crossing(self) -> float | None:
        """Estimate the rate where the worst figure crosses its bound; None where all are on one side.

        Figures that fall with the rate are averaged (isotonic regression by pooling adjacent violators: Ayer and
        others 1955), and the crossing is interpolated.
        """
        blocks: list[tuple[float, float, float]] = []
        for trial in sorted(self.trials, key=lambda each: each.rate):
            weight = float(trial.result.requests or 1)
            block = (math.log(trial.rate) * weight, trial.excess * weight, weight)
            while blocks and blocks[-1][1] / blocks[-1][2] >= block[1] / block[2]:
                before = blocks.pop()
                block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
            blocks.append(block)
        points = [(rate / weight, excess / weight) for rate, excess, weight in blocks]
        below = [point for point in points if point[1] < 0]
        above = [point for point in points if point[1] >= 0]
        if not below or not above:
            return None
        (left, under), (right, over) = below[-1], above[0]
        return math.exp(left + (right - left) * under / (under - over))
