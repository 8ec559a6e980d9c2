"""Envoy Nighthawk, as a program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.command import Command
from pytest_loadgen.generators.nighthawk_options import FEATURES, FLOOR, Asked, drain
from pytest_loadgen.generators.nighthawk_output import Told
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.traffic.plan import Plan

_CONCURRENCY = "--concurrency"
# What the configuration may say otherwise; of a flag that is there twice the program wants to know nothing.
_USUAL = {_CONCURRENCY: "1", "--verbosity": "warn", "--sequencer-idle-strategy": "sleep"}
_SHORT = {"-v": "--verbosity"}
# What is not to be configured, and what says it instead.
_OWN = {
    "--rps": "rate=", "--duration": "duration=", "--connections": "connections=", "--timeout": "timeout=",
    "--request-method": "method=", "--protocol": "http2=", "--output-format": "", "--open-loop": "",
    "--no-default-failure-predicates": "", "--max-pending-requests": "", "--max-active-requests": "",
    "--address-family": "",
}  # fmt: skip


class Nighthawk(Command):
    """``nighthawk_client`` in its open loop, with latency from when each request was released.

    In open loop nothing of the service holds a release back, and a request that finds no connection
    free waits for one; so that is from when it was due, as long as the program keeps up. What it
    never came to release are time-outs. `Told.interval` says how latency is told from failures.

    What is open at the end of the duration may take the time-out longer. Nighthawk tells nothing
    more of it: where all of it ended in time it is in no figure, or else it is time-outs. (Builds
    from before July 2026 do not tell these apart, and wait in any case: all of it is time-outs.)

    It trusts any certificate; whether it is to be trusted was seen when the service was looked for.
    """

    name = "nighthawk"
    features = FEATURES
    added_latency = FLOOR
    program = "nighthawk_client"
    install_hint: ClassVar = "https://github.com/envoyproxy/nighthawk"
    reserved_args: ClassVar = _OWN

    def argv(self, plan: Plan) -> list[str]:
        """Give Nighthawk's arguments. Raises PlanError."""
        asked = Asked.of(plan, self._workers())
        return [
            *("--output-format", "json", "--open-loop", "--no-default-failure-predicates"),
            *("--rps", str(asked.rate), "--duration", str(asked.seconds), "--timeout", str(asked.timeout)),
            *("--connections", str(asked.connections)),
            *("--max-pending-requests", str(asked.waiting), "--max-active-requests", str(asked.waiting)),
            *("--protocol", "http2" if asked.http2 else "http1", "--address-family", asked.family),
            *("--request-method", asked.method),
            *(word for name, value in asked.headers for word in ("--request-header", f"{name}: {value}")),
            *self._usual(),
            asked.url,
            *self.args,
        ]

    def parse(self, output: CommandOutput, plan: Plan) -> list[Interval]:
        """Read the one result."""
        interval = Told.read(json.loads(output.stdout)).interval(plan, output.seconds)
        return [replace(interval, cpu=output.cpu / output.seconds)]

    def check(self, output: CommandOutput) -> None:
        """Refuse a program that ended badly and has no result: with one it may say so of the service's answers."""
        if not output.stdout.lstrip().startswith("{"):
            super().check(output)

    def overrun(self, plan: Plan) -> float:
        """Tell how long it may wait at its end: in older builds each worker after the other."""
        return float(drain(plan) * self._workers())

    def _workers(self) -> int:
        """Read the number of workers from the configuration. Raises PlanError."""
        text = self._configured().get(_CONCURRENCY, "1")
        if not text.isascii() or not text.isdigit() or not int(text):
            raise PlanError(f"{_CONCURRENCY} {text}: {self.name} has to know how many workers share the load: write 2")
        return int(text)

    def _usual(self) -> Iterator[str]:
        configured = self._configured()
        for flag, value in _USUAL.items():
            if flag not in configured:
                yield from (flag, value)

    def _configured(self) -> dict[str, str]:
        """Find the flags that the configuration gives, each with what comes behind it."""
        words = [word for arg in self.args for word in arg.split("=", 1)]
        return {_SHORT.get(flag, flag): value for flag, value in pairwise([*words, ""])}
