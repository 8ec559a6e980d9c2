"""The embedded generator: plain Python, no program to install."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator, Running
from pytest_loadgen.generators.embedded.worker import Worker
from pytest_loadgen.traffic.plan import Plan

if TYPE_CHECKING:
    from pytest_loadgen.generators.embedded.load_thread import LoadThread


class Embedded(LoadGenerator):
    """Sends HTTP/1.1 over TCP, TLS and unix sockets, from its own processes on this machine."""

    name = "embedded"
    features = frozenset(
        {
            "http",
            "https",
            "http+unix",
            "https+unix",
            "rate",
            "max",
            "stages",
            "poisson",
            "body",
            "cert",
            "mix",
            "names",
            "data",
            "check",
            "journey",
            "iterations",
        }
    )

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        atexit.register(self.close)

    def version(self) -> str:
        """Return the version of this package."""
        return version("pytest-loadgen")

    def run(self, plan: Plan) -> EmbeddedLoad:
        """Run a plan in an idle process, in a new one, or in a thread of this one. Raises GeneratorError."""
        here = plan.journey and not plan.journey.separate
        return ThreadLoad(self, plan) if here else EmbeddedLoad(self, plan)

    def acquire(self) -> Worker:
        """Return an idle process, or a new one. Raises GeneratorError."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker and not worker.alive:
            worker.close()
            worker = None
        return worker or Worker()

    def release(self, worker: Worker) -> None:
        """Keep a process for the next plan, if it can take one."""
        if worker.alive:
            with self._lock:
                self._idle.append(worker)
        else:
            worker.close()

    def close(self) -> None:
        """End the idle processes."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def __reduce__(self) -> tuple[Callable[[], Embedded], tuple[()]]:
        # Unpickled in another process, it is one generator that starts its own workers.
        return _of_this_process, ()


class EmbeddedLoad(Running):
    """A load that runs in a worker process."""

    def __init__(self, generator: Embedded, plan: Plan) -> None:
        """Start nothing yet."""
        super().__init__()
        self._generator, self._plan = generator, plan
        self._worker: Worker | None = None

    def finish(self) -> None:
        """Send no more requests, and wait for those in flight."""
        if self._worker:
            self._worker.finish()

    def _run(self) -> Generator[Interval]:
        self._worker = worker = self._generator.acquire()
        try:
            if not self._stopped.is_set():
                yield from worker.run(self._plan)
        finally:
            self._worker = None
            self._generator.release(worker)

    def _stop(self) -> None:
        if worker := self._worker:
            worker.stop()


class ThreadLoad(EmbeddedLoad):
    """A load that runs in a thread of this process."""

    _thread: LoadThread | None = None

    def finish(self) -> None:
        """Begin no more journeys, and wait for those that run."""
        if self._thread:
            self._thread.finish()

    def _run(self) -> Generator[Interval]:
        from pytest_loadgen.generators.embedded.load_thread import LoadThread

        with closing(LoadThread()) as self._thread:
            if not self._stopped.is_set():
                yield from self._thread.run(self._plan)

    def _stop(self) -> None:
        if self._thread:
            self._thread.stop()


@cache
def _of_this_process() -> Embedded:
    return Embedded()
