"""Networks with a delay: namespaces of this machine behind TUN devices.

A link is two TUN devices; a process forwards packets between them, each after the delay.
"""

import fcntl
import os
import selectors
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x0001 | 0x1000
_MTU = 1500


class Network(NamedTuple):
    """A namespace: the addresses of this machine and of the namespace, and a prefix that runs a command there."""

    here: str
    there: str
    command: tuple[str, ...]


@contextmanager
def namespaces(count: int, delay: float) -> Iterator[list[Network]]:
    """Create namespaces with a delay in seconds for packets in each direction; skip if that is not possible."""
    with ExitStack() as stack:
        try:
            networks = [stack.enter_context(_namespace(number, delay)) for number in range(count)]
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"cannot create network namespaces: {error}")
        yield networks


@contextmanager
def _namespace(number: int, delay: float) -> Iterator[Network]:
    name = f"loadgen{os.getpid()}-{number}"
    here, there = "10.203.0.1", f"10.203.0.{number + 2}"
    inside = ("ip", "netns", "exec", name)
    with ExitStack() as stack:
        _run("ip", "netns", "add", name)
        stack.callback(_run, "ip", "netns", "del", name)
        near, far = (stack.enter_context(_tun(f"lg{number}{end}{os.getpid()}")) for end in "nf")
        _run("ip", "link", "set", far.name, "netns", name)
        for command, device, address, other in (((), near.name, here, there), (inside, far.name, there, here)):
            _run(*command, "ip", "address", "add", address, "peer", other, "dev", device)
            _run(*command, "ip", "link", "set", device, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        forwarder = subprocess.Popen(
            [sys.executable, __file__, str(near.descriptor), str(far.descriptor), str(delay)],
            pass_fds=(near.descriptor, far.descriptor),
        )
        stack.callback(forwarder.wait)
        stack.callback(forwarder.kill)
        yield Network(here, there, inside)


class Tun(NamedTuple):
    """A network device whose packets are read and written at a file descriptor."""

    name: str
    descriptor: int


@contextmanager
def _tun(name: str) -> Iterator[Tun]:
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _TUN_WITHOUT_HEADER))
        yield Tun(name, descriptor)
    finally:
        os.close(descriptor)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _forward(near: int, far: int, delay: float) -> None:
    """Forward packets in both directions until killed."""
    other = {near: far, far: near}
    pending: deque[tuple[float, int, bytes]] = deque()
    with selectors.DefaultSelector() as selector:
        for descriptor in other:
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            wait = max(0.0, pending[0][0] - time.monotonic()) if pending else None
            for key, _ in selector.select(wait):
                pending.append((time.monotonic() + delay, other[key.fd], os.read(key.fd, _MTU + 100)))
            while pending and pending[0][0] <= time.monotonic():
                _, to, packet = pending.popleft()
                os.write(to, packet)


if __name__ == "__main__":
    _forward(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
