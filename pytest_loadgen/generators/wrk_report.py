"""The report of the Lua hook: the line that wrk and wrk2 print at their end."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.histogram import Histogram

_PREFIX = "pytest-loadgen: "
_BANNER = re.compile(r"^ *(\d{1,9}) threads and (\d{1,9}) connections$", re.MULTILINE)
# More than any machine can count in a load.
_MAX_COUNT = 10**15
_USE_ANOTHER = "use another generator (--load-generator=embedded)"


# States of TCP in which the other side has closed the connection.
_CLOSED_BY_PEER = frozenset({7, 8})
# Data that was sent or received this long ago is not under way any more, and the precision of such times, in seconds.
_UNDER_WAY, _TICK = 0.05, 0.01


class Peer(NamedTuple):
    """A connection at the end of a run: its state, and how long ago data was last sent and received, in seconds."""

    state: int
    sent: float
    received: float

    @property
    def is_dead(self) -> bool:
        """Whether the service has closed it, without or long after a response."""
        return self.state in _CLOSED_BY_PEER and (self.sent < self.received or self.received > _UNDER_WAY)


@dataclass(frozen=True)
class HookReport:
    """What the Lua hook counted during a run, and the connections that the program's banner names."""

    threads: int
    connections: int
    seconds: float
    responses: int
    sent: int
    """How many requests the program took from the hook to write them."""
    in_flight: int
    """How many of them had no response shortly before the end."""
    silence: float
    """How long before the end the last response came, in seconds."""
    received: int
    """Bytes."""
    cpu: float
    """Share of a core per thread."""
    errors: Mapping[str, int]
    """The program's own counts of failed connects, reads and writes, and of timeouts as it defines them."""
    statuses: Counter[str]
    lag: Counter[int]
    """How many requests wrk2 certainly sent late, by whole milliseconds."""
    latencies: Counter[int]
    """How many responses took how many microseconds."""
    peers: tuple[Peer, ...] = ()
    """The connections at the end; empty where the system does not tell."""

    @classmethod
    def of(cls, stdout: str, stderr: str) -> HookReport:
        """Find the report in the output of a program. Raises GeneratorError, ValueError or LookupError."""
        printed, prefix, line = stdout.rpartition(_PREFIX)
        banner = _BANNER.search(printed)
        if not prefix or not banner:
            raise GeneratorError(f"the Lua hook printed nothing: {stderr.strip() or 'it may not have been loaded'}")
        data = json.loads(line)
        # First of all: with them, no other count is right.
        if interim := [status for status in data["statuses"] if re.fullmatch("1[0-9][0-9]", status)]:
            raise GeneratorError(
                f"counts 1xx responses as final, and this service sends them ({interim[0]}): {_USE_ANOTHER}"
            )
        report = cls._read(data, threads=_count(int(banner[1])), connections=_count(int(banner[2])))
        if report.statuses.total() != report.responses:
            raise GeneratorError(
                f"the Lua hook saw the status of {report.statuses.total():,} of {report.responses:,} responses: "
                "it does not see responses without headers"
            )
        return report

    @classmethod
    def _read(cls, data: dict[str, Any], threads: int, connections: int) -> HookReport:
        seconds, cpu = _count(data["microseconds"]) / 1e6, data["cpu"]
        if not seconds or not 0 <= cpu < math.inf:
            raise GeneratorError(f"the Lua hook printed an invalid run time or CPU time: {seconds}s, {cpu}s")
        if invalid := [status for status in data["statuses"] if not re.fullmatch("[0-9]{3}", status)]:
            raise GeneratorError(f"the Lua hook printed an invalid status: {invalid[0]!r}")
        return cls(
            threads=threads,
            connections=connections,
            seconds=seconds,
            responses=_count(data["requests"]),
            sent=_count(data["sent"]),
            in_flight=_count(data["under_way"]),
            silence=_count(data.get("silent", 0)) / 1e6,
            received=_count(data["received"]),
            cpu=cpu / seconds / threads,
            errors={kind: _count(count) for kind, count in data["errors"].items()},
            statuses=Counter({status: _count(count) for status, count in data["statuses"].items()}),
            lag=_counts(data["late"]),
            latencies=_counts(data["latencies"]),
            peers=tuple(_peer(*each) for each in data.get("peers", ())),
        )

    @property
    def unanswered(self) -> int:
        """How many requests were sent and got no response: lost, or open at the end."""
        # What could not be written was not sent, although the hook was asked for it.
        return max(0, self.sent - self.errors["write"] - self.responses)

    @property
    def closes_silently(self) -> bool:
        """Whether the service closed each connection after one response, and wrk noticed only when it read on."""
        closed = self.errors["read"]
        return self.connections < closed and self.responses - self.connections <= closed <= self.responses

    def statuses_of(self, count: int) -> Counter[str]:
        """Distribute this many responses over the statuses, in proportion; a rare status is not lost by that."""
        total = self.statuses.total() or 1
        shares = Counter({status: number * count // total for status, number in self.statuses.items()})
        for status, number in sorted(self.statuses.items(), key=lambda item: item[1]):
            if shares[status] < number and shares.total() < count:
                shares[status] += 1
        return +shares

    def failures_of(self, count: int) -> Counter[str]:
        """Name this many failures by the errors that the program met; the rest got no response in time."""
        errors = self.errors
        met = Counter(refused=errors["write"], failed=errors["read"])
        # If there were responses, TLS itself works.
        met["refused" if self.responses else "tls"] += errors["connect"]
        failures: Counter[str] = Counter()
        for kind, number in met.most_common():
            failures[kind] = min(number, count - failures.total())
        failures["timeout"] = count - failures.total()
        return +failures


def count_within(latencies: Counter[int], seconds: float) -> int:
    """Count the latencies, in microseconds, up to a limit."""
    return sum(count for value, count in latencies.items() if value <= seconds * 1e6)


def fastest(latencies: Counter[int], count: int) -> Histogram:
    """Return this many of the latencies, the shortest first."""
    buckets = []
    for value, number in sorted(latencies.items()):
        taken = min(number, count)
        buckets.append((value / 1e6, value / 1e6, taken))
        count -= taken
    return Histogram.from_buckets(buckets)


def unusual(longest: float) -> float:
    """Return how long a request may have been open at the end if no other took longer than this, in seconds."""
    return max(longest + _TICK, _UNDER_WAY)


def _peer(state: object, sent: object, received: object) -> Peer:
    return Peer(_count(state), _count(sent) / 1000, _count(received) / 1000)


def _counts(rows: Iterable[tuple[object, object]]) -> Counter[int]:
    return Counter({_count(value): _count(count) for value, count in rows})


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        raise GeneratorError(f"the Lua hook printed an invalid count: {value!r}")
    return value
