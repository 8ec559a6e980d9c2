"""The function `serve`: it starts a service for tests, waits until it is ready, and ends it."""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from pytest_loadgen import clock
from pytest_loadgen.errors import LoadError, PlanError, ServiceError
from pytest_loadgen.service import application, readiness
from pytest_loadgen.service.application import ServiceThread
from pytest_loadgen.service.listener import Kind, Listener, fill, is_taken, placeholders
from pytest_loadgen.service.output import Output
from pytest_loadgen.service.process import ServiceProcess
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import describe_exit, printable

# How long a service has to become ready, and how long one attempt to connect may take, in seconds.
_TIMEOUT = 30.0
_ATTEMPT = 5.0
# How long to wait between attempts: longer each time, as a service may log each of them.
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 0.25
# How long a thread has to finish its requests, in seconds.
_GRACE = 2.0
# How often another port is tried where somebody else has taken one.
_PORTS = 3
_MOST_SHOWN = 100
# How many lines of output an error quotes.
_QUOTED = 15


def serve(
    what: str | Sequence[str] | Callable[..., Any],
    /,
    *,
    ready: str = "",
    timeout: float | str = _TIMEOUT,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    process: bool = True,
) -> Service:
    """Start a service that ends with the with block, which gets its address.

    Use it as ``with serve("uvicorn shop:app --port {port}") as url``. It serves a command (text, or a list of words),
    or an ASGI or WSGI application: ``"module:attribute"``, ``"module:function()"``, or the object. A command is told
    where to listen by ``{port}`` and ``{host}``, ``{socket}`` (the path of a unix socket) or ``{fd}`` (a listening
    socket that it inherits), in its words or in `env`, which is added to the environment. It is ready when it accepts
    connections, and with `ready` when a GET of this path has a status below 400, within `timeout` (seconds, or text
    such as ``"1m"``). With process=False, an application object is served in a thread of this process. The service
    ends with this process, too, however that ends.

    Raises PlanError for what cannot be served, ServiceError where the service ends or does not become ready.
    """
    __tracebackhide__ = True
    if ready and not re.fullmatch(r"/[!-~]*", str(ready)):
        raise PlanError(f"ready={ready!r} is not a path: write one such as '/health'")
    if not 0 < (patience := Duration(timeout)) < float("inf"):
        raise PlanError(f"timeout={timeout!r} must be a finite time > 0")
    if env is not None:
        _check_environment(env)
    is_command = isinstance(what, str) or (isinstance(what, Sequence) and not callable(what))
    if not process:
        if is_command:
            raise PlanError("process=False is for an application object: a command is a process of its own")
        if env is not None or cwd is not None:
            raise PlanError("env= and cwd= are for a process of its own: leave them out, or process=False")
        application.interface_of(what)
        return Service(what, ready, patience)
    if is_command and not (isinstance(what, str) and application.is_name(what)):
        words = cast("str | Sequence[str]", what)
        return Service(_Program.of(words, env or {}, cwd), ready, patience)
    if not isinstance(what, str):
        application.interface_of(what)
        what = application.name_of(what)
    return Service(_Program(what, tuple(application.command(what)), dict(env or {}), cwd, "bound"), ready, patience)


@dataclass(frozen=True)
class _Program:
    """What is run in a process of its own."""

    name: str
    """As the user wrote it."""
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | os.PathLike[str] | None
    kind: Kind

    @classmethod
    def of(cls, command: str | Sequence[str], env: Mapping[str, str], cwd: str | os.PathLike[str] | None) -> _Program:
        """Read a command. Raises PlanError."""
        try:
            argv = shlex.split(command) if isinstance(command, str) else [os.fsdecode(word) for word in command]
        except ValueError as error:
            raise PlanError(f"serve() cannot read the command {command!r}: {str(error).lower()}") from None
        except TypeError as error:
            raise PlanError(f"serve() takes a command as text or as a list of words: {error}") from None
        if not (argv and argv[0]):
            raise PlanError("serve() has an empty command: write one such as 'uvicorn shop:app --port {port}'")
        name = command if isinstance(command, str) else shlex.join(argv)
        found = placeholders("\n".join([*argv, *env.values()]))
        kinds = [kind for kind in ("port", "socket", "fd") if kind in found]
        if len(kinds) != 1 or ("host" in found and kinds != ["port"]):
            had = " and ".join(f"{{{each}}}" for each in sorted(found)) or "none of them"
            raise PlanError(
                f"{_short(name)}: serve() has to tell the command where to listen. Put {{port}} (and {{host}}, "
                f"if needed), {{socket}} or {{fd}} into the command or into env=; it has {had}"
            )
        return cls(name, tuple(argv), dict(env), cwd, cast(Kind, kinds[0]))

    def start(self, listener: Listener, output: Output) -> ServiceProcess:
        """Start it. Raises ServiceError."""
        filled = {name: fill(value, listener.values) for name, value in self.env.items()}
        argv = [fill(word, listener.values) for word in self.argv]
        return ServiceProcess(argv, {**_environment(), **filled}, self.cwd, listener.inherited, output.path)


def _check_environment(env: object) -> None:
    if not isinstance(env, Mapping):
        raise PlanError(f"env= takes a dict, such as {{'PORT': '{{port}}'}}, not {type(env).__name__}")
    for name, value in env.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            kind = type(value if isinstance(name, str) else name).__name__
            raise PlanError(f"env= has {kind} for {name!r}: names and values must be text, such as {{'DEBUG': '1'}}")


def _environment() -> dict[str, str]:
    """Give the environment of this process; in a virtual environment as if that were activated."""
    # What a Python program prints is to be seen when the test fails, not when the program ends.
    environment = {"PYTHONUNBUFFERED": "1", **os.environ}
    if sys.prefix != sys.base_prefix:
        folders = [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
        environment["PATH"] = os.pathsep.join(folders)
    return environment


class Service:
    """A service to be started: a context manager that gives its address."""

    def __init__(self, what: object, ready: str, timeout: float) -> None:
        """Take a program or an application."""
        self._what, self._ready, self._timeout = what, ready, timeout
        self._running: list[ExitStack] = []

    def __repr__(self) -> str:
        return f"<Service {self._name}>"

    @property
    def _name(self) -> str:
        return _short(self._what.name) if isinstance(self._what, _Program) else f"this {type(self._what).__name__}"

    def __enter__(self) -> str:
        __tracebackhide__ = True
        try:
            for tried in range(_PORTS - 1):
                try:
                    return self._started(reserved=not tried)
                except _TakenError as error:
                    error.output.named = False
            return self._started(reserved=False)
        except _TakenError as error:
            raise ServiceError(str(error)) from None
        except LoadError as error:
            raise error.with_traceback(None) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._running.pop().close()

    def _started(self, *, reserved: bool) -> str:
        """Start it, wait until it is ready, and give its address. Raises ServiceError, PlanError."""
        with ExitStack() as stack:
            if isinstance(self._what, _Program):
                listener = stack.enter_context(Listener(self._what.kind, reserved=reserved))
                output = Output.of(self._name)
                stack.callback(setattr, output, "ended", True)
                process = self._what.start(listener, output)
                stack.callback(process.end)
                listener.started()
                self._wait(listener, lambda: self._check_process(process, output), output)
                output.process = process
            else:
                listener = stack.enter_context(Listener("bound"))
                thread = ServiceThread(self._what, listener.take())
                stack.callback(thread.end, _GRACE)
                self._wait(listener, lambda: self._check_thread(thread))
            self._running.append(stack.pop_all())
        return listener.url

    def _wait(self, listener: Listener, check: Callable[[], None], output: Output | None = None) -> None:
        deadline = clock.monotonic() + self._timeout
        # A socket that is inherited accepts connections before the service does.
        early = not self._ready and isinstance(self._what, _Program) and self._what.kind == "fd"
        path, attempt, wait = self._ready or ("/" if early else ""), min(_ATTEMPT, self._timeout), _FIRST_WAIT
        while why := readiness.why_not(listener.address, path, attempt, anything=early):
            check()
            if clock.monotonic() > deadline:
                raise ServiceError(
                    f"{self._name} was not ready at {listener.url} after {Duration(self._timeout)}: {why}. "
                    f"{self._advice(why)}, or wait longer with timeout=.{_quoted(output)}"
                )
            clock.sleep(wait)
            wait = min(1.3 * wait, _LONGEST_WAIT)
        check()  # another process may have accepted

    def _advice(self, why: str) -> str:
        """Say what to check where a service does not become ready."""
        if "GET" in why:
            return (
                f"Check ready={self._ready!r} (plain HTTP)" if self._ready else "Check that it serves the socket {fd}"
            )
        if not isinstance(self._what, _Program) or self._what.kind == "bound":
            return "Check what it waits for when it starts"
        return f"Check that it listens there{' (localhost may be ::1: use {host})' * (self._what.kind == 'port')}"

    def _check_process(self, process: ServiceProcess, output: Output) -> None:
        if (status := process.status) is None:
            return
        advice = "" if status else " A service has to stay in the foreground: it must not become a daemon."
        said = f"{self._name} {describe_exit(status)} before it was ready.{advice}{_quoted(output)}"
        if isinstance(self._what, _Program) and self._what.kind == "port" and is_taken(output.end()):
            raise _TakenError(said, output)
        raise ServiceError(said)

    def _check_thread(self, thread: ServiceThread) -> None:
        if thread.ended:
            error = thread.error
            why = "" if error is None or isinstance(error, SystemExit) else f": {type(error).__name__}: {error}"
            raise ServiceError(f"{self._name} did not start{why}. Its log is in pytest's report") from error


class _TakenError(ServiceError):
    """Somebody else has the port."""

    def __init__(self, said: str, output: Output) -> None:
        """Take the message, and the output that it quotes."""
        super().__init__(said)
        self.output = output


def _quoted(output: Output | None) -> str:
    """Quote the end of an output, and name its file."""
    if output is None:
        return ""
    output.quoted = True
    if not (end := output.end(_QUOTED)):
        return " It printed nothing."
    return f" Its output ends with:\n{textwrap.indent(end, '  ')}\nAll of it: {output.path}"


def _short(name: str) -> str:
    """Shorten what may be a long command, for messages."""
    shown = printable(name)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[: _MOST_SHOWN - 1]}…"
