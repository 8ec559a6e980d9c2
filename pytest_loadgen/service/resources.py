"""Samples of what a service uses, from the start of a load to its end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pytest_loadgen import clock
from pytest_loadgen.service.processes import NeverKnownError, NotKnownError, Processes, Search
from pytest_loadgen.traffic.target import Target

# How often the service is sampled, in seconds.
_PERIOD = 1.0
# How often its processes are looked for: those that listen, and the children of these; and for which part of the
# time at most, because on a machine with many processes that takes long.
_FIND_EVERY, _CHILDREN_EVERY, _SHARE = 5.0, 1.0, 0.003
# How long to wait for the last sample, in seconds: the load must not depend on it.
_LAST = 1.0


@dataclass(frozen=True)
class Sample:
    """What a service used up to a moment, and had at it."""

    at: float
    """The moment, as `clock.monotonic`."""
    process: str
    cpu: float
    """CPU time of all its processes, in seconds, since the first sample."""
    busiest: float
    """CPU time of the busiest in each second, in seconds, since the first sample."""
    throttled: float
    """In seconds, since the first sample."""
    cores: float
    memory: int
    threads: int
    files: int
    files_share: float


class Watch:
    """Samples a service once a second, in a thread of its own, while the `with` block lasts.

    It raises nothing, and does not keep the load waiting: what cannot be read is not known.
    """

    def __init__(self, target: Target, sent_from: str = "") -> None:
        """Start nothing yet."""
        self._search = Search(target, sent_from)
        self._samples: list[Sample] = []
        self._reason = ""
        self._processes = Processes()
        self._throttled = 0.0
        self._find_at = self._children_at = 0.0
        self._wanted, self._sampled, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="loadgen-resources", daemon=True)

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples so far."""
        return self._samples

    @property
    def reason(self) -> str:
        """Why nothing is known, as the end of a sentence."""
        return self._reason if not self._samples else ""

    def __enter__(self) -> Self:
        try:
            self._processes.prepare()
            self._thread.start()
        except Exception as error:  # the tests may have replaced what this needs, such as the file system
            self._reason = f"{type(error).__name__}: {error}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._ended.set()
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join(_LAST)

    def look(self) -> None:
        """Take a sample now, without waiting for it."""
        self._wanted.set()

    def catch_up(self, seconds: float) -> None:
        """Take a sample now, unless the last one is not older than this, and wait for it for at most this long."""
        if self._samples and clock.monotonic() - self._samples[-1].at < seconds:
            return
        self._sampled.clear()
        self._wanted.set()
        if self._thread.is_alive():
            self._sampled.wait(seconds)

    def _run(self) -> None:
        while True:
            # In this order, or the end might be told in between.
            self._wanted.clear()
            ended = self._ended.is_set()
            try:
                self._sample()
            except NeverKnownError as error:
                self._reason = str(error)
                return
            except NotKnownError as error:
                self._reason = str(error)
            except Exception as error:  # whatever it is, the load goes on
                self._reason = f"{type(error).__name__}: {error}"
            self._sampled.set()
            if ended:
                return
            self._wanted.wait(_PERIOD)

    def _sample(self) -> None:
        begin = clock.monotonic()
        if begin >= self._find_at:
            self._processes.roots = set()
            try:
                self._processes.roots = self._search.processes()
            finally:
                pause = _FIND_EVERY if self._processes.roots else _PERIOD / 2
                self._find_at, self._children_at = begin + self._pause(begin, pause), 0.0
        if not self._processes.roots:
            return
        if (now := clock.monotonic()) >= self._children_at:
            self._processes.look()
            self._children_at = now + self._pause(now, _CHILDREN_EVERY / 2)
        at = clock.monotonic()
        reading = self._processes.read()
        if reading is None:
            # They have ended; others may follow.
            self._processes.roots, self._find_at = set(), min(self._find_at, at + _PERIOD / 2)
            return
        last = self._samples[-1] if self._samples else None
        # Another process may be in another container.
        throttled, self._throttled = max(0.0, reading.throttled - self._throttled), reading.throttled
        self._samples.append(
            Sample(
                at=at,
                process=reading.process,
                cpu=last.cpu + reading.cpu if last else 0.0,
                busiest=last.busiest + reading.busiest if last else 0.0,
                throttled=last.throttled + throttled if last else 0.0,
                cores=reading.cores,
                memory=reading.memory,
                threads=reading.threads,
                files=reading.files,
                files_share=reading.files_share,
            )
        )

    @staticmethod
    def _pause(begin: float, least: float) -> float:
        """Give how long to wait before what began at this moment is done again."""
        return max(least, (clock.monotonic() - begin) / _SHARE)
