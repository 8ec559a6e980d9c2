"""The gRPC service of loadgen.proto, with the load generators of this machine."""

from __future__ import annotations

import glob
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import grpc

from pytest_loadgen import clock
from pytest_loadgen.errors import LoadError, PlanError, ServiceError
from pytest_loadgen.generators import loadgen_pb2 as pb
from pytest_loadgen.generators import messages
from pytest_loadgen.generators.base import Intervals, LoadGenerator, check
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.redaction import redact
from pytest_loadgen.service.reachability import find
from pytest_loadgen.serving.log import LOG, LogEntry, printable
from pytest_loadgen.serving.queue import LoadQueue, QueueFull
from pytest_loadgen.traffic.hosts import NotAllowedError
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import counted, did_you_mean

# How long a load may wait in the queue and for its service, and how far ahead it may start, in seconds.
_QUEUE_TIMEOUT = 3600.0
_MAX_READY_TIMEOUT = 60.0
_MAX_START_DELAY = 60.0
# How many calls may wait: fewer than the server has threads, so that Describe still works.
_MAX_WAITING = 32
# How much longer than its plan a load may take, in seconds.
_GRACE = 10.0
# How much of a message and of a name is shown, in characters.
_MAX_MESSAGE = 1000
_MAX_NAME = 100


class StatusError(Exception):
    """A call fails with this gRPC status and this message."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        """Take a code other than OK."""
        super().__init__(message)
        self.code = code

    @classmethod
    def of(cls, error: LoadError) -> StatusError:
        """Choose the code for an error."""
        if isinstance(error, NotAllowedError):
            hint = f"If it is yours, allow it on the generator's machine: serve --allowed-hosts {error.host}"
            return cls(grpc.StatusCode.PERMISSION_DENIED, f"{error.reason}. {hint}")
        for kind, code in _CODES.items():
            if isinstance(error, kind):
                return cls(code, str(error))
        return cls(grpc.StatusCode.INTERNAL, str(error))


_CODES = {
    PlanError: grpc.StatusCode.INVALID_ARGUMENT,
    ServiceError: grpc.StatusCode.FAILED_PRECONDITION,
}


class GeneratorService:
    """Runs the generators of a registry for clients: one load at a time, in order of arrival."""

    def __init__(
        self,
        registry: Registry,
        allowed_hosts: Sequence[str] = (),
        queue_timeout: float = _QUEUE_TIMEOUT,
        max_waiting: int = _MAX_WAITING,
    ) -> None:
        """Offer the generators that run on this machine; hosts and unix sockets are allowed by name or pattern."""
        local = [generator for generator in registry if not generator.remote]
        # The first is the default.
        local.sort(key=lambda generator: generator.name != "embedded")
        self._generators = {generator.name: generator for generator in local}
        self._registry = registry
        self._allowed = tuple(allowed_hosts)
        self._queue_timeout = queue_timeout
        self._queue = LoadQueue(max_waiting)
        self._draining = threading.Event()
        self._deadline = 0.0

    @property
    def names(self) -> list[str]:
        """The names of the generators, the default first."""
        return list(self._generators)

    def describe(self, request: pb.DescribeRequest, context: grpc.ServicerContext) -> pb.Description:
        """Describe a generator."""
        try:
            return messages.Description.of(self._named(request.generator), self.names).message()
        except LoadError as error:
            _abort(context, StatusError.of(error))
        except StatusError as error:
            _abort(context, error)

    def run(self, request: pb.Plan, context: grpc.ServicerContext) -> Iterator[pb.Interval]:
        """Run a plan."""
        entry = LogEntry(_client(context), request.generator[:_MAX_NAME] or self.names[0])
        try:
            yield from self._run(entry, request, context)
            entry.ended = "done" if context.is_active() else entry.ended
        except LoadError as error:
            self._fail(entry, StatusError.of(error), context)
        except StatusError as error:
            self._fail(entry, error, context)
        except Exception as error:
            if context.is_active():
                LOG.error("%s", printable(_without_secrets(traceback.format_exc(), entry.plan)))
                message = f"internal error (please report): {type(error).__name__}"
                self._fail(entry, StatusError(grpc.StatusCode.INTERNAL, message), context)
        finally:
            LOG.info("%s", entry)

    def drain(self) -> float:
        """Take no more loads; return how long the current one may still take, in seconds."""
        self._draining.set()
        self._queue.wake()
        return max(0.0, self._deadline - clock.monotonic())

    def _run(self, entry: LogEntry, request: pb.Plan, context: grpc.ServicerContext) -> Iterator[pb.Interval]:
        generator = self._named(request.generator)
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="pytest-loadgen-"))
            entry.plan = plan = self._checked(generator, messages.read_plan(request, Path(folder)))
            stack.enter_context(self._turn(plan, context))
            self._deadline = clock.monotonic() + _max_duration(plan)
            running = generator.run(plan)
            stack.callback(_close, running)
            if not context.add_callback(_closer(running)):
                return  # the client is gone already
            for interval in running:
                entry.outcomes.update(interval.outcomes)
                yield messages.write_interval(interval)

    def _named(self, name: str) -> LoadGenerator:
        try:
            return self._generators[name or self.names[0]]
        except KeyError:
            # The message is read on another machine.
            name, hint = name[:_MAX_NAME], did_you_mean(name[:_MAX_NAME], self._generators)
            message = f"there is no load generator {name!r} on that machine: {hint}"
            raise StatusError(grpc.StatusCode.NOT_FOUND, message) from None

    def _checked(self, generator: LoadGenerator, plan: Plan) -> Plan:
        """Return the plan with the address of its service. Raises LoadError or StatusError."""
        check(generator, plan.needs, self._registry)
        target = plan.target
        if plan.start_at is not None and (delay := plan.start_at - clock.wall()) > _MAX_START_DELAY:
            raise PlanError(f"the load would start in {Duration(delay)}: do the clocks of both machines agree?")
        if target.unix:
            # The service behind it may trust whoever is on this machine, which the client is not.
            if not (path := allowed_socket(target.host, self._allowed)):
                message = f"{target.host} is a unix socket that may not be loaded; to allow it: serve --allowed-hosts"
                raise StatusError(grpc.StatusCode.PERMISSION_DENIED, f"{message} {target.host}")
            target = replace(target, host=path)
        ready_timeout = min(float(plan.ready_timeout), _MAX_READY_TIMEOUT)
        return replace(plan, target=find(target, ready_timeout, self._allowed))

    @contextmanager
    def _turn(self, plan: Plan, context: grpc.ServicerContext) -> Iterator[None]:
        """Wait until the loads before this one have ended. Raises StatusError."""
        # A load that is not split equals no other.
        load = (plan.start_at, plan.seed, plan.parts) if plan.parts > 1 and plan.start_at else object()

        def cancelled() -> bool:
            return self._draining.is_set() or not context.is_active()

        context.add_callback(self._queue.wake)
        try:
            with self._queue.wait_for_turn(load, self._queue_timeout, cancelled) as is_first:
                if not is_first and cancelled():
                    raise StatusError(grpc.StatusCode.UNAVAILABLE, "it is shutting down and takes no more loads")
                if not is_first:
                    message = f"timed out after {Duration(self._queue_timeout)} waiting for other loads"
                    raise StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
                yield
        except QueueFull:
            message = f"{counted(self._queue.max_waiting, 'load')} are waiting already"
            raise StatusError(grpc.StatusCode.RESOURCE_EXHAUSTED, message) from None

    def _fail(self, entry: LogEntry, error: StatusError, context: grpc.ServicerContext) -> NoReturn:
        text = _without_secrets(str(error), entry.plan)
        message, has_traceback, _ = text.partition("\nTraceback ")
        if has_traceback:
            LOG.error("%s", printable(text))
        if context.is_active():
            entry.ended = message
        _abort(context, StatusError(error.code, message))


def allowed_socket(path: str, patterns: Iterable[str]) -> str:
    """Return where a unix socket really is, if one of the patterns that are paths matches that; else nothing.

    Neither ``..`` nor a symbolic link leads out of what a pattern names, and ``*`` does not go beyond a folder.
    """
    real = os.path.realpath(path)
    found = Path(real).parts
    for pattern in patterns:
        if not (path.startswith("/") and "/" in pattern):
            continue  # it is about hosts
        wanted = Path(pattern).parts
        if pattern.startswith("/"):
            # The pattern, too, may go through a symbolic link, such as /var/run.
            literal = list(takewhile(lambda part: not set("*?[") & set(part), wanted))
            start = map(glob.escape, Path(os.path.realpath(Path(*literal))).parts)
            wanted = (*start, *wanted[len(literal) :])
            if len(found) != len(wanted):
                continue
        if all(map(fnmatchcase, found[-len(wanted) :], wanted)):
            return real
    return ""


def _abort(context: grpc.ServicerContext, error: StatusError) -> NoReturn:
    context.abort(error.code, str(error)[:_MAX_MESSAGE])


def _client(context: grpc.ServicerContext) -> str:
    """Return a client's address, and the names in its certificate."""
    names = ", ".join(name.decode(errors="replace") for name in context.peer_identities() or ())
    return f"{context.peer()} ({names})" if names else context.peer()


def _max_duration(plan: Plan) -> float:
    """Return how long a load may take, in seconds."""
    delay = max(0.0, plan.start_at - clock.wall()) if plan.start_at else 0.0
    return delay + plan.warmup + plan.duration + 2 * plan.timeout + _GRACE


def _closer(running: Intervals) -> Callable[[], None]:
    """Return a callback that closes a load whose client is gone, without blocking gRPC."""
    return lambda: threading.Thread(target=_close, args=(running,), daemon=True).start()


def _close(running: Intervals) -> None:
    with suppress(ValueError):  # a generator function's, and another thread is in it
        running.close()


def _without_secrets(text: str, plan: Plan | None) -> str:
    return redact(text, plan.secrets) if plan else text
