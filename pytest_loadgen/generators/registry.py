"""The load generators that can be selected, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.generators import base, settings
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.remote import SCHEME, Remote
from pytest_loadgen.wording import did_you_mean


class Registry:
    """The generators that plugins provide, and those that the configuration derives from them."""

    def __init__(
        self, generators: Iterable[LoadGenerator], tables: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Take the generators, and the tables of pyproject.toml by name. Raises PlanError.

        A table may have the name of the generator that it configures, and replaces it then.
        """
        self._generators: dict[str, LoadGenerator] = {}
        for generator in generators:
            if generator.name in self._generators:
                classes = " and ".join(
                    f"{type(one).__module__}.{type(one).__qualname__}"
                    for one in (self._generators[generator.name], generator)
                )
                raise PlanError(f"two load generators are named {generator.name!r}: {classes}")
            self._generators[generator.name] = generator
        configured = {name: self._configured(name, table) for name, table in (tables or {}).items()}
        self._generators.update(configured)

    def __iter__(self) -> Iterator[LoadGenerator]:
        return iter(self._generators.values())

    def __contains__(self, name: object) -> bool:
        return name in self._generators

    def __getitem__(self, name: str) -> LoadGenerator:
        """Return the generator of this name, or at this remote:// address. Raises PlanError."""
        if isinstance(name, str) and name.startswith(SCHEME):
            return self._generators.setdefault(name, Remote.at(name))
        if not isinstance(name, str) or name not in self._generators:
            raise PlanError(f"unknown load generator {name!r}: {did_you_mean(str(name), self._generators)}")
        return self._generators[name]

    def close(self) -> None:
        """Close all generators."""
        for generator in self._generators.values():
            generator.close()

    def check(self, generator: LoadGenerator, needs: Set[str]) -> None:
        """Refuse a load that needs what a generator does not support, and name those that do. Raises PlanError."""
        base.check(generator, needs, self)

    def _configured(self, name: str, table: Mapping[str, Any]) -> LoadGenerator:
        """Derive a generator from the one that the table's `use` names, by default the one of the same name."""
        section = f"[tool.pytest-loadgen.generators.{name}]"
        use = table.get("use", name)
        if not isinstance(use, str) or use not in self._generators:
            raise PlanError(f"{section}: use = {use!r}: {did_you_mean(str(use), self._generators)}")
        generator = self._generators[use]
        values = {setting: value for setting, value in table.items() if setting != "use"}
        settings.check(section, values, generator.settings)
        return generator.configured(name, values)
