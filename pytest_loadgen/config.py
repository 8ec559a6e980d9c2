"""The tables of pyproject.toml: ``[tool.pytest-loadgen.profiles.NAME]``."""

from pathlib import Path
from typing import Any

from pytest_loadgen.errors import PlanError, did_you_mean
from pytest_loadgen.options import Options, check


def profile(folder: Path, name: str) -> Options:
    """Read a profile: options for every load. Raises PlanError."""
    path = folder / "pyproject.toml"
    profiles = _table(path).get("profiles", {})
    if not isinstance(profiles, dict):
        raise PlanError(f"{path}: profiles is no table: write [tool.pytest-loadgen.profiles.NAME]")
    if name not in profiles:
        known = did_you_mean(name, profiles) if profiles else "it has no [tool.pytest-loadgen.profiles.NAME]."
        raise PlanError(f"there is no profile {name!r} in {path}: {known}")
    where = f"the profile {name!r} in {path}"
    if not isinstance(profiles[name], dict):
        raise PlanError(f"{where} is no table: write [tool.pytest-loadgen.profiles.{name}]")
    return check(profiles[name], where)


def _table(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PlanError(f"cannot read {path}: {error}") from None
    table = document.get("tool", {}).get("pytest-loadgen", {})
    for key in table:
        if key not in _TABLES:
            raise PlanError(f"{path}: [tool.pytest-loadgen] has no {key!r}: {did_you_mean(key, _TABLES)}")
    return dict(table)


_TABLES = ("profiles",)
