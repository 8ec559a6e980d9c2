"""Functions of test modules, sent to processes that cannot import these."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

from pytest_loadgen.errors import PlanError


def dumps(function: Callable[..., Any], what: str, where: str) -> bytes:
    """Pickle a function by value, with what it refers to in its module. Raises PlanError where that cannot be."""
    import cloudpickle

    module = sys.modules.get(getattr(function, "__module__", ""))
    by_value = getattr(module, "__spec__", None) is not None
    try:
        if by_value:
            cloudpickle.register_pickle_by_value(module)
        try:
            found: bytes = cloudpickle.dumps(function)
        finally:
            if by_value:
                cloudpickle.unregister_pickle_by_value(module)
    except Exception as error:
        raise PlanError(
            f"{what}={getattr(function, '__name__', function)!r} cannot be sent to {where} "
            f"({type(error).__name__}: {error}): let it refer to plain values only"
        ) from None
    return found


def loads(function: bytes) -> Any:
    """Receive a function."""
    return pickle.loads(function)  # noqa: S301  # of this test session


class Sent:
    """A function on its way to another machine."""

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        """Take the function, and what it is for in messages."""
        self._function, self._what = function, what

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        # It arrives as the function itself.
        return loads, (dumps(self._function, self._what, "other machines"),)
