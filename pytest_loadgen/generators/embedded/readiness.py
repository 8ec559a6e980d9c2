"""Which sockets can go on, and waiting for them until a precise moment."""

import contextlib
import select
import selectors
from pathlib import Path
from typing import Protocol

_NAP = 20e-6


class Poller(Protocol):
    """Tells which file descriptors are ready; they are told again until they no longer are."""

    def add(self, fd: int, *, write: bool = False) -> None:
        """Watch for input, or for input and room for output."""

    def change(self, fd: int, *, write: bool) -> None:
        """Watch for something else."""

    def forget(self, fd: int) -> None:
        """Stop watching; to be called just before the descriptor is closed."""

    def wait(self, seconds: float) -> list[int]:
        """Give what is ready, at the latest after so many seconds."""

    def close(self) -> None:
        """Give the poller's own descriptor back."""


def poller(precise: bool) -> Poller:
    """Choose the best that this system has; a precise one wakes to the microsecond."""
    return EpollPoller(precise) if hasattr(select, "epoll") else SelectorPoller()


class EpollPoller:
    """Linux."""

    _READ, _WRITE = 1, 5  # EPOLLIN, EPOLLIN | EPOLLOUT

    def __init__(self, precise: bool) -> None:
        """Be precise where requests are due at set times; else save the system call that it takes."""
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

    def forget(self, fd: int) -> None:
        """Nothing: closing a descriptor takes it out."""

    def wait(self, seconds: float) -> list[int]:
        # epoll rounds its time-out up to whole milliseconds, select does not: so wait with select
        # for the epoll descriptor itself to become readable.
        # Not worth it for less than it takes to fall asleep and wake.
        if self._precise and seconds > _NAP:
            select.select(self._self, (), (), seconds)
        if self._precise:
            seconds = 0
        return [fd for fd, _ in self._epoll.poll(max(0.0, seconds))]

    def close(self) -> None:
        self._epoll.close()


class SelectorPoller:
    """macOS and others: kqueue waits precisely by itself."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, fd: int, *, write: bool = False) -> None:
        self._selector.register(fd, self._events(write))

    def change(self, fd: int, *, write: bool) -> None:
        self._selector.modify(fd, self._events(write))

    def forget(self, fd: int) -> None:
        self._selector.unregister(fd)

    def wait(self, seconds: float) -> list[int]:
        return [key.fd for key, _ in self._selector.select(max(0.0, seconds))]

    def close(self) -> None:
        self._selector.close()

    @staticmethod
    def _events(write: bool) -> int:
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
