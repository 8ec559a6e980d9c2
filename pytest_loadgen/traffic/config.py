"""The tables of pyproject.toml: ``[tool.pytest-loadgen.profiles.NAME]``, ``[tool.pytest-loadgen.generators.NAME]``."""

import os
from pathlib import Path
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.options import Options, check
from pytest_loadgen.wording import did_you_mean


def profile(folder: Path, name: str) -> Options:
    """Return the options of a profile. Raises PlanError."""
    path = folder / "pyproject.toml"
    profiles = _tables(path, "profiles")
    if name not in profiles:
        known = did_you_mean(name, profiles) if profiles else "it has no [tool.pytest-loadgen.profiles.NAME]."
        raise PlanError(f"no profile {name!r} in {path}: {known}")
    return check(profiles[name], f"the profile {name!r} in {path}")


def generators(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the settings of the configured generators by name. Raises PlanError."""
    found = _tables(folder / "pyproject.toml", "generators")
    # Paths are relative to pyproject.toml, wherever pytest is called.
    for settings in found.values():
        program = settings.get("program")
        if isinstance(program, str) and os.sep in program:
            settings["program"] = _located(folder, program)
        if isinstance(authorities := settings.get("tls"), str):
            settings["tls"] = _located(folder, authorities)
        if isinstance(files := settings.get("cert"), list):
            settings["cert"] = [_located(folder, file) if isinstance(file, str) else file for file in files]
    return found


def _located(folder: Path, file: str) -> str:
    try:
        return str((folder / Path(file).expanduser()).absolute())
    except RuntimeError as error:  # no such user
        raise PlanError(f"{folder / 'pyproject.toml'}: {file!r}: {error}") from None


def _tables(path: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return the tables of one kind by name."""
    tables = _table(path).get(kind, {})
    if not isinstance(tables, dict):
        raise PlanError(f"{path}: {kind} must be a table: write [tool.pytest-loadgen.{kind}.NAME]")
    for name, table in tables.items():
        if not isinstance(table, dict):
            where = f"the {kind.removesuffix('s')} {name!r} in {path}"
            raise PlanError(f"{where} must be a table: write [tool.pytest-loadgen.{kind}.{name}]")
    return tables


def _table(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PlanError(f"cannot read {path}: {error}") from None
    except RecursionError:
        raise PlanError(f"cannot read {path}: it is nested too deeply") from None
    table = document
    for name in ("tool", "pytest-loadgen"):
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise PlanError(f"{path}: {name} must be a table: write [tool.pytest-loadgen.profiles.NAME]")
    for key in table:
        if key not in _TABLES:
            raise PlanError(f"{path}: [tool.pytest-loadgen] has no {key!r}: {did_you_mean(key, _TABLES)}")
    return table


_TABLES = ("profiles", "generators")
