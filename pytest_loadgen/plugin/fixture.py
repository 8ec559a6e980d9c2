"""The `load` fixture."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, cast, overload

from pytest_loadgen.errors import InvalidRun, LoadError, PlanError, SLOMissed
from pytest_loadgen.objectives.capacity import Capacity
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.plugin.order import Order
from pytest_loadgen.records.run import Run
from pytest_loadgen.running.capacity import CONNECTIONS, CapacitySearch, Range
from pytest_loadgen.running.cross_check import Alternation, CrossCheck
from pytest_loadgen.running.event_loop import in_coroutine, in_thread
from pytest_loadgen.running.failure import raise_failure, require_baseline
from pytest_loadgen.running.measurement import Environment, measure
from pytest_loadgen.running.rounds import Rounds
from pytest_loadgen.running.side_by_side import SideBySide, compare_with_itself, describe_trust
from pytest_loadgen.running.source import One, Source
from pytest_loadgen.running.stop import Stop, Stopped
from pytest_loadgen.service.login import log_in
from pytest_loadgen.traffic.options import OneLoad, Options, check
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.request import Request, Traffic, is_list
from pytest_loadgen.traffic.target import URL
from pytest_loadgen.wording import printable

if TYPE_CHECKING:
    import pytest

    Node = pytest.Item | pytest.Collector

    from pytest_loadgen.generators.base import LoadGenerator
    from pytest_loadgen.generators.registry import Registry
    from pytest_loadgen.plugin.session import Session
    from pytest_loadgen.records.baseline_finder import BaselineFinder

T = TypeVar("T")
# What a search for the capacity sets itself.
_SET_BY_SEARCH = frozenset(
    {
        *("rate", "users", "stages", "duration", "iterations", "warmup"),
        *("max_duration", "stop_early", "abort_if", "against"),
    }
)
# How often a cross-check changes generators where nothing else is said.
_ALTERNATIONS = 2


@dataclass(frozen=True)
class Settings:
    """What all loads of a test session share."""

    registry: Registry
    session: Session
    defaults: Options
    allowed_hosts: tuple[str, ...]
    strict: bool
    """Whether unclear objectives fail."""
    require_baseline: bool
    """Whether a load that is compared, and has no baseline, fails."""
    scale: float
    """What the durations of all loads are multiplied by."""
    environment: Environment
    comparison: Callable[[], BaselineFinder | None]
    """Finds what loads are compared with, where --load-compare is given."""
    self_comparisons: int
    """How often each comparison is repeated with the service itself, to see how far it can be trusted."""


class Load:
    """Loads a service and returns the result; in a test, it is the fixture `load`."""

    def __init__(
        self,
        settings: Settings,
        ready: Callable[[pytest.Item], None],
        marked: Callable[[Node], Sequence[Options]],
        objectives: Callable[[Node], Sequence[str]],
        base: Callable[[pytest.Item], URL | None],
    ) -> None:
        """Load for the current test, or for the scope of the fixture that is being set up.

        `ready` skips a test that must not load; `marked` and `objectives` read the marks; `base` gives the base URL
        of relative addresses.
        """
        self._settings = settings
        self._ready = ready
        self._marked = marked
        self._objectives = objectives
        self._base = base
        self._began = datetime.now(UTC)

    @property
    def _item(self) -> pytest.Item:
        return self._settings.session.item

    @overload
    def __call__(
        self, traffic: Traffic = "", /, *, generator: str = ..., **options: Unpack[OneLoad]
    ) -> JudgedResult: ...

    @overload
    def __call__(
        self, traffic: Traffic = "", /, *, generator: list[str] | tuple[str, ...], **options: Unpack[OneLoad]
    ) -> CrossCheck: ...

    def __call__(self, traffic: Traffic = "", /, *others: object, **options: Any) -> JudgedResult | CrossCheck:
        """Load an address (absolute, or relative to `load_target`), a request or a list of them; return the result.

        Requests are made by `get`, `post`, … and `request`, and their data by `each`.
        Options come from this call, then from the test's `load` marks, then from the profile; objectives come
        from all `slo` marks and from this call. With a list of generators, return the result of each. Raises
        PlanError or ServiceError before anything is sent, GeneratorError where the generator fails during the
        load, ServiceError where no request succeeded, SLOMissed where an objective is missed, and InvalidRun
        where the generator was the limit.
        """
        __tracebackhide__ = True
        if in_coroutine():
            raise PlanError(
                "load() was called in a coroutine and would block its event loop: write 'await load.run(…)', or "
                "'await asyncio.to_thread(…)' around the function that calls load()"
            )
        return self._called(traffic, others, options, Stop())

    @overload
    def run(
        self, traffic: Traffic = "", /, *, generator: str = ..., **options: Unpack[OneLoad]
    ) -> Coroutine[Any, Any, JudgedResult]: ...

    @overload
    def run(
        self, traffic: Traffic = "", /, *, generator: list[str] | tuple[str, ...], **options: Unpack[OneLoad]
    ) -> Coroutine[Any, Any, CrossCheck]: ...

    def run(
        self, traffic: Traffic = "", /, *others: object, **options: Any
    ) -> Coroutine[Any, Any, JudgedResult | CrossCheck]:
        """Load a service from a coroutine, while its event loop keeps running: ``await load.run("/")``.

        Takes, returns and raises what a call does. The load runs in a thread; cancelling the task stops it.
        """
        __tracebackhide__ = True
        if not in_coroutine():
            raise PlanError("load.run() works in asyncio coroutines only: elsewhere, call load(…)")
        not_awaited = self._settings.session.not_awaited
        call = partial(self._called, traffic, others, options, stop := Stop())

        async def run() -> JudgedResult | CrossCheck:
            __tracebackhide__ = True
            not_awaited.discard(stop)
            try:
                return await in_thread(call, stop)
            except (LoadError, SLOMissed) as error:
                raise error.with_traceback(None) from None

        not_awaited.add(stop)
        return run()

    def _called(
        self, traffic: Traffic, others: Sequence[object], options: dict[str, Any], stop: Stop
    ) -> JudgedResult | CrossCheck:
        __tracebackhide__ = True

        def load(stop: Stop) -> JudgedResult | CrossCheck:
            __tracebackhide__ = True
            if others:
                raise PlanError(
                    "load() takes one address, one request, or a list of them: "
                    "load(['/a', '/b']); rows belong to a request: load(get('/items/{}', each(rows)))"
                )
            return self._load(traffic, check(options, "load"), stop)

        return self._guarded(load, stop)

    def _guarded(self, call: Callable[[Stop], T], stop: Stop) -> T:
        """Make a call of the current test; its errors point to the user's line and show no secrets."""
        __tracebackhide__ = True
        self._ready(self._item)
        self._settings.session.loaded.add(self._item.nodeid)
        self._began = datetime.now(UTC)
        try:
            return call(stop)
        except (LoadError, SLOMissed) as error:
            # A part of it may come from a service or a file.
            error.args = ("\n".join(map(printable, str(error).split("\n"))),)
            # The user's line is what matters, not the way through this package.
            raise error.with_traceback(None) from None
        except Exception as error:
            raise _without_secrets(error) from None

    def __repr__(self) -> str:
        return f"<Load of {printable(self._item.nodeid)}>"

    def from_meshery(self, path: str | os.PathLike[str]) -> tuple[str | list[Request], Options]:
        """Read the address and the options of a Meshery performance profile, or of a Service Mesh Performance test.

        Use it as ``url, options = load.from_meshery("profile.yaml")``, then ``load(url, **options)``. Where the file
        has several endpoints, there is a list of requests in place of the address. Raises PlanError where it is
        neither.
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
        if (name := options.get("generator")) and name not in self._settings.registry:
            remarks = [*remarks, f"unknown load generator {name!r}; using the default."]
            del options["generator"]
        elif name and is_list(imported.traffic) and "mix" not in self._settings.registry[name].features:
            remarks = [*remarks, f"{name} cannot send several requests; using the default load generator."]
            del options["generator"]
        for remark in remarks:
            self._settings.session.say(f"{Path(path).name}: {remark}", self._item.nodeid)
        return imported.traffic, check(options, str(path))

    def _kept(self, certificates: str) -> str:
        """Keep certificates in a file for as long as the test runs."""
        with tempfile.NamedTemporaryFile("w", prefix="pytest-loadgen-", suffix=".pem", delete=False) as file:
            file.write(certificates)
        self._item.addfinalizer(Path(file.name).unlink)
        return file.name

    def _load(self, traffic: Traffic, options: Options, stop: Stop) -> JudgedResult | CrossCheck:
        node = self._settings.session.node
        layers = [options, *self._marked(node), self._settings.defaults]
        order = Order.of(traffic, lambda: self._base(self._item), layers, self._objectives(node))
        plan = self._item.ihook.pytest_loadgen_plan(item=self._item, plan=order.plan) or order.plan
        order = replace(order, plan=plan).scaled(self._settings.scale)
        plan = order.plan
        if order.arrangement.several:
            return self._cross_check(order, stop)
        name = order.arrangement.generators[0]
        # The slices of a comparison are short enough for every generator.
        rounds = None if order.other else order.arrangement.rounds or 1
        generator = self._generator(name, order, rounds)
        longest = order.gate.lengthened(plan)
        draft, number = self._draft(order, generator)
        self._require_baseline(draft, order)
        source: Source
        if order.other:
            source = SideBySide(draft, order.other, longest, generator, self._settings.allowed_hosts, stop=stop)
        else:
            source = One(longest, generator, self._settings.allowed_hosts, stop)
        (result,) = self._measure(source, [draft], [number], order)
        self._compare_with_itself(order, result, generator, stop)
        raise_failure(result, strict=self._settings.strict)
        self._require_baseline(result, order)  # which steps a journey has is known only now
        return result

    def capacity(
        self,
        traffic: Traffic = "",
        /,
        *,
        between: tuple[float | str, float | str] | None = None,
        within: float | str = 60.0,
        **options: Unpack[OneLoad],
    ) -> Capacity:
        """Search the highest rate at which the objectives hold, by loads at one rate after another.

        Takes what a call does, but for the rate and the duration, with objectives that are not compared with a
        baseline. `between` gives the lowest and the highest rate to try, `within` the time for the search (seconds, or
        text such as "2m"). Raises what a call raises before and during a load, and ServiceError where no request
        succeeded.
        """
        __tracebackhide__ = True
        if in_coroutine():
            raise PlanError(
                "load.capacity() was called in a coroutine and would block its event loop: write "
                "'await asyncio.to_thread(load.capacity, …)'"
            )
        return self._guarded(
            lambda stop: self._capacity(
                traffic, Range.of(between, within).scaled(self._settings.scale), dict(options), stop
            ),
            Stop(),
        )

    def _capacity(self, traffic: Traffic, bounds: Range, options: dict[str, Any], stop: Stop) -> Capacity:
        __tracebackhide__ = True
        if wrong := min(_SET_BY_SEARCH & options.keys(), default=""):
            raise PlanError(
                f"load.capacity() sets {wrong} itself: leave it out, or give a range of rates with between="
            )
        node = self._settings.session.node
        # What marks and profiles say of these is for other loads.
        around = [_without(layer, _SET_BY_SEARCH) for layer in [*self._marked(node), self._settings.defaults]]
        layers = [check(options, "load.capacity"), *around, cast(Options, {"rate": 1, "connections": CONNECTIONS})]
        order = Order.of(traffic, lambda: self._base(self._item), layers, self._objectives(node))
        plan = self._item.ihook.pytest_loadgen_plan(item=self._item, plan=order.plan) or order.plan
        order = replace(order, plan=log_in(plan, self._settings.allowed_hosts))
        if order.arrangement.several:
            raise PlanError("load.capacity() takes one generator")
        name, rounds = order.arrangement.generators[0], order.arrangement.rounds or 1

        def generator(plan: Plan) -> LoadGenerator:
            # Some run whole seconds only.
            return self._generator(name, replace(order, plan=plan), min(rounds, max(1, int(plan.duration))))

        draft, number = self._draft(order, generator(order.plan))
        search = CapacitySearch(draft, order.gate, bounds, generator, self._settings.environment)
        try:
            search.run(self._settings.allowed_hosts, stop)
        except BaseException as error:
            if search.result.intervals or isinstance(error, KeyboardInterrupt | Stopped):
                self._report(search, number, interrupted=True)
            raise
        result = self._report(search, number)
        if result.all_failed:
            raise_failure(result, strict=self._settings.strict)
        return self._found(search)

    def _found(self, search: CapacitySearch) -> Capacity:
        return search.capacity(_refuse if search.is_invalid else self._unclear)

    def _report(self, search: CapacitySearch, number: int, *, interrupted: bool = False) -> JudgedResult:
        """Let the summary and the hook know of a search."""
        result = replace(search.result, interrupted=interrupted)
        run = Run(self._item.nodeid, result, number, self._began, capacity=self._found(search))
        self._settings.session.add(run)
        self._item.ihook.pytest_loadgen_finished(item=self._item, run=run)
        return result

    def _unclear(self, comparison: str) -> None:
        """Take note of a comparison that a search cannot decide. Raises SLOMissed with --load-strict."""
        __tracebackhide__ = True
        if self._settings.strict:
            raise SLOMissed(f"{comparison}\n  Unclear comparisons fail because of --load-strict.")
        self._settings.session.say(f"{comparison}.", self._item.nodeid)

    def _cross_check(self, order: Order, stop: Stop) -> CrossCheck:
        """Load with several generators in alternation, all for the same time."""
        order = replace(order, gate=replace(order.gate, max_duration=order.plan.duration, stop_early=False))
        generators = [self._generator(name, order, 1) for name in order.arrangement.generators]
        order.gate.lengthened(order.plan)
        drafts, numbers = zip(*(self._draft(order, each) for each in generators), strict=True)
        for draft in drafts:
            self._require_baseline(draft, order)
        rounds = order.arrangement.rounds or _ALTERNATIONS
        source = Alternation(order.plan, generators, rounds, self._settings.allowed_hosts, stop)
        results = self._measure(source, drafts, numbers, order)
        checked = CrossCheck({result.generator: result for result in results})
        for sentence in checked.disagreements:
            self._settings.session.say(sentence, self._item.nodeid)
        for result in results:
            raise_failure(result, strict=self._settings.strict)
        return checked

    def _generator(self, name: str, order: Order, rounds: int | None) -> LoadGenerator:
        """Give the generator of a name, shared among workers and run in rounds as the options ask."""
        generator = self._settings.registry[name]
        self._settings.registry.check(generator, order.needs)
        if (workers := order.arrangement.workers) != 1:
            from pytest_loadgen.workers.distributed import Distributed

            generator = Distributed(generator, workers)
        # A program reports its figures only at the end of a round.
        if rounds and (rounds != 1 or not generator.streams_intervals):
            return Rounds(generator, order.plan, rounds)
        return generator

    def _draft(self, order: Order, generator: LoadGenerator) -> tuple[JudgedResult, int]:
        """Give the result before the load, and the number of the load in its test.

        A load is compared with the baseline's load of the same number, whether those before it succeeded or not.
        Raises GeneratorError where the generator is missing.
        """
        number = self._settings.session.next_number()
        draft = JudgedResult(
            order.plan,
            generator.name,
            version=generator.version(),
            latency_from=generator.latency_from,
            added_latency=generator.added_latency,
            sent_from=generator.sent_from,
            not_judged=order.gate.not_judged,
        )
        if comparison := self._settings.comparison():
            draft = replace(draft, baseline=comparison.find(self._item.nodeid, number, draft))
        return draft, number

    def _require_baseline(self, result: JudgedResult, order: Order) -> None:
        """Refuse a load that lacks its baseline, if that is asked for. Raises BaselineError."""
        if self._settings.require_baseline and not order.other:
            compared = self._settings.comparison() is not None
            require_baseline(result, order.gate.objectives, compared=compared)

    def _measure(
        self, source: Source, drafts: Sequence[JudgedResult], numbers: Sequence[int], order: Order
    ) -> list[JudgedResult]:
        """Carry out the load, and let the summary and the hook know of it."""

        def report(which: int, result: JudgedResult) -> None:
            run = Run(self._item.nodeid, result, numbers[which], self._began)
            self._settings.session.add(run)
            self._item.ihook.pytest_loadgen_finished(item=self._item, run=run)

        return measure(source, drafts, order.gate, self._settings.environment, report)

    def _compare_with_itself(self, order: Order, result: JudgedResult, generator: LoadGenerator, stop: Stop) -> None:
        """Repeat the comparison with the service itself, and say how far it can be trusted."""
        objectives = [slo for slo in order.gate.objectives if slo.is_relative]
        if not (objectives and self._settings.self_comparisons):
            return
        with self._settings.environment.lock():
            found = compare_with_itself(
                result, self._settings.self_comparisons, generator, self._settings.allowed_hosts, stop
            )
        for sentence in describe_trust(objectives, found):
            self._settings.session.say(sentence, self._item.nodeid)


def _refuse(comparison: str) -> None:
    """Fail a comparison that the generator left undecided. Raises InvalidRun."""
    __tracebackhide__ = True
    raise InvalidRun(comparison)


def _without(options: Options, names: frozenset[str]) -> Options:
    return cast(Options, {name: value for name, value in options.items() if name not in names})


def _without_secrets(error: Exception) -> Exception:
    """Take from an error the frames that hold the options of the load, which pytest may show; keep their lines."""
    lines = "".join(traceback.format_tb(error.__traceback__))
    kept = None
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__", "").partition(".")[0] not in {"pytest_loadgen", "httpx", "pluggy"}:
            kept = TracebackType(kept, frame, frame.f_lasti, line)
    error.add_note(f"Raised in:\n{lines}")
    return error.with_traceback(kept)
