"""Workers of a Dask cluster; what passes between them and this process goes by way of its scheduler."""

from __future__ import annotations

import operator
import pickle
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from ipaddress import ip_address
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from urllib.parse import urlsplit

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.workers.hub import Channel, Message, Sign, Unwanted, Word

if TYPE_CHECKING:
    from distributed import Client

P = ParamSpec("P")
T = TypeVar("T")

# In seconds: how long the scheduler may take to answer; how long the workers are told beforehand when
# they start; how often this process and they look for news, and how often it looks who is still there.
_PATIENCE = 10.0
_NOTICE = 1.0
_NEWS = 0.1
_NEXT_WORD = 0.25
_ROLL_CALL = 1.0
_READINGS = 5
_STOP = "stop"
# What Dask raises where the scheduler does not answer, is another one than before, or nobody is connected to it.
_TROUBLE = (OSError, LookupError, RuntimeError, AttributeError)


class Cluster:
    """A hub for all workers that a Dask scheduler has.

    Intervals come in a queue at the scheduler. What the workers are told is the same for all: it is
    a variable there, the list of all words so far.
    """

    def __init__(self, address: str) -> None:
        """Connect. Raises GeneratorError where there is no scheduler, no worker, or no Dask here."""
        self._address = address
        self._client = _connect(address)
        try:
            found = self._client.scheduler_info(n_workers=-1)["workers"]
            if not found:
                raise GeneratorError(f"the Dask scheduler {address} has no workers: start some (dask worker {address})")
            self._workers = sorted(found)
            self.names = [_name(worker, str(found[worker]["name"])) for worker in self._workers]
            self._open()
        except (*_TROUBLE, ValueError) as error:
            self._client.close()
            raise GeneratorError(f"the Dask scheduler {address} cannot share a load: {error}") from None
        except BaseException:
            self._client.close()
            raise

    def _open(self) -> None:
        from distributed import Queue, Variable

        self._inbox = Queue(client=self._client)
        self._words = Variable(client=self._client)
        self._said: list[float | str] = []
        self._words.set(self._said)
        self._ahead = ahead(partial(self._client.run_on_scheduler, time.time))
        self._called = time.monotonic()

    @property
    def executors(self) -> list[Executor]:
        """One for each worker."""
        return [_Place(self._client, worker) for worker in self._workers]

    def check(self, target: Target) -> None:
        """Refuse a service that other machines would look for on themselves. Raises PlanError."""
        found = target.address
        if found is None or (not isinstance(found, str) and not ip_address(found[0]).is_loopback):
            return
        for worker, name in zip(self._workers, self.names, strict=True):
            if not _is_here(urlsplit(worker).hostname or ""):
                raise PlanError(
                    f"{target.origin} is found on this machine only, and {name} is on another: "
                    "give an address by which the workers reach the service."
                )

    def entrance(self, number: int) -> Callable[[], Channel]:
        """Give what finds the queue and the words from a task of the cluster."""
        return partial(_Line, self._inbox.name, self._words.name, number, version("pytest-loadgen"))

    def soon(self) -> float:
        """Tell a moment of the scheduler's clock."""
        return time.time() + self._ahead + _NOTICE

    def tell(self, word: Word) -> None:
        """Add a word to those that the workers look at."""
        self._say(word.value if isinstance(word, Sign) else word)

    def _say(self, word: float | str) -> None:
        self._said.append(word)
        # Where the scheduler is lost, reading will tell so.
        with suppress(*_TROUBLE):
            if self._connected:
                self._words.set(self._said)

    @property
    def _connected(self) -> bool:
        """Whether the scheduler is still there; to ask it would take as long as Dask has patience."""
        return bool(self._client.status == "running")

    def hear(self) -> Iterator[tuple[int, Message]]:
        """Give what has come, and tell of workers that the scheduler does not know any more."""
        time.sleep(_NEWS)
        try:
            if not self._connected:
                raise ConnectionError("it has hung up")
            missing = self._missing()
            heard = self._inbox.get(batch=True)
        except _TROUBLE as error:
            raise GeneratorError(f"the Dask scheduler {self._address} was lost: {error}") from None
        yield from map(pickle.loads, heard)
        for number in missing:
            yield number, Sign.GONE

    def _missing(self) -> list[int]:
        if time.monotonic() - self._called < _ROLL_CALL:
            return []
        self._called = time.monotonic()
        present = self._client.nthreads()
        return [number for number, worker in enumerate(self._workers) if worker not in present]

    def stop(self) -> None:
        """Say that it is over."""
        self._say(_STOP)

    def close(self) -> None:
        """Leave nothing at the scheduler, and hang up."""
        with suppress(*_TROUBLE):
            self._inbox.close()
            self._words.delete()
        self._client.close()


class _Line:
    """A worker's end: the same queue and variable, seen from a task."""

    def __init__(self, inbox: str, words: str, number: int, wanted: str) -> None:
        from distributed import Queue, Variable, get_client, get_worker

        if (found := version("pytest-loadgen")) != wanted:
            raise GeneratorError(f"it has pytest-loadgen {found}, and this machine {wanted}: install the same on both")
        client = get_client()
        self._number = number
        self._worker = get_worker()
        self._task = self._worker.get_current_task()
        self._words = Variable(words, client=client)
        self._heard = 0
        if self._words.get(timeout=_PATIENCE):
            # Dask does again what a lost worker did, once one comes up in its place.
            raise GeneratorError("it was started again in the middle of a load")
        self._inbox = Queue(inbox, client=client)
        self._ahead = ahead(partial(client.run_on_scheduler, time.time))

    def send(self, message: Message) -> None:
        self._check()
        try:
            self._inbox.put(pickle.dumps((self._number, message)))
        except _TROUBLE:
            raise Unwanted from None

    def hear(self) -> Word | None:
        time.sleep(_NEXT_WORD)
        self._check()
        try:
            words = self._words.get(timeout=_PATIENCE)
        except _TROUBLE:
            raise Unwanted from None
        if _STOP in words:
            raise Unwanted
        new = words[self._heard : self._heard + 1]
        self._heard += len(new)
        return next((word if isinstance(word, float) else Sign(word) for word in new), None)

    def _check(self) -> None:
        """Notice when the task was cancelled, as it is where the other side has died."""
        task = self._worker.state.tasks.get(self._task)
        if task is None or task.state == "cancelled":
            raise Unwanted

    def local(self, moment: float) -> float:
        return moment - self._ahead

    def close(self) -> None:
        with suppress(*_TROUBLE):
            self._inbox.close()


class _Place(Executor):
    """One worker, for work that only it has to understand.

    Dask's scheduler reads what it passes on, and a worker dies of what it cannot read. So what they
    read is of the standard library, and the work itself, in bytes, is the worker's first task.
    """

    def __init__(self, client: Client, worker: str) -> None:
        self._executor = client.get_executor(workers=[worker], allow_other_workers=False, pure=False)
        self._unpack = partial(client.submit, pickle.loads, workers=[worker], allow_other_workers=False, pure=False)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            packed = pickle.dumps(partial(fn, *args, **kwargs))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise GeneratorError(f"the generator cannot be sent to a worker: {error}") from None
        future: Future[T] = self._executor.submit(operator.call, self._unpack(packed))
        return future


def ahead(read: Callable[[], float], clock: Callable[[], float] = time.time) -> float:
    """Tell how far another clock is ahead of this one, in seconds; off by half the quickest reading at the most."""
    readings = []
    for _ in range(_READINGS):
        asked, said, answered = clock(), read(), clock()
        readings.append((answered - asked, said - (asked + answered) / 2))
    return min(readings)[1]


def _connect(address: str) -> Client:
    try:
        from distributed import Client
        from distributed.versions import VersionMismatchWarning
    except ImportError:
        raise GeneratorError(
            f"workers={address!r} needs Dask, which is not installed: pip install 'pytest-loadgen[dask]'"
        ) from None
    parts = urlsplit(address)
    try:
        # Dask itself would try for as long as it may, and leave a thread behind.
        socket.create_connection((parts.hostname or "", parts.port or 0), _PATIENCE).close()
        with warnings.catch_warnings():
            # Of libraries that nothing here depends on; that this one is the same, the workers see to.
            warnings.simplefilter("ignore", VersionMismatchWarning)
            return Client(address, timeout=_PATIENCE, set_as_default=False, name="pytest-loadgen")
    except (OSError, TypeError, ValueError) as error:
        trouble = getattr(error, "strerror", None) or str(error)
    # Out here, as the error has hold of what is left of the client.
    raise GeneratorError(f"there is no Dask scheduler at {address}: {trouble}")


def _name(address: str, name: str) -> str:
    return f"worker {address}" if name == address else f"worker {name} ({address})"


def _is_here(host: str) -> bool:
    """Tell whether an address is one of this machine's."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True
