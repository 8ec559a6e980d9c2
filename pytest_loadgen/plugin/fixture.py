"""What a test calls to load a service."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

import pytest

from pytest_loadgen.errors import InvalidRun, LoadError, PlanError, ServiceError, SLOMissed
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.comparison import NO_BASELINE, Baseline
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.verdict import aligned
from pytest_loadgen.records.run import Run
from pytest_loadgen.running import runner
from pytest_loadgen.running.cross_check import CrossCheck, by_turns
from pytest_loadgen.running.rounds import Rounds
from pytest_loadgen.running.side_by_side import pairs, trust, with_itself
from pytest_loadgen.traffic.options import OneLoad, Options, check, is_scheduler, merge, plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import absolute, join
from pytest_loadgen.wording import counted, tally

if TYPE_CHECKING:
    from pytest_loadgen.generators.base import LoadGenerator
    from pytest_loadgen.generators.registry import Registry
    from pytest_loadgen.plugin.progress import Progress
    from pytest_loadgen.plugin.session import Session
    from pytest_loadgen.records.baseline_finder import BaselineFinder
    from pytest_loadgen.running.calibration import Machine


@dataclass(frozen=True)
class Setting:
    """What all loads of a test session share."""

    registry: Registry
    session: Session
    defaults: Options
    allowed_hosts: tuple[str, ...]
    strict: bool
    """Whether what is unclear fails."""
    machine: Callable[[], Machine]
    """Looks at the machine, once."""
    comparison: Callable[[], BaselineFinder | None]
    """What loads are compared with, where that was asked for."""
    again: int
    """How often each comparison is made of a service with itself, to see how far it can be trusted."""
    turn: Callable[[Callable[[], None]], AbstractContextManager[None]]
    progress: Callable[[Plan], Progress | None]


class Load:
    """Loads a service and gives the result; in a test, as the fixture `load`."""

    def __init__(
        self,
        setting: Setting,
        item: pytest.Item,
        marked: Sequence[Options],
        objectives: Sequence[str],
        base: Callable[[], str | None],
    ) -> None:
        """Belong to a test; base is asked for what a relative address is relative to."""
        self._setting = setting
        self._item = item
        self._marked = marked
        self._objectives = objectives
        self._base = base
        self._loads = 0
        self._began = datetime.now(UTC)

    @overload
    def __call__(self, url: str = "", /, *, generator: str = ..., **options: Unpack[OneLoad]) -> JudgedResult: ...

    @overload
    def __call__(
        self, url: str = "", /, *, generator: list[str] | tuple[str, ...], **options: Unpack[OneLoad]
    ) -> CrossCheck: ...

    def __call__(self, url: str = "", /, **options: Any) -> JudgedResult | CrossCheck:
        """Load an address (or one relative to `load_target`) and give the result.

        Options come from this call, then from the test's `load` marks, then from the profile;
        objectives from all `slo` marks and from this call. With a list of generators, give the
        result of each. Raises PlanError or ServiceError before anything is sent, GeneratorError
        where the generator fails in mid-run, ServiceError where not one request got a right answer,
        SLOMissed where an objective is missed, and InvalidRun where the generator was the limit.
        """
        __tracebackhide__ = True
        self._setting.session.loaded.add(self._item.nodeid)
        self._began = datetime.now(UTC)
        try:
            return self._load(url, check(options, "load"))
        except (LoadError, SLOMissed) as error:
            # The user's line is what matters, not the way through this package.
            raise error.with_traceback(None) from None

    def from_meshery(self, path: str | os.PathLike[str]) -> tuple[str, Options]:
        """Read a performance profile of Meshery, or a test of Service Mesh Performance: its address, and options.

        To be called as ``url, options = load.from_meshery("profile.yaml")``, then ``load(url, **options)``.
        Raises PlanError where the file is neither.
        """
        from pytest_loadgen.traffic import meshery

        __tracebackhide__ = True
        try:
            imported = meshery.read(Path(path).absolute())
        except PlanError as error:
            raise error.with_traceback(None) from None
        options, remarks = imported.options, imported.remarks
        if imported.authority:
            options["verify"] = self._kept(imported.authority)
        if (name := options.get("generator")) and name not in self._setting.registry:
            remarks = [*remarks, f"its load generator {name!r} is not known here, and the usual one is taken."]
            del options["generator"]
        for remark in remarks:
            self._setting.session.say(f"{self._item.nodeid}: {Path(path).name}: {remark}")
        return imported.url, check(options, str(path))

    def _kept(self, certificates: str) -> str:
        """Keep certificates in a file for as long as the test runs."""
        with tempfile.NamedTemporaryFile("w", prefix="pytest-loadgen-", suffix=".pem", delete=False) as file:
            file.write(certificates)
        self._item.addfinalizer(Path(file.name).unlink)
        return file.name

    def _load(self, url: str, options: Options) -> JudgedResult | CrossCheck:
        merged = merge([options, *self._marked, self._setting.defaults])
        plan = plan_of(url if absolute(url) else join(self._base(), url), merged)
        plan = self._item.ihook.pytest_loadgen_plan(item=self._item, plan=plan) or plan
        gate = Gate.of(merged, self._objectives)
        chosen = merged.get("generator", "embedded")
        if (against := merged.get("against")) is not None:
            if not isinstance(chosen, str):
                raise PlanError("against= compares two services by one generator: give one name")
            other = plan_of(_elsewhere(url, against), merged)
            return self._side_by_side(plan, other, gate, self._generator(chosen, plan, merged, rounds=False))
        if isinstance(chosen, str):
            return self._judged(plan, gate, self._generator(chosen, plan, merged))
        return self._cross_checked(plan, gate, _several(chosen), merged)

    def _generator(self, name: str, plan: Plan, options: Options, *, rounds: bool = True) -> LoadGenerator:
        """Give the generator of a name, with what the options put around it."""
        generator = self._setting.registry[name]
        self._setting.registry.check(generator, plan)
        if (workers := options.get("workers", 1)) != 1:
            if not (isinstance(workers, int) or is_scheduler(workers) or _are_executors(workers)):
                raise PlanError(
                    f"workers={workers!r}: write a whole number, a list of executors, "
                    "or the address of a Dask scheduler ('tcp://10.0.0.5:8786')"
                )
            from pytest_loadgen.workers.distributed import Distributed

            generator = Distributed(generator, workers)
        # In rounds where that is asked for, or else intervals would come at its end only.
        count = options.get("rounds", 1)
        return (
            Rounds(generator, plan, count) if rounds and (count != 1 or not generator.streams_intervals) else generator
        )

    def _judged(self, plan: Plan, gate: Gate, generator: LoadGenerator) -> JudgedResult:
        """Load, judge, tell of it, and raise what the result is not good enough for."""
        setting = self._setting
        longer = gate.lengthened(plan)
        number = self._numbered()
        blank = self._blank(plan, generator, number)
        judging = gate.begin(blank)
        progress = setting.progress(plan)
        intervals: list[Interval] = []

        def watch(interval: Interval) -> bool:
            intervals.append(interval)
            if progress:
                progress.show(interval)
            return judging.enough(intervals)

        try:
            with setting.turn(progress.waiting if progress else lambda: None):
                if gate.of_latency and not generator.remote:
                    judging.blank = replace(judging.blank, machine_p99=setting.machine().p99)
                if progress:
                    progress.started()
                runner.run(longer, generator, watch, setting.allowed_hosts)
        except BaseException as error:
            if intervals or isinstance(error, KeyboardInterrupt):
                self._tell(replace(blank, intervals=tuple(intervals), interrupted=True), number)
            raise
        finally:
            if progress:
                progress.close()
        result = judging.judged(intervals)
        self._tell(result, number)
        self._compare_with_itself(gate, result, generator)
        self._verdict(result)
        return result

    def _cross_checked(self, plan: Plan, gate: Gate, names: Sequence[str], options: Options) -> CrossCheck:
        """Load with several generators by turns, and judge each; none goes on longer than another."""
        setting = self._setting
        rounds = options.get("rounds", 2)
        generators = [self._generator(name, plan, {**options, "rounds": 1}) for name in names]
        gate = replace(gate, max_duration=plan.duration, stop_early=False)
        gate.lengthened(plan)
        numbers = [self._numbered() for _ in generators]
        blanks = [self._blank(plan, *each) for each in zip(generators, numbers, strict=True)]
        judgings = [gate.begin(blank) for blank in blanks]
        found: list[list[Interval]] = [[] for _ in generators]
        try:
            with setting.turn(lambda: None):
                for generator, judging in zip(generators, judgings, strict=True):
                    if gate.of_latency and not generator.remote:
                        judging.blank = replace(judging.blank, machine_p99=setting.machine().p99)
                for number, interval in by_turns(plan, generators, rounds, setting.allowed_hosts):
                    found[number].append(interval)
        except BaseException as error:
            for number, blank, intervals in zip(numbers, blanks, found, strict=True):
                if intervals or isinstance(error, KeyboardInterrupt):
                    self._tell(replace(blank, intervals=tuple(intervals), interrupted=True), number)
            raise
        results = [judging.judged(intervals) for judging, intervals in zip(judgings, found, strict=True)]
        checked = CrossCheck({result.generator: result for result in results})
        for number, result in zip(numbers, results, strict=True):
            self._tell(result, number)
        for sentence in checked.disagreements:
            setting.session.say(f"{self._item.nodeid}: {sentence}")
        for result in results:
            self._verdict(result)
        return checked

    def _side_by_side(self, plan: Plan, other: Plan, gate: Gate, generator: LoadGenerator) -> JudgedResult:
        """Load two services by turns, and judge the one with the other as its baseline."""
        setting = self._setting
        longer = gate.lengthened(plan)
        number = self._numbered()
        blank = self._blank(plan, generator, number)
        judging = gate.begin(blank)
        mine: list[Interval] = []
        theirs: list[Interval] = []

        def compared() -> Baseline:
            return Baseline(replace(blank, plan=other, intervals=tuple(theirs), baseline=NO_BASELINE), paired=True)

        progress = setting.progress(plan)
        try:
            with setting.turn(progress.waiting if progress else lambda: None):
                if progress:
                    progress.started()
                for one, of_other in pairs(plan, longer, other.target, generator, setting.allowed_hosts):
                    mine.append(one)
                    theirs.append(of_other)
                    if progress:
                        progress.show(one)
                    judging.blank = replace(blank, baseline=compared())
                    if judging.enough(mine):
                        break
        except BaseException as error:
            if mine or isinstance(error, KeyboardInterrupt):
                self._tell(replace(blank, intervals=tuple(mine), baseline=compared(), interrupted=True), number)
            raise
        finally:
            if progress:
                progress.close()
        result = judging.judged(mine)
        self._tell(result, number)
        self._compare_with_itself(gate, result, generator)
        self._verdict(result)
        return result

    def _compare_with_itself(self, gate: Gate, result: JudgedResult, generator: LoadGenerator) -> None:
        """Make the comparison again, of the service with itself, and say how far it can be trusted."""
        objectives = [slo for slo in gate.objectives if slo.is_relative]
        if not (objectives and self._setting.again):
            return
        with self._setting.turn(lambda: None):
            hosts = self._setting.allowed_hosts
            found = [with_itself(result, generator, hosts) for _ in range(self._setting.again)]
        for sentence in trust(objectives, found):
            self._setting.session.say(f"{self._item.nodeid}: {sentence}")

    def _numbered(self) -> int:
        """Count a load, whatever becomes of it: it is compared with that of the same number."""
        self._loads += 1
        return self._loads - 1

    def _blank(self, plan: Plan, generator: LoadGenerator, number: int) -> JudgedResult:
        """Give the result before the load. Raises GeneratorError where the generator is not there."""
        blank = JudgedResult(
            plan,
            generator.name,
            version=generator.version(),
            latency_from=generator.latency_from,
            added_latency=generator.added_latency,
            sent_from=generator.sent_from,
        )
        if comparison := self._setting.comparison():
            blank = replace(blank, baseline=comparison.find(self._item.nodeid, number, blank))
        return blank

    def _tell(self, result: JudgedResult, number: int) -> None:
        """Let the summary and the hook know of a load."""
        run = Run(self._item.nodeid, result, number, self._began)
        self._setting.session.add(run)
        self._item.ihook.pytest_loadgen_finished(item=self._item, run=run)

    def _verdict(self, result: JudgedResult) -> None:
        """Raise what the result is not good enough for."""
        for each in filter(None, (result, result.against)):
            if each.all_failed:
                raise ServiceError(_nothing_right(each))
        lines = "".join(f"\n  {line}" for line in aligned(result.verdicts))
        if result.abort_reason:
            raise SLOMissed(f"{result}, given up: {result.abort_reason}{lines}")
        outcomes = {verdict.outcome for verdict in result.verdicts}
        if "missed" in outcomes:
            raise SLOMissed(f"{result}{lines}")
        if "invalid" in outcomes:
            of_baseline = result.baseline.result.problems if result.baseline.result else []
            raise InvalidRun(f"{result}{lines}\n  {' '.join([*result.problems, *of_baseline])}")
        if "unclear" in outcomes and self._setting.strict:
            raise SLOMissed(f"{result}{lines}\n  What is unclear fails, as --load-strict asks for.")


def _several(names: object) -> Sequence[str]:
    if not isinstance(names, (list, tuple)) or not names or len({str(name) for name in names}) < len(names):
        raise PlanError(f"generator={names!r}: write a name, or a list of different names")
    return names


def _are_executors(workers: object) -> bool:
    return isinstance(workers, (list, tuple)) and all(hasattr(worker, "submit") for worker in workers)


def _elsewhere(url: str, against: object) -> str:
    """Give the address of the same request at another service."""
    if not isinstance(against, str) or not absolute(against):
        raise PlanError(f"against={against!r}: write the address of the other service ('http://old:8000')")
    path = "/".join(url.split("/", 3)[3:]) if absolute(url) else url
    return join(against, path)


def _nothing_right(result: Result) -> str:
    """Say what became of a load in which no request got a right answer, and what to look at."""
    plan = result.plan
    kinds = tally(result.outcomes) or "none was made"
    said = f"{plan.target.name}: all {counted(result.requests, 'request')} failed: {kinds}."
    if result.abort_reason:
        said += f" It was given up: {result.abort_reason}."
    if any(is_answer(kind) for kind in result.outcomes):
        return f"{said} Expected was {' or '.join(plan.expect)} (expect=)."
    if "timeout" in result.outcomes:
        return f"{said} Nothing was answered within {plan.timeout} (timeout=)."
    if result.outcomes.keys() & {"closed", "protocol", "tls"}:
        return f"{said} Does {plan.target.origin} speak {plan.target.scheme}, and want no certificate (cert=)?"
    return f"{said} Is {plan.target.origin} up?"
