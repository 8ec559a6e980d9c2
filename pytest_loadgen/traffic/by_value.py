"""Functions of test modules, sent to processes that cannot import these."""

from __future__ import annotations

import inspect
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from types import CellType, FunctionType
from typing import Any

from pytest_loadgen.errors import PlanError

_LOCK = threading.RLock()


def dumps(function: Callable[..., Any], what: str, where: str) -> bytes:
    """Pickle a function by value, with what it uses of its module. Raises PlanError if that is impossible."""
    try:
        return _pickled(function, [function])
    except PlanError:
        raise
    except Exception as error:
        raise PlanError(
            f"{what}={getattr(function, '__name__', function)!r} cannot be sent to {where} "
            f"({type(error).__name__}: {error}): use only plain values in it"
        ) from None


def dumps_all(functions: Sequence[Callable[..., Any] | None], where: str) -> bytes:
    """Pickle functions by value, together, so that they still share variables in the other process.

    Raises PlanError that names what cannot be sent.
    """
    given = [function for function in functions if function is not None]
    try:
        return _pickled((tuple(functions), _shared_variables(given)), given)
    except PlanError:
        raise
    except Exception as error:
        culprit = next(filter(None, (_culprit(function, set()) for function in given)), "")
        raise PlanError(
            f"{culprit or getattr(given[0], '__name__', given[0])} cannot be sent to {where} "
            f"({type(error).__name__}: {error}): use plain values, such as a name or an address; or create it "
            "in 'async def setup(client)' and pass that as setup=; or use process=False"
        ) from None


def loads_all(functions: bytes) -> tuple[Any, ...]:
    """Receive functions that were sent together."""
    found, shared = loads(functions)
    cells: dict[str, CellType] = {}
    return tuple(_with_shared(function, shared, cells) for function in found)


def _shared_variables(functions: Iterable[Any]) -> frozenset[str]:
    """Name the nonlocal variables that several functions share: cloudpickle gives each of them its own."""
    cells: dict[str, list[CellType]] = {}
    for function in functions:
        for name, cell in _cells(function):
            cells.setdefault(name, []).append(cell)
    return frozenset(
        name for name, found in cells.items() if len(found) > 1 and all(each is found[0] for each in found)
    )


def _cells(function: Any) -> list[tuple[str, CellType]]:
    if not inspect.isfunction(function) or not function.__closure__:
        return []
    return list(zip(function.__code__.co_freevars, function.__closure__, strict=True))


def _with_shared(function: Any, shared: frozenset[str], cells: dict[str, CellType]) -> Any:
    """Give a function the variables that it shares with others."""
    own = _cells(function)
    if not any(name in shared for name, _ in own):
        return function
    closure = tuple(cells.setdefault(name, cell) if name in shared else cell for name, cell in own)
    found = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, closure)
    found.__kwdefaults__ = function.__kwdefaults__
    return found


def _pickled(value: Any, functions: Iterable[Any]) -> bytes:
    import cloudpickle

    modules = {sys.modules.get(getattr(_inner(function), "__module__", None) or "") for function in functions}
    # Reentrant, because a pickled object may pickle a function in turn; a lock, because local workers are threads.
    with _LOCK:
        before = cloudpickle.list_registry_pickle_by_value()
        registered = [each for each in modules if each and each.__spec__ and each.__name__ not in before]
        for module in registered:
            cloudpickle.register_pickle_by_value(module)
        try:
            found: bytes = cloudpickle.dumps(value)
        finally:
            for module in registered:
                cloudpickle.unregister_pickle_by_value(module)
    return found


def _inner(function: Any) -> Any:
    """Give the function of a functools.partial or of a method."""
    while (inner := getattr(function, "func", getattr(function, "__func__", None))) is not None:
        function = inner
    return function


def _culprit(function: Any, seen: set[int]) -> str:
    """Describe the variable of a function that cannot be pickled; empty if none is found."""
    function = inspect.unwrap(_inner(function))
    if not inspect.isfunction(function) or id(function) in seen:
        return ""
    seen.add(id(function))
    found = inspect.getclosurevars(function)
    for name, value in {**found.nonlocals, **found.globals}.items():
        try:
            _pickled(value, [value])
        except Exception:
            if inner := _culprit(value, seen):
                return inner
            return f"{name!r} (a {type(value).__name__}), which {function.__name__}() uses,"
    return ""


def loads(function: bytes) -> Any:
    """Unpickle a function."""
    return pickle.loads(function)  # noqa: S301  # of this test session


class Sent:
    """Wraps a function that is pickled for another machine."""

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        """Take the function, and what it is for in messages."""
        self._function, self._what = function, what

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        # It arrives as the function itself.
        return loads, (dumps(self._function, self._what, "other machines"),)
