"""A Dask cluster on this machine: a scheduler and workers, each in its own process."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

PATIENCE = 30


@contextmanager
def running(workers: int) -> Iterator[str]:
    """Start a scheduler and workers, give the scheduler's address, and stop them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-", ignore_cleanup_errors=True))
        stack.enter_context(_process(folder, "scheduler", "--port", port))
        for _ in range(workers):
            stack.enter_context(_process(folder, "worker", address, "--no-nanny", "--nthreads", "1"))
        with client(address) as connected:
            connected.wait_for_workers(workers, timeout=PATIENCE)
        yield address


def client(address: str) -> Any:
    """Connect to a scheduler."""
    try:
        from distributed import Client
    except ImportError:
        raise SystemExit("This benchmark needs Dask: pip install 'pytest-loadgen[dask]'.") from None
    return Client(address, timeout=PATIENCE, set_as_default=False)


@contextmanager
def _process(folder: str, *args: str) -> Iterator[None]:
    command = [sys.executable, "-m", "dask", *args, "--host", "127.0.0.1", "--no-dashboard"]
    environment = os.environ | {"DASK_TEMPORARY_DIRECTORY": folder}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()
