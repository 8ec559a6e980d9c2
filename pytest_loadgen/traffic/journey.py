"""Journeys: async functions that a load calls, and what they measure on their way."""

from __future__ import annotations

import inspect
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
OK = "OK"
"""The outcome of a journey, or of a step, in which nothing was wrong."""


@dataclass(frozen=True)
class Code:
    """The functions of a journey."""

    journey: AsyncFunction
    setup: AsyncFunction | None = None
    """Runs before the load, once in each process that sends it."""
    teardown: AsyncFunction | None = None
    """Runs after the load, likewise."""


@dataclass(frozen=True)
class Journey:
    """An async function that a load calls with a client."""

    name: str
    """That of the function."""
    code: Code | None = field(default=None, repr=False, compare=False)
    """None where a journey was read from a record."""
    separate: bool = True
    """Whether it runs in a process of its own, to which its code is sent."""
    follow_redirects: bool = False
    allowed_hosts: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """The hosts outside of this machine and its network that its client may send to."""
    first: int = field(default=0, compare=False)
    """Which of several loads that share the rows of data this is, and how many these are."""
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
        """Take the functions as they are. Raises PlanError for one that is no async function of a client."""
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
        """Send the functions by value, all at once: they share what they refer to. Raises PlanError."""
        state = dict(vars(self))
        if self.code:
            functions = (self.code.journey, self.code.setup, self.code.teardown)
            state["code"] = by_value.dumps_all(functions, "the process of the load generator")
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Receive the functions."""
        if isinstance(state["code"], bytes):
            state["code"] = Code(*by_value.loads(state["code"]))
        vars(self).update(state)

    def as_dict(self) -> dict[str, Any]:
        """Return what a record holds of it."""
        return {"name": self.name, "separate": self.separate}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the output of `as_dict`; such a journey cannot be made again."""
        return cls(data["name"], separate=data["separate"])

    def shared(self, number: int, loads: int) -> Journey:
        """Return the journey of one of several loads that use each row of data once, together."""
        return replace(self, first=self.first + number * self.loads, loads=self.loads * loads)


def is_journey(traffic: object) -> bool:
    """Whether it is meant as the function of a journey."""
    return callable(traffic) and not isinstance(traffic, type)


def _name(function: Any) -> str:
    inner = getattr(function, "func", function)  # of a functools.partial
    return printable(str(getattr(inner, "__name__", type(inner).__name__)))


def _check(function: Any, name: str) -> None:
    call = function if inspect.iscoroutinefunction(function) else getattr(function, "__call__", function)  # noqa: B004
    if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(call):
        raise PlanError(f"{name} yields: a journey is an async function that returns at its end, without yield")
    if not inspect.iscoroutinefunction(call):
        raise PlanError(f"{name} is not an async function: write 'async def {name.rpartition('=')[2]}(client): …'")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise PlanError(
            f"{name} has to take one argument, the client: write 'async def {name.rpartition('=')[2]}(client): …'"
        ) from None
    except ValueError:  # no signature is known
        return


class Recorder(Protocol):
    """What keeps the figures of the journeys of a load."""

    def record(self, trip: Trip, name: str, due: int, outcome: str, *, paused: int = 0) -> None:
        """Count a step that ends now: when it was due in ns, how it ended, and for how long it paused in between."""


class Trip:
    """One journey on its way."""

    __slots__ = ("due", "expired", "paused", "pausing", "recorder", "sent", "unexpected")

    def __init__(self, recorder: Recorder, due: int) -> None:
        """Begin; `due` in ns."""
        self.recorder = recorder
        self.due = due
        self.sent = False
        """Whether its first request, which is due when the journey is, was sent."""
        self.paused = 0
        """For how long it has been thinking, in ns."""
        self.pausing = False
        self.expired = False
        """Whether it took longer than it may."""
        self.unexpected = ""
        """The first outcome of a request that was not expected, and did not end the journey."""


CURRENT: ContextVar[Trip | None] = ContextVar("pytest_loadgen_trip", default=None)
"""The journey that calls, if one does."""


class step:  # noqa: N801  # it is used as a function
    """Measure a stretch of a journey: ``async with step("checkout"): …``.

    It becomes a figure of this name; one that raises is an error of it. Thinking in it does not count. Outside of a
    load it does nothing, so that the function of a journey can be called by a functional test, too.
    """

    __slots__ = ("_began", "_name", "_paused", "_trip")

    def __init__(self, name: str) -> None:
        """Name the stretch. Raises PlanError."""
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
            if outcome:
                paused = trip.paused - self._paused
                trip.recorder.record(trip, self._name, self._began, outcome, paused=paused)


def outcome_of(error: BaseException) -> str:
    """Name the kind of an exception as an outcome; empty for one that is no failure."""
    # pytest.fail(), and pytest.raises() where nothing is raised, are no AssertionError and not even an Exception.
    if isinstance(error, AssertionError) or any(base.__name__ == "OutcomeException" for base in type(error).__mro__):
        return "check"
    if isinstance(error, TimeoutError):
        return "timeout"
    if kind := getattr(error, "load_outcome", ""):
        return str(kind)
    response = getattr(error, "response", None)
    if (status := getattr(response, "status_code", None)) and type(error).__name__ == "HTTPStatusError":
        return str(status)
    return type(error).__name__ if isinstance(error, Exception | SystemExit | KeyboardInterrupt) else ""
