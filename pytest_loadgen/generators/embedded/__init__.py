"""The embedded generator: plain Python, no program to install."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from typing import ClassVar

from pytest_loadgen.generators.embedded.worker import Worker
from pytest_loadgen.plan import Plan
from pytest_loadgen.result import Interval
from pytest_loadgen.target import SCHEMES


class Embedded:
    """HTTP/1.1 over TCP, TLS and unix sockets, from a process of its own on this machine."""

    name: ClassVar = "embedded"
    features: ClassVar = frozenset({*SCHEMES, "rate", "max", "stages", "poisson"})

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        atexit.register(self.close)

    def run(self, plan: Plan) -> Iterator[Interval]:
        """Run a plan in a process that is free, or in a new one. Raises GeneratorError."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None or not worker.alive:
            worker = Worker()
        try:
            yield from worker.run(plan)
        finally:
            if worker.alive:
                with self._lock:
                    self._idle.append(worker)

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def __reduce__(self) -> tuple[type[Embedded], tuple[()]]:
        # Where it is sent, it starts processes of its own.
        return Embedded, ()
