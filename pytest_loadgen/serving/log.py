"""The server's log: one line for each load."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field, replace

from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.wording import counted, tally

LOG = logging.getLogger("pytest_loadgen.serve")

_MAX_LENGTH = 500


@dataclass
class LogEntry:
    """A load's line in the log."""

    client: str
    generator: str
    plan: Plan | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    ended: str = "cancelled by the client"

    def __str__(self) -> str:
        parts = [f"{self.client}: {self.generator}"]
        if self.plan:
            parts += [f"{_stages(self.plan)}, {self.plan.target.method} {self.plan.target.origin}"]
        if total := self.outcomes.total():
            outcomes = tally(dict(self.outcomes.most_common()))
            parts += [f"{counted(total, 'request')} ({outcomes})"]
        line = " ".join("; ".join(parts).split())[:_MAX_LENGTH]
        ended = " ".join(self.ended.split())[:_MAX_LENGTH]
        return printable(f"{line}; {ended}")


def printable(text: str) -> str:
    """Return text that came from a client, without what a terminal would obey."""
    return "".join(letter for letter in text if letter.isprintable() or letter == "\n")


def _stages(plan: Plan) -> str:
    """Describe a plan's stages; a constant rate is one stage, however often the plan was lengthened."""
    return str(replace(plan, stages=(replace(plan.stages[0], seconds=plan.duration),)) if plan.steady else plan)
