"""Whether a service that was started takes requests yet."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

Address = str | tuple[str, int]
"""The path of a unix socket, or host and port."""


def why_not(address: Address, path: str, statuses: range, seconds: float) -> str:
    """Connect once, and with a path send a GET for it; say why the service is not ready, or nothing."""
    try:
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as connection:
            connection.settimeout(seconds)
            connection.connect(address)
            if connection.getsockname() == connection.getpeername() != "":
                return "connection refused"  # it met itself, on a port that the system gave it and nobody listens at
            if not path:
                return ""
            host, port = ("localhost", 80) if isinstance(address, str) else address
            client = http.client.HTTPConnection(host, port)
            client.sock = connection
            with closing(client):
                client.request("GET", path, headers={"User-Agent": "pytest-loadgen", "Connection": "close"})
                status = client.getresponse().status
    except TimeoutError:
        return f"no response to GET {path}" if path else "connection timed out"
    except OSError as error:
        return (error.strerror or str(error) or type(error).__name__).lower()
    except http.client.HTTPException as error:
        return f"GET {path}: not an HTTP response ({type(error).__name__})"
    return "" if status in statuses else f"GET {path} has status {status}"
