"""What Nighthawk is asked for, by its program and by its service alike."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration

FEATURES = frozenset({"http", "https", "http2", "rate"})
FLOOR = Duration("100us")
"""It sleeps 50 us between two looks at its connections, and as long again where a timer is late."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
_HIGHEST_RATE = 1_000_000
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Asked:
    """A plan in Nighthawk's words; numbers are those of each worker, times are whole seconds."""

    url: str = field(repr=False)
    method: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    http2: bool
    family: Literal["auto", "v4", "v6"]
    rate: int
    connections: int
    waiting: int
    """How many requests may wait for a connection, or in HTTP/2 be under way: as many as there are."""
    seconds: int
    timeout: int

    @classmethod
    def of(cls, plan: Plan, workers: int = 1) -> Self:
        """Share a plan out among workers. Raises PlanError where Nighthawk cannot do it."""
        target = plan.target
        _check(plan)
        rate = _rate(plan, workers)
        seconds = int(plan.duration)
        return cls(
            url=_url(target),
            method=target.method,
            headers=tuple(_headers(target)),
            http2=target.http2,
            family=_family(target),
            rate=rate,
            connections=plan.connections // workers,
            waiting=min(rate * seconds, _MOST),
            seconds=seconds,
            timeout=drain(plan),
        )


def drain(plan: Plan) -> int:
    """Tell how long Nighthawk waits at its end for what is open, in whole seconds."""
    return math.ceil(plan.timeout)


def _check(plan: Plan) -> None:
    if not plan.duration.is_integer():
        raise PlanError(f"Nighthawk runs for whole seconds, and this load lasts {plan.duration}")
    if plan.target.method not in _METHODS:
        raise PlanError(f"Nighthawk knows no method {plan.target.method}: it knows {', '.join(sorted(_METHODS))}")
    # A status is known as its class only.
    for status in plan.expect:
        if not status.endswith("xx") and f"{status[:1]}xx" not in plan.expect:
            raise PlanError(
                f"Nighthawk tells classes of statuses only, and none from another in its class: expect={status} is "
                f"not to be judged, and '{status[:1]}xx' would be"
            )


def _rate(plan: Plan, workers: int) -> int:
    """Give each worker's part of the rate."""
    rate = (plan.stages[0].start or Fraction(0)) / workers
    if rate.denominator != 1:
        share = f" for each of {workers} workers (--concurrency)" if workers > 1 else ""
        raise PlanError(f"Nighthawk sends whole numbers of requests per second{share}, and this load has {plan.rate}")
    if rate > _HIGHEST_RATE:
        raise PlanError(f"Nighthawk sends {_HIGHEST_RATE:,}/s at the most, and this load has {plan.rate}")
    if plan.connections < workers:
        raise PlanError(f"{plan.connections} connections cannot be shared by {workers} workers (--concurrency)")
    return int(rate)


def _url(target: Target) -> str:
    """Write the address: the one that was found to be allowed, or for TLS the name, which it tells the service."""
    host = target.host.strip("[]")
    if isinstance(target.address, tuple) and not target.tls:
        host = target.address[0]
    return f"{target.scheme}://{_place(host, target.port)}{target.path.decode()}"


def _family(target: Target) -> Literal["auto", "v4", "v6"]:
    """Have a name looked up as it was when it was found to be allowed."""
    if not isinstance(target.address, tuple):
        return "auto"
    return "v6" if ":" in target.address[0] else "v4"


def _headers(target: Target) -> Iterator[tuple[str, str]]:
    times = Counter(name.lower() for name, _ in target.headers)
    for raw_name, raw_value in target.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if times[raw_name.lower()] > 1:
            raise PlanError(f"Nighthawk sends a header once, and {name!r} is there {times[raw_name.lower()]} times")
        if not _implied(name.lower(), value.lower(), target):
            yield name, value


def _implied(name: str, value: str, target: Target) -> bool:
    """Tell whether a header is sent by itself, or would be taken for more than a header."""
    if name == "connection":
        return target.http2 or value == "keep-alive"
    # Of a host that it is given as a header, it tells the service by TLS, too, with the port in it.
    host = target.host.strip("[]").lower()
    return name == "host" and target.tls and value in {_place(host), _place(host, target.port)}


def _place(host: str, port: int | None = None) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"
