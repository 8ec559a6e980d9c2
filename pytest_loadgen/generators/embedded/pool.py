"""The connections of journeys: those of the engine, in an asyncio event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter_ns as clock
from typing import NamedTuple, Protocol

from pytest_loadgen.generators.embedded.http1 import IDLE, Connection, Endpoint, Kind
from pytest_loadgen.generators.embedded.readiness import poller
from pytest_loadgen.traffic.journey import CANCELLED, Trip


class Reply(NamedTuple):
    """A whole response."""

    status: int
    raw: bytes
    """Head and body as received, after any interim responses."""
    sent: int
    """When its request was sent, in ns."""
    ended: int
    """When it was complete, in ns."""


class RequestFailed(Exception):  # noqa: N818  # an outcome, not an error of the program
    """A request without a response."""

    def __init__(self, kind: str, reason: str) -> None:
        """Take the kind of failure, and the reason if it is known."""
        super().__init__(kind, reason)
        self.kind, self.reason = kind, reason


class Exchange:
    """A request on its way, and what it is counted as; one that belongs to no journey is not counted."""

    __slots__ = ("connection", "due", "future", "kind", "message", "trip")

    future: asyncio.Future[Reply]

    def __init__(self, trip: Trip | None, due: int, kind: Kind, message: bytes) -> None:
        """Take when it is due, in ns, and what is sent."""
        self.trip, self.due, self.kind, self.message = trip, due, kind, message
        self.connection: PooledConnection | None = None


class Listener(Protocol):
    """Counts requests as they end."""

    def ended(
        self, exchange: Exchange, connection: Connection | None, outcome: int | str, now: int, data: bytes
    ) -> None:
        """Count one: its status or kind of failure; `data` is its response, or the reason for its failure."""


class Service:
    """The connections to one service."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Begin with none."""
        self.endpoint = endpoint
        self.free: deque[PooledConnection] = deque()
        self.waiting: deque[Exchange] = deque()


class PooledConnection(Connection):
    """A connection, and the request that it is used for."""

    __slots__ = ("exchange", "service")

    exchange: Exchange

    def __init__(self, service: Service, owner: Pool) -> None:
        """Create a closed connection."""
        super().__init__(service.endpoint, owner)
        self.service = service


class Pool:
    """All connections of a load: a request gets a free one, a new one, or waits for one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int, listener: Listener) -> None:
        """Open nothing yet; there are at most `limit` connections."""
        self._loop, self._limit, self._listener = loop, limit, listener
        # See ConnectionOwner.
        self.poller = poller(precise=False)
        self.handlers: dict[int, Callable[[], None]] = {}
        self.retried = 0
        self.reuse_seen = False
        self.reuse = True
        self.closed_after_first = 0
        self._open: set[PooledConnection] = set()
        self._services: list[Service] = []
        # The loop waits for the poller, which waits for the connections: all that are ready are handled in one turn.
        loop.add_reader(self.poller.fileno(), self._handle_ready)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def service(self, endpoint: Endpoint) -> Service:
        """Add a service."""
        self._services.append(found := Service(endpoint))
        return found

    async def send(self, service: Service, exchange: Exchange, seconds: float | None = None) -> Reply:
        """Send a request, and wait for its response, at most this many seconds. Raises RequestFailed."""
        exchange.future = self._loop.create_future()
        if trip := exchange.trip:
            trip.send(exchange.future)
        if service.free:
            self._use(service.free.popleft(), exchange)
        elif len(self._open) < self._limit:
            self._connect(service, exchange)
        else:
            service.waiting.append(exchange)
        try:
            # Each timeout costs as much as a request does.
            return await (exchange.future if seconds is None else asyncio.wait_for(exchange.future, seconds))
        except TimeoutError:
            self._abandon(service, exchange, "timeout")
            raise RequestFailed("timeout", "") from None
        except asyncio.CancelledError:
            # The request failed only if the journey timed out.
            self._abandon(service, exchange, "timeout" if trip and trip.expired else CANCELLED)
            raise
        finally:
            if trip:
                trip.receive(exchange.future)

    def close(self) -> None:
        """Close all connections."""
        self._loop.remove_reader(self.poller.fileno())
        for connection in self._open:
            connection.close()
        self._open.clear()
        self.poller.close()

    def _handle_ready(self) -> None:
        handlers = self.handlers
        for fd in self.poller.wait(0):
            # The handler before may have closed it.
            if handler := handlers.get(fd):
                handler()

    def _connect(self, service: Service, exchange: Exchange) -> None:
        connection = PooledConnection(service, self)
        self._open.add(connection)
        connection.exchange = exchange
        exchange.connection = connection
        connection.due, connection.sent = exchange.due, clock()
        connection.take(exchange.kind, exchange.message)
        connection.open()

    def _use(self, connection: PooledConnection, exchange: Exchange) -> None:
        connection.exchange = exchange
        exchange.connection = connection
        connection.due = exchange.due
        connection.take(exchange.kind, exchange.message)
        connection.sent = clock()
        connection.send()

    def _abandon(self, service: Service, exchange: Exchange, outcome: str) -> None:
        """Give up a request; its connection cannot be used again."""
        self._listener.ended(exchange, None, outcome, clock(), b"")
        if connection := exchange.connection:
            if connection in self._open and connection.exchange is exchange and connection.due != IDLE:
                self._discard(connection)
        elif exchange in service.waiting:
            service.waiting.remove(exchange)

    def _discard(self, connection: PooledConnection) -> None:
        connection.close()
        self._open.discard(connection)
        # Not at once: if connections fail at once, each failure would open the next one recursively.
        self._loop.call_soon(self._serve_waiting, connection.service)

    def _serve_waiting(self, first: Service) -> None:
        """Open a connection for a waiting request, of this service first."""
        for service in (first, *self._services):
            if service.waiting and len(self._open) < self._limit:
                self._connect(service, service.waiting.popleft())
                return

    # See ConnectionOwner.

    def on_response(self, connection: Connection, outcome: int | str, reusable: bool, data: bytes) -> None:
        """Give a response to the journey that waits for it."""
        assert isinstance(connection, PooledConnection)
        now = clock()
        exchange = connection.exchange
        self._listener.ended(exchange, connection, outcome, now, data)
        if not exchange.future.done():
            exchange.future.set_result(Reply(int(outcome), data, connection.sent, now))
        connection.received = connection.first_byte = 0
        connection.due = IDLE
        if connection.last_response:
            self.reuse_seen = True
        connection.last_response = now
        service = connection.service
        if not (reusable and self.reuse):
            self._discard(connection)
        elif service.waiting:
            self._use(connection, service.waiting.popleft())
        else:
            service.free.append(connection)

    def on_failure(self, connection: Connection, kind: str, reason: str = "") -> None:
        """Tell the journey that its request failed."""
        assert isinstance(connection, PooledConnection)
        exchange = connection.exchange
        self._listener.ended(exchange, connection, kind, clock(), reason.encode())
        if not exchange.future.done():
            exchange.future.set_exception(RequestFailed(kind, reason))
        self._discard(connection)

    def on_idle_close(self, connection: Connection) -> None:
        """Forget the connection."""
        assert isinstance(connection, PooledConnection)
        self._open.discard(connection)
        if connection in connection.service.free:
            connection.service.free.remove(connection)
        self._serve_waiting(connection.service)
