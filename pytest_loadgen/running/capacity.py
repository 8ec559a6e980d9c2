"""A search for the capacity of a service: loads at one rate after another, judged as they come."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Self

from pytest_loadgen import clock
from pytest_loadgen.errors import PlanError, ServiceError
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.objectives.capacity import Capacity, Step
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.metric import ResponseRate
from pytest_loadgen.objectives.search import Search, Trial
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.running.measurement import Environment
from pytest_loadgen.running.sampled import Sampled
from pytest_loadgen.running.source import One
from pytest_loadgen.running.stop import Stop
from pytest_loadgen.service.resources import Watch
from pytest_loadgen.traffic.plan import HIGHEST_RATE, Plan, Stage
from pytest_loadgen.units import Duration, Rate, exactly

# How long a load of the search is, in seconds; that of the first ones, which only find the order of magnitude; and
# how long the service is loaded before the figures count, because queues take time to fill.
LENGTH, SHORT, WARMUP = 5.0, 2.0, 2.0
# How long the service has to recover from a load that was too much before it is asked whether it has, and how often
# it is asked, with how many requests per second.
_PAUSE, _ASKED, _ASKING = 1.0, 10, 10
# It has recovered when its median is at most this many times what it was.
_RECOVERED = 3.0
_FIRST_RATE, _FIRST_JOURNEYS = 100.0, 10.0
_LOWEST = 1.0
# How many rows the journeys of a load take is not known in advance: so many loads share them.
_MOST_LOADS = 32
# With fewer, requests would wait for one.
CONNECTIONS = 1000


@dataclass(frozen=True)
class Range:
    """Which rates are searched, and for how long."""

    lowest: float = _LOWEST
    highest: float = float(HIGHEST_RATE)
    seconds: float = 60.0
    start: float | None = None
    """The first rate; None for a usual one."""

    def scaled(self, factor: float) -> Self:
        """Give the same range with more or less time, but enough for two loads."""
        return replace(self, seconds=max(2 * (LENGTH + WARMUP), self.seconds * factor)) if factor != 1 else self

    @classmethod
    def of(cls, between: Any, within: Any) -> Self:
        """Read the options as people write them. Raises PlanError."""
        try:
            seconds = Duration(within)
        except PlanError as error:
            raise PlanError(f"within: {error}") from None
        if not LENGTH + WARMUP <= seconds < math.inf:
            raise PlanError(f"within={within!r}: a search takes {Duration(LENGTH + WARMUP)} or more")
        if between is None:
            return cls(seconds=float(seconds))
        try:
            low, high = between
            lowest, highest = Rate(low), Rate(high)
        except PlanError as error:
            raise PlanError(f"between: {error}") from None
        except (TypeError, ValueError):
            raise PlanError(f"between={between!r}: write two rates, such as between=('50/s', '5,000/s')") from None
        if not 0 < lowest < highest <= HIGHEST_RATE:
            raise PlanError(f"between={between!r}: write two rates above 0, the lower one first")
        return cls(float(lowest), float(highest), float(seconds), float(lowest))


def _check(objectives: Sequence[SLO], plan: Plan) -> None:
    """Refuse objectives that no rate can be judged by. Raises PlanError."""
    if not objectives:
        raise PlanError("load.capacity() needs objectives that tell whether a rate holds: slo=['p99 < 50ms']")
    for slo in objectives:
        slo.check_name(plan)
        if slo.is_relative:
            raise PlanError(f"{slo.text!r}: a search for the capacity has no baseline; write a limit")
        if slo.window:
            raise PlanError(f"{slo.text!r}: the loads of a search are too short for a window; leave out 'over …'")
        if slo.is_tally:
            raise PlanError(f"{slo.text!r}: a count means less in a longer load; write a share, such as 'errors < 1%'")
        if isinstance(slo.metric, ResponseRate):
            raise PlanError(f"{slo.text!r}: the search sets the rate; write an objective that tells whether it holds")


class CapacitySearch:
    """Carries out a search, load by load, while it has the machine."""

    def __init__(
        self,
        draft: JudgedResult,
        gate: Gate,
        bounds: Range,
        generator: Callable[[Plan], LoadGenerator],
        environment: Environment,
    ) -> None:
        """Take a result without intervals, and what makes the generator for a plan. Raises PlanError."""
        _check(gate.objectives, draft.plan)
        self._draft, self._gate, self._bounds = draft, gate, bounds
        self._generator, self._environment = generator, environment
        self._allowed_hosts: tuple[str, ...] = ()
        self._stop = Stop()
        first = _FIRST_JOURNEYS if draft.plan.journey else _FIRST_RATE
        start = min(bounds.highest, max(bounds.lowest, bounds.start or first))
        self._search = Search(start, bounds.lowest, bounds.highest)
        self._watch = Watch(draft.plan.target, draft.sent_from)
        self._trials: list[Trial] = []
        self._sent: Plan | None = None
        self._loads = 0
        self._why = ""
        self.is_invalid = False
        """Whether the generator was the limit, and so ended the search."""

    def run(self, allowed_hosts: Sequence[str] = (), stop: Stop | None = None) -> None:
        """Search until the capacity is known, or the time is up; an exception leaves what was found so far.

        Raises what the generator and the lock raise.
        """
        self._allowed_hosts, self._stop = tuple(allowed_hosts), stop or self._stop
        plan = self._draft.plan
        progress = self._environment.progress(_at(plan, 1.0, LENGTH, WARMUP), Duration(self._bounds.seconds))
        try:
            with self._environment.lock():
                if self._gate.of_latency and not self._draft.sent_from:
                    self._draft = replace(self._draft, machine_p99=self._environment.machine().p99)
                progress.started()
                with self._watch:
                    self._carry_out(progress.show)
        finally:
            progress.close()

    def _carry_out(self, show: Callable[..., object]) -> None:
        search, deadline, spoilt = self._search, clock.monotonic() + self._bounds.seconds, False
        while (rate := search.next(self._left(deadline))) is not None:
            rough = search.is_rough
            plan = self._next(_at(self._draft.plan, rate, SHORT if rough else LENGTH, 0.0 if rough else WARMUP))
            result = self._load(plan, show)
            if not result.requests:
                self._why = "the load sent no requests: its rows have run out"
                return
            trial = Trial(rate, result, rough)
            self._trials.append(trial)
            if trial.outcome == "invalid" or (result.problems and trial.outcome != "missed"):
                # It may have been a hiccup of the machine.
                if spoilt:
                    self._why, self.is_invalid = f"{result.limited_by} at {Rate(rate)}", True
                    return
                spoilt = True
                continue
            spoilt = False
            search.add(trial)
            if trial.excess >= 0 and not self._recovers(show):
                self._why = f"the service did not recover from {Rate(rate)}"
                return
        if not search.limited_by:
            over = clock.monotonic() + LENGTH + WARMUP > deadline
            self._why = f"within={Duration(self._bounds.seconds)} ended the search" if over else "the range ends there"

    def _left(self, deadline: float) -> int:
        """Give for how many loads there is time: at first for one, however little that is."""
        left = int((deadline - _PAUSE - clock.monotonic()) // (LENGTH + WARMUP))
        return left if self._trials else max(1, left)

    def _load(self, plan: Plan, show: Callable[..., object]) -> JudgedResult:
        """Carry out a load, and judge it."""
        source = One(plan, self._generator(plan), self._allowed_hosts, self._stop)
        source.look, sampled = self._watch.look, Sampled(self._watch, live=True)
        try:
            with closing(iter(source)) as coming:
                for _, interval, ended in coming:
                    sampled.add(interval, clock.monotonic() if ended is None else ended)
                    show(interval)
        except ServiceError as error:
            after = f" The load before was at {Rate(self._trials[-1].rate)}." if self._trials else ""
            raise ServiceError(f"{error}{after}") from None
        self._draft = replace(self._draft, service_unknown=self._watch.reason)
        judged = replace(self._draft, plan=plan, intervals=sampled.complete())
        return replace(judged, verdicts=tuple(judge_all(self._gate.objectives, judged)))

    def _next(self, plan: Plan) -> Plan:
        """Give a plan that takes other rows of data than the loads before it."""
        if plan.journey:
            plan = replace(plan, journey=plan.journey.shared(self._loads % _MOST_LOADS, _MOST_LOADS))
        elif self._sent:
            plan = plan.following(self._sent)
        self._sent, self._loads = plan, self._loads + 1
        return plan

    def _recovers(self, show: Callable[..., object]) -> bool:
        """Wait until the service responds as it did at the lowest rate; False where it does not."""
        before = min((trial for trial in self._search.trials if trial.excess < 0), key=_rate, default=None)
        for _ in range(_ASKED):
            clock.sleep(_PAUSE)
            self._stop.check()
            if before is None:
                return True
            rate = min(_ASKING, before.rate)
            found = self._load(self._next(_at(self._draft.plan, rate, 1.0, 0.0)), show)
            if found.requests and not found.total.unanswered and found.p50 <= _RECOVERED * before.result.p50:
                return True
        return False

    @property
    def result(self) -> JudgedResult:
        """The figures at the capacity: of the last load at the highest rate that holds, else of the lowest rate."""
        trials = self._search.trials or self._trials
        if not trials:
            return self._draft
        best = [trial for trial in trials if trial.rate == self._search.low]
        return best[-1].result if best else min(trials, key=_rate).result

    def capacity(self, unclear: Callable[[str], None]) -> Capacity:
        """Give what was found; `unclear` takes note of comparisons that are."""
        search = self._search
        steps = tuple(Step.of(trial.rate, trial.outcome, trial.result) for trial in self._trials)
        limited_by = "; ".join(filter(None, (search.limited_by, self._why)))
        return Capacity(Rate(search.low), Rate(search.high), steps, limited_by, unclear)


def _rate(trial: Trial) -> float:
    return trial.rate


def _at(plan: Plan, rate: float, seconds: float, warmup: float) -> Plan:
    """Give the plan at another rate."""
    exact = exactly(rate)
    return replace(plan, stages=(Stage(exact, exact, Duration(seconds)),), warmup=Duration(warmup))
