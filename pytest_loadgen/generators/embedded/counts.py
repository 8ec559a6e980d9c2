"""What the requests of an interval came to, and when an interval is over."""

from __future__ import annotations

from collections import defaultdict
from typing import TypeVar

from pytest_loadgen.generators.embedded.protocol import Bucket, NamedFigures

_SECOND = 1_000_000_000

Key = TypeVar("Key", bound=int | str)


class Counts:
    """What happened to the requests of one name in an interval."""

    __slots__ = ("answered", "first_byte", "latency", "never_sent", "outcomes", "received", "service_time")

    def __init__(self, closed_model: bool) -> None:
        """Begin with none."""
        self.latency: defaultdict[Bucket, int] = defaultdict(int)
        # In the closed model a request is due when it is sent.
        self.service_time = self.latency if closed_model else defaultdict(int)
        # Not a defaultdict: the first response of a status is where it is seen that it is unexpected.
        self.outcomes: dict[int | str, int] = {}
        # Of responses that came in several pieces: when the first one came, and the last. All others came at once.
        self.first_byte: defaultdict[Bucket, int] = defaultdict(int)
        self.answered: defaultdict[Bucket, int] = defaultdict(int)
        self.received = self.never_sent = 0

    def count_failure(self, kind: str) -> None:
        """Count a request that failed."""
        self.outcomes[kind] = self.outcomes.get(kind, 0) + 1

    def add_rest(self, names: list[Counts]) -> None:
        """Add up what was counted by name only: all but latency and service time."""
        _add(self.outcomes, [each.outcomes for each in names])
        _add(self.first_byte, [each.first_byte for each in names])
        _add(self.answered, [each.answered for each in names])
        self.received = sum(each.received for each in names)
        self.never_sent = sum(each.never_sent for each in names)

    def figures(self) -> NamedFigures:
        """Give them as plain values."""
        first_byte = dict(self.latency) if self.answered else None
        if first_byte is not None:
            for bucket, count in self.answered.items():
                first_byte[bucket] -= count
            for bucket, count in self.first_byte.items():
                first_byte[bucket] = first_byte.get(bucket, 0) + count
        return NamedFigures(
            dict(self.latency),
            None if self.service_time is self.latency else dict(self.service_time),
            dict(self.outcomes),
            first_byte,
            self.received,
            self.never_sent,
        )


def _add(total: dict[Key, int], each: list[dict[Key, int]]) -> None:
    known = total.get
    for counts in each:
        for key, count in counts.items():
            total[key] = known(key, 0) + count


def interval_end(start: int, end: int) -> int:
    """Return when an interval is over, in ns: after a second; the last one of a load takes up to half a second more.

    Responses in the second after the end of the load are in its last interval.
    """
    after = start + _SECOND
    return after if after + _SECOND // 2 <= end else max(end, start) + _SECOND


def whole_seconds(now: int, start: int, end: int) -> int:
    """Return the latest whole second of a load, in ns, at which an interval may end before the last one."""
    latest = min(now, end - _SECOND // 2)
    return latest - (latest - start) % _SECOND
