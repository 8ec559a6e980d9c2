"""The commands that need no tests: ``python -m pytest_loadgen COMMAND``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_loadgen.errors import LoadError
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.reports.generators import table
from pytest_loadgen.review.command import add_compare_options, add_judge_options, compare, judge
from pytest_loadgen.serving.command import add_options, serve
from pytest_loadgen.traffic.config import generators
from pytest_loadgen.wording import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command, and give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pytest_loadgen", description="Load tests in pytest.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser(
        "generators", help="list the load generators: which are found, and what each supports"
    )
    serving = commands.add_parser("serve", help="serve this machine's load generators to other machines over gRPC")
    for command in listing, serving:
        command.add_argument(
            "--folder",
            type=Path,
            default=Path(),
            metavar="PATH",
            help="directory of the pyproject.toml that configures generators (default: .)",
        )
    add_options(serving)
    judging = commands.add_parser("judge", help="judge the loads of a JSON report by other objectives")
    add_judge_options(judging)
    comparing = commands.add_parser("compare", help="compare the loads of two JSON reports")
    add_compare_options(comparing)
    listing.set_defaults(carry_out=_list, error_status=1)
    serving.set_defaults(carry_out=_serve, error_status=1)
    # For these, an exit status of 1 means a failed load.
    judging.set_defaults(carry_out=judge, error_status=2)
    comparing.set_defaults(carry_out=compare, error_status=2)
    parsed, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(parsed, "objectives") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    elif rest:  # argparse does not find objectives after an option
        parsed.objectives = [*parsed.objectives, *rest]
    try:
        status: int = parsed.carry_out(parsed)
    except LoadError as error:
        print(*map(printable, str(error).splitlines()), sep="\n", file=sys.stderr)  # noqa: T201
        return int(parsed.error_status)
    return status


def _serve(options: argparse.Namespace) -> int:
    return serve(options, Registry(_installed(), generators(options.folder)))


def _list(options: argparse.Namespace) -> int:
    installed, configured = _installed(), generators(options.folder)
    found, wrong = {generator.name: generator for generator in installed}, []
    for name, settings in configured.items():
        try:
            found[name] = Registry(installed, {name: settings})[name]
        except LoadError as error:  # a conftest.py may bring what it is made of
            wrong.append(str(error))
    print(table(found.values()), *wrong, sep="\n")  # noqa: T201  # that is what was asked for
    return 0


def _installed() -> list[LoadGenerator]:
    """Gather the generators of all installed plugins."""
    import pytest

    from pytest_loadgen.plugin import hookspecs

    plugins = pytest.PytestPluginManager()
    plugins.add_hookspecs(hookspecs)
    plugins.load_setuptools_entrypoints("pytest11")
    return [generator for each in plugins.hook.pytest_loadgen_generators() for generator in each]


if __name__ == "__main__":
    sys.exit(main())
