"""Which request of a mix comes when. Arithmetic only."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, cycle, islice
from math import gcd
from typing import Any, Self

from pytest_loadgen.traffic.check import Check
from pytest_loadgen.traffic.data import Data
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.traffic.template import Template

LONGEST_PERIOD = 65_536
"""The order of a mix is computed in advance if it repeats within this many requests."""
_DRAWN_AT_ONCE = 1024


@dataclass(frozen=True)
class NamedRequest:
    """A request of a mix."""

    name: str
    target: Target
    weight: int = 1
    """How often it is sent, relative to the weights of the others."""
    expect: tuple[str, ...] = ("2xx", "3xx")
    check: Check | None = None
    """What a response has to have, besides its status."""
    rows: Data | None = field(default=None, repr=False)
    template: Template | None = field(default=None, repr=False, compare=False)
    """How the request is filled from a row."""
    slo: tuple[str, ...] = field(default=(), compare=False)
    """The objectives for the requests of this name, as they were written."""
    data: str = ""
    """A description of the rows that its requests are filled from; empty if all its requests are the same."""

    def without_rows(self) -> Self:
        """Return the request as it goes to the process that sends it: filled requests follow it there."""
        return replace(self, rows=None, template=None)

    def as_dict(self) -> dict[str, Any]:
        """Return the request as JSON types, without secrets."""
        return {
            "name": self.name,
            "target": self.target.as_dict(),
            "weight": self.weight,
            "expect": list(self.expect),
            "data": self.data,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the output of `as_dict`."""
        target, expect = Target.from_dict(data["target"]), tuple(data["expect"])
        return cls(data["name"], target, data["weight"], expect, data=data["data"])


def sequence(weights: Sequence[int], *, seed: int | None = None) -> Iterator[int]:
    """Yield the number of the request that is sent first, second, …, without end.

    Weights are exact over each period (their sum, divided by their greatest common divisor), and each request is
    spread evenly over it: request i of weight w is sent for the k-th time at (k + 1/2) / w of the period (earliest
    deadline first; compare stride scheduling, Waldspurger & Weihl 1995). With a seed they are drawn independently.
    """
    return _spread(weights) if seed is None else _drawn(weights, seed)


def period(weights: Sequence[int]) -> int:
    """Return after how many requests the order for these weights repeats."""
    return sum(weights) // gcd(*weights)


def _spread(weights: Sequence[int]) -> Iterator[int]:
    divisor = gcd(*weights)
    deadlines = _by_deadline([weight // divisor for weight in weights])
    if (repeated := period(weights)) > LONGEST_PERIOD:
        return deadlines
    return cycle(list(islice(deadlines, repeated)))


def _by_deadline(weights: Sequence[int]) -> Iterator[int]:
    heap = [(1 / (2 * weight), number, 0) for number, weight in enumerate(weights)]
    heapq.heapify(heap)
    while True:
        _, number, sent = heap[0]
        yield number
        heapq.heapreplace(heap, ((2 * sent + 3) / (2 * weights[number]), number, sent + 1))


def _drawn(weights: Sequence[int], seed: int) -> Iterator[int]:
    draw = random.Random(f"{seed} mix")  # noqa: S311  # no secret
    numbers, cumulative = range(len(weights)), list(accumulate(weights))
    while True:
        yield from draw.choices(numbers, cum_weights=cumulative, k=_DRAWN_AT_ONCE)
