"""The table of load generators."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_loadgen.errors import LoadError
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.redaction import without_password


def table(generators: Iterable[LoadGenerator]) -> str:
    """Draw one row per generator: where it is, its version, where its latency starts, and its features."""
    from tabulate import tabulate

    return tabulate(
        [_row(generator) for generator in generators],
        headers=("generator", "found", "version", "latency from", "features"),
        tablefmt="simple",
        disable_numparse=True,
    )


def _row(generator: LoadGenerator) -> tuple[str, ...]:
    try:
        version = generator.version()
        found = getattr(generator, "path", lambda: without_password(getattr(generator, "address", "yes")))()
    except LoadError as error:
        version, found = "", str(error).removeprefix(f"{generator.name}: ").partition(". ")[0]
        if generator.remote:  # only its machine knows its features
            return generator.name, found, "", "", ""
    features = ", ".join(sorted(generator.features))
    return generator.name, found, version, generator.latency_from, features
