"""One plan split among several workers, for any load generator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace

from pytest_loadgen import clock
from pytest_loadgen.errors import GeneratorError, LoadError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import Intervals, LoadGenerator, Running, Wrapper, finish
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.workers.hub import Cancelled, Hub, Message, Signal, WorkerConnection
from pytest_loadgen.workers.local import LocalHub

Workers = int | str | Sequence[Executor]
"""A number of workers on this machine, the address of a Dask scheduler, or executors of this machine."""

# How long workers may take to start, to end after they were stopped, and to report why they ended, in seconds. Ctrl-C
# waits for the second.
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 1.5
_REASON_TIMEOUT = 1.0
# How often a worker says that it is there, after which silence it is lost, and how much longer than planned its part
# may take, in seconds.
_BEAT = 2.0
_SILENCE = 20.0
_MAX_STEP = 1.0
_GRACE = 30.0


class Distributed(Wrapper):
    """A load generator that runs the parts of a plan on several workers and merges their intervals."""

    def __init__(self, generator: LoadGenerator, workers: Workers) -> None:
        """Run another generator on these workers."""
        super().__init__(generator)
        self._workers = workers
        if isinstance(workers, str):
            self.sent_from = "a Dask cluster"

    def version(self) -> str:
        """Return the generator's version; empty for a cluster, which may have another than this machine."""
        return "" if isinstance(self._workers, str) else super().version()

    def run(self, plan: Plan) -> _SharedLoad:
        """Run the parts in parallel; an interval is yielded once all workers have sent theirs.

        Raises GeneratorError if a worker is lost; the others are then stopped.
        """
        return _SharedLoad(self._generator, self._workers, plan)


class _SharedLoad(Running):
    """A load whose parts run on workers."""

    def __init__(self, generator: LoadGenerator, workers: Workers, plan: Plan) -> None:
        super().__init__()
        self._generator, self._workers, self._plan = generator, workers, plan
        self._hub: Hub | None = None

    def finish(self) -> None:
        """Send no more requests, and wait for those in flight."""
        if hub := self._hub:
            hub.broadcast(Signal.FINISH)

    def _stop(self) -> None:
        """Do nothing: `_run` never waits for longer than a moment."""

    def _run(self) -> Generator[Interval]:
        with suppress(Cancelled), _opened(self._workers, self._plan) as (executors, hub):
            parts = self._plan.split(len(executors))
            workers: list[_Worker] = []
            try:
                for number, (executor, part) in enumerate(zip(executors, parts, strict=True)):
                    try:
                        future = executor.submit(_work, self._generator, part, hub.connector(number))
                    except RuntimeError as error:  # it is shut down, or broken
                        raise GeneratorError(f"{hub.names[number]}: its executor takes no work: {error}") from None
                    workers.append(_Worker(hub.names[number], future))
                self._wait_until_ready(hub, workers)
                hub.broadcast(hub.start_time())
                self._hub = hub
                yield from self._merged(hub, workers)
            finally:
                self._hub = None
                hub.stop()
                wait([worker.future for worker in workers if worker.ready and not worker.lost], _STOP_TIMEOUT)
                for worker in workers:
                    worker.future.cancel()

    def _wait_until_ready(self, hub: Hub, workers: list[_Worker]) -> None:
        deadline = clock.monotonic() + _START_TIMEOUT
        while missing := ", ".join(worker.name for worker in workers if not worker.ready):
            self._receive(hub, workers)
            if clock.monotonic() > deadline:
                raise GeneratorError(
                    f"{missing} did not start within {_START_TIMEOUT:g} s; does the executor have free slots?"
                )

    def _merged(self, hub: Hub, workers: list[_Worker]) -> Iterator[Interval]:
        """Merge the workers' intervals of the same second, once all workers have sent theirs."""
        plan = self._plan
        limit = plan.warmup + plan.duration + 2 * plan.timeout + _GRACE
        polled, passed = clock.monotonic(), 0.0
        while True:
            while all(worker.done or worker.intervals for worker in workers):
                queues = [worker.intervals for worker in workers if worker.intervals]
                if not queues:
                    return
                first = min(intervals[0].start for intervals in queues)
                yield Interval.merge_parallel([each.pop(0) for each in queues if each[0].start < first + 0.5])
            self._receive(hub, workers)
            # This process may itself have been stopped: only time in which it could hear the workers counts.
            now = clock.monotonic()
            step, polled = min(now - polled, _MAX_STEP), now
            passed += step
            for worker in workers:
                worker.wait(step)
            if passed > limit and (late := ", ".join(worker.name for worker in workers if not worker.done)):
                raise GeneratorError(
                    f"{late} did not end within {limit:g} s, although the load should have ended before"
                )

    def _receive(self, hub: Hub, workers: list[_Worker]) -> None:
        """Handle the workers' messages, and notice workers that ended without one. Raises Cancelled."""
        if self._stopped.is_set():
            raise Cancelled
        ended = [worker for worker in workers if worker.future.done()]
        for number, message in hub.receive():
            workers[number].handle(message)
        for worker in ended:
            worker.check()


@contextmanager
def _opened(workers: Workers, plan: Plan) -> Iterator[tuple[Sequence[Executor], Hub]]:
    """Find the workers, and open the hub that reaches them. Raises PlanError or GeneratorError."""
    if isinstance(workers, str):
        from pytest_loadgen.workers.dask import DaskHub

        with closing(DaskHub(workers)) as cluster:
            cluster.check(plan.target)
            yield cluster.executors, cluster
    elif isinstance(workers, int):
        count = len(plan.split(workers))
        # The hub is closed before the pool waits for its threads: a closed hub ends them.
        with ThreadPoolExecutor(count) as pool, closing(LocalHub(count)) as hub:
            yield [pool] * count, hub
    else:
        with closing(LocalHub(len(workers))) as hub:
            yield workers, hub


@dataclass
class _Worker:
    """The state of one worker, as known here."""

    name: str
    future: Future[None]
    ready: bool = False
    done: bool = False
    lost: bool = False
    silent: float = 0.0
    """For how long nothing was heard of it, in seconds."""
    intervals: list[Interval] = field(default_factory=list)

    def handle(self, message: Message) -> None:
        """Update the state; raises the worker's error."""
        self.silent = 0.0
        if isinstance(message, Interval):
            self.intervals.append(message)
        elif isinstance(message, LoadError):
            message.args = (f"{self.name}: {message}",)
            raise message
        elif message is Signal.READY:
            self.ready = True
        elif message is Signal.DONE:
            self.done = True
        elif message is Signal.LOST:
            self.lost = True
            self.check()

    def wait(self, seconds: float) -> None:
        """Note that nothing was heard for so long. Raises GeneratorError if that is too long."""
        self.silent += seconds
        if self.silent > _SILENCE and not self.done:
            self.lost = True
            raise GeneratorError(f"{self.name} does not respond: nothing was heard of it for {_SILENCE:g} s")

    def check(self) -> None:
        """Raise GeneratorError if the worker, which has ended, has not finished its part."""
        if not self.done:
            how = "was lost" if self.ready else "did not start"
            raise GeneratorError(f"{self.name} {how}{self._reason()}")

    def _reason(self) -> str:
        # The future of a lost worker may never end.
        with suppress(TimeoutError, CancelledError):
            error = self.future.exception(_REASON_TIMEOUT)
            return f": {type(error).__name__}: {error}" if error else ""
        return ""


def _work(generator: LoadGenerator, plan: Plan, connect: Callable[[], WorkerConnection]) -> None:
    """Run a part; this is what the executor calls, wherever it is."""
    with suppress(Cancelled), closing(connect()) as connection:
        try:
            # If one worker lacks the program, this fails before any worker has started.
            generator.version()
            connection.send(Signal.READY)
            deadline = clock.monotonic() + 2 * _START_TIMEOUT
            while (start := connection.receive()) is None:
                if clock.monotonic() > deadline:
                    raise Cancelled
            if isinstance(start, float):
                _run_part(generator, replace(plan, start_at=connection.local_time(start)), connection)
            connection.send(Signal.DONE)
        except LoadError as error:
            connection.send(error)


def _run_part(generator: LoadGenerator, plan: Plan, connection: WorkerConnection) -> None:
    running = generator.run(plan)
    ended = threading.Event()
    listener = threading.Thread(target=_listen, args=(running, connection, ended))
    listener.start()
    try:
        for interval in running:
            connection.send(interval)
    finally:
        running.close()
        ended.set()
        listener.join()


def _listen(running: Intervals, connection: WorkerConnection, ended: threading.Event) -> None:
    """Finish the load on command, stop it when it is cancelled, and say meanwhile that the worker is there."""
    told = clock.monotonic()
    while not ended.is_set():
        # A generator function cannot be closed while it runs; it is closed after its next interval.
        with suppress(ValueError):
            try:
                if connection.receive() is Signal.FINISH:
                    finish(running)
                if clock.monotonic() - told > _BEAT:
                    connection.send(Signal.ALIVE)
                    told = clock.monotonic()
            except Cancelled:
                running.close()
                return
