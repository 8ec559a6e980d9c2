"""ASGI and WSGI applications, and the servers that serve them."""

from __future__ import annotations

import importlib
import inspect
import math
import os
import re
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

from pytest_loadgen.errors import LoadError, PlanError
from pytest_loadgen.wording import did_you_mean

Interface = Literal["ASGI", "WSGI"]
_NAME = re.compile(r"([\w.]+):([^\W\d][\w.]*)(\(\))?")
# waitress: how many connections it keeps open, and how many requests it works on at a time.
_CONNECTIONS, _THREADS = 10_000, 8


class Server(Protocol):
    """Serves an application on a socket."""

    def run(self) -> None:
        """Serve until stopped."""

    def stop(self) -> None:
        """End `run`, which may be in another thread."""


def is_name(text: str) -> bool:
    """Whether a text names an application: ``shop:app``, ``shop.main:create_app()``."""
    return _NAME.fullmatch(text) is not None


def interface_of(application: object) -> Interface:
    """Tell what an application speaks, from what it can be called with. Raises PlanError."""
    kind = type(application).__name__
    if not callable(application):
        raise PlanError(f"serve() takes a command, 'module:attribute', or an ASGI or WSGI application, not {kind}")
    call = application if inspect.isroutine(application) else getattr(application, "__call__", None)  # noqa: B004
    if inspect.iscoroutinefunction(call):
        return "ASGI"
    takes = [count for count in (2, 3) if _can_be_called_with(application, count)]
    if takes == [3]:
        return "ASGI"
    if takes == [2]:
        return "WSGI"
    raise PlanError(
        f"serve() cannot tell whether this {kind} is an application: ASGI's is called with (scope, receive, send), "
        "WSGI's with (environ, start_response). Name a function that creates one ('module:function()'), and serve "
        "anything else as a command"
    )


def _can_be_called_with(application: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(application).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True


def server_of(application: Any, listener: socket.socket, *, separate: bool) -> Server:
    """Give the server of an application, in a process of its own or not. Raises LoadError where it is missing."""
    kind = interface_of(application)
    module, server = ("uvicorn", _Uvicorn) if kind == "ASGI" else ("waitress", _Waitress)
    try:
        importlib.import_module(module)
    except ImportError:
        raise LoadError(
            f"to serve {'an' if kind == 'ASGI' else 'a'} {kind} application, serve() needs {module}: "
            "pip install 'pytest-loadgen[serve]'"
        ) from None
    made: Server = server(application, listener, separate=separate)
    return made


class _Uvicorn:
    """Serves ASGI."""

    def __init__(self, application: Any, listener: socket.socket, *, separate: bool) -> None:
        import uvicorn

        # A line for each request would cost the service more than many a response.
        given: dict[str, Any] = {"access_log": False, "interface": "asgi3"}
        if not separate:
            given["log_config"] = None  # the logging of the test process is the tests'
        self._server, self._listener = uvicorn.Server(uvicorn.Config(application, **given)), listener

    def run(self) -> None:
        self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        self._server.force_exit = self._server.should_exit  # told twice, it waits for no response
        self._server.should_exit = True


class _Waitress:
    """Serves WSGI, with threads."""

    def __init__(self, application: Any, listener: socket.socket, *, separate: bool) -> None:
        import waitress.server

        self._map: dict[int, Any] = {}
        self._server = waitress.server.create_server(
            application, self._map, sockets=[listener], connection_limit=_CONNECTIONS, threads=_THREADS
        )
        if separate:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit())

    def run(self) -> None:
        self._server.run()
        self._server.task_dispatcher.shutdown(timeout=math.inf)

    def stop(self) -> None:
        import waitress.wasyncore

        # In the thread of the server, whose loop ends when nothing is open.
        with suppress(OSError):  # all is closed
            self._server.trigger.pull_trigger(lambda: waitress.wasyncore.close_all(self._map))


def name_of(application: object) -> str:
    """Give the name by which another process imports an application. Raises PlanError where there is none."""
    for module, name in sorted(_names(application), key=lambda found: _is_of_tests(found[0])):
        if _is_importable(module):
            return f"{module.__name__}:{name}"
    raise PlanError(
        f"this {type(application).__name__} cannot be served in another process, which would have to import it: it is "
        "not at the top level of a module that can be imported. Move it there, name the function that creates it "
        "('module:function()'), or serve it in a thread of the test process: serve(app, process=False)"
    )


def _names(application: object) -> Iterator[tuple[ModuleType, str]]:
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType) and module.__name__ != "__main__":
            for name, value in list(vars(module).items()):
                if value is application and name.isidentifier():
                    yield module, name


def _is_of_tests(module: ModuleType) -> bool:
    """Whether pytest has imported it: another module is rather where the application comes from."""
    return type(module.__spec__ and module.__spec__.loader).__module__.startswith("_pytest.")


def _is_importable(module: ModuleType) -> bool:
    """Whether its name leads to the same file in a process that has imported nothing yet."""
    file, spec, name = getattr(module, "__file__", None), None, ""
    for part in module.__name__.split("."):
        name = f"{name}.{part}".lstrip(".")
        if not (spec := _found(name, spec and spec.submodule_search_locations)):
            return False
    if not (file and spec and spec.origin):
        return False
    return Path(file).exists() and Path(file).samefile(spec.origin)


def _found(name: str, path: Any) -> ModuleSpec | None:
    finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
    return next((spec for find in finders if find and (spec := find(name, path))), None)


def command(name: str) -> list[str]:
    """Give the command that serves an application of this name, in a process that finds the same modules."""
    path = [str(Path(os.fsdecode(each)).absolute()) for each in sys.path if isinstance(each, (str, bytes, os.PathLike))]
    start = f"import sys; sys.path[:] = {path!r}; from {__name__} import main; main()"
    return [sys.executable, "-P", "-c", start, "{fd}", name]


def main() -> None:
    """Serve the application of a name on an inherited socket: ``FD module:attribute``."""
    listener, name = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    sys.path.append(str(Path.cwd()))
    try:
        server = server_of(_load(name), listener, separate=True)
    except LoadError as error:
        sys.exit(str(error))
    server.run()


def _load(name: str) -> object:
    """Import an application, or call what makes it. Raises PlanError where it is not there."""
    found = _NAME.fullmatch(name)
    assert found
    try:
        value: Any = importlib.import_module(found[1])
    except ModuleNotFoundError as error:
        if not f"{found[1]}.".startswith(f"{error.name}."):
            raise  # another module, which it imports
        raise PlanError(f"{name}: no module {error.name!r} on sys.path, nor in the working directory") from None
    for attribute in found[2].split("."):
        try:
            value = getattr(value, attribute)
        except AttributeError:
            known = (each for each in dir(value) if not each.startswith("_") and callable(getattr(value, each, None)))
            near = did_you_mean(attribute, known)
            raise PlanError(f"{name}: {found[1]} has no {attribute!r}: {near}") from None
    return value() if found[3] else value


class ServiceThread:
    """An application that is served in a thread of this process."""

    def __init__(self, application: object, listener: socket.socket) -> None:
        """Start to serve. Raises LoadError."""
        self._listener = listener
        try:
            self._server = server_of(application, listener, separate=False)
        except BaseException:
            listener.close()
            raise
        self._thread = threading.Thread(target=self._run, name="loadgen-service", daemon=True)
        self.error: BaseException | None = None
        """What ended it."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._server.run()
        except BaseException as error:
            self.error = error
        finally:
            self._listener.close()

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return not self._thread.is_alive()

    def end(self, grace: float) -> None:
        """End it, with the requests that it works on where they take long. A thread that hangs stays: warn about it."""
        for _ in range(2):
            if not self._thread.is_alive():
                return
            self._server.stop()
            self._thread.join(grace)
        if self._thread.is_alive():
            warnings.warn(
                "the application that serve() runs with process=False does not end, and nothing can end its thread: "
                "look for a request, or a lifespan, that does not return. In a process of its own it would be killed",
                RuntimeWarning,
                stacklevel=2,
            )
