"""A service that takes one request after another, each for a set time, and may die after some requests.

``python one_at_a_time.py PORT SECONDS [REQUESTS]``
"""

import asyncio
import os
import sys


class Service(asyncio.Protocol):
    """A connection; the requests of all of them wait in one queue."""

    free = 0.0
    """When the last request that came will be done."""
    requests = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        loop = asyncio.get_running_loop()
        while b"\r\n\r\n" in self._received:
            self._received = self._received.split(b"\r\n\r\n", 1)[1]
            Service.requests += 1
            if sys.argv[3:] == [str(Service.requests)]:
                os._exit(3)
            Service.free = max(loop.time(), Service.free) + float(sys.argv[2])
            loop.call_at(Service.free, self._respond)

    def _respond(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Service, "127.0.0.1", int(sys.argv[1]), backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
