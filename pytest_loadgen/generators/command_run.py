"""A load that a program carries out."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import PARSE_ERRORS, Running
from pytest_loadgen.generators.process import CommandOutput, Process, excerpt
from pytest_loadgen.generators.scratch import scratch_folder
from pytest_loadgen.redaction import redact
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import NO_TIME, Duration

if TYPE_CHECKING:
    from pytest_loadgen.generators.command import Command

# How long a program has to report when Ctrl-C is pressed, in seconds.
_INTERRUPT_TIMEOUT = 1.0
# The file with all of standard error, in the program's folder.
_MESSAGES = "messages.log"


class CommandRun(Running):
    """A load that a program carries out; its intervals come when the program has ended."""

    def __init__(self, command: Command, plan: Plan) -> None:
        """Start nothing yet."""
        super().__init__()
        self._command = command
        self._plan = plan
        self._interrupted = False
        self._process: Process | None = None

    def finish(self) -> None:
        """Make the program end now and report."""
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
            command.argv(plan)  # a plan that it cannot run is refused before the warm-up is sent
            self._wait_for_start(plan)
            if plan.warmup:
                # A run of its own: no program can leave the beginning of a run out of its figures.
                for _ in self._execute(plan.warmup_only()):
                    pass
            if not self._stopped.is_set():
                yield from self._execute(replace(plan, warmup=NO_TIME))
        except GeneratorError as error:
            message = redact(str(error).removeprefix(f"{command.name}: "), command.secrets(plan))
            raise GeneratorError(f"{command.name}: {message}") from None

    def _execute(self, plan: Plan) -> Iterator[Interval]:
        """Run the program for a plan, and read its output."""
        command = self._command
        argv = [command.path(), *command.argv(plan)]
        with scratch_folder() as folder:
            for name, content in command.files(plan).items():
                (folder / name).write_bytes(content)
            messages = folder / _MESSAGES if command.keeps_messages else None
            with closing(Process(argv, command.env, folder, messages=messages)) as process:
                self._process = process
                try:
                    output = None if self._stopped.is_set() else self._wait(process, plan)
                except KeyboardInterrupt:
                    yield from self._partial_result(process, plan)
                    raise
                if output and not self._stopped.is_set():
                    yield from self._read(output, plan)

    def _wait(self, process: Process, plan: Plan) -> CommandOutput | None:
        """Wait for the program to end by itself, then interrupt it; returns None if the load was closed."""
        limit = plan.duration + self._command.shutdown_time(plan) + self._command.grace
        output = process.wait(limit)
        if output or self._stopped.is_set():
            return output
        # It may be waiting for a service that does not respond, and can report what it has so far.
        process.signal(signal.SIGINT)
        output = process.wait(self._command.grace)
        if self._stopped.is_set() or (output and output.status != -signal.SIGINT):
            return output
        if self._command.waits_forever(plan):
            process.signal(signal.SIGKILL)
            if killed := process.wait(self._command.grace):
                return replace(killed, hung=True)
        raise GeneratorError(f"did not end within {Duration(limit)}, and was killed{excerpt(process.stderr)}")

    def _partial_result(self, process: Process, plan: Plan) -> list[Interval]:
        """Make the program report what it has so far, if it can do so quickly."""
        self.finish()
        with suppress(GeneratorError):
            if output := process.wait(_INTERRUPT_TIMEOUT):
                return self._read(output, plan)
        return []

    def _read(self, output: CommandOutput, plan: Plan) -> list[Interval]:
        command = self._command
        if self._interrupted:
            plan = plan.between(0, min(float(plan.duration), max(output.seconds, 0.001)))
        command.check(output)
        try:
            found = list(command.parse(replace(output, interrupted=self._interrupted), plan))
        except PARSE_ERRORS as error:
            printed = output.stdout or output.stderr
            raise GeneratorError(f"its result cannot be read ({error}){excerpt(printed)}") from None
        return _with_stalls(found, output.stalls)


def _with_stalls(intervals: list[Interval], stalls: Sequence[tuple[float, float]]) -> list[Interval]:
    """Note in the intervals for how long the program did not run."""
    for start, seconds in stalls:
        if intervals:
            # A stall before or after the load may have changed the first or last interval.
            at = max((number for number, each in enumerate(intervals) if each.start <= start), default=0)
            intervals[at] = replace(intervals[at], stalled=intervals[at].stalled + seconds)
    return intervals
