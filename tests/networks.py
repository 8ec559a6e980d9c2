"""Networks that are far away: namespaces of this machine, behind lines with a delay.

A line is two TUN devices, between which a process carries packets, each after its delay.
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
    """A namespace: both ends of the line to it (this one is the same for all), and what runs a command there."""

    here: str
    there: str
    command: tuple[str, ...]


@contextmanager
def namespaces(count: int, delay: float) -> Iterator[list[Network]]:
    """Make namespaces, packets to and from which take so many seconds; skip where that is not possible."""
    with ExitStack() as stack:
        try:
            networks = [stack.enter_context(_namespace(number, delay)) for number in range(count)]
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespaces can be made here: {error}")
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
        carrier = subprocess.Popen(
            [sys.executable, __file__, str(near.descriptor), str(far.descriptor), str(delay)],
            pass_fds=(near.descriptor, far.descriptor),
        )
        stack.callback(carrier.wait)
        stack.callback(carrier.kill)
        yield Network(here, there, inside)


class Tun(NamedTuple):
    """A network device whose packets go to a descriptor."""

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


def _carry(near: int, far: int, delay: float) -> None:
    """Hand packets from each to the other, for ever."""
    other = {near: far, far: near}
    coming: deque[tuple[float, int, bytes]] = deque()
    with selectors.DefaultSelector() as selector:
        for descriptor in other:
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            wait = max(0.0, coming[0][0] - time.monotonic()) if coming else None
            for key, _ in selector.select(wait):
                coming.append((time.monotonic() + delay, other[key.fd], os.read(key.fd, _MTU + 100)))
            while coming and coming[0][0] <= time.monotonic():
                _, to, packet = coming.popleft()
                os.write(to, packet)


if __name__ == "__main__":
    _carry(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
