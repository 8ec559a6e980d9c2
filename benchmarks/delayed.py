"""A service with known latencies: it responds 5 ms after it has read a request.

With `scatter`, each request has its own delay from a lognormal distribution with a median of 5 ms.
With `stall`, it does nothing at all for that many seconds, once every 10 s. With `failing`, that share of the
responses, drawn independently, has the status 503.
"""

import math
import multiprocessing
import select
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from multiprocessing.connection import Connection
from random import Random
from time import perf_counter as clock
from typing import NamedTuple

from benchmarks import machine

DELAY = 0.005
PERIOD = 10.0
# From the first request to the first stall.
_LEAD = 5.0
_SEED = 20_240_601
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_FAILURE = b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"


@dataclass
class Service:
    """Where the service is, and how exactly it kept its delays."""

    url: str
    lateness: list[float] = field(default_factory=list)
    """How many seconds after its planned time each response was sent, sorted; known once the service has stopped."""
    took: list[float] = field(default_factory=list)
    """How many seconds each response took after its request was read, sorted; known once it has stopped."""


@contextmanager
def running(
    stall: float = 0.0, scatter: float = 0.0, delay: float = DELAY, spin: bool = True, failing: float = 0.0
) -> Iterator[Service]:
    """Run the service in its own process; several on one core must not spin."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, theirs:
        process = context.Process(
            target=_serve, args=(listener, theirs, _Behavior(stall, scatter, delay, spin, failing)), daemon=True
        )
        with machine.on(machine.SERVICE):
            process.start()
        service = Service(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    try:
        yield service
        ours.send("end")
        if ours.poll(5):
            service.lateness, service.took = map(sorted, ours.recv())
    finally:
        ours.close()
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


class _Behavior(NamedTuple):
    """How the service behaves."""

    stall: float
    scatter: float
    delay: float
    spin: bool
    failing: float


def _serve(listener: socket.socket, owner: Connection, behavior: _Behavior) -> None:
    """Serve until the owner tells it to stop, or has ended."""
    stall, scatter, delay, spin, failing = behavior
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(owner, selectors.EVENT_READ)
    draw, number = Random(_SEED), count()
    # When a response is due, the number of its request (so that no two compare equal), and when that was read.
    due: list[tuple[float, int, float, socket.socket]] = []
    lateness: list[float] = []
    took: list[float] = []
    next_stall, awake = math.inf, 0.0
    while True:
        # With a core to itself, it never sleeps: waking up would take longer than the work.
        if not spin:
            # select() waits to the microsecond; a selector rounds its timeout up to whole milliseconds.
            select.select([selector], [], [], max(0.0, due[0][0] - clock()) if due else None)
        if clock() >= next_stall:
            awake = next_stall + stall
            time.sleep(max(0.0, awake - clock()))
            next_stall += PERIOD
        while due and due[0][0] <= clock():
            planned, _, read, connection = heappop(due)
            with suppress(OSError):
                connection.send(_FAILURE if failing and draw.random() < failing else _RESPONSE)
            lateness.append(clock() - max(planned, awake))
            took.append(clock() - read)
        for key, _ in selector.select(0):
            if key.fileobj is owner:
                with suppress(OSError):
                    owner.send((lateness, took))
                return
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
                selector.register(connection, selectors.EVENT_READ)
            elif isinstance(key.fileobj, socket.socket):
                for read in _read(key.fileobj, selector):
                    took_by_plan = delay * draw.lognormvariate(0, scatter)
                    heappush(due, (read + took_by_plan, next(number), read, key.fileobj))
        if stall and due and math.isinf(next_stall):
            next_stall = clock() + _LEAD


def _read(connection: socket.socket, selector: selectors.BaseSelector) -> Iterator[float]:
    """Yield when a request was read completely; no generator here sends two at once."""
    try:
        data = connection.recv(65536)
    except OSError:
        data = b""
    if data.endswith(b"\r\n\r\n"):
        yield clock()
    elif not data:
        selector.unregister(connection)
        connection.close()
