"""A service that does nothing: its latency is that of this machine and of the generator."""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pytest_loadgen.errors import LoadError

_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def no_op_service() -> Iterator[str]:
    """Run the service in a process of its own, and give its address. Raises LoadError where it does not start."""
    start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
    with subprocess.Popen(  # noqa: S603  # this interpreter, our own program
        [sys.executable, "-P", "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            port = process.stdout.readline().decode().strip()
            if not port:
                raise LoadError("the calibration service did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()  # which ends it


def serve() -> None:
    """Answer every request at once with an empty response, until standard input is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server, selectors.DefaultSelector() as ready:
        print(server.getsockname()[1], flush=True)  # noqa: T201  # for the process that started this one
        ready.register(server, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is server:
                    connection, _ = server.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    ready.register(connection, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    _answer(key.fileobj, ready)


def _answer(connection: socket.socket, ready: selectors.BaseSelector) -> None:
    with contextlib.suppress(OSError):
        if connection.recv(65_536):
            connection.sendall(_RESPONSE)
            return
    ready.unregister(connection)
    connection.close()
