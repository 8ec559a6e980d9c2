"""Whether a service that was started takes requests yet."""

from __future__ import annotations

import re
import socket

from pytest_loadgen import clock

Address = str | tuple[str, int]
"""The path of a unix socket, or host and port."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})\b.*\n")
_LONGEST_LINE = 1000


def why_not(address: Address, path: str, seconds: float, *, anything: bool = False) -> str:
    """Connect once, and with a path send a GET for it; say why the service is not ready, or nothing.

    The status has to be below 400; or `anything` counts that the service sends, which may not speak HTTP.
    """
    deadline = clock.monotonic() + seconds
    try:
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as connection:
            connection.settimeout(seconds)
            connection.connect(address)
            if connection.getsockname() == connection.getpeername() != "":
                return "connection refused"  # it met itself, on a port that the system gave it and nobody listens at
            if not path:
                return ""
            host = "localhost" if isinstance(address, str) else "{}:{}".format(*address)
            head = f"GET {path} HTTP/1.1", f"Host: {host}", "User-Agent: pytest-loadgen", "Connection: close"
            connection.sendall("\r\n".join([*head, "", ""]).encode())
            if anything:
                connection.recv(1)
                return ""
            why = _why_unfit(_line(connection, deadline))
    except TimeoutError:
        return f"no response to GET {path}" if path else "connection timed out"
    except OSError as error:
        return (error.strerror or str(error) or type(error).__name__).lower()
    return why and f"GET {path} {why}"


def _why_unfit(line: bytes) -> str:
    """Say why the first line of a response does not show that the service is ready, or nothing."""
    if not line:
        return "got no response before the connection was closed"
    if not (found := _STATUS_LINE.match(line)):
        return "got no HTTP response"
    return "" if int(found[1]) < 400 else f"has status {found[1].decode()}"


def _line(connection: socket.socket, deadline: float) -> bytes:
    """Receive the first line of a response, or what comes instead of it. Raises TimeoutError, also for slow bytes."""
    line = b""
    while b"\n" not in line and len(line) < _LONGEST_LINE:
        connection.settimeout(max(0.001, deadline - clock.monotonic()))
        if not (data := connection.recv(4096)):
            break
        line += data
    return line
