"""A process between pytest and a service: it ends the service, with all its children, when pytest ends or says so.

It runs as a script, without site-packages, for as long as the service runs. It reports over a socket; when pytest
closes the other end, the service has to end.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# How often to look whether pytest is still there, whoever else has the other end of the socket, in milliseconds.
_LOOK = 500
# How often to look whether the service has ended, once it was told to, in seconds.
_POLL = 0.01
# How long the kernel may take to end what was killed, in seconds.
_KILLED = 5.0
# Of prctl(2).
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(control: int, parent: int, grace: float, inherited: str, *argv: str) -> None:
    """Start the program and stay until it has ended; say how that went: ``started``, ``failed`` or ``ended``."""
    os.set_inheritable(control, False)
    pytest = socket.socket(fileno=control)
    # What is orphaned below becomes a child of this process.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        service = subprocess.Popen(  # noqa: S603  # what the user configured
            argv,
            close_fds=False,
            start_new_session=True,
            preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509  # there is one thread
        )
    except OSError as error:
        return _tell(pytest, f"failed {error.errno}")
    # Who connects to a service that has died is to be refused.
    for each in filter(None, inherited.split(",")):
        os.close(int(each))
    try:
        _tell(pytest, "started")
        status = _watch(pytest, woken, service.pid, parent)
        if status is not None:
            _tell(pytest, f"ended {status}")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end(service.pid, grace)


def _tell(pytest: socket.socket, line: str) -> None:
    with suppress(OSError):
        pytest.sendall(f"{line}\n".encode())


def _watch(pytest: socket.socket, woken: int, service: int, parent: int) -> int | None:
    """Wait until the service ends, and return its status; or until pytest has ended or lets it go."""
    poll = select.poll()
    poll.register(pytest.fileno(), select.POLLIN)
    poll.register(woken, select.POLLIN)
    while os.getppid() == parent:
        for pid, status in _reaped():
            if pid == service:
                return status
        ready = dict(poll.poll(_LOOK))
        if pytest.fileno() in ready:
            return None
        if woken in ready:
            os.read(woken, 4096)
    return None


def _end(group: int, grace: float) -> None:
    """End everything that was started: by SIGTERM, and what is left after the grace time by SIGKILL."""
    told: set[int] = set()
    _signal_group(group, signal.SIGTERM)
    for number, seconds in (signal.SIGTERM, grace), (signal.SIGKILL, _KILLED):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            list(_reaped())
            children = _children()
            if not children and not _signal_group(group, 0):
                return
            if number == signal.SIGKILL:
                _signal_group(group, number)
                told.clear()
            # Those that left the group come here as soon as their parent has ended.
            for child in children - told:
                _signal(child, number)
            told |= children
            time.sleep(_POLL)


def _reaped() -> Iterator[tuple[int, int]]:
    """Give what has ended, and how."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, os.waitstatus_to_exitcode(status)


def _children() -> set[int]:
    """Give the children of this process, where the system says so."""
    with suppress(OSError):
        return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()))
    return set()


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to the process group of the service, and return whether there was somebody to get it."""
    try:
        os.killpg(group, number)
    except PermissionError:  # macOS says so of a group of zombies
        return False
    except ProcessLookupError:
        return False
    return True


def _signal(process: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):  # some builds of Python have no ctypes
            import ctypes

            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:])
