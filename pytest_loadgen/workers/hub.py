"""What passes between the one who shares out a plan and the workers that run its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Protocol

from pytest_loadgen.errors import LoadError
from pytest_loadgen.figures.interval import Interval


class Sign(Enum):
    """What is said without figures."""

    HERE = "here"
    """A worker has come up, and waits for the start."""
    DONE = "done"
    """It has run its part to the end."""
    GONE = "gone"
    """It can say nothing any more; the hub says so for it."""
    FINISH = "finish"
    """To the workers: send no more, and wait for what is open."""


Message = Interval | LoadError | Sign
"""What a worker says."""
Word = float | Sign
"""What workers are told: when to start, and to finish."""


class Unwanted(Exception):  # noqa: N818  # no error: it is how a worker learns that the load was stopped
    """Nobody waits any more for what a worker does."""


class Channel(Protocol):
    """A worker's end of the line to the hub; both threads of a worker use it."""

    def send(self, message: Message) -> None:
        """Say something. Raises Unwanted."""

    def hear(self) -> Word | None:
        """Wait a moment for the next word. Raises Unwanted."""

    def local(self, moment: float) -> float:
        """Tell a moment of the hub's clock in the time of this machine's."""

    def close(self) -> None:
        """Say nothing more."""


class Hub(Protocol):
    """Where the channels of all workers end; these are known by their numbers, from 0."""

    @property
    def names(self) -> Sequence[str]:
        """How messages call the workers."""

    def entrance(self, number: int) -> Callable[[], Channel]:
        """Give what a worker calls to have its channel, wherever it is sent. It raises Unwanted."""

    def soon(self) -> float:
        """Tell a moment, by the hub's clock, that is far enough ahead for all workers to start together."""

    def tell(self, word: Word) -> None:
        """Tell all workers; those that are lost do not hear it."""

    def hear(self) -> Iterator[tuple[int, Message]]:
        """Wait a moment for what workers say, and give all that they have said. Raises GeneratorError."""

    def stop(self) -> None:
        """Let the workers know that what they do is not wanted any more."""

    def close(self) -> None:
        """Leave nothing open."""
