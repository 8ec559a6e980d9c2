"""The protocol between the process that splits a plan and the workers that run its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Protocol

from pytest_loadgen.errors import LoadError
from pytest_loadgen.figures.interval import Interval


class Signal(Enum):
    """A message without figures."""

    READY = "ready"
    """The worker has started and waits for its start time."""
    ALIVE = "alive"
    """The worker is running its part; it says so every few seconds."""
    DONE = "done"
    """The worker has finished its part."""
    LOST = "lost"
    """The connection to the worker has ended; the hub sends this in its place."""
    FINISH = "finish"
    """To the workers: send no more requests, and wait for those in flight."""


Message = Interval | LoadError | Signal
"""What a worker sends."""
Command = float | Signal
"""What a worker receives: its start time, by the hub's clock, or `Signal.FINISH`."""


class Cancelled(Exception):  # noqa: N818  # not an error: the load was stopped
    """The load was stopped; nobody waits for the result."""


class WorkerConnection(Protocol):
    """A worker's end of its connection to the hub; both threads of a worker use it."""

    def send(self, message: Message) -> None:
        """Send a message. Raises Cancelled."""

    def receive(self) -> Command | None:
        """Wait a moment for the next command; None if there is none. Raises Cancelled."""

    def local_time(self, moment: float) -> float:
        """Convert a time of the hub's clock to this machine's clock."""

    def close(self) -> None:
        """Close the connection."""


class Hub(Protocol):
    """Where the connections of all workers end; workers are numbered from 0."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the workers, for messages."""

    def connector(self, number: int) -> Callable[[], WorkerConnection]:
        """Return a picklable function that a worker calls to connect; it raises Cancelled."""

    def start_time(self) -> float:
        """Return a time of the hub's clock, late enough for all workers to start together."""

    def broadcast(self, command: Command) -> None:
        """Send a command to all workers; lost workers are ignored."""

    def receive(self) -> Iterator[tuple[int, Message]]:
        """Wait a moment, and yield all messages with the numbers of their workers. Raises GeneratorError."""

    def stop(self) -> None:
        """Cancel the load on all workers."""

    def close(self) -> None:
        """Close all connections."""
