"""A load generator that is a program."""

from __future__ import annotations

import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar
from urllib.parse import parse_qsl

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.command_run import CommandRun
from pytest_loadgen.generators.process import PROXY_VARIABLE, CommandOutput, excerpt, query
from pytest_loadgen.redaction import secret_name
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.wording import describe_exit

VISIBLE_SETTING: Mapping[str, type] = {"secrets_in_arguments": bool}
"""The setting of programs that take headers as arguments; see `Command.check_visible`."""


class Command(LoadGenerator, ABC):
    """A program that is started for each load, and reports its figures when it ends.

    A subclass sets `name` and `features`, and defines two methods that do no I/O: `argv` and
    `parse`. The program runs in a temporary directory, which is removed when it has ended.
    """

    streams_intervals = False
    settings: Mapping[str, type] = {"program": str, "args": list, "env": dict}

    program: str = ""
    """Its path, or its name on PATH; by default the generator's name."""
    args: Sequence[str] = ()
    """Additional arguments, from the configuration; `argv` puts them where they belong."""
    env: Mapping[str, str] = {}
    """Additional environment variables."""
    secrets_in_arguments: bool = False
    """Whether everyone on this machine may see what looks secret, in the list of processes."""
    grace: float = 5.0
    """How long it may take to start, to report, and to end when it is stopped, in seconds."""
    install_hint: ClassVar[str] = ""
    """Where to get it."""
    version_args: ClassVar[Sequence[str]] = ("--version",)
    """The arguments that make it print its version."""
    keeps_messages: ClassVar[bool] = False
    """Whether `parse` needs all of standard error, and not only both ends."""
    reserved_args: ClassVar[Mapping[str, str]] = {}
    """Options of the program that `args` may not contain, each with the option of `load()` to use instead, if any."""

    @abstractmethod
    def argv(self, plan: Plan) -> Sequence[str]:
        """Return the arguments for a plan. Raises PlanError if the program cannot run it."""

    @abstractmethod
    def parse(self, output: CommandOutput, plan: Plan) -> Iterable[Interval]:
        """Read the output of the program. Raises GeneratorError, or ValueError if it is malformed."""

    def files(self, plan: Plan) -> Mapping[str, bytes]:
        """Return files to create in the program's working directory, by name."""
        return {}

    def shutdown_time(self, plan: Plan) -> float:
        """Return how long the program may wait for responses after the duration of the load, in seconds."""
        return float(plan.timeout)

    def waits_forever(self, plan: Plan) -> bool:
        """Return whether the program has no timeout; then `parse` can read what one leaves that `hung`."""
        return False

    def check_args(self) -> None:
        """Refuse configured arguments that `argv` sets itself. Raises PlanError."""
        for name in self.env:
            if PROXY_VARIABLE.fullmatch(name):
                raise PlanError(
                    f"{self.name}: env: {name} would send the load to another host than the one that was checked"
                )
        for arg in self.args:
            if (option := self.option(arg)) in self.reserved_args:
                instead = self.reserved_args[option]
                hint = f"use {instead} of load()" if instead else "the figures depend on it"
                raise PlanError(f"{self.name}: args: {option} is reserved; {hint}")

    def check_visible(self, target: Target) -> None:
        """Refuse what looks secret in a request that the program takes as arguments. Raises PlanError."""
        if self.secrets_in_arguments or not (name := secret_part(target)):
            return
        raise PlanError(
            f"{self.name} takes the request as arguments, which everyone on this machine can read, and {name} looks "
            "secret: use another generator (--load-generator=embedded), or set secrets_in_arguments = true in "
            f"[tool.pytest-loadgen.generators.{self.name}]"
        )

    def option(self, arg: str) -> str:
        """Return the program's option that an argument sets, without the value."""
        return arg.partition("=")[0]

    def check(self, output: CommandOutput) -> None:
        """Refuse the output of a program that failed. Raises GeneratorError."""
        if output.status and not output.hung:
            raise GeneratorError(f"{describe_exit(output.status)}{excerpt(output.stderr or output.stdout)}")

    def path(self) -> str:
        """Find the program. Raises GeneratorError."""
        # By the name of the class: a configured generator has a name of its own.
        program = self.program or type(self).name
        if path := shutil.which(program):
            return path
        where = "does not exist" if os.sep in program else "is not on PATH"
        source = f" ({self.install_hint})" if self.install_hint else ""
        raise GeneratorError(f"{self.name}: {program!r} {where}. Install it{source}, or use --load-generator=embedded.")

    def version(self) -> str:
        """Ask the program for its version. Raises GeneratorError if it is not installed."""
        return self.read_version(query(self.path(), *self.version_args))

    def read_version(self, text: str) -> str:
        """Find the version in the program's output."""
        found = re.search(r"\d+\.\d+(?:\.\d+)?", text)
        return found[0] if found else ""

    def secrets(self, plan: Plan) -> Iterator[str]:
        """Yield what no message may show: of the request, and values of the configuration."""
        yield from plan.secrets
        yield from self.env.values()
        for before, arg in pairwise(["", *self.args]):
            if arg.startswith("-"):
                yield arg.partition("=")[2]
            elif before.startswith("-"):
                yield arg
            if re.match(r"[\w-]+:", arg):  # a header
                yield arg.partition(":")[2]

    def run(self, plan: Plan) -> CommandRun:
        """Return a run that starts the program when its first interval is asked for."""
        return CommandRun(self, plan)


def secret_part(target: Target) -> str:
    """Return which header or query field looks like a secret, as words for a message; empty if none does."""
    for name, value in target.headers:
        if secret_name(name.decode("latin-1"), value.decode("latin-1")):
            return f"the header {name.decode('latin-1')}"
    query = target.path.partition(b"?")[2].decode("latin-1")
    for field, content in parse_qsl(query, keep_blank_values=True):
        if secret_name(field, content):
            return f"the field {field!r} of the query"
    return ""
