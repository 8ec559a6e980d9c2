"""Which statuses of responses are right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.target import NO_SERVICE, Target

Status = int | str
"""A status or a class of statuses: ``404``, ``"2xx"``; for gRPC, a name such as ``"NOT_SERVING"``."""
_WORD = re.compile("[A-Z][A-Z_]+")


def read_expected(expect: Any, target: Target) -> tuple[str, ...]:
    """Read the statuses that are right for a request, or give the usual ones. Raises PlanError."""
    if expect is None:
        return ("2xx", "3xx") if target.scheme.startswith(("http", NO_SERVICE)) else ("OK", "SERVING")
    try:
        found = list(expect) if isinstance(expect, Iterable) and not isinstance(expect, str) else [expect]
    except TypeError:  # NumPy's single values
        found = [expect]
    texts = tuple(text if _WORD.fullmatch(text := str(status)) else text.lower() for status in found)
    for text in texts:
        if _WORD.fullmatch(text):
            continue
        digits, rest = text[:1], text[1:]
        if digits not in "12345" or len(rest) != 2 or not (rest == "xx" or rest.isdigit()):
            raise PlanError(f"expect={text!r}: write a status (204), a class ('2xx') or a list of these")
    if not texts:
        raise PlanError("expect=[]: give at least one status; with none, every response would be an error")
    return texts


def is_expected(outcome: str, expected: Sequence[str]) -> bool:
    """Whether an outcome counts as success; failures (``"timeout"``) never do."""
    return outcome in expected or (f"{outcome[:1]}xx" in expected and outcome.isdigit())
