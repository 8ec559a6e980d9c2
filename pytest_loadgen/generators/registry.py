"""The load generators that can be chosen, by name."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.generators import base
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.remote import SCHEME, Remote
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.wording import did_you_mean

_WRITTEN: Mapping[type | UnionType, str] = {
    str: "text",
    list: "a list of texts",
    dict: "a table of texts",
    bool: "true or false",
    bool | str: "true, false or text",
}


class Registry:
    """Generators as plugins bring them, and as the configuration makes others of these."""

    def __init__(
        self, generators: Iterable[LoadGenerator], configured: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Take both; a configured one may have the name of the one that it is made of. Raises PlanError."""
        self._generators: dict[str, LoadGenerator] = {}
        for generator in generators:
            if generator.name in self._generators:
                kinds = " and ".join(
                    f"{type(one).__module__}.{type(one).__qualname__}"
                    for one in (self._generators[generator.name], generator)
                )
                raise PlanError(f"two load generators are called {generator.name!r}: {kinds}")
            self._generators[generator.name] = generator
        made = {name: self._made(name, settings) for name, settings in (configured or {}).items()}
        self._generators.update(made)

    def __iter__(self) -> Iterator[LoadGenerator]:
        return iter(self._generators.values())

    def __contains__(self, name: object) -> bool:
        return name in self._generators

    def __getitem__(self, name: str) -> LoadGenerator:
        """Give the generator of a name, which may be the address of one elsewhere. Raises PlanError."""
        if isinstance(name, str) and name.startswith(SCHEME):
            return self._generators.setdefault(name, Remote.at(name))
        if not isinstance(name, str) or name not in self._generators:
            raise PlanError(f"there is no load generator {name!r}: {did_you_mean(str(name), self._generators)}")
        return self._generators[name]

    def check(self, generator: LoadGenerator, plan: Plan) -> None:
        """Refuse a plan that a generator cannot do, and say which can. Raises PlanError."""
        base.check(generator, plan, self)

    def _made(self, name: str, settings: Mapping[str, Any]) -> LoadGenerator:
        """Make a generator of another, with its own name and settings."""
        where = f"[tool.pytest-loadgen.generators.{name}]"
        use = settings.get("use", name)
        if not isinstance(use, str) or use not in self._generators:
            raise PlanError(f"{where}: use = {use!r}: {did_you_mean(str(use), self._generators)}")
        made = copy.copy(self._generators[use])
        known = made.settings
        for key, value in settings.items():
            if key == "use":
                continue
            if key not in known:
                raise PlanError(f"{where} has no {key!r}: {did_you_mean(key, ['use', *known])}")
            if misfit := next(_misfits(key, value, known[key]), ""):
                raise PlanError(f"{where}: {misfit}: write {_written(known[key])}")
            setattr(made, key, value)
        made.name = name
        return made


def _written(kind: type | UnionType) -> str:
    return _WRITTEN.get(kind) or str(getattr(kind, "__name__", kind))


def _misfits(key: str, value: object, kind: type | UnionType) -> Iterator[str]:
    """Name what is of a wrong type, and not what is written there: it may be secret."""
    parts: Iterable[tuple[str, object]]
    if kind is list and isinstance(value, list):
        parts, kind = ((f"{key}[{place}]", each) for place, each in enumerate(value)), str
    elif kind is dict and isinstance(value, dict):
        parts, kind = ((f"{key}.{name}", each) for name, each in value.items()), str
    else:
        parts = [(key, value)]
    for name, each in parts:
        # True is an int, too.
        if not isinstance(each, kind) or (isinstance(each, bool) and kind not in {bool, bool | str}):
            yield f"{name} is of type {type(each).__name__}"
