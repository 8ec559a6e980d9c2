"""What this machine adds to each latency, whatever is loaded."""

from __future__ import annotations

import contextlib
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_loadgen.errors import LoadError
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.running import runner
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.units import Duration, Share

# Enough to see what is usual, in half a second.
_RATE, _SECONDS = 400, 0.5
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
# From here on, the machine is worth a remark.
_LATE, _STOLEN = 0.010, 0.05


@dataclass(frozen=True)
class Machine:
    """What a look at the machine found, while the generator loaded a service that does nothing."""

    p99: Duration
    """The p99 of such a service: what is not much above it says little of a real one."""
    jitter: Duration
    """How late a timer is, at the p99."""
    stolen: Share
    """Which share of its CPU other guests of a virtual machine's host took."""

    def remarks(self) -> list[str]:
        """Tell what makes figures rough here."""
        remarks = []
        if self.jitter > _LATE:
            remarks.append(f"timers are late by {self.jitter} (p99) on this machine: figures are rough.")
        if self.stolen > _STOLEN:
            remarks.append(f"others took {self.stolen} of this machine's CPU: figures are rough.")
        return remarks


def look(generator: LoadGenerator) -> Machine:
    """Look at the machine, in less than a second. Raises LoadError where that fails."""
    total, stolen = _cpu_time()
    with _null_service() as url:
        plan = plan_of(url, {"rate": _RATE, "duration": _SECONDS, "connections": 4, "warmup": 0.1})
        result = runner.run(plan, generator)
    total_after, stolen_after = _cpu_time()
    return Machine(
        p99=result.p99,
        jitter=result.total.lag.percentile(99) if result.total.lag else Duration(0),
        stolen=Share((stolen_after - stolen) / max(1, total_after - total)),
    )


def _cpu_time() -> tuple[int, int]:
    """Give all CPU time so far, and what was stolen of it, in the kernel's ticks; 0 where unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").split("\n")[0].split()[1:9]]
        return sum(fields), fields[7]
    return 0, 0


@contextmanager
def _null_service() -> Iterator[str]:
    start = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve_nothing; serve_nothing()"
    with subprocess.Popen(  # noqa: S603  # this interpreter, our own text
        [sys.executable, "-P", "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            port = process.stdout.readline().decode().strip()
            if not port:
                raise LoadError("the service by which this machine is looked at did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.stdin.close()  # which ends it


def serve_nothing() -> None:
    """Answer every request with nothing, at once, until standard input is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server, selectors.DefaultSelector() as ready:
        print(server.getsockname()[1], flush=True)  # noqa: T201  # to who started this
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
            connection.sendall(_ANSWER)
            return
    ready.unregister(connection)
    connection.close()
