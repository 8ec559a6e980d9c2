"""A load generator on another machine, or in another language, over gRPC."""

from __future__ import annotations

import math
import os
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
from pytest_loadgen.generators.channel import DEFAULT_PORT, SERVICE, Call, CallError, Channel, host_and_port
from pytest_loadgen.redaction import redact, without_password
from pytest_loadgen.traffic.plan import FEATURES, HIGHEST_RATE, Plan
from pytest_loadgen.units import Duration

if TYPE_CHECKING:
    from pytest_loadgen.generators.messages import Description

SCHEME = "remote://"
"""How an address begins that is a generator's name."""

_TOKEN = "LOADGEN_TOKEN"  # noqa: S105  # where it may be
# What is wrong with the load, or with the service, and not with the generator.
_KINDS: Mapping[str, type[LoadError]] = {
    "INVALID_ARGUMENT": PlanError,
    "NOT_FOUND": PlanError,
    "PERMISSION_DENIED": ServiceError,
    "FAILED_PRECONDITION": ServiceError,
}
# How long a load may wait there for others, and what else it may take beyond its plan, in seconds.
_WAIT = 4000.0
_SHOWN = 1000
# By how much intervals may overlap, and how long after its last time-out a load may go on, in seconds;
# and on how many cores at once a container's limit may hold it up.
_OVERLAP = 0.5
_OVERRUN = 10.0
_CORES = 1000
# Which part of its requests, and how many of them, a program may leave out for its rounding; what more it may
# that tells at its end only: what was due in so many seconds before; and how late is the generator's own fault.
_ROUNDING = 0.05, 2
_JUST_DUE = 0.05
_LATE = 0.010


class Remote(LoadGenerator):
    """A generator that ``python -m pytest_loadgen serve`` lends, or any other program that keeps to loadgen.proto.

    The service is found, and loaded, from there. A load that is closed is cancelled, and there it stops within
    a second. There is no word for ending it more gently: so requests that are in flight when a load
    ends early are in no figure.
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
    """Where it is: host and port."""
    generator: str = ""
    """Which of the generators there; by default its first."""
    token: str = ""
    """What it wants to be told; better, the environment has it."""
    token_env: str = ""
    """Which variable of the environment has the token; LOADGEN_TOKEN may have it anyway."""
    tls: bool | str | None = None
    """Whether it speaks TLS, or a file of the authorities to trust; by default, wherever it is not this machine."""
    cert: Sequence[str] = ()
    """The files of a certificate to show to it, and of its key."""

    @classmethod
    def at(cls, url: str) -> Self:
        """Make the one of an address, ``remote://host:port/NAME``, which is its name. Raises PlanError."""
        remote = cls()
        remote.name = url
        try:
            parts = urlsplit(url)
            remote.address, remote.generator = parts.netloc, parts.path.strip("/")
            host_and_port(remote.address)
        except ValueError:  # a PlanError is one
            parts = None
        if not parts or parts.query or parts.fragment:
            # What is wrong may be a password.
            raise PlanError(f"not the address of a load generator: write '{SCHEME}host:port/NAME'")
        return remote

    @cached_property
    def description(self) -> Description:
        """What it says of itself, asked once. Raises GeneratorError or PlanError."""
        self._check()
        from pytest_loadgen.generators import loadgen_pb2 as pb
        from pytest_loadgen.generators import messages

        with self._call() as channel:
            message = channel.describe(pb.DescribeRequest(generator=self.generator))
        try:
            description = messages.Description.read(message)
        except ValueError as error:
            raise GeneratorError(f"{self._who} does not say what it is: {error}") from None
        if description.interface_version != messages.VERSION:
            raise GeneratorError(
                f"{self._who} speaks version {description.interface_version} of the interface, and this is "
                f"version {messages.VERSION}: use versions of pytest-loadgen that go together on both sides."
            )
        return description

    @property
    def features(self) -> frozenset[str]:  # type: ignore[override]  # not to be set, here and below
        """What it can do; it has no client certificates to show to services."""
        return self.description.features & FEATURES - {"cert"}

    @property
    def latency_from(self) -> LatencyFrom:  # type: ignore[override]
        """From when it counts latency."""
        return self.description.latency_from

    @property
    def sent_from(self) -> str:  # type: ignore[override]
        """Where it is."""
        return f"{self.address}/{self.description.name}"

    @property
    def added_latency(self) -> Duration:  # type: ignore[override]
        """How much it may add to a latency itself."""
        return self.description.added_latency

    @property
    def streams_intervals(self) -> bool:  # type: ignore[override]
        """Whether intervals come as they end."""
        return self.description.streams_intervals

    @property
    def max_duration(self) -> float:  # type: ignore[override]
        """How long a load it can do in one piece, in seconds."""
        return self.description.max_duration

    def version(self) -> str:
        """Tell which generator is there, and its version. Raises GeneratorError."""
        return f"{self.description.name} {self.description.version}".strip()

    def run(self, plan: Plan) -> _Run:
        """Have it run a plan, when the first interval is asked for."""
        return _Run(self, plan)

    def start(self, plan: Plan) -> Call:
        """Send it a plan. Raises PlanError or GeneratorError."""
        self._check()
        from pytest_loadgen.generators import messages

        limit = _WAIT + plan.ready_timeout + plan.warmup + plan.duration + 2 * plan.timeout
        with self._call() as channel:
            return channel.run(messages.write_plan(plan, self.generator), limit)

    def read(self, call: Call, plan: Plan) -> Generator[Interval]:
        """Read its intervals as they come. Raises PlanError, ServiceError or GeneratorError."""
        from pytest_loadgen.generators import messages

        heard = False
        account = _Account(plan)
        try:
            for message in call:
                heard = True
                interval = messages.read_interval(message)
                account.add(interval)
                yield interval
        except CallError as error:
            raise self._error(error, plan, heard) from None
        except ValueError as error:
            raise GeneratorError(f"{self._who} sent an interval that cannot be read: {error}") from None
        if not plan.closed and account.requests < account.least(self.streams_intervals):
            raise GeneratorError(
                f"{self._who} was to make {plan.requests:,} requests and tells of {account.requests:,}"
            )

    @contextmanager
    def _call(self) -> Iterator[Channel]:
        """Give the way there, and say what goes wrong on it. Raises PlanError or GeneratorError."""
        try:
            yield Channel(self.address, self.tls, tuple(self.cert), self._secret)
        except CallError as error:
            raise self._error(error) from None
        except PlanError as error:
            raise PlanError(f"{self._who}: {error}") from None

    @property
    def _secret(self) -> str:
        token = self.token or os.environ.get(self.token_env or _TOKEN, "")
        if self.token_env and not token:
            raise GeneratorError(f"{self.name}: the environment has no {self.token_env}, where the token is to be")
        return token

    @property
    def _who(self) -> str:
        if self.name.startswith(SCHEME):
            return without_password(self.name)
        return f"{self.name} ({without_password(self.address)})"

    def _check(self) -> None:
        """Look whether the libraries are there. Raises GeneratorError."""
        try:
            import google.protobuf  # noqa: F401
            import grpc  # noqa: F401
        except ImportError:
            raise GeneratorError(f"{self.name} needs grpcio: pip install 'pytest-loadgen[remote]'") from None

    def _error(self, error: CallError, plan: Plan | None = None, heard: bool = False) -> LoadError:
        """Say what went wrong, without secrets."""
        details = "".join(filter(str.isprintable, " ".join(error.details.split())))
        if plan:
            details = redact(details, (*plan.target.secrets, self._secret))
        return _KINDS.get(error.code, GeneratorError)(self._said(error.code, details[:_SHOWN], heard))

    def _said(self, code: str, details: str, heard: bool) -> str:
        if code == "CANCELLED":
            # Not by this side, or nobody would ask.
            code, details = "UNAVAILABLE", "it is going down"
        # What helps at this machine need not help at that one.
        details = details.replace("--load-generator=embedded", f"--load-generator={SCHEME}{self.address}/embedded")
        said = f": {details or code}"
        match code, heard:
            case "UNAVAILABLE", True:
                said = f" was lost in the middle of the load: {details}"
            case "UNAVAILABLE", False:
                hint = "" if details.endswith("?") else ". Is 'python -m pytest_loadgen serve' running there?"
                said = f" is not available: {details}{hint}"
            case "UNIMPLEMENTED", _:
                said = f" does not know {SERVICE}: is it a server of load generators, and of this version?"
            case "DEADLINE_EXCEEDED", True:
                said = " did not end the load"
            case "DEADLINE_EXCEEDED", False:
                said = " does not answer: is it a server of load generators?"
            case "UNAUTHENTICATED", _:
                how = "does not take this token" if self._secret else "wants a token"
                said = f": it {how} ({_TOKEN} or token=/token_env=)"
        return f"{self._who}{said}"


class _Run(Running):
    """A load elsewhere, whose intervals come from there; stopped, it is over there within a second."""

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
                return  # before it could be cancelled
            try:
                yield from remote.read(call, plan)
            except LoadError:
                if not self._stopped.is_set():
                    raise


class _Account:
    """What was told of a load, held against its plan: who tells may be wrong."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._end = self._spent = 0.0
        self._late = 0
        self.requests = 0

    def add(self, interval: Interval) -> None:
        """Take what follows. Raises ValueError where it cannot."""
        last = self._plan.duration + self._plan.timeout + _OVERRUN
        start, end = interval.start, interval.start + interval.seconds
        if not (self._end - _OVERLAP <= start and end <= last):
            raise ValueError(f"it goes from {start:g} s to {end:g} s, and the one before to {self._end:g} s")
        if interval.throttled > _CORES * last or interval.requests > HIGHEST_RATE * last:
            raise ValueError(f"it counts {interval.requests:,} requests, and {interval.throttled:g} s without CPU")
        self._end = max(self._end, end)
        self._spent += interval.latency.mean * interval.latency.count + self._plan.timeout * interval.unanswered
        self._late += interval.lag.over(_LATE)
        self.requests += interval.requests

    def least(self, streams_intervals: bool) -> float:
        """Tell how many requests there have to be, at the end of a load at a set rate."""
        planned = self._plan.requests
        share, few = _ROUNDING
        spare = share * planned + few
        if self._plan.arrivals == "poisson":
            spare += 5 * math.sqrt(planned)
        if not streams_intervals:
            # A program cannot tell what was under way, or waited for that, when it ended.
            spare += self._plan.rate * (2 * self._spent / max(1, self.requests) + _JUST_DUE)
        # Nor need what the generator says that it was too late for be there: the verdict is of that.
        return planned - spare - self._late
