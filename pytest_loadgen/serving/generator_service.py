"""What loadgen.proto promises, kept by the load generators of this machine."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import grpc

from pytest_loadgen.errors import LoadError, PlanError, ServiceError
from pytest_loadgen.generators import loadgen_pb2 as pb
from pytest_loadgen.generators import messages
from pytest_loadgen.generators.base import Intervals, LoadGenerator, check
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.redaction import redact
from pytest_loadgen.service import reachability as service
from pytest_loadgen.serving.queue import Full, Line
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import counted, did_you_mean, tally

LOG = logging.getLogger("pytest_loadgen.serve")
"""Where each load is told of."""

# For how long a load may stand in line, and wait for its service, and when its parts may start, in seconds.
_LONGEST_WAIT = 3600.0
_LONGEST_READY = 60.0
_LONGEST_DELAY = 60.0
# How many calls may stand in line: fewer than the server takes, so that others may still ask what there is.
_MOST_WAITING = 32
# How much longer than its plan says a load may take, in seconds.
_GRACE = 10.0
_SHOWN = 1000
_LOGGED = 500
_NAME = 100


class Refusal(Exception):  # noqa: N818  # no error of this machine's
    """Why a call does not end well, as gRPC and people call it."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        """Take both."""
        super().__init__(sentence)
        self.code = code

    @classmethod
    def of(cls, error: LoadError) -> Refusal:
        """Make one of what went wrong here."""
        if isinstance(error, service.NotAllowedError):
            allow = f"If it is yours, allow it where the generator is lent: serve --allowed-hosts {error.host}"
            return cls(grpc.StatusCode.PERMISSION_DENIED, f"{error.found}. {allow}")
        for kind, code in _CODES.items():
            if isinstance(error, kind):
                return cls(code, str(error))
        return cls(grpc.StatusCode.INTERNAL, str(error))


_CODES = {
    PlanError: grpc.StatusCode.INVALID_ARGUMENT,
    ServiceError: grpc.StatusCode.FAILED_PRECONDITION,
}


@dataclass
class _Call:
    """One load, as it is told of in the log."""

    who: str
    generator: str
    plan: Plan | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    ended: str = "ended by the caller"

    def __str__(self) -> str:
        told = [f"{self.who}: {self.generator}"]
        if self.plan:
            told += [f"{_stages(self.plan)}, {self.plan.target.method} {self.plan.target.origin}"]
        if total := self.outcomes.total():
            kinds = tally(dict(self.outcomes.most_common()))
            told += [f"{counted(total, 'request')} ({kinds})"]
        line = " ".join("; ".join(told).split())[:_LOGGED]
        ended = " ".join(self.ended.split())[:_LOGGED]
        return "".join(filter(str.isprintable, f"{line}; {ended}"))


class Lender:
    """Lends the generators of a registry: one load at a time, the others wait in turn."""

    def __init__(self, registry: Registry, allowed_hosts: Sequence[str] = (), wait: float = _LONGEST_WAIT) -> None:
        """Take those that are here; hosts and sockets that may be loaded; and for how long a load may wait."""
        here = [generator for generator in registry if not generator.remote]
        # The first is what callers get who name none.
        here.sort(key=lambda generator: generator.name != "embedded")
        self._generators = {generator.name: generator for generator in here}
        self._registry = registry
        self._allowed = tuple(allowed_hosts)
        self._wait = wait
        self._line = Line(_MOST_WAITING)
        self._draining = threading.Event()
        self._over = 0.0

    @property
    def names(self) -> list[str]:
        """The names of the generators, the first of them first."""
        return list(self._generators)

    def describe(self, request: pb.DescribeRequest, context: grpc.ServicerContext) -> pb.Description:
        """Say what a generator is."""
        try:
            return messages.Description.of(self._named(request.generator), self.names).message()
        except LoadError as error:
            _abort(context, Refusal.of(error))
        except Refusal as refusal:
            _abort(context, refusal)

    def run(self, request: pb.Plan, context: grpc.ServicerContext) -> Iterator[pb.Interval]:
        """Carry out a plan."""
        call = _Call(_caller(context), request.generator[:_NAME] or self.names[0])
        try:
            yield from self._run(call, request, context)
            call.ended = "done" if context.is_active() else call.ended
        except LoadError as error:
            self._refuse(call, Refusal.of(error), context)
        except Refusal as refusal:
            self._refuse(call, refusal, context)
        except Exception as error:
            if context.is_active():
                LOG.error("%s", _without_secrets(traceback.format_exc(), call.plan))
                sentence = f"this should not have happened ({type(error).__name__})"
                self._refuse(call, Refusal(grpc.StatusCode.INTERNAL, sentence), context)
        finally:
            LOG.info("%s", call)

    def drain(self) -> float:
        """Take no more loads, and tell how long the one that is under way may take, in seconds."""
        self._draining.set()
        self._line.look()
        return max(0.0, self._over - time.monotonic())

    def _run(self, call: _Call, request: pb.Plan, context: grpc.ServicerContext) -> Iterator[pb.Interval]:
        generator = self._named(request.generator)
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="pytest-loadgen-"))
            call.plan = plan = self._checked(generator, messages.read_plan(request, Path(folder)))
            stack.enter_context(self._turn(plan, context))
            self._over = time.monotonic() + _longest(plan)
            running = generator.run(plan)
            stack.callback(_close, running)
            if not context.add_callback(_closer(running)):
                return  # gone already
            for interval in running:
                call.outcomes.update(interval.outcomes)
                yield messages.write_interval(interval)

    def _named(self, name: str) -> LoadGenerator:
        try:
            return self._generators[name or self.names[0]]
        except KeyError:
            # The caller reads it at another machine.
            name, known = name[:_NAME], did_you_mean(name[:_NAME], self._generators)
            sentence = f"there is no load generator {name!r} at that machine: {known}"
            raise Refusal(grpc.StatusCode.NOT_FOUND, sentence) from None

    def _checked(self, generator: LoadGenerator, plan: Plan) -> Plan:
        """Refuse what cannot be loaded, or not by this generator; give the plan with the address of its service."""
        check(generator, plan, self._registry)
        target = plan.target
        if plan.start_at is not None and (delay := plan.start_at - time.time()) > _LONGEST_DELAY:
            raise PlanError(f"the load is to start in {Duration(delay)}: do the clocks of both machines agree?")
        if target.unix and not any(fnmatch(target.host, pattern) for pattern in self._allowed):
            # Who is let in there may be anybody on this machine, and not the caller.
            sentence = f"{target.host} is a socket that is not lent; if it may be loaded: serve --allowed-hosts"
            raise Refusal(grpc.StatusCode.PERMISSION_DENIED, f"{sentence} {target.host}")
        ready = min(float(plan.ready_timeout), _LONGEST_READY)
        return replace(plan, target=service.find(target, ready, self._allowed))

    @contextmanager
    def _turn(self, plan: Plan, context: grpc.ServicerContext) -> Iterator[None]:
        """Wait until those before have ended. Raises Refusal."""
        parts = (plan.start_at, plan.seed, plan.parts) if plan.parts > 1 and plan.start_at else object()

        def gone() -> bool:
            return self._draining.is_set() or not context.is_active()

        context.add_callback(self._line.look)
        try:
            with self._line.turn(parts, self._wait, gone) as has_it:
                if not has_it and gone():
                    raise Refusal(grpc.StatusCode.UNAVAILABLE, "this machine takes no more loads, as it is going down")
                if not has_it:
                    sentence = f"other loads had this machine for {Duration(self._wait)}, and this one waited in vain"
                    raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence)
                yield
        except Full:
            sentence = f"{self._line.most} loads wait for this machine already"
            raise Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, sentence) from None

    def _refuse(self, call: _Call, refusal: Refusal, context: grpc.ServicerContext) -> NoReturn:
        text = _without_secrets(str(refusal), call.plan)
        sentence, traced, _ = text.partition("\nTraceback ")
        if traced:
            LOG.error("%s", text)
        if context.is_active():
            call.ended = sentence
        _abort(context, Refusal(refusal.code, sentence))


def _abort(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    context.abort(refusal.code, str(refusal)[:_SHOWN])


def _caller(context: grpc.ServicerContext) -> str:
    """Tell where a call comes from, and what its certificate says."""
    names = ", ".join(name.decode(errors="replace") for name in context.peer_identities() or ())
    return f"{context.peer()} ({names})" if names else context.peer()


def _stages(plan: Plan) -> str:
    """Show its stages; where its rate is always the same as one, however often the plan was lengthened."""
    return str(replace(plan, stages=(replace(plan.stages[0], seconds=plan.duration),)) if plan.steady else plan)


def _longest(plan: Plan) -> float:
    """Tell how long a load may take, in seconds."""
    delay = max(0.0, plan.start_at - time.time()) if plan.start_at else 0.0
    return delay + plan.warmup + plan.duration + 2 * plan.timeout + _GRACE


def _closer(running: Intervals) -> Callable[[], None]:
    """Give what closes a load when its caller is gone, without keeping gRPC waiting."""
    return lambda: threading.Thread(target=_close, args=(running,), daemon=True).start()


def _close(running: Intervals) -> None:
    with suppress(ValueError):  # a generator function's, that is in another thread just now
        running.close()


def _without_secrets(text: str, plan: Plan | None) -> str:
    return redact(text, plan.target.secrets) if plan else text
