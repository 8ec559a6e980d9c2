"""One plan shared by several workers: any load generator, over any `concurrent.futures` executors."""

from __future__ import annotations

import contextlib
import hmac
import secrets
import socket
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Self

from pytest_loadgen.errors import GeneratorError, LoadError
from pytest_loadgen.generators.base import Intervals, LoadGenerator, Wrapper, finish
from pytest_loadgen.plan import Plan
from pytest_loadgen.result import Interval

# How long workers have to come up, and to end when told, in seconds.
_COME_UP = 60.0
_END = 5.0
# How long before the common start each worker is told of it.
_NOTICE = 0.5
_FINISH = "finish"


class Distributed(Wrapper):
    """A load generator that has another do the parts of a plan, and adds up what they give.

    The workers send their intervals over loopback to this process, which they find by address and
    token; so an executor may run them in threads or in processes of this machine.
    """

    def __init__(self, generator: LoadGenerator, workers: int | Sequence[Executor]) -> None:
        """Take as many workers as there are executors, or so many threads of this process."""
        super().__init__(generator)
        self._workers = workers

    def run(self, plan: Plan) -> _Parts:
        """Run the parts side by side; an interval is yielded when all parts have given theirs.

        Raises GeneratorError where a worker is lost; the others are stopped.
        """
        return _Parts(self._generator, self._workers, plan)


class _Parts:
    """A running plan: an iterator over the intervals that its parts come to."""

    def __init__(self, generator: LoadGenerator, workers: int | Sequence[Executor], plan: Plan) -> None:
        self._running: list[_Worker] = []
        self._intervals = self._run(generator, workers, plan)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Interval:
        return next(self._intervals)

    def close(self) -> None:
        self._intervals.close()

    def finish(self) -> None:
        for worker in self._running:
            worker.tell(_FINISH)

    def _run(self, generator: LoadGenerator, given: int | Sequence[Executor], plan: Plan) -> Generator[Interval]:
        with contextlib.ExitStack() as stack:
            executors: Sequence[Executor]
            if isinstance(given, int):
                parts = plan.split(given)
                executors = [stack.enter_context(ThreadPoolExecutor(len(parts)))] * len(parts)
            else:
                executors = given
                parts = plan.split(len(executors))
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            token = secrets.token_bytes(32)
            workers = self._running
            # Before the executors are closed, their work must have an end.
            stack.callback(_end, workers)
            for number, (executor, part) in enumerate(zip(executors, parts, strict=True), 1):
                future = executor.submit(_work, generator, part, server.getsockname(), token, number)
                workers.append(_Worker(f"worker {number} of {len(parts)}", future))
            _connect(server, token, workers)
            start_at = time.time() + _NOTICE
            for worker in workers:
                worker.tell(start_at)
            yield from _merged(workers)


@dataclass
class _Worker:
    """One worker, as it is seen from here."""

    name: str
    future: Future[None]
    channel: Connection | None = None
    intervals: list[Interval] = field(default_factory=list)
    done: bool = False

    def tell(self, word: float | str) -> None:
        """Send it when to start, or that it is to finish."""
        assert self.channel
        with contextlib.suppress(OSError):  # it is lost, and reading will tell so
            self.channel.send(word)

    def take(self) -> None:
        """Read what it sent; raises what went wrong with it."""
        assert self.channel
        try:
            message = self.channel.recv()
        except (EOFError, OSError):
            raise GeneratorError(f"{self.name} was lost{self._reason()}") from None
        if isinstance(message, Interval):
            self.intervals.append(message)
        elif isinstance(message, LoadError):
            message.args = (f"{self.name}: {message}",)
            raise message
        else:
            self.done = True

    def check(self) -> None:
        """Raise what kept it from coming up."""
        if self.future.done() and not self.channel:
            raise GeneratorError(f"{self.name} did not come up{self._reason()}")

    def _reason(self) -> str:
        with contextlib.suppress(TimeoutError):
            error = None if self.future.cancelled() else self.future.exception(timeout=_END)
            return f": {type(error).__name__}: {error}" if error else ""
        return ""

    def end(self) -> None:
        """Let it stop: it does when it is no longer listened to."""
        self.future.cancel()
        if self.channel:
            self.channel.close()


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.end()


def _connect(server: socket.socket, token: bytes, workers: list[_Worker]) -> None:
    """Wait until each worker has called."""
    deadline = time.monotonic() + _COME_UP
    server.settimeout(0.1)
    while any(not worker.channel for worker in workers):
        for worker in workers:
            worker.check()
        if time.monotonic() > deadline:
            missing = ", ".join(worker.name for worker in workers if not worker.channel)
            raise GeneratorError(f"{missing} did not come up in {_COME_UP:g} s: are there free places in the executor?")
        with contextlib.suppress(TimeoutError, EOFError, OSError):
            caller, _ = server.accept()
            caller.setblocking(True)
            channel = Connection(caller.detach())
            # A stranger on this machine says something else, or nothing.
            said = channel.recv_bytes(len(token) + 8) if channel.poll(1.0) else b""
            number = int.from_bytes(said[len(token) :])
            if hmac.compare_digest(said[: len(token)], token) and 0 < number <= len(workers):
                workers[number - 1].channel = channel


def _merged(workers: list[_Worker]) -> Iterator[Interval]:
    """Add up what the workers did in the same second, as soon as all have told of it."""
    while True:
        while all(worker.done or worker.intervals for worker in workers):
            ahead = [worker.intervals for worker in workers if worker.intervals]
            if not ahead:
                return
            first = min(intervals[0].start for intervals in ahead)
            given = [intervals.pop(0) for intervals in ahead if intervals[0].start < first + 0.5]
            yield sum(given[1:], given[0])
        by_channel = {worker.channel: worker for worker in workers if worker.channel and not worker.done}
        for channel in wait(list(by_channel)):
            by_channel[channel].take()  # type: ignore[index]  # these are the channels that went in


def _work(generator: LoadGenerator, plan: Plan, address: tuple[str, int], token: bytes, number: int) -> None:
    """Run a part, wherever an executor has put this call."""
    with Connection(socket.create_connection(address).detach()) as channel:
        channel.send_bytes(token + number.to_bytes(8))
        try:
            start_at = channel.recv()
        except EOFError:
            return
        running = generator.run(replace(plan, start_at=start_at))
        ended = threading.Event()
        watcher = threading.Thread(target=_obey, args=(running, channel, ended))
        watcher.start()
        try:
            for interval in running:
                channel.send(interval)
            channel.send(None)
        except OSError:
            pass  # the other side has closed, and wants no more
        except LoadError as error:
            with contextlib.suppress(OSError):
                channel.send(error)
        finally:
            running.close()
            ended.set()
            watcher.join()


def _obey(running: Intervals, channel: Connection, ended: threading.Event) -> None:
    """Finish a load when told, and stop it when nobody listens to it any more."""
    while not ended.is_set():
        if not channel.poll(0.1):
            continue
        # A generator function cannot be closed while it runs; it is after its next interval.
        with contextlib.suppress(ValueError):
            try:
                channel.recv()
            except (EOFError, OSError):
                running.close()
                return
            finish(running)
