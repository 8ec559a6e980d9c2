"""A load generator on another machine, or in another language, over gRPC."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from types import UnionType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pytest_loadgen.errors import GeneratorError, LoadError, PlanError, ServiceError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import LatencyFrom
from pytest_loadgen.generators.base import LoadGenerator, Running
from pytest_loadgen.generators.channel import (
    DEFAULT_PORT,
    DESCRIBE_TIMEOUT,
    SERVICE,
    Call,
    CallError,
    Channel,
    host_and_port,
)
from pytest_loadgen.redaction import redact, without_password
from pytest_loadgen.traffic.plan import FEATURES, HIGHEST_RATE, Plan
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import one_line

if TYPE_CHECKING:
    from pytest_loadgen.generators.messages import Description

SCHEME = "remote://"
"""The scheme of an address that is used as a generator's name."""

_TOKEN_ENV = "LOADGEN_TOKEN"  # noqa: S105  # the name of a variable
# The status codes that do not mean that the generator failed.
_ERRORS: Mapping[str, type[LoadError]] = {
    "INVALID_ARGUMENT": PlanError,
    "NOT_FOUND": PlanError,
    "PERMISSION_DENIED": ServiceError,
    "FAILED_PRECONDITION": ServiceError,
}
# How much longer than its plan a load may take, mostly in the server's queue, in seconds.
_QUEUE_TIMEOUT = 4000.0
_MAX_MESSAGE = 1000
# How much intervals may overlap, and how long after its last timeout a load may continue, in seconds;
# and how many cores a container's limit may throttle at once.
_MAX_OVERLAP = 0.5
_SHUTDOWN_TIME = 10.0
_MAX_CORES = 1000
# How many intervals there may be in a second.
_MAX_INTERVALS = 20
# How many of the planned requests may be missing because a program rounds: a share and a number. A program that
# reports at its end only may also miss those that were due in the last moment before, in seconds.
_MAX_MISSING = 0.05, 2
_LAST_MOMENT = 0.05
# From which lag on a missing request is explained by the generator's own lateness, in seconds.
_LATE = 0.010


class Remote(LoadGenerator):
    """A generator of ``python -m pytest_loadgen serve``, or of any other server that implements loadgen.proto.

    The service's name is resolved, and the load is sent, on the server's machine. Closing a load cancels it, and
    it stops there within a second. The interface cannot finish a load gracefully: if it ends early, requests
    that are still in flight are not reported.
    """

    name = "remote"
    remote = True
    settings: Mapping[str, type | UnionType] = {
        "address": str,
        "generator": str,
        "token": str,
        "token_env": str,
        "tls": bool | str,
        "cert": list,
    }

    address: str = f"127.0.0.1:{DEFAULT_PORT}"
    """Host and port of the server."""
    generator: str = ""
    """Which of the server's generators to use; by default its first."""
    token: str = ""
    """The token that the server requires; preferably set in the environment instead."""
    token_env: str = ""
    """The environment variable with the token; by default LOADGEN_TOKEN."""
    tls: bool | str | None = None
    """Whether to use TLS, or a file of CA certificates to trust; by default, unless the host is this machine."""
    cert: Sequence[str] = ()
    """The files of a client certificate and its key."""
    describe_timeout: float = DESCRIBE_TIMEOUT
    """How long the server may take to describe the generator, in seconds."""

    @classmethod
    def at(cls, url: str) -> Self:
        """Return the generator at ``remote://host:port/NAME``, which is also its name. Raises PlanError."""
        remote = cls()
        remote.name = url
        try:
            parts = urlsplit(url)
            remote.address, remote.generator = parts.netloc, parts.path.strip("/")
            host_and_port(remote.address)
        except ValueError:  # a PlanError is one
            parts = None
        if not parts or parts.query or parts.fragment:
            # The address is not shown: it may contain a password.
            raise PlanError(f"invalid address of a load generator: write '{SCHEME}host:port/NAME'")
        return remote

    @cached_property
    def description(self) -> Description:
        """The server's description of the generator, requested once. Raises GeneratorError or PlanError."""
        self._require_libraries()
        from pytest_loadgen.generators import loadgen_pb2 as pb
        from pytest_loadgen.generators import messages

        with self._call() as channel:
            message = channel.describe(pb.DescribeRequest(generator=self.generator), self.describe_timeout)
        try:
            description = messages.Description.read(message)
        except ValueError as error:
            raise GeneratorError(f"{self._label}: {error}") from None
        if description.interface_version != messages.VERSION:
            raise GeneratorError(
                f"{self._label} has interface version {description.interface_version}, this machine has "
                f"{messages.VERSION}: install compatible versions of pytest-loadgen on both."
            )
        return description

    @property
    def features(self) -> frozenset[str]:  # type: ignore[override]  # read-only, here and below
        """What the generator supports; client certificates, data and checks are not sent to it."""
        return self.description.features & FEATURES - {"cert", "data", "check", "journey", "iterations"}

    @property
    def latency_from(self) -> LatencyFrom:  # type: ignore[override]
        """Where latency starts."""
        return self.description.latency_from

    @property
    def sent_from(self) -> str:  # type: ignore[override]
        """Its address and name."""
        return f"{self.address}/{self.description.name}"

    @property
    def added_latency(self) -> Duration:  # type: ignore[override]
        """The most that the generator itself may add to a latency."""
        return self.description.added_latency

    @property
    def streams_intervals(self) -> bool:  # type: ignore[override]
        """Whether it sends intervals as they end."""
        return self.description.streams_intervals

    @property
    def max_duration(self) -> float:  # type: ignore[override]
        """The longest load that it supports in one call, in seconds."""
        return self.description.max_duration

    def version(self) -> str:
        """Return the name and the version of the generator on the server. Raises GeneratorError."""
        return f"{self.description.name} {self.description.version}".strip()

    def run(self, plan: Plan) -> _RemoteLoad:
        """Send the plan to the server when the first interval is requested."""
        return _RemoteLoad(self, plan)

    def start(self, plan: Plan) -> Call:
        """Send a plan to the server. Raises PlanError or GeneratorError."""
        self._require_libraries()
        from pytest_loadgen.generators import messages

        timeout = _QUEUE_TIMEOUT + plan.ready_timeout + plan.warmup + plan.duration + 2 * plan.timeout
        with self._call() as channel:
            return channel.run(messages.write_plan(plan, self.generator), timeout)

    def read(self, call: Call, plan: Plan) -> Generator[Interval]:
        """Read the intervals as they arrive. Raises PlanError, ServiceError or GeneratorError."""
        from pytest_loadgen.generators import messages

        received = False
        checker, secrets = _PlanChecker(plan, by_name="names" in self.features), plan.secrets
        # Before the first interval the load may wait for others there; from then on it goes as planned.
        late = threading.Event()

        def give_up() -> None:
            late.set()
            call.cancel()

        timer = threading.Timer(checker.longest, give_up)
        timer.daemon = True
        try:
            for message in call:
                if not received:
                    timer.start()
                received = True
                interval = messages.read_interval(message, secrets)
                checker.add(interval)
                yield interval
        except CallError as error:
            if late.is_set():
                error = CallError("DEADLINE_EXCEEDED", error.details)
            raise self._error(error, plan, received) from None
        except ValueError as error:
            raise GeneratorError(f"{self._label} sent an invalid interval: {error}") from None
        finally:
            timer.cancel()
        if not plan.closed and checker.requests < checker.min_requests(self.streams_intervals):
            raise GeneratorError(f"{self._label} reported {checker.requests:,} of {plan.requests:,} planned requests")

    @contextmanager
    def _call(self) -> Iterator[Channel]:
        """Yield a channel, and translate its errors. Raises PlanError or GeneratorError."""
        try:
            yield Channel(self.address, self.tls, tuple(self.cert), self._resolved_token)
        except CallError as error:
            raise self._error(error) from None
        except PlanError as error:
            raise PlanError(f"{self._label}: {error}") from None

    @property
    def _resolved_token(self) -> str:
        token = self.token or os.environ.get(self.token_env or _TOKEN_ENV, "")
        if self.token_env and not token:
            raise GeneratorError(f"{self.name}: the environment variable {self.token_env} (token_env=) is not set")
        return token

    @property
    def _label(self) -> str:
        if self.name.startswith(SCHEME):
            return without_password(self.name)
        return f"{self.name} ({without_password(self.address)})"

    def _require_libraries(self) -> None:
        """Raise GeneratorError if gRPC is not installed."""
        try:
            import google.protobuf  # noqa: F401
            import grpc  # noqa: F401
        except ImportError:
            raise GeneratorError(f"{self.name} needs grpcio: pip install 'pytest-loadgen[remote]'") from None

    def _error(self, error: CallError, plan: Plan | None = None, received: bool = False) -> LoadError:
        """Translate an error, without secrets."""
        details = redact(one_line(error.details), (*(plan.secrets if plan else ()), self._resolved_token))
        return _ERRORS.get(error.code, GeneratorError)(self._message(error.code, details[:_MAX_MESSAGE], received))

    def _message(self, code: str, details: str, received: bool) -> str:
        if code == "CANCELLED":
            # By the server: if this side had cancelled the call, it would not read on.
            code, details = "UNAVAILABLE", "it is shutting down"
        # The server's hint is about its own machine.
        details = details.replace("--load-generator=embedded", f"--load-generator={SCHEME}{self.address}/embedded")
        message = f": {details or code}"
        match code, received:
            case "UNAVAILABLE", True:
                message = f" was lost during the load: {details}"
            case "UNAVAILABLE", False:
                message = f" is not available: {details}"
                if not details.endswith("?") and "shutting down" not in details:
                    message += ". Is 'python -m pytest_loadgen serve' running there?"
            case "UNIMPLEMENTED", _:
                message = f" does not offer {SERVICE}: is it a pytest-loadgen server of a compatible version?"
            case "DEADLINE_EXCEEDED", True:
                message = " did not end the load in time"
            case "DEADLINE_EXCEEDED", False:
                message = " does not respond: is it a pytest-loadgen server?"
            case "UNAUTHENTICATED", _:
                reason = "does not accept this token" if self._resolved_token else "requires a token"
                message = f" {reason} ({_TOKEN_ENV} or token=/token_env=)"
        return f"{self._label}{message}"


class _RemoteLoad(Running):
    """A load on a server; it stops there within a second after it was closed here."""

    def __init__(self, remote: Remote, plan: Plan) -> None:
        super().__init__()
        self._remote, self._plan = remote, plan
        self._call: Call | None = None

    def _stop(self) -> None:
        if call := self._call:
            call.cancel()

    def _run(self) -> Generator[Interval]:
        remote, plan = self._remote, self._plan
        with closing(remote.start(plan)) as call:
            self._call = call
            if self._stopped.is_set():
                return  # it was stopped before there was a call to cancel
            try:
                yield from remote.read(call, plan)
            except LoadError:
                if not self._stopped.is_set():
                    raise


class _PlanChecker:
    """Checks the intervals of a server, which may be wrong, against the plan."""

    def __init__(self, plan: Plan, *, by_name: bool) -> None:
        self._plan = plan
        self._by_name = by_name and plan.is_mix
        self._end = self._total_latency = 0.0
        self._late = self._intervals = 0
        self._names = {request.name for request in plan.mix}
        self.requests = 0

    @property
    def longest(self) -> float:
        """How long the load may still take, in seconds."""
        return self._plan.duration + self._plan.timeout + _SHUTDOWN_TIME

    def add(self, interval: Interval) -> None:
        """Check the next interval. Raises ValueError if it cannot be one of this plan."""
        last = self.longest
        self._intervals += 1
        if self._intervals > _MAX_INTERVALS * last:
            raise ValueError(f"it is the {self._intervals:,}th in a load of {Duration(self._plan.duration)}")
        start, end = interval.start, interval.start + interval.seconds
        if not (self._end - _MAX_OVERLAP <= start and end <= last):
            raise ValueError(f"it spans {start:g} s to {end:g} s, the one before ended at {self._end:g} s")
        if interval.throttled > _MAX_CORES * last or interval.requests > HIGHEST_RATE * last:
            raise ValueError(f"it has {interval.requests:,} requests and was throttled for {interval.throttled:g} s")
        if unknown := interval.names.keys() - self._names:
            raise ValueError(f"it has figures of {len(unknown):,} names that are not in the plan")
        if self._by_name and interval.requests and not interval.names:
            raise ValueError("it lacks the figures by name")
        self._end = max(self._end, end)
        self._total_latency += interval.latency.mean * interval.latency.count + self._plan.timeout * interval.unanswered
        self._late += interval.lag.over(_LATE)
        self.requests += interval.requests

    def min_requests(self, streams_intervals: bool) -> float:
        """Return how many requests a load at a set rate has to report at least."""
        planned = self._plan.requests
        share, number = _MAX_MISSING
        missing = share * planned + number
        if self._plan.arrivals == "poisson":
            missing += 5 * math.sqrt(planned)
        if not streams_intervals:
            # A program does not report what was in flight, or waited for a connection, when it ended.
            missing += self._plan.rate * (2 * self._total_latency / max(1, self.requests) + _LAST_MOMENT)
        # Nor what its own lag, which it reports, kept it from sending: the verdict takes care of that.
        return planned - missing - self._late
