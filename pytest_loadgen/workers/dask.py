"""Workers of a Dask cluster; they and this process talk by way of the scheduler."""

from __future__ import annotations

import pickle
import re
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_loadgen import clock
from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.redaction import redact, without_password
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.workers.dask_executor import DaskExecutor
from pytest_loadgen.workers.hub import Cancelled, Command, Message, Signal, WorkerConnection

if TYPE_CHECKING:
    from distributed import Client, Queue

# In seconds: how long the scheduler may take to respond, also when this process is about to leave; how far ahead the
# start time is; how often this process and the workers poll; and how often this process checks that all workers are
# still there.
_TIMEOUT = 10.0
_CLOSE_TIMEOUT = 0.5
_LEAD_TIME = 1.0
_HUB_POLL = 0.1
_WORKER_POLL = 0.25
_PRESENCE_CHECK = 1.0
_STOP = "stop"
# What the scheduler, which may have no pytest-loadgen, calls to read its clock: this names the function that a test
# may have replaced here.
_READ_CLOCK: Callable[[], float] = partial(eval, "__import__('time').time()")
# What Dask raises if the scheduler does not respond, was restarted, or is not connected.
_DASK_ERRORS = (OSError, LookupError, RuntimeError, AttributeError)


class DaskHub:
    """A hub for all workers of a Dask scheduler.

    Messages of the workers go into a queue at the scheduler. Commands are the same for all workers:
    they are a variable there, the list of all commands so far.
    """

    def __init__(self, address: str) -> None:
        """Connect. Raises GeneratorError if there is no scheduler, no worker, or no Dask here."""
        self._shown = without_password(address)
        self._client = _connect(address)
        try:
            identity = self._client.scheduler.identity
            found = self._client.sync(identity, n_workers=-1, callback_timeout=_TIMEOUT)["workers"]
            if not found:
                raise GeneratorError(
                    f"the Dask scheduler {self._shown} has no workers: start some (dask worker {self._shown})"
                )
            self._workers = sorted(found)
            self.names = [_name(worker, str(found[worker]["name"])) for worker in self._workers]
            self._open()
        except (*_DASK_ERRORS, ValueError) as error:
            _disconnect(self._client)
            raise GeneratorError(f"the Dask scheduler {self._shown} cannot be used: {_reason(error)}") from None
        except BaseException:
            _disconnect(self._client)
            raise

    def _open(self) -> None:
        from distributed import Variable

        self._messages = _queue(self._client)
        self._commands = Variable(client=self._client)
        self._sent: list[float | str] = []
        self._commands.set(self._sent, callback_timeout=_TIMEOUT)
        self._offset = clock.offset(partial(self._client.run_on_scheduler, _READ_CLOCK, callback_timeout=_TIMEOUT))
        self._checked = clock.monotonic()

    @property
    def executors(self) -> list[Executor]:
        """One for each worker."""
        return [DaskExecutor(self._client, worker) for worker in self._workers]

    def check(self, target: Target) -> None:
        """Refuse a service that the workers cannot reach by this address. Raises PlanError."""
        check_reachable(target, zip(self._workers, self.names, strict=True))

    def connector(self, number: int) -> Callable[[], WorkerConnection]:
        """Return what finds the queue and the variable from a task of the cluster."""
        return partial(_DaskConnection, self._messages.name, self._commands.name, number, version("pytest-loadgen"))

    def start_time(self) -> float:
        """Return a time of the scheduler's clock."""
        return clock.wall() + self._offset + _LEAD_TIME

    def broadcast(self, command: Command) -> None:
        """Add a command to the list."""
        self._add(command.value if isinstance(command, Signal) else command)

    def _add(self, command: float | str, timeout: float = _TIMEOUT) -> None:
        self._sent.append(command)
        # If the scheduler is lost, the next receive reports it.
        with suppress(*_DASK_ERRORS):
            if self._connected:
                self._commands.set(self._sent, callback_timeout=timeout)

    @property
    def _connected(self) -> bool:
        """Whether the scheduler is still there; a call would find out only after Dask's own timeout."""
        return bool(self._client.status == "running")

    def receive(self) -> Iterator[tuple[int, Message]]:
        """Yield the messages in the queue, and report workers that the scheduler has lost."""
        clock.sleep(_HUB_POLL)
        try:
            if not self._connected:
                raise ConnectionError("it closed the connection")
            missing = self._missing()
            received = self._messages.get(batch=True, callback_timeout=_TIMEOUT)
        except _DASK_ERRORS as error:
            raise GeneratorError(f"the Dask scheduler {self._shown} was lost: {_reason(error)}") from None
        yield from map(pickle.loads, received)
        for number in missing:
            yield number, Signal.LOST

    def _missing(self) -> list[int]:
        if clock.monotonic() - self._checked < _PRESENCE_CHECK:
            return []
        self._checked = clock.monotonic()
        present = self._client.sync(self._client.scheduler.ncores, callback_timeout=_TIMEOUT)
        return [number for number, worker in enumerate(self._workers) if worker not in present]

    def stop(self) -> None:
        """Cancel the load on all workers."""
        self._add(_STOP, _CLOSE_TIMEOUT)

    def close(self) -> None:
        """Delete what is at the scheduler, and disconnect."""
        with suppress(*_DASK_ERRORS):
            self._messages.close()
            self._commands.delete()
        _disconnect(self._client)


class _DaskConnection:
    """A worker's end: the same queue and variable, seen from a task."""

    def __init__(self, messages: str, commands: str, number: int, wanted: str) -> None:
        from distributed import Variable, get_client, get_worker

        if (found := version("pytest-loadgen")) != wanted:
            raise GeneratorError(
                f"version mismatch: the worker has pytest-loadgen {found}, this machine has {wanted}; "
                "install the same version on both"
            )
        client = get_client()
        self._number = number
        self._worker = get_worker()
        self._task = self._worker.get_current_task()
        self._commands = Variable(commands, client=client)
        self._received = 0
        if self._commands.get(timeout=_TIMEOUT, callback_timeout=2 * _TIMEOUT):
            # Dask runs the task of a lost worker again, once another worker is there.
            raise GeneratorError("the worker was restarted during the load")
        self._messages = _queue(client, messages)
        self._offset = clock.offset(partial(client.run_on_scheduler, _READ_CLOCK, callback_timeout=_TIMEOUT))

    def send(self, message: Message) -> None:
        self._check()
        try:
            self._messages.put(pickle.dumps((self._number, message)), callback_timeout=_TIMEOUT)
        except _DASK_ERRORS:
            raise Cancelled from None

    def receive(self) -> Command | None:
        clock.sleep(_WORKER_POLL)
        self._check()
        try:
            commands = self._commands.get(timeout=_TIMEOUT, callback_timeout=2 * _TIMEOUT)
        except _DASK_ERRORS:
            raise Cancelled from None
        if _STOP in commands:
            raise Cancelled
        new = commands[self._received : self._received + 1]
        self._received += len(new)
        return next((command if isinstance(command, float) else Signal(command) for command in new), None)

    def _check(self) -> None:
        """Raise Cancelled if the task was cancelled: Dask does that if the hub's process dies."""
        task = self._worker.state.tasks.get(self._task)
        if task is None or task.state == "cancelled":
            raise Cancelled

    def local_time(self, moment: float) -> float:
        return moment - self._offset

    def close(self) -> None:
        with suppress(*_DASK_ERRORS):
            self._messages.close()


def _queue(client: Client, name: str | None = None) -> Queue:
    """Open a queue at the scheduler; the constructor itself would wait for it without an end."""
    from distributed import Queue

    async def opened() -> Queue:
        return await Queue(name, client=client)

    return client.sync(opened, callback_timeout=_TIMEOUT)


def _disconnect(client: Client) -> None:
    """Close a client, whether its scheduler responds or not; nothing of it is left in this process."""
    try:
        client.close(timeout=_CLOSE_TIMEOUT)
    except _DASK_ERRORS:
        with suppress(*_DASK_ERRORS):
            # What close does after the scheduler has responded.
            client._loop_runner.stop()
            client.status = "closed"


def _reason(error: Exception) -> str:
    return f"it did not respond within {_TIMEOUT:g} s" if isinstance(error, TimeoutError) else str(error)


def check_reachable(target: Target, workers: Iterable[tuple[str, str]]) -> None:
    """Refuse a service on loopback if a worker, given by address and name, is on another machine. Raises PlanError."""
    found = target.address
    if found is None or (not isinstance(found, str) and not ip_address(found[0]).is_loopback):
        return
    for address, name in workers:
        if not _is_local(urlsplit(address).hostname or ""):
            raise PlanError(
                f"{target.origin} is reachable from this machine only, and {name} is on another: "
                "use an address by which the workers reach the service."
            )


def _connect(address: str) -> Client:
    try:
        from distributed import Client
        from distributed.versions import VersionMismatchWarning
    except ImportError:
        raise GeneratorError(
            f"workers={without_password(address)!r} needs Dask, which is not installed: "
            "pip install 'pytest-loadgen[dask]'"
        ) from None

    class BoundedClient(Client):  # type: ignore[misc]
        """A client that gives up a scheduler that accepts the connection and then does not respond."""

        def start(self, **options: object) -> None:
            try:
                super().start(callback_timeout=_TIMEOUT, **options)
            except BaseException:
                self._loop_runner.stop()
                self.status = "closed"
                raise

    try:
        parts = urlsplit(address)
        place = parts.hostname or "", parts.port or 0
    except ValueError:
        # Its reason may contain a part of a password.
        place = None
    if place is None:
        raise GeneratorError(f"{without_password(address)} is not an address (expected 'tcp://host:port')")
    try:
        # Dask itself would retry until its timeout, and leave a thread behind.
        socket.create_connection(place, _TIMEOUT).close()
        with warnings.catch_warnings():
            # It is about libraries that are not used here; the workers check the version of this one.
            warnings.simplefilter("ignore", VersionMismatchWarning)
            return BoundedClient(address, timeout=_TIMEOUT, set_as_default=False, name="pytest-loadgen")
    except (OSError, TypeError, ValueError) as error:
        shown = without_password(address)
        hidden = [part for part in re.split("[/@?#:]+", address) if part not in shown]
        reason = redact(getattr(error, "strerror", None) or str(error), hidden)
    # Outside of the except block, because the error keeps the remains of the client alive.
    raise GeneratorError(f"there is no Dask scheduler at {without_password(address)}: {reason}")


def _name(address: str, name: str) -> str:
    return f"worker {address}" if name == address else f"worker {name} ({address})"


def _is_local(host: str) -> bool:
    """Return whether an address is one of this machine's."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
