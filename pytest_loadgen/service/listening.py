"""Which processes have a socket of a service: those that listen at its address, and those that accepted connections.

Linux says so in tables of sockets, and in what each process has open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Literal

from pytest_loadgen.traffic.target import Address

State = Literal["listening", "connected"]
# Of /proc/net/tcp, and of /proc/net/unix.
_TCP_STATES: dict[State, str] = {"listening": "0A", "connected": "01"}
_UNIX_STATES: dict[State, str] = {"listening": "01", "connected": "03"}


@dataclass(frozen=True)
class Socket:
    """A socket of this machine."""

    address: Address
    inode: str
    user: int | None = None
    """The number of the user that it belongs to, where that is known."""


def sockets(wanted: Address, state: State = "listening") -> list[Socket]:
    """Give the sockets of a service at an address, for Linux. Raises OSError where there are no such tables."""
    if isinstance(wanted, str):
        return [each for each in _unix_sockets(state) if _same_path(str(each.address), wanted)]
    # The second table is long to read, and most often not needed.
    tables = ("tcp6",) if ":" in wanted[0] else ("tcp", "tcp6")
    return next(filter(None, (nearest(wanted, _tcp_sockets(each, state, wanted[1])) for each in tables)), [])


def nearest(wanted: tuple[str, int], found: Iterable[Socket]) -> list[Socket]:
    """Choose the sockets that get the connections to an address: of it itself, else of all addresses."""
    ranked = [(rank, each) for each in found if (rank := _rank(each.address, wanted)) is not None]
    best = min((rank for rank, _ in ranked), default=0)
    return [each for rank, each in ranked if rank == best]


def _rank(address: Address, wanted: tuple[str, int]) -> int | None:
    if isinstance(address, str) or address[1] != wanted[1]:
        return None
    own, other = _ip(address[0]), _ip(wanted[0])
    # Who connects to no address in particular comes to this machine's own.
    if own == other or (other.is_unspecified and own.is_loopback):
        return 0
    if not own.is_unspecified:
        return None
    if own.version == other.version:
        return 1
    # A socket of IPv6 takes connections of IPv4, too, unless it says otherwise.
    return 2 if own.version == 6 else None


def _ip(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def holders(found: Iterable[Socket]) -> set[int]:
    """Give the processes that have one of these sockets open, of those that this user may look into."""
    wanted = {f"socket:[{each.inode}]" for each in found}
    # Without Path here and below: there may be thousands of files.
    processes = filter(str.isdigit, os.listdir("/proc")) if wanted else ()  # noqa: PTH208
    return {int(process) for process in processes if _holds(process, wanted)}


def _holds(process: str, wanted: set[str]) -> bool:
    with suppress(OSError), os.scandir(f"/proc/{process}/fd") as opened:
        for each in opened:
            with suppress(OSError):
                if os.readlink(each.path) in wanted:  # noqa: PTH115
                    return True
    return False


def _tcp_sockets(table: str, state: State, port: int) -> Iterator[Socket]:
    with suppress(FileNotFoundError), Path(f"/proc/net/{table}").open(encoding="ascii") as lines:
        next(lines, "")  # the headings
        for line in lines:
            _, local, _, status, *rest = line.split(maxsplit=10)
            if state == "listening" and status != _TCP_STATES[state]:
                return  # these are first, and of the others there may be thousands
            ip, _, number = local.partition(":")
            if int(number, 16) == port and status == _TCP_STATES[state]:
                yield Socket((_hexadecimal(ip), port), rest[5], int(rest[3]))


def _hexadecimal(text: str) -> str:
    """Read an IP address as the kernel writes it: in words of four bytes, each in this machine's order of bytes."""
    raw = bytes.fromhex(text)
    words = [raw[at : at + 4] for at in range(0, len(raw), 4)]
    return str(ip_address(b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)))


def _unix_sockets(state: State) -> Iterator[Socket]:
    with Path("/proc/net/unix").open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            # Num, RefCount, Protocol, Flags, Type, State, Inode, Path
            columns = line.rstrip("\n").split(maxsplit=7)
            if len(columns) == 8 and columns[5] == _UNIX_STATES[state]:
                yield Socket(columns[7], columns[6])


def _same_path(bound: str, wanted: str) -> bool:
    """Return whether a socket was bound to this path; the table has the path as the process wrote it."""
    if bound.startswith("@"):
        return False
    return (
        os.path.realpath(bound) == os.path.realpath(wanted) if bound.startswith("/") else wanted.endswith(f"/{bound}")
    )
