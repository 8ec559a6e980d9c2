"""What Nighthawk is asked to do, by its program and by its service alike."""

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
ADDED_LATENCY = Duration("100us")
"""It sleeps 50 us between two polls of its connections, and as long again if a timer is late."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
_MAX_RATE = 1_000_000
_MAX_QUEUE = 2**31 - 1


@dataclass(frozen=True)
class NighthawkOptions:
    """A plan in Nighthawk's terms: numbers per worker, times in whole seconds."""

    url: str = field(repr=False)
    method: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    http2: bool
    address_family: Literal["auto", "v4", "v6"]
    rate: int
    connections: int
    max_queue: int
    """How many requests may wait for a connection, or be active in HTTP/2: as many as there are."""
    seconds: int
    timeout: int

    @classmethod
    def of(cls, plan: Plan, workers: int = 1) -> Self:
        """Divide a plan among workers. Raises PlanError if Nighthawk cannot run it."""
        target = plan.target
        _check(plan)
        rate = _rate(plan, workers)
        seconds = int(plan.duration)
        return cls(
            url=_url(target),
            method=target.method,
            headers=tuple(_headers(target)),
            http2=target.http2,
            address_family=_address_family(target),
            rate=rate,
            connections=plan.connections // workers,
            max_queue=min(rate * seconds, _MAX_QUEUE),
            seconds=seconds,
            timeout=drain_time(plan),
        )


def drain_time(plan: Plan) -> int:
    """Return how long Nighthawk waits at its end for open requests, in whole seconds."""
    return math.ceil(plan.timeout)


def _check(plan: Plan) -> None:
    if not plan.duration.is_integer():
        raise PlanError(f"Nighthawk supports whole seconds only (got {plan.duration})")
    if plan.target.method not in _METHODS:
        raise PlanError(f"Nighthawk does not support {plan.target.method}; it supports {', '.join(sorted(_METHODS))}")
    for status in plan.expect:
        if not status.endswith("xx") and f"{status[:1]}xx" not in plan.expect:
            others = f"{status[:1]}xx"
            raise PlanError(f"Nighthawk cannot tell {status} from other {others} statuses: use expect='{others}'")


def _rate(plan: Plan, workers: int) -> int:
    """Return the rate per worker."""
    rate = (plan.stages[0].start or Fraction(0)) / workers
    if rate.denominator != 1:
        share = f" from each of {workers} workers (--concurrency)" if workers > 1 else ""
        raise PlanError(f"Nighthawk supports whole numbers of requests per second only{share} (got {plan.rate})")
    if rate > _MAX_RATE:
        raise PlanError(f"Nighthawk sends at most {_MAX_RATE:,}/s (got {plan.rate})")
    if plan.connections < workers:
        raise PlanError(f"Nighthawk's {workers} workers (--concurrency) need at least {workers} connections")
    return int(rate)


def _url(target: Target) -> str:
    """Write the URL: with the address that was checked, or for TLS with the name, which TLS sends to the service."""
    host = target.host.strip("[]")
    if isinstance(target.address, tuple) and not target.tls:
        host = target.address[0]
    return f"{target.scheme}://{_host_and_port(host, target.port)}{target.path.decode()}"


def _address_family(target: Target) -> Literal["auto", "v4", "v6"]:
    """Have a name looked up as it was when its address was checked."""
    if not isinstance(target.address, tuple):
        return "auto"
    return "v6" if ":" in target.address[0] else "v4"


def _headers(target: Target) -> Iterator[tuple[str, str]]:
    times = Counter(name.lower() for name, _ in target.headers)
    for raw_name, raw_value in target.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if times[raw_name.lower()] > 1:
            raise PlanError(f"Nighthawk cannot repeat a header, and {name!r} occurs {times[raw_name.lower()]} times")
        if not _implied(name.lower(), value.lower(), target):
            yield name, value


def _implied(name: str, value: str, target: Target) -> bool:
    """Whether Nighthawk sends a header by itself, or would use it for more than a header."""
    if name == "connection":
        return target.http2 or value == "keep-alive"
    # It would use a Host header as the server name of TLS, too, with the port in it.
    host = target.host.strip("[]").lower()
    return name == "host" and target.tls and value in {_host_and_port(host), _host_and_port(host, target.port)}


def _host_and_port(host: str, port: int | None = None) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"
