"""Checks: what a response has to have, besides its status."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic import by_value

Headers = Sequence[tuple[bytes, bytes]]


class Check(ABC):
    """What a response is checked for; it travels to the process that sends the requests."""

    @staticmethod
    def of(check: Any) -> Check:
        """Read a check as people write it. Raises PlanError."""
        if isinstance(check, (str, bytes)) and check:
            return ContainsText(check.encode() if isinstance(check, str) else check)
        if isinstance(check, re.Pattern):
            return MatchesPattern(check)
        if inspect.iscoroutinefunction(check) or inspect.isgeneratorfunction(check):
            # What it returns would be true, and its code never run.
            raise PlanError(f"check={check.__name__}: expected a plain function, not one with async or yield")
        if callable(check):
            return CallsFunction(check)
        raise PlanError(f"check={check!r}: expected a text, a compiled pattern or a function of the response")

    @abstractmethod
    def failure(self, status: int, headers: Headers, body: bytes) -> str:
        """Say why a response fails the check; empty if it passes."""


@dataclass(frozen=True)
class ContainsText(Check):
    """The body has to contain a text."""

    text: bytes

    def failure(self, status: int, headers: Headers, body: bytes) -> str:
        """Look for the text."""
        return "" if self.text in body else f"the body lacks {self.text.decode(errors='replace')!r}"


@dataclass(frozen=True)
class MatchesPattern(Check):
    """The body has to have a match of a regular expression."""

    pattern: re.Pattern[Any]

    def failure(self, status: int, headers: Headers, body: bytes) -> str:
        """Search for a match."""
        text: Any = body if isinstance(self.pattern.pattern, bytes) else body.decode(errors="replace")
        return "" if self.pattern.search(text) else f"the body does not match {self.pattern.pattern!r}"


class CallsFunction(Check):
    """A function of an httpx.Response must not return what is false, except None, nor raise."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        """Take the function."""
        self._function = function

    def failure(self, status: int, headers: Headers, body: bytes) -> str:
        """Call the function."""
        import httpx

        # The body is as it came; httpx would decode it again by its headers.
        kept = [(name, value) for name, value in headers if name.lower() != b"transfer-encoding"]
        try:
            returned = self._function(httpx.Response(status, headers=kept, content=body))
            return "" if returned is None or returned else f"returned {returned!r}"
        except AssertionError as error:
            return f"assert failed: {error}" if str(error) else "an assert failed"
        # pytest.fail() and sys.exit() raise what is no Exception.
        except BaseException as error:
            return f"{type(error).__name__}: {error}"

    def __getstate__(self) -> bytes:
        """Send the function by value. Raises PlanError where that cannot be."""
        return by_value.dumps(self._function, "check", "the process of the load generator")

    def __setstate__(self, function: bytes) -> None:
        """Receive the function."""
        self._function = by_value.loads(function)
