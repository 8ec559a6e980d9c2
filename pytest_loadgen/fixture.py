"""What a test calls to load a service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from pytest_loadgen import runner
from pytest_loadgen.errors import LoadError, ServiceError
from pytest_loadgen.options import Options, check, merge, plan_of
from pytest_loadgen.plan import Plan
from pytest_loadgen.result import Interval, Result, counted
from pytest_loadgen.runs import Run
from pytest_loadgen.target import absolute, join

if TYPE_CHECKING:
    from pytest_loadgen.generators.base import LoadGenerator
    from pytest_loadgen.progress import Progress
    from pytest_loadgen.session import Session


@dataclass(frozen=True)
class Setting:
    """What all loads of a test session share."""

    generator: LoadGenerator
    session: Session
    defaults: Options
    allowed_hosts: tuple[str, ...]
    turn: Callable[[Callable[[], None]], AbstractContextManager[None]]
    progress: Callable[[Plan], Progress | None]


class Load:
    """Loads a service and gives the result; in a test, as the fixture `load`."""

    def __init__(self, setting: Setting, test: str, marked: Sequence[Options], base: Callable[[], str | None]) -> None:
        """Belong to a test; base is asked for what a relative address is relative to."""
        self._setting = setting
        self._test = test
        self._marked = marked
        self._base = base

    def __call__(self, url: str = "", /, **options: Unpack[Options]) -> Result:
        """Load an address (or one relative to `load_target`) and give the result.

        Options come from this call, then from the test's `load` marks, then from the profile.
        Raises PlanError or ServiceError before anything is sent, GeneratorError where the
        generator fails in mid-run, ServiceError where not one request got a right answer.
        """
        __tracebackhide__ = True
        try:
            return self._load(url, check(options, "load"))
        except LoadError as error:
            # The user's line is what matters, not the way through this package.
            raise error.with_traceback(None) from None

    def _load(self, url: str, options: Options) -> Result:
        setting = self._setting
        merged = merge([options, *self._marked, setting.defaults])
        generator = setting.generator
        if (workers := merged.get("workers", 1)) != 1:
            from pytest_loadgen.distributed import Distributed

            generator = Distributed(generator, workers)
        plan = plan_of(url if absolute(url) else join(self._base(), url), merged)
        progress = setting.progress(plan)
        intervals: list[Interval] = []

        def watch(interval: Interval) -> None:
            intervals.append(interval)
            if progress:
                progress.show(interval)

        try:
            with setting.turn(progress.waiting if progress else lambda: None):
                if progress:
                    progress.started()
                result = runner.run(plan, generator, watch, setting.allowed_hosts)
        except BaseException as error:
            if intervals or isinstance(error, KeyboardInterrupt):
                partial = Result(plan, generator.name, tuple(intervals), interrupted=True)
                setting.session.add(Run(self._test, partial))
            raise
        finally:
            if progress:
                progress.close()
        setting.session.add(Run(self._test, result))
        if result.errors == result.requests:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in result.outcomes.items()) or "none was made"
            raise ServiceError(
                f"all {counted(result.requests, 'request')} failed: {kinds}. Is {plan.target.origin} up?"
            )
        return result
