"""Envoy Nighthawk, as a program."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.command import VISIBLE_SETTING, Command
from pytest_loadgen.generators.nighthawk_options import ADDED_LATENCY, FEATURES, NighthawkOptions, drain_time
from pytest_loadgen.generators.nighthawk_result import NighthawkResult
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.traffic.plan import Plan

_CONCURRENCY = "--concurrency"
# Defaults that args may override; the program refuses a flag that is given twice.
_DEFAULTS = {_CONCURRENCY: "1", "--verbosity": "warn", "--sequencer-idle-strategy": "sleep"}
_LONG = {"-v": "--verbosity"}
# Options that args may not contain, and what to use instead.
_RESERVED = {
    "--rps": "rate=", "--duration": "duration=", "--connections": "connections=", "--timeout": "timeout=",
    "--request-method": "method=", "--protocol": "http2=", "--output-format": "", "--open-loop": "",
    "--no-default-failure-predicates": "", "--max-pending-requests": "", "--max-active-requests": "",
    "--address-family": "",
}  # fmt: skip


class Nighthawk(Command):
    """``nighthawk_client`` in its open loop, with latency from when each request was released.

    In the open loop the service cannot delay a release, and a request that finds no free connection
    waits for one; so that is when it was due, as long as the program keeps up. Requests that it
    never released are timeouts. `NighthawkResult.interval` separates latencies from failures.

    Requests that are open at the end of the duration get the length of the timeout to end. Nighthawk
    does not report them: if all of them ended in time they do not count, otherwise all are timeouts.
    (Builds from before July 2026 do not distinguish these and always wait: all of them are timeouts.)

    It trusts any certificate; the check of the service before the load verifies it.
    """

    name = "nighthawk"
    features = FEATURES
    added_latency = ADDED_LATENCY
    program = "nighthawk_client"
    install_hint: ClassVar = "https://github.com/envoyproxy/nighthawk"
    reserved_args: ClassVar = _RESERVED
    settings: Mapping[str, type] = {**Command.settings, **VISIBLE_SETTING}

    def argv(self, plan: Plan) -> list[str]:
        """Return Nighthawk's arguments. Raises PlanError."""
        options = NighthawkOptions.of(plan, self._workers())
        self.check_visible(plan.target)
        return [
            *("--output-format", "json", "--open-loop", "--no-default-failure-predicates"),
            *("--rps", str(options.rate), "--duration", str(options.seconds), "--timeout", str(options.timeout)),
            *("--connections", str(options.connections)),
            *("--max-pending-requests", str(options.max_queue), "--max-active-requests", str(options.max_queue)),
            *("--protocol", "http2" if options.http2 else "http1", "--address-family", options.address_family),
            *("--request-method", options.method),
            *(word for name, value in options.headers for word in ("--request-header", f"{name}: {value}")),
            *self._defaults(),
            options.url,
            *self.args,
        ]

    def parse(self, output: CommandOutput, plan: Plan) -> list[Interval]:
        """Read the result, as one interval."""
        interval = NighthawkResult.read(json.loads(output.stdout)).interval(plan, output.seconds)
        return [replace(interval, cpu=output.cpu / output.seconds)]

    def check(self, output: CommandOutput) -> None:
        """Refuse a program that failed without a result; its exit status may only mean that responses were errors."""
        if not output.stdout.lstrip().startswith("{"):
            super().check(output)

    def shutdown_time(self, plan: Plan) -> float:
        """Return how long it may wait at its end: in older builds one worker after the other."""
        return float(drain_time(plan) * self._workers())

    def _workers(self) -> int:
        """Read the number of workers from the configuration. Raises PlanError."""
        text = self._flags().get(_CONCURRENCY, "1")
        if not text.isascii() or not text.isdigit() or not int(text):
            raise PlanError(f"{self.name}: args: {_CONCURRENCY} must be a number of workers (got {text!r})")
        return int(text)

    def _defaults(self) -> Iterator[str]:
        flags = self._flags()
        for flag, value in _DEFAULTS.items():
            if flag not in flags:
                yield from (flag, value)

    def _flags(self) -> dict[str, str]:
        """Return the flags in `args`, each with the word that follows."""
        words = [word for arg in self.args for word in arg.split("=", 1)]
        return {_LONG.get(flag, flag): value for flag, value in pairwise([*words, ""])}
