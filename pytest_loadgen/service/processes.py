"""The processes of the service under test: which they are, and what they use."""

from __future__ import annotations

import math
import os
import re
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_loadgen import cgroup, clock
from pytest_loadgen.figures.resources import THIS_PROCESS
from pytest_loadgen.service import listening
from pytest_loadgen.traffic.target import NO_SERVICE, Address, Target
from pytest_loadgen.wording import printable

if TYPE_CHECKING:
    import psutil

# Programs that listen for others.
_FORWARDING = re.compile(
    r"docker-proxy|com\.docker\..*|vpnkit.*|rootlessport.*|rootlesskit|slirp4netns|pasta(\.avx2)?|passt(\.avx2)?|gvproxy"
    r"|OrbStack.*|limactl|lima-.*|colima|sshd?|sshd-session|autossh|kubectl|kubefwd|telepresence|skaffold|socat"
    r"|wslrelay.*|conmon|cloud-sql-proxy|qemu-.*"
)
# Programs that open sockets for services that they start.
_STARTING = re.compile(r"systemd|launchd|init|x?inetd|systemd-socket-proxyd")
# Programs that run a script, whose name says more.
_INTERPRETERS = re.compile(r"(python|pypy|node|nodejs|ruby|perl|php|bun|deno)[\d.]*", re.IGNORECASE)
# Memory that processes share is looked at this often at most, in seconds, and for this part of the time at most; and
# for this part of the time at one process, which can neither get memory from the system nor give it back meanwhile.
_SHARED_EVERY, _SHARED_SHARE, _LOCKED_SHARE = 5.0, 0.003, 0.001
# Linux says to a second when a process was born.
_BORN_WITHIN = 1.0


class NotKnownError(Exception):
    """What a service uses cannot be known; the reason completes "the CPU and memory of the service are not known:"."""


class NeverKnownError(NotKnownError):
    """What a service uses cannot be known, however often one looks."""


class Search:
    """Finds the processes that listen at the address of a service on this machine, as often as it is asked."""

    def __init__(self, target: Target, sent_from: str = "") -> None:
        """Take the target, and where the load is sent from if not from this machine."""
        self._target, self._sent_from = target, sent_from
        self._sockets: list[listening.Socket] = []
        self._found: set[int] = set()

    def processes(self) -> set[int]:
        """Find them. Raises NotKnownError."""
        import psutil

        target = self._target
        if target.scheme == NO_SERVICE:
            raise NeverKnownError("the load has no base URL")
        if target.scheme == "udp":
            raise NeverKnownError("services of UDP are not looked for")
        for address in _local_addresses(target, self._sent_from):
            sockets = listening.sockets(address) if sys.platform == "linux" else _sockets_of_this_user(address)
            # To look into all processes takes long.
            if self._found and sockets == self._sockets and all(map(psutil.pid_exists, self._found)):
                return self._found
            if sockets:
                self._found = _serving(address, _holders(sockets))
                self._sockets = sockets
                return self._found
        raise NotKnownError(f"no process of this machine listens at {_written(target)}")


def _written(target: Target) -> str:
    return printable(target.host if target.unix else f"{target.host}:{target.port}")


def _local_addresses(target: Target, sent_from: str) -> list[Address]:
    """Give the addresses of a target, which have to be of this machine."""
    if target.address is not None:
        addresses = [target.address]
    elif target.unix:
        addresses = [target.host]
    else:
        try:
            found = socket.getaddrinfo(target.host.strip("[]"), target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise NotKnownError(f"{printable(target.host)} cannot be resolved here") from None
        addresses = list(dict.fromkeys((str(each[0]), target.port) for *_, each in found))
    own = [each for each in addresses if isinstance(each, str) or _is_own(each[0])]
    if not own:
        raise NeverKnownError(f"it runs on another machine ({_written(target)})")
    if (
        sent_from
        and not _is_loopback(sent_from)
        and all(isinstance(each, str) or _is_loopback(each[0]) for each in own)
    ):
        raise NeverKnownError(
            f"the load is sent from {printable(sent_from)}, which has a {_written(target)} of its own"
        )
    return own


def _is_own(ip: str) -> bool:
    """Return whether an IP address is one of this machine: others cannot be bound."""
    with suppress(OSError), socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as attempt:
        attempt.bind((ip, 0))
        return True
    return False


def _is_loopback(host: str) -> bool:
    return host.startswith(("127.", "localhost", "::1", "[::1]"))


def _holders(sockets: list[listening.Socket]) -> set[int]:
    """Give the processes that have sockets. Raises NotKnownError where they cannot be seen."""
    if sys.platform != "linux":
        return {int(each.inode) for each in sockets}
    if not (pids := listening.holders(sockets)):
        raise NotKnownError(_invisible(sockets[0].user))
    return pids


def _sockets_of_this_user(address: Address) -> list[listening.Socket]:
    """Ask all processes for the sockets that listen, with the process for the inode.

    Systems other than Linux allow that for processes of the same user only.
    """
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            for each in process.net_connections("unix" if isinstance(address, str) else "tcp"):
                local: Any = each.laddr
                if isinstance(address, str) and local == address:
                    found.append(listening.Socket(address, str(process.pid)))
                elif each.status == psutil.CONN_LISTEN and local:
                    found.append(listening.Socket((local.ip, local.port), str(process.pid)))
    return found if isinstance(address, str) else listening.nearest(address, found)


def _invisible(user: int | None) -> str:
    """Say who may have a socket that no process that can be seen has."""
    if user is None or user == os.getuid():
        return "its process is in another container, or belongs to another user"
    import pwd

    name = str(user)
    with suppress(KeyError):
        name = pwd.getpwuid(user).pw_name
    return f"its process belongs to another user ({name})"


def _serving(address: Address, found: set[int]) -> set[int]:
    """Choose, of the processes that have the listening socket, those that serve. Raises NotKnownError."""
    names = {pid: name for pid in found if (name := _name(pid))}
    services = {pid for pid, name in names.items() if not _STARTING.fullmatch(name)}
    if forwarding := sorted({names[pid] for pid in services if _FORWARDING.fullmatch(names[pid])}):
        raise NotKnownError(f"{forwarding[0]} forwards its connections to where it runs")
    if not services:
        starting = next(iter(names.values()), "")
        raise NotKnownError(f"{starting} listens for it" if starting else "its process has just ended")
    this = os.getpid()
    if this not in services or len(services) == 1:
        return services
    # This process may have opened the socket for another, or another may have inherited it from a server here.
    accepted = listening.holders(listening.sockets(address, "connected")) if sys.platform == "linux" else {this}
    if not accepted & services:
        raise NotKnownError("several processes have its socket, and none of them has accepted a connection")
    return {this} if this in accepted else accepted & services


def _name(pid: int) -> str:
    import psutil

    with suppress(psutil.Error, OSError):
        return str(psutil.Process(pid).name())
    return ""


@dataclass(frozen=True)
class Used:
    """The CPU time of a process so far, in seconds."""

    own: float
    ended: float = 0.0
    """That of its children which have ended."""


def progress(before: Mapping[int, Used], now: Mapping[int, Used], born: Iterable[int] = ()) -> tuple[float, float]:
    """Tell how much CPU time processes used from one moment to another: all together, and the busiest of them.

    What a process has used that has ended since is in that of its parent's ended children, if its parent waited
    for it. Of a process that is seen for the first time, all counts if it was born since, else nothing.
    """
    own = {pid: used.own - before[pid].own for pid, used in now.items() if pid in before}
    ended = sum(used.ended - before[pid].ended for pid, used in now.items() if pid in before)
    counted_before = sum(used.own + used.ended for pid, used in before.items() if pid not in now)
    children = sum(now[pid].ended for pid in born)
    own.update({pid: now[pid].own for pid in born})
    return sum(own.values()) + children + max(0.0, ended - counted_before), max(own.values(), default=0.0)


@dataclass(frozen=True)
class Reading:
    """What the processes of a service have open at a moment, and the CPU time since the last reading."""

    process: str
    cpu: float
    busiest: float
    cores: float
    memory: int
    threads: int
    files: int
    files_share: float
    throttled: float
    """Since their container was made."""


class Processes:
    """The processes that serve, and all their children."""

    def __init__(self) -> None:
        """Know none yet."""
        self.roots: set[int] = set()
        self._members: dict[int, psutil.Process] = {}
        self._limits: dict[int, float] = {}
        self._used: dict[int, Used] = {}
        # When children were looked for: the last time, and the time before.
        self._looked, self._looked_before = math.inf, math.inf
        self._called = ""
        self._cores = 0.0
        # What memory they share, and when that is to be looked at again.
        self._shared, self._look_at_shared, self._sharing = 0, 0.0, frozenset[int]()

    @staticmethod
    def prepare() -> None:
        """Import the library that reads processes, before a load: it would keep other threads waiting."""
        import psutil  # noqa: F401

    def look(self) -> None:
        """Find the children anew, and what they are called and may use."""
        import psutil

        found: dict[int, psutil.Process] = {}
        this = os.getpid()
        for pid in sorted(self.roots):
            # One that forked the others has most often been there first.
            if pid in found:
                continue
            with suppress(psutil.Error, OSError):
                found[pid] = process = psutil.Process(pid)
                # Those of this process are generators and services, too.
                if pid != this:
                    found |= {each.pid: each for each in process.children(recursive=True)}
        if this in found and this not in self.roots:
            del found[this]
            for each in psutil.Process().children(recursive=True):
                found.pop(each.pid, None)
        # One whose number was given to another since is another.
        self._used = {
            pid: used for pid, used in self._used.items() if pid not in found or self._members.get(pid) == found[pid]
        }
        self._members = found
        self._looked_before, self._looked = self._looked, clock.wall()
        self._describe()

    def _describe(self) -> None:
        import psutil

        first = min(self.roots & self._members.keys(), default=0)
        if not first:
            return
        allowed: set[int] = set()
        for pid, process in self._members.items():
            with suppress(psutil.Error, OSError, AttributeError):
                allowed.update(process.cpu_affinity())
            with suppress(psutil.Error, OSError, AttributeError, ValueError):
                limit = process.rlimit(psutil.RLIMIT_NOFILE)[0]
                self._limits[pid] = limit if limit > 0 else math.inf  # -1 is none
        self._cores = min(len(allowed) or os.cpu_count() or 1, cgroup.cores(first))
        self._called = THIS_PROCESS
        if first != os.getpid():
            with suppress(psutil.Error, OSError):
                self._called = called(self._members[first])
            if len(self._members) > 1:
                self._called = f"{self._called} ({len(self._members)} processes)"

    def read(self) -> Reading | None:
        """Read what they use; None if there are none."""
        import psutil

        now: dict[int, Used] = {}
        born: list[int] = []
        sizes: dict[int, int] = {}
        threads = files = 0
        share = 0.0
        for pid, process in self._members.items():
            with suppress(psutil.Error, OSError), process.oneshot():
                times = process.cpu_times()
                size, more_threads = process.memory_info().rss, process.num_threads()
                # Children of this process that have ended are not the service's.
                ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
                now[pid] = Used(times.user + times.system, 0.0 if pid == os.getpid() else ended)
                sizes[pid], threads = size, threads + more_threads
                if pid not in self._used and process.create_time() > self._looked_before - _BORN_WITHIN:
                    born.append(pid)
                opened = process.num_fds()
                files += opened
                share = max(share, opened / self._limits.get(pid, math.inf))
        if not now:
            return None
        cpu, busiest = progress(self._used, now, born)
        self._used = now
        memory = max(0, sum(sizes.values()) - self._shared_memory(sizes))
        throttled = cgroup.throttled(min(now))
        return Reading(self._called, cpu, busiest, self._cores, memory, threads, files, min(1.0, share), throttled)

    def _shared_memory(self, sizes: Mapping[int, int]) -> int:
        """Give how much of the memory of several processes is counted more than once, as it was a short time ago.

        The proportional set size of a process (PSS) counts a page that n processes share as a part of 1/n.
        """
        import psutil

        if len(sizes) < 2:
            return 0
        begin = clock.monotonic()
        if begin >= self._look_at_shared or self._sharing != sizes.keys():
            parts = dict(sizes)
            for pid in sizes:
                with suppress(psutil.Error, OSError, AttributeError):
                    parts[pid] = self._members[pid].memory_full_info().pss
            self._shared, self._sharing = sum(sizes.values()) - sum(parts.values()), frozenset(sizes)
            took = clock.monotonic() - begin
            pause = max(took / len(sizes) / _LOCKED_SHARE, took / _SHARED_SHARE)
            self._look_at_shared = begin + max(_SHARED_EVERY, pause)
        return self._shared


def called(process: psutil.Process) -> str:
    """Give the name of a program, or of the script or module that an interpreter runs; never its other arguments."""
    name = str(process.name())
    words = process.cmdline() if _INTERPRETERS.fullmatch(name) else []
    if "-c" in words[1:3] and len(words) > 4 and "pytest_loadgen.service.application" in " ".join(words[:4]):
        return printable(words[-1])  # an application that `serve` was given
    for at, word in enumerate(words[1:], 1):
        if word == "-m" and at + 1 < len(words):
            return printable(words[at + 1].partition(".")[0])
        if word == "-c":
            break
        if not word.startswith("-"):
            return printable(Path(word).name)
    return printable(name)
