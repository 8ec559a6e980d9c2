"""What a test calls to load a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from pytest_loadgen import runner
from pytest_loadgen.errors import InvalidRun, LoadError, PlanError, ServiceError, SLOMissed
from pytest_loadgen.gate import Gate
from pytest_loadgen.options import Options, check, merge, plan_of
from pytest_loadgen.plan import Plan
from pytest_loadgen.result import Interval, Result, counted
from pytest_loadgen.runs import Run
from pytest_loadgen.target import absolute, join
from pytest_loadgen.verdict import JudgedResult

if TYPE_CHECKING:
    from pytest_loadgen.generators.base import LoadGenerator
    from pytest_loadgen.machine import Machine
    from pytest_loadgen.progress import Progress
    from pytest_loadgen.session import Session


@dataclass(frozen=True)
class Setting:
    """What all loads of a test session share."""

    generator: LoadGenerator
    session: Session
    defaults: Options
    allowed_hosts: tuple[str, ...]
    strict: bool
    """Whether what is unclear fails."""
    machine: Callable[[], Machine]
    """Looks at the machine, once."""
    turn: Callable[[Callable[[], None]], AbstractContextManager[None]]
    progress: Callable[[Plan], Progress | None]


class Load:
    """Loads a service and gives the result; in a test, as the fixture `load`."""

    def __init__(
        self,
        setting: Setting,
        test: str,
        marked: Sequence[Options],
        objectives: Sequence[str],
        base: Callable[[], str | None],
    ) -> None:
        """Belong to a test; base is asked for what a relative address is relative to."""
        self._setting = setting
        self._test = test
        self._marked = marked
        self._objectives = objectives
        self._base = base

    def __call__(self, url: str = "", /, **options: Unpack[Options]) -> JudgedResult:
        """Load an address (or one relative to `load_target`) and give the result.

        Options come from this call, then from the test's `load` marks, then from the profile;
        objectives from all `slo` marks and from this call. Raises PlanError or ServiceError before
        anything is sent, GeneratorError where the generator fails in mid-run, ServiceError where
        not one request got a right answer, SLOMissed where an objective is missed, and InvalidRun
        where the generator was the limit.
        """
        __tracebackhide__ = True
        try:
            return self._load(url, check(options, "load"))
        except (LoadError, SLOMissed) as error:
            # The user's line is what matters, not the way through this package.
            raise error.with_traceback(None) from None

    def _load(self, url: str, options: Options) -> JudgedResult:
        setting = self._setting
        merged = merge([options, *self._marked, setting.defaults])
        generator = setting.generator
        if (workers := merged.get("workers", 1)) != 1:
            if not isinstance(workers, int) and not all(hasattr(worker, "submit") for worker in workers):
                raise PlanError(f"workers={workers!r}: write a whole number, or a list of executors")
            from pytest_loadgen.distributed import Distributed

            generator = Distributed(generator, workers)
        plan = plan_of(url if absolute(url) else join(self._base(), url), merged)
        gate = Gate.of(merged, self._objectives)
        longer = gate.lengthened(plan)
        judging = gate.begin(plan, generator.name)
        progress = setting.progress(plan)
        intervals: list[Interval] = []

        def watch(interval: Interval) -> bool:
            intervals.append(interval)
            if progress:
                progress.show(interval)
            return judging.enough(intervals)

        try:
            with setting.turn(progress.waiting if progress else lambda: None):
                if gate.of_latency:
                    judging.floor = setting.machine().floor
                if progress:
                    progress.started()
                runner.run(longer, generator, watch, setting.allowed_hosts)
        except BaseException as error:
            if intervals or isinstance(error, KeyboardInterrupt):
                partial = Result(plan, generator.name, tuple(intervals), interrupted=True)
                setting.session.add(Run(self._test, partial))
            raise
        finally:
            if progress:
                progress.close()
        verdicts = judging.verdicts(Result(plan, generator.name, tuple(intervals)))
        result = JudgedResult(plan, generator.name, tuple(intervals), verdicts=verdicts, stretch=judging.stretch)
        setting.session.add(Run(self._test, result, verdicts))
        self._verdict(result, judging.aborted)
        return result

    def _verdict(self, result: JudgedResult, aborted: str) -> None:
        """Raise what the result is not good enough for."""
        if result.errors == result.requests:
            raise ServiceError(_nothing_right(result))
        lines = "".join(f"\n  {verdict}" for verdict in result.verdicts)
        if aborted:
            raise SLOMissed(f"{result}, given up: {aborted}{lines}")
        outcomes = {verdict.outcome for verdict in result.verdicts}
        if "missed" in outcomes or ("unclear" in outcomes and self._setting.strict):
            raise SLOMissed(f"{result}{lines}")
        if "invalid" in outcomes:
            raise InvalidRun(f"{result}{lines}")


def _nothing_right(result: Result) -> str:
    """Say what became of a load in which no request got a right answer, and what to look at."""
    plan = result.plan
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in result.outcomes.items()) or "none was made"
    said = f"{plan.target.name}: all {counted(result.requests, 'request')} failed: {kinds}."
    if any(kind.isdigit() for kind in result.outcomes):
        return f"{said} Expected was {' or '.join(plan.expect)} (expect=)."
    if "timeout" in result.outcomes:
        return f"{said} Nothing was answered within {plan.timeout} (timeout=)."
    if result.outcomes.keys() & {"closed", "protocol", "tls"}:
        return f"{said} Does {plan.target.origin} speak {plan.target.scheme}, and want no certificate (cert=)?"
    return f"{said} Is {plan.target.origin} up?"
