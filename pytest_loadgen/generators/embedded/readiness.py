"""Waiting for sockets, with precise timeouts."""

import contextlib
import select
import selectors
from pathlib import Path
from typing import Any, Protocol

_MIN_SLEEP = 20e-6


class Poller(Protocol):
    """Reports which file descriptors are ready (level-triggered)."""

    def add(self, fd: int, *, write: bool = False) -> None:
        """Watch for reading, or for reading and writing."""

    def change(self, fd: int, *, write: bool) -> None:
        """Change what to watch for."""

    def remove(self, fd: int) -> None:
        """Stop watching; call it just before the descriptor is closed."""

    def fileno(self) -> int:
        """Return its own descriptor, which is readable while any other is ready."""

    def wait(self, seconds: float) -> list[int]:
        """Return the descriptors that are ready, after at most this time."""

    def close(self) -> None:
        """Close the poller's own descriptor."""


def poller(precise: bool) -> Poller:
    """Return the best poller of this system; a precise one waits with microsecond resolution."""
    return EpollPoller(precise) if hasattr(select, "epoll") else SelectorPoller()


class EpollPoller:
    """For Linux."""

    _READ, _WRITE = 1, 5  # EPOLLIN, EPOLLIN | EPOLLOUT

    def __init__(self, precise: bool) -> None:
        """Create a poller; a precise one takes another system call for each wait."""
        self._epoll = select.epoll()
        self._precise = precise
        self._self = [self._epoll.fileno()]
        # By default the kernel adds up to 50 us to each sleep.
        with contextlib.suppress(OSError):
            Path("/proc/self/timerslack_ns").write_text("1", encoding="ascii")

    def add(self, fd: int, *, write: bool = False) -> None:
        self._epoll.register(fd, self._WRITE if write else self._READ)

    def change(self, fd: int, *, write: bool) -> None:
        self._epoll.modify(fd, self._WRITE if write else self._READ)

    def remove(self, fd: int) -> None:
        """Do nothing: closing a descriptor removes it."""

    def fileno(self) -> int:
        return self._self[0]

    def wait(self, seconds: float) -> list[int]:
        # epoll rounds its timeout up to whole milliseconds, select does not: so select waits for the
        # epoll descriptor to become readable. Falling asleep and waking up takes longer than _MIN_SLEEP.
        if self._precise and seconds > _MIN_SLEEP:
            select.select(self._self, (), (), seconds)
        if self._precise:
            seconds = 0
        return [fd for fd, _ in self._epoll.poll(max(0.0, seconds))]

    def close(self) -> None:
        self._epoll.close()


class SelectorPoller:
    """For macOS and others: kqueue is precise by itself."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, fd: int, *, write: bool = False) -> None:
        self._selector.register(fd, self._events(write))

    def change(self, fd: int, *, write: bool) -> None:
        self._selector.modify(fd, self._events(write))

    def remove(self, fd: int) -> None:
        self._selector.unregister(fd)

    def fileno(self) -> int:
        kqueue: Any = self._selector
        return int(kqueue.fileno())

    def wait(self, seconds: float) -> list[int]:
        return [key.fd for key, _ in self._selector.select(max(0.0, seconds))]

    def close(self) -> None:
        self._selector.close()

    @staticmethod
    def _events(write: bool) -> int:
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
