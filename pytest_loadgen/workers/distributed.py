"""One plan shared by several workers: any load generator, on this machine or on a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Self

from pytest_loadgen.errors import GeneratorError, LoadError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import Intervals, LoadGenerator, Wrapper, finish
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.workers.hub import Channel, Hub, Message, Sign, Unwanted
from pytest_loadgen.workers.local import Loopback

Workers = int | str | Sequence[Executor]
"""So many threads of this process, the address of a Dask scheduler, or executors of this machine."""

# How long workers have to come up, to end when told, and to tell why they ended, in seconds.
_COME_UP = 60.0
_END = 5.0
_LAST_WORDS = 1.0


class Distributed(Wrapper):
    """A load generator that has another do the parts of a plan, and adds up what they give."""

    def __init__(self, generator: LoadGenerator, workers: Workers) -> None:
        """Take as many workers as there are executors, or the cluster has."""
        super().__init__(generator)
        self._workers = workers
        if isinstance(workers, str):
            self.sent_from = "a Dask cluster"

    def version(self) -> str:
        """Tell its version, or nothing for a cluster: what is here need not be what is there."""
        return "" if isinstance(self._workers, str) else super().version()

    def run(self, plan: Plan) -> _Parts:
        """Run the parts side by side; an interval is yielded when all parts have given theirs.

        Raises GeneratorError where a worker is lost; the others are stopped.
        """
        return _Parts(self._generator, self._workers, plan)


class _Parts:
    """A running plan: an iterator over the intervals that its parts come to."""

    def __init__(self, generator: LoadGenerator, workers: Workers, plan: Plan) -> None:
        self._started: Hub | None = None
        self._intervals = self._run(generator, workers, plan)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Interval:
        return next(self._intervals)

    def close(self) -> None:
        self._intervals.close()

    def finish(self) -> None:
        if self._started:
            self._started.tell(Sign.FINISH)

    def _run(self, generator: LoadGenerator, given: Workers, plan: Plan) -> Generator[Interval]:
        with _opened(given, plan) as (executors, hub):
            parts = plan.split(len(executors))
            workers: list[_Worker] = []
            try:
                for number, (executor, part) in enumerate(zip(executors, parts, strict=True)):
                    future = executor.submit(_work, generator, part, hub.entrance(number))
                    workers.append(_Worker(hub.names[number], future))
                _gather(hub, workers)
                hub.tell(hub.soon())
                self._started = hub
                yield from _merged(hub, workers)
            finally:
                hub.stop()
                wait([worker.future for worker in workers if worker.here and not worker.gone], _END)
                for worker in workers:
                    worker.future.cancel()


@contextmanager
def _opened(workers: Workers, plan: Plan) -> Iterator[tuple[Sequence[Executor], Hub]]:
    """Find the workers, and open the hub that reaches them. Raises PlanError or GeneratorError."""
    if isinstance(workers, str):
        from pytest_loadgen.workers.dask import Cluster

        with closing(Cluster(workers)) as cluster:
            cluster.check(plan.target)
            yield cluster.executors, cluster
    elif isinstance(workers, int):
        count = len(plan.split(workers))
        # Before the threads are waited for, their work must have an end.
        with ThreadPoolExecutor(count) as pool, closing(Loopback(count)) as loopback:
            yield [pool] * count, loopback
    else:
        with closing(Loopback(len(workers))) as loopback:
            yield workers, loopback


@dataclass
class _Worker:
    """One worker, as it is seen from here."""

    name: str
    future: Future[None]
    here: bool = False
    done: bool = False
    gone: bool = False
    intervals: list[Interval] = field(default_factory=list)

    def take(self, message: Message) -> None:
        """Take what it says; raises what went wrong with it."""
        if isinstance(message, Interval):
            self.intervals.append(message)
        elif isinstance(message, LoadError):
            message.args = (f"{self.name}: {message}",)
            raise message
        elif message is Sign.HERE:
            self.here = True
        elif message is Sign.DONE:
            self.done = True
        elif message is Sign.GONE:
            self.gone = True
            self.check()

    def check(self) -> None:
        """Raise what kept it, now that it has ended, from doing its part."""
        if not self.done:
            how = "was lost" if self.here else "did not come up"
            raise GeneratorError(f"{self.name} {how}{self._reason()}")

    def _reason(self) -> str:
        # The future of a worker that is lost may never end.
        with suppress(TimeoutError, CancelledError):
            error = self.future.exception(_LAST_WORDS)
            return f": {type(error).__name__}: {error}" if error else ""
        return ""


def _gather(hub: Hub, workers: list[_Worker]) -> None:
    """Wait until each worker has come up."""
    deadline = time.monotonic() + _COME_UP
    while missing := ", ".join(worker.name for worker in workers if not worker.here):
        _listen(hub, workers)
        if time.monotonic() > deadline:
            raise GeneratorError(f"{missing} did not come up in {_COME_UP:g} s: are there free places in the executor?")


def _listen(hub: Hub, workers: list[_Worker]) -> None:
    """Take what the workers say, and notice those that have ended without a word."""
    ended = [worker for worker in workers if worker.future.done()]
    for number, message in hub.hear():
        workers[number].take(message)
    for worker in ended:
        worker.check()


def _merged(hub: Hub, workers: list[_Worker]) -> Iterator[Interval]:
    """Add up what the workers did in the same second, as soon as all have told of it."""
    while True:
        while all(worker.done or worker.intervals for worker in workers):
            ahead = [worker.intervals for worker in workers if worker.intervals]
            if not ahead:
                return
            first = min(intervals[0].start for intervals in ahead)
            yield Interval.merge_parallel([each.pop(0) for each in ahead if each[0].start < first + 0.5])
        _listen(hub, workers)


def _work(generator: LoadGenerator, plan: Plan, enter: Callable[[], Channel]) -> None:
    """Run a part, wherever an executor has put this call."""
    with suppress(Unwanted), closing(enter()) as channel:
        try:
            # Where a worker has no such program, no other worker is to have started.
            generator.version()
            channel.send(Sign.HERE)
            while (start := channel.hear()) is None:
                pass
            if isinstance(start, float):
                _carry_out(generator, replace(plan, start_at=channel.local(start)), channel)
            channel.send(Sign.DONE)
        except LoadError as error:
            channel.send(error)


def _carry_out(generator: LoadGenerator, plan: Plan, channel: Channel) -> None:
    running = generator.run(plan)
    ended = threading.Event()
    watcher = threading.Thread(target=_obey, args=(running, channel, ended))
    watcher.start()
    try:
        for interval in running:
            channel.send(interval)
    finally:
        running.close()
        ended.set()
        watcher.join()


def _obey(running: Intervals, channel: Channel, ended: threading.Event) -> None:
    """Finish a load when told, and stop it when it is not wanted any more."""
    while not ended.is_set():
        # A generator function cannot be closed while it runs; it is after its next interval.
        with suppress(ValueError):
            try:
                if channel.hear() is Sign.FINISH:
                    finish(running)
            except Unwanted:
                running.close()
                return
