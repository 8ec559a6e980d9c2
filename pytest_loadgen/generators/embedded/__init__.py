"""The embedded generator: plain Python, no program to install."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Generator
from functools import cache
from importlib.metadata import version

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator, Running
from pytest_loadgen.generators.embedded.worker import Worker
from pytest_loadgen.traffic.plan import Plan


class Embedded(LoadGenerator):
    """HTTP/1.1 over TCP, TLS and unix sockets, from a process of its own on this machine."""

    name = "embedded"
    features = frozenset(
        {"http", "https", "http+unix", "https+unix", "rate", "max", "stages", "poisson", "body", "cert"}
    )

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        atexit.register(self.close)

    def version(self) -> str:
        """Tell the version of this package."""
        return version("pytest-loadgen")

    def run(self, plan: Plan) -> Load:
        """Run a plan in a process that is free, or in a new one. Raises GeneratorError."""
        return Load(self, plan)

    def lend(self) -> Worker:
        """Give a process that has nothing to do."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker and not worker.alive:
            worker.close()
            worker = None
        return worker or Worker()

    def take_back(self, worker: Worker) -> None:
        """Keep a process for the next plan."""
        if worker.alive:
            with self._lock:
                self._idle.append(worker)
        else:
            worker.close()

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def __reduce__(self) -> tuple[Callable[[], Embedded], tuple[()]]:
        # Where it is sent, it starts processes of its own, once.
        return _of_this_process, ()


class Load(Running):
    """A plan that a process carries out."""

    def __init__(self, generator: Embedded, plan: Plan) -> None:
        """Start nothing yet."""
        super().__init__()
        self._generator, self._plan = generator, plan
        self._worker: Worker | None = None

    def finish(self) -> None:
        """Send no more, and wait for what is open."""
        if self._worker:
            self._worker.finish()

    def _run(self) -> Generator[Interval]:
        self._worker = worker = self._generator.lend()
        try:
            if not self._stopped.is_set():
                yield from worker.run(self._plan)
        finally:
            self._worker = None
            self._generator.take_back(worker)

    def _stop(self) -> None:
        if worker := self._worker:
            worker.stop()


@cache
def _of_this_process() -> Embedded:
    return Embedded()
