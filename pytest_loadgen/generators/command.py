"""A load generator that is a program."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator, Running
from pytest_loadgen.generators.process import CommandOutput, Process
from pytest_loadgen.traffic.plan import Plan, hold
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import NO_TIME, Duration

# How long a program may take to start and to report, and to end when it is told to, in seconds.
_GRACE = 5.0
# How long it has to report when Ctrl-C is pressed, and to say its version.
_LAST_WORDS = 1.0
_ASKED = 10.0
_SHOWN = 1000
# What is shorter than this is no secret, and would be found in any text.
_SECRET = 4
# What comes of reading what is no result; also a PlanError, of a number that is none, as it is not the user's.
UNREADABLE = (LookupError, TypeError, AttributeError, ValueError, OSError, ArithmeticError, RecursionError)
# Headers whose values need not be kept out of messages.
_HARMLESS = {b"host", b"accept", b"accept-encoding", b"connection", b"user-agent", b"content-length", b"content-type"}


class Command(LoadGenerator, ABC):
    """A program that is started for each load, and tells at its end what came of it.

    A subclass says `name` and `features`, and two functions that neither read nor write anything:
    `argv`, and `parse`. The program runs in a folder of its own, which is gone when it has ended.
    """

    streams_intervals = False
    settings: Mapping[str, type] = {"program": str, "args": list, "env": dict}

    program: str = ""
    """Its path, or its name on PATH; the generator's name where this is empty."""
    args: Sequence[str] = ()
    """More arguments, from the configuration; `argv` puts them where they belong."""
    env: Mapping[str, str] = {}
    """More of its environment."""
    install_hint: ClassVar[str] = ""
    """Where it is to be had."""
    version_args: ClassVar[Sequence[str]] = ("--version",)
    reserved_args: ClassVar[Mapping[str, str]] = {}
    """Options of the program that `args` may not have, each with that of `load()` to use instead, if there is one."""

    @abstractmethod
    def argv(self, plan: Plan) -> Sequence[str]:
        """Give the arguments for a plan. Raises PlanError where the program cannot do it."""

    @abstractmethod
    def parse(self, output: CommandOutput, plan: Plan) -> Iterable[Interval]:
        """Read what the program left. Raises GeneratorError, or ValueError where that is no result."""

    def files(self, plan: Plan) -> Mapping[str, bytes]:
        """Give files that the program shall find in its folder, by name."""
        return {}

    def shutdown_time(self, plan: Plan) -> float:
        """Tell how long after its duration it may still wait for answers, in seconds."""
        return float(plan.timeout)

    def check_args(self) -> None:
        """Refuse configured arguments that would change what `argv` says. Raises PlanError."""
        for arg in self.args:
            if (option := self.option(arg)) in self.reserved_args:
                instead = self.reserved_args[option]
                hint = f"use {instead} of load() instead" if instead else "its figures depend on it, so leave it out"
                raise PlanError(f"{self.name}: args has {option}, which is not to be configured: {hint}")

    def option(self, arg: str) -> str:
        """Give the option of the program that an argument is, without its value."""
        return arg.partition("=")[0]

    def check(self, output: CommandOutput) -> None:
        """Refuse a program that did not end well. Raises GeneratorError."""
        if output.status:
            raise GeneratorError(f"{ending(output.status)}{_quoted(output.stderr or output.stdout)}")

    def path(self) -> str:
        """Find the program. Raises GeneratorError."""
        # By the name that the class gives it: a configured one has a name of its own.
        program = self.program or type(self).name
        if path := shutil.which(program):
            return path
        where = "" if os.sep in program else " on PATH"
        get = f" ({self.install_hint})" if self.install_hint else ""
        raise GeneratorError(
            f"{self.name}: there is no {program!r}{where}. Install it{get}, or use --load-generator=embedded."
        )

    def version(self) -> str:
        """Ask the program for its version. Raises GeneratorError where it is not there."""
        return self.read_version(asked(self.path(), *self.version_args))

    def read_version(self, text: str) -> str:
        """Find the version in what the program says."""
        found = re.search(r"\d+\.\d+(?:\.\d+)?", text)
        return found[0] if found else ""

    def run(self, plan: Plan) -> _Run:
        """Start the program when the first interval is asked for."""
        return _Run(self, plan)


class _Run(Running):
    """A load by a program, which tells of it at its end."""

    def __init__(self, command: Command, plan: Plan) -> None:
        super().__init__()
        self._command = command
        self._plan = plan
        self._interrupted = False
        self._process: Process | None = None

    def finish(self) -> None:
        """Let the program end now, and tell what came of it."""
        self._interrupted = True
        self._signal(signal.SIGINT)

    def _stop(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if process := self._process:
            process.signal(number)

    def _run(self) -> Generator[Interval]:
        command, plan = self._command, self._plan
        try:
            command.check_args()
            command.path()
            command.argv(plan)  # what it cannot do is refused before the warm-up is sent
            self._wait_for_start(plan)
            if plan.warmup:
                # A run of its own: no program can leave the beginning of a run out of its figures.
                for _ in self._carry_out(warming(plan)):
                    pass
            if not self._stopped.is_set():
                yield from self._carry_out(replace(plan, warmup=NO_TIME))
        except GeneratorError as error:
            message = str(error).removeprefix(f"{command.name}: ")
            raise GeneratorError(f"{command.name}: {redacted(message, command, plan)}") from None

    def _carry_out(self, plan: Plan) -> Iterator[Interval]:
        """Run the program for a plan, and read what it left."""
        command = self._command
        argv = [command.path(), *command.argv(plan)]
        limit = plan.duration + command.shutdown_time(plan) + _GRACE
        with tempfile.TemporaryDirectory(prefix="pytest-loadgen-", ignore_cleanup_errors=True) as folder:
            for name, content in command.files(plan).items():
                (Path(folder) / name).write_bytes(content)
            with closing(Process(argv, command.env, Path(folder))) as process:
                self._process = process
                try:
                    output = None if self._stopped.is_set() else process.wait(limit)
                except KeyboardInterrupt:
                    yield from self._last_words(process, plan)
                    raise
                if output is None and not self._stopped.is_set():
                    # It may be waiting for a service that does not answer: what it has so far tells so.
                    process.signal(signal.SIGINT)
                    output = process.wait(_GRACE)
                if self._stopped.is_set():
                    return
                if output is None or output.status == -signal.SIGINT:
                    raise GeneratorError(f"did not end within {Duration(limit)}, and was ended{_quoted(process.said)}")
                yield from self._read(output, plan)

    def _last_words(self, process: Process, plan: Plan) -> list[Interval]:
        """Have the program tell what it has so far, if it is quick."""
        self.finish()
        with suppress(GeneratorError):
            if output := process.wait(_LAST_WORDS):
                return self._read(output, plan)
        return []

    def _read(self, output: CommandOutput, plan: Plan) -> list[Interval]:
        command = self._command
        if self._interrupted:
            plan = plan.between(0, min(float(plan.duration), max(output.seconds, 0.001)))
        command.check(output)
        try:
            return list(command.parse(replace(output, interrupted=self._interrupted), plan))
        except UNREADABLE as error:
            printed = output.stdout or output.stderr
            raise GeneratorError(f"left no result that can be read ({error}){_quoted(printed)}") from None


def warming(plan: Plan) -> Plan:
    """Give the plan of the warm-up alone: the rate at which the first stage starts."""
    rate = plan.stages[0].start
    stage = hold("max" if rate is None else float(rate), plan.warmup)
    return replace(plan, stages=(stage,), warmup=NO_TIME)


@cache
def asked(path: str, *args: str) -> str:
    """Give what a program says when it is called so, whatever its exit status. Raises GeneratorError."""
    with tempfile.TemporaryDirectory() as folder, closing(Process([path, *args], {}, Path(folder))) as process:
        if (output := process.wait(_ASKED)) is None:
            raise GeneratorError(f"{path} {' '.join(args)} did not end within {Duration(_ASKED)}")
        return output.stdout + output.stderr


def ending(status: int) -> str:
    """Say how a program ended."""
    if status >= 0:
        return f"ended with exit status {status}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"


def _quoted(text: str) -> str:
    """Give the last lines of what a program said, to be put behind a sentence."""
    text = text.strip()
    if not text:
        return ", and said nothing"
    if len(text) <= _SHOWN:
        return f": {text}"
    # No word is cut: a secret is only known whole.
    whole_words = re.sub(r"^\S*\s*", "", text[-_SHOWN:])
    return f": [...] {whole_words}"


def redacted(text: str, command: Command, plan: Plan) -> str:
    """Take out of a message what may be secret: of the request, and of what is configured."""
    return without_secrets(text, plan.target, [*_values(command.args), *command.env.values()])


def _values(args: Sequence[str]) -> Iterator[str]:
    """Give what is configured for an option: behind "=", as an argument of its own, or as a header's value."""
    for before, arg in pairwise(["", *args]):
        if arg.startswith("-"):
            yield arg.partition("=")[2]
        elif before.startswith("-"):
            yield arg
        if re.match(r"[\w-]+:", arg):
            yield arg.partition(":")[2]


def without_secrets(text: str, target: Target, more: Iterable[str] = ()) -> str:
    """Take out of a message headers, body and query of a request, and more that may be secret."""
    secrets = [value.decode(errors="replace") for name, value in target.headers if name.lower() not in _HARMLESS]
    secrets += [target.body.decode(errors="replace"), target.path.partition(b"?")[2].decode(errors="replace"), *more]
    # The parts, too: a program may tell "Basic" from what comes behind it, or a cookie from the next.
    parts = {part for secret in secrets for part in (secret, *re.split(r"[\s;&=]+", secret))}
    written = {form for part in parts for form in (part, json.dumps(part)[1:-1])}
    for part in sorted(filter(lambda form: len(form) >= _SECRET, written), key=len, reverse=True):
        text = text.replace(part, "[...]")
    return text
