"""What fortio is asked to do, by its program and by its server alike."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

_MIN_CALLS = 2
# At least this part of the connections is used, if that adds no more than this part to the requests.
_MIN_THREADS = 0.5
_MAX_EXCESS = 0.02


class Shape(NamedTuple):
    """The shape of a load in fortio's terms: threads, each with a connection, and a rate."""

    threads: int
    rate: float
    """Requests per second; 0 means as fast as it can."""
    calls: int
    """The number of calls in total; 0 in the closed model."""

    @classmethod
    def of(cls, plan: Plan) -> Shape:
        """Choose as many threads as there are connections, or down to half as many for fewer excess requests.

        fortio gives each thread the same number of calls, and drops the remainder. So it gets another
        call for each thread instead, if the number is not divisible. Raises PlanError if there are too
        few requests for fortio.
        """
        if plan.closed:
            return cls(plan.connections, 0.0, 0)
        planned = round(float(plan.rate) * float(plan.duration))
        if planned < _MIN_CALLS:
            raise PlanError(f"fortio sends at least {_MIN_CALLS} requests (this load has {planned})")
        most = min(plan.connections, planned // _MIN_CALLS)
        excess = {threads: -planned % threads for threads in range(math.ceil(_MIN_THREADS * most), most + 1)}
        threads = min(excess, key=lambda threads: (max(excess[threads], _MAX_EXCESS * planned), -threads))
        calls = planned + excess[threads]
        # Half a call more, because fortio rounds down.
        return cls(threads, (calls + 0.5) / float(plan.duration), calls)


def duration(seconds: float) -> str:
    """Write a duration in Go's notation."""
    return f"{seconds:.6f}s"


def headers(target: Target) -> Iterator[str]:
    """Write the headers; fortio adds the length of the body itself."""
    for name, value in target.headers:
        if name.lower() != b"content-length":
            yield f"{name.decode('latin-1')}: {value.decode('latin-1')}"
