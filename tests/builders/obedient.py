"""A service that does what it is told: it evaluates each line that it is sent, in a process of its own."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_loadgen.traffic.target import Target

SCRIPT = """
import os, resource, socket, sys, time

kept = []

def grow(megabytes):
    kept.append(bytearray(os.urandom(1 << 20) * megabytes))

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def open_files(share):
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    kept.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(int(100 * share) - len(os.listdir("/proc/self/fd"))))

def fork(work, wait=False):
    if pid := os.fork():
        return os.waitpid(pid, 0)[1] if wait else pid
    work()
    os._exit(0)

where = sys.argv[1]
if where.startswith("fd "):
    listener = socket.socket(fileno=int(where[3:]))
elif where.startswith("/"):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(where)
    listener.listen()
else:
    listener = socket.create_server(("127.0.0.1", int(where)))
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    with connection, connection.makefile("rw") as file:
        for line in file:
            print(repr(eval(line)), file=file, flush=True)
"""


class Obedient:
    """The service, as the tests see it."""

    def __init__(self, address: str | tuple[str, int], process: subprocess.Popen[str]) -> None:
        self.address = address
        self.process = process
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with socket.socket(family) as connection:
            connection.settimeout(30)
            connection.connect(address)
            self._file = connection.makefile("rw")

    @property
    def target(self) -> Target:
        if isinstance(self.address, str):
            return Target.of(f"http+unix://{self.address.replace('/', '%2F')}/")
        return Target.of(f"http://{self.address[0]}:{self.address[1]}/")

    def tell(self, line: str) -> Any:
        """Have it evaluate a line, and return what came out."""
        print(line, file=self._file, flush=True)
        return ast.literal_eval(self._file.readline())

    def close(self) -> None:
        self._file.close()


@contextmanager
def obedient(
    where: str = "", *, name: Path | None = None, inherited: socket.socket | None = None
) -> Iterator[Obedient]:
    """Run the service on a port, at the path of a unix socket, or on an inherited socket; perhaps as a script."""
    if inherited:
        where, address = f"fd {inherited.fileno()}", inherited.getsockname()
    elif where:
        address = where if where.startswith("/") else ("127.0.0.1", int(where))
    else:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = free.getsockname()
        where = str(address[1])
    program = [sys.executable, "-c", SCRIPT]
    if name:
        name.write_text(f"#!{sys.executable}\n{SCRIPT}")
        name.chmod(0o755)
        program = [str(name)]
    process = subprocess.Popen(
        [*program, where],
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[inherited.fileno()] if inherited else [],
        start_new_session=True,
    )
    assert process.stdout
    try:
        with process.stdout:
            assert process.stdout.readline() == "ready\n"
        service = Obedient(address, process)
        yield service
        service.close()
    finally:
        _kill_group(process)


def _kill_group(process: subprocess.Popen[str]) -> None:
    import os
    import signal
    from contextlib import suppress

    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
