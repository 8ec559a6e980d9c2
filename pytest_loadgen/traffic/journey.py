"""Journeys: async functions that a load calls, and the steps that they measure."""

from __future__ import annotations

import inspect
from asyncio import CancelledError, Future
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Protocol, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic import by_value
from pytest_loadgen.wording import printable

AsyncFunction = Callable[[Any], Awaitable[object]]
"""What a load calls over and over: it takes a client, and may return anything."""
CANCELLED = "cancelled"
"""The outcome of what the journey itself cancelled: asyncio.timeout(), or a task of a TaskGroup."""
UNAWAITED = "unawaited"
"""The outcome of a journey that calls an async function and does not await it."""
OK = "OK"
"""The outcome of a journey or step without a failure."""


@dataclass(frozen=True)
class Code:
    """The functions of a journey."""

    journey: AsyncFunction
    setup: AsyncFunction | None = None
    """Runs before the load, once in each process that sends it."""
    teardown: AsyncFunction | None = None
    """Runs after the load, once in each of these processes."""


@dataclass(frozen=True)
class Journey:
    """An async function that a load calls with a client."""

    name: str
    """The name of the function."""
    code: Code | None = field(default=None, repr=False, compare=False)
    """None if the journey was read from a record."""
    separate: bool = True
    """Whether it runs in a process of its own, to which its code is sent."""
    follow_redirects: bool = False
    allowed_hosts: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """The hosts outside of this machine and private networks that its client may send to."""
    first: int = field(default=0, compare=False)
    """The number of this load among those that share the rows of data, and how many share them."""
    loads: int = field(default=1, compare=False)

    @classmethod
    def of(
        cls,
        function: Any,
        *,
        setup: Any = None,
        teardown: Any = None,
        process: Any = True,
        follow_redirects: Any = False,
    ) -> Self:
        """Take the functions. Raises PlanError for one that is not an async function of a client."""
        for option, value in (("process", process), ("follow_redirects", follow_redirects)):
            if not isinstance(value, bool):
                raise PlanError(f"{option}={value!r}: expected True or False")
        name = _name(function)
        _check(function, name)
        for option, other in (("setup", setup), ("teardown", teardown)):
            if other is not None:
                if not callable(other):
                    raise PlanError(f"{option}={other!r}: expected an async function that takes the client")
                _check(other, f"{option}={_name(other)}")
        return cls(name, Code(function, setup, teardown), separate=process, follow_redirects=follow_redirects)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the functions by value, together, because they share variables. Raises PlanError."""
        state = dict(vars(self))
        if self.code:
            functions = (self.code.journey, self.code.setup, self.code.teardown)
            state["code"] = by_value.dumps_all(functions, "the process of the load generator")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle the functions."""
        if isinstance(state["code"], bytes):
            state["code"] = Code(*by_value.loads_all(state["code"]))
        vars(self).update(state)

    def as_dict(self) -> dict[str, Any]:
        """Return what a record contains of it."""
        return {"name": self.name, "separate": self.separate}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the output of `as_dict`; such a journey cannot be run."""
        return cls(data["name"], separate=data["separate"])

    def shared(self, number: int, loads: int) -> Journey:
        """Return the journey of one of several loads that share the rows of data."""
        return replace(self, first=self.first + number * self.loads, loads=self.loads * loads)


def is_journey(traffic: object) -> bool:
    """Whether this is meant as the function of a journey."""
    return callable(traffic) and not isinstance(traffic, type)


def _name(function: Any) -> str:
    inner = getattr(function, "func", function)  # of a functools.partial
    return printable(str(getattr(inner, "__name__", type(inner).__name__)))


def _check(function: Any, name: str) -> None:
    call = function if inspect.iscoroutinefunction(function) else getattr(function, "__call__", function)  # noqa: B004
    if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(call):
        raise PlanError(f"{name} contains yield: a journey is an async function without it")
    if not inspect.iscoroutinefunction(call):
        raise PlanError(f"{name} is not an async function: {_remedy(name)}")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise PlanError(f"{name} must take one argument, the client: {_remedy(name)}") from None
    except ValueError:  # its signature is not known
        return


def _remedy(name: str) -> str:
    own = name.rpartition("=")[2]
    return f"write 'async def {own if own.isidentifier() else 'shopper'}(client): …'"  # a lambda has no such name


class Recorder(Protocol):
    """Counts the steps of journeys."""

    def record(self, trip: Trip, name: str, due: int, outcome: str, *, paused: int = 0) -> None:
        """Count a step that ends now; `due` and `paused` (how long it was thinking) in ns."""

    def note_unawaited(self, trip: Trip, text: str) -> None:
        """Fail a journey that called an async function and did not await it."""


class Trip:
    """One run of a journey."""

    __slots__ = (
        "_paused",
        "_since",
        "_thinking",
        "due",
        "expired",
        "failed",
        "in_flight",
        "recorder",
        "sent",
        "unexpected",
    )

    def __init__(self, recorder: Recorder, due: int) -> None:
        """Begin; `due` in ns."""
        self.recorder = recorder
        self.due = due
        self.sent = False
        """Whether its first request was sent; this one is due when the journey is."""
        self.in_flight: set[Future[Any]] = set()
        """Its requests that wait for their responses, those of its tasks included."""
        self._thinking = self._paused = self._since = 0
        self.expired = False
        """Whether it was cancelled because of its timeout."""
        self.failed: Any = None
        """Its first request that failed, for messages: the request, its outcome, and its response."""
        self.unexpected = ""
        """The first unexpected status of a request; it fails the journey even if the function goes on."""

    @property
    def pausing(self) -> bool:
        """Whether it only thinks, and waits for no response meanwhile."""
        return bool(self._thinking) and not self.in_flight

    @property
    def paused(self) -> int:
        """For how long it has been pausing, in ns."""
        return self._paused + (perf_counter_ns() - self._since if self.pausing else 0)

    def think(self, more: int) -> None:
        """Begin to think (1), or end it (-1); its tasks may do so at the same time."""
        self._paused, self._since = self.paused, perf_counter_ns()
        self._thinking += more

    def send(self, future: Future[Any]) -> None:
        """Send a request whose response is in the future."""
        if self._thinking:
            self._paused, self._since = self.paused, perf_counter_ns()
        self.in_flight.add(future)

    def receive(self, future: Future[Any]) -> None:
        """End what `send` began."""
        self.in_flight.discard(future)
        self._since = perf_counter_ns() if self._thinking else 0


CURRENT: ContextVar[Trip | None] = ContextVar("pytest_loadgen_trip", default=None)
"""The journey in which the caller runs, if any."""


class step:  # noqa: N801  # it is used as a function
    """Measure a part of a journey: ``async with step("checkout"): …``.

    It has figures under this name; if it raises, this is an error of the step. Thinking time does not count. Outside of
    a load it does nothing, so a functional test can call the same function.
    """

    __slots__ = ("_began", "_name", "_paused", "_trip")

    def __init__(self, name: str) -> None:
        """Name the part. Raises PlanError."""
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise PlanError(f"step({name!r}): expected a name that can be printed")
        self._name = name
        self._trip: Trip | None = None
        self._began = self._paused = 0

    async def __aenter__(self) -> Self:
        """Begin."""
        if trip := CURRENT.get():
            self._trip, self._paused = trip, trip.paused
            self._began = perf_counter_ns()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End, and count."""
        if trip := self._trip:
            outcome = OK if error is None else outcome_of(error)
            if outcome == CANCELLED and trip.expired:
                outcome = "timeout"
            if outcome:
                paused = trip.paused - self._paused
                trip.recorder.record(trip, self._name, self._began, outcome, paused=paused)


def outcome_of(error: BaseException) -> str:
    """Return the outcome of a journey that raised this; empty if it is not a failure, such as a cancellation."""
    error = first_of(error)
    # pytest.fail() raises a BaseException of its own, and so does pytest.raises() if nothing is raised.
    if isinstance(error, AssertionError) or any(base.__name__ == "OutcomeException" for base in type(error).__mro__):
        return "check"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, CancelledError):
        return CANCELLED
    if kind := getattr(error, "load_outcome", ""):
        return str(kind)
    response = getattr(error, "response", None)
    if (status := getattr(response, "status_code", None)) and type(error).__name__ == "HTTPStatusError":
        return str(status)
    return "" if isinstance(error, GeneratorExit) else type(error).__name__


def first_of(error: BaseException) -> BaseException:
    """Give the first exception of a group, as a TaskGroup raises it, or else the exception itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
