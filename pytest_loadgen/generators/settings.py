"""The settings of a load generator, as pyproject.toml gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType

from pytest_loadgen.errors import PlanError
from pytest_loadgen.wording import did_you_mean

Kind = type | UnionType

_EXPECTED: Mapping[Kind, str] = {
    str: "a string",
    list: "a list of strings",
    dict: "a table of strings",
    bool: "true or false",
    bool | str: "true, false or a string",
    int: "an integer",
    float: "a number",
}


def check(section: str, values: Mapping[str, object], kinds: Mapping[str, Kind]) -> None:
    """Refuse values that a generator does not have, or of another type. Raises PlanError."""
    for name, value in values.items():
        if name not in kinds:
            raise PlanError(f"{section} has no {name!r}: {did_you_mean(name, ['use', *kinds])}")
        if misfit := next(_misfits(name, value, kinds[name]), ""):
            raise PlanError(f"{section}: {misfit}; expected {_expected(kinds[name])}")


def _expected(kind: Kind) -> str:
    return _EXPECTED.get(kind) or str(getattr(kind, "__name__", kind))


def _misfits(name: str, value: object, kind: Kind) -> Iterator[str]:
    """Name what has a wrong type, but do not show the value: it may be secret."""
    if kind is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _misfits(f"{name}[{index}]", item, str)
    elif kind is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _misfits(f"{name}.{key}", item, str)
    # True is an int, too.
    elif not isinstance(value, kind) or (isinstance(value, bool) and kind not in {bool, bool | str}):
        yield f"{name} is of type {type(value).__name__}"
