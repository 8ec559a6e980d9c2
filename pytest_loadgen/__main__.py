"""What can be asked of the plugin without running tests: ``python -m pytest_loadgen generators``, or ``serve``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_loadgen.config import generators
from pytest_loadgen.errors import LoadError
from pytest_loadgen.registry import Registry
from pytest_loadgen.reports.generators import table
from pytest_loadgen.serving.command import add_options, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command, and give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pytest_loadgen", description="Load tests in pytest.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("generators", help="list the load generators: what is here, and what each can do")
    serving = commands.add_parser("serve", help="lend the load generators of this machine to others, over gRPC")
    for command in listing, serving:
        command.add_argument(
            "--folder",
            type=Path,
            default=Path(),
            metavar="PATH",
            help="where pyproject.toml is that configures some (.)",
        )
    add_options(serving)
    parsed = parser.parse_args(arguments)
    try:
        registry = _registry(parsed.folder)
        if parsed.command == "serve":
            return serve(parsed, registry)
        print(table(registry))  # noqa: T201  # that is what was asked for
    except LoadError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _registry(folder: Path) -> Registry:
    """Gather the generators of all installed plugins, and the configured ones."""
    import pytest

    from pytest_loadgen import hookspecs

    plugins = pytest.PytestPluginManager()
    plugins.add_hookspecs(hookspecs)
    plugins.load_setuptools_entrypoints("pytest11")
    found = [generator for each in plugins.hook.pytest_loadgen_generators() for generator in each]
    return Registry(found, generators(folder))


if __name__ == "__main__":
    sys.exit(main())
