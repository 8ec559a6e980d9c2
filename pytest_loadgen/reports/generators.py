"""The table of load generators."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_loadgen.errors import LoadError
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.redaction import without_password

_BASIS = {"scheduled": "when due", "sent": "when sent", "corrected": "when sent, back-filled"}


def table(generators: Iterable[LoadGenerator]) -> str:
    """Draw one row per generator: is it here, what can it do, and from when does it count latency."""
    from tabulate import tabulate

    return tabulate(
        [_row(generator) for generator in generators],
        headers=("generator", "found", "version", "latency counts from", "can do"),
        tablefmt="simple",
        disable_numparse=True,
    )


def _row(generator: LoadGenerator) -> tuple[str, ...]:
    try:
        version = generator.version()
        found = getattr(generator, "path", lambda: without_password(getattr(generator, "address", "yes")))()
    except LoadError as error:
        version, found = "", str(error).removeprefix(f"{generator.name}: ").partition(". ")[0]
        if generator.remote:  # what it can do is not known here
            return generator.name, found, "", "", ""
    can = ", ".join(sorted(generator.features))
    return generator.name, found, version, _BASIS[generator.latency_from], can
