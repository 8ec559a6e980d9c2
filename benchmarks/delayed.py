"""A service whose latencies are known: it answers 5 ms after it has read a request.

If it is to scatter, 5 ms is the median of a lognormal distribution, and each request has a delay of
its own. If it is to stall, it does nothing at all for so long, once in 10 s.
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
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Service:
    """Where the service is, and how true to its plan it was."""

    url: str
    lateness: list[float] = field(default_factory=list)
    """Once it has ended: by how many seconds each answer left later than planned, sorted."""
    took: list[float] = field(default_factory=list)
    """And how many it took, from when the request was read, sorted."""


@contextmanager
def running(stall: float = 0.0, scatter: float = 0.0, delay: float = DELAY, spin: bool = True) -> Iterator[Service]:
    """Start the service in a process of its own, and end it; several on one core must not spin."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, theirs:
        process = context.Process(
            target=_serve, args=(listener, theirs, _Manner(stall, scatter, delay, spin)), daemon=True
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


class _Manner(NamedTuple):
    """How it serves."""

    stall: float
    scatter: float
    delay: float
    spin: bool


def _serve(listener: socket.socket, owner: Connection, manner: _Manner) -> None:
    """Serve until the owner says to end, or is gone."""
    stall, scatter, delay, spin = manner
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(owner, selectors.EVENT_READ)
    draw, number = Random(_SEED), count()
    # When an answer is due, which request it is of (so that no two are alike), and when that was read.
    due: list[tuple[float, int, float, socket.socket]] = []
    lateness: list[float] = []
    took: list[float] = []
    next_stall, awake = math.inf, 0.0
    while True:
        # With a core to itself it never sleeps: waking up would take longer than all that it does.
        if not spin:
            # To the microsecond, where a selector's time-out is rounded up to whole milliseconds.
            select.select([selector], [], [], max(0.0, due[0][0] - clock()) if due else None)
        if clock() >= next_stall:
            awake = next_stall + stall
            time.sleep(max(0.0, awake - clock()))
            next_stall += PERIOD
        while due and due[0][0] <= clock():
            planned, _, read, connection = heappop(due)
            with suppress(OSError):
                connection.send(_ANSWER)
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
    """Tell when a request was read, if it is whole; nothing here sends two at once."""
    try:
        data = connection.recv(65536)
    except OSError:
        data = b""
    if data.endswith(b"\r\n\r\n"):
        yield clock()
    elif not data:
        selector.unregister(connection)
        connection.close()
