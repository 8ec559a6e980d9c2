"""Records of earlier sessions, by name and machine: what a session is compared with."""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from pytest_loadgen.errors import BaselineError, PlanError
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.comparison import Baseline
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.record import Record
from pytest_loadgen.traffic.plan import Plan, Stage

FOLDER = ".loadgen"
"""Where they are, below the root of the tests, unless --load-storage says otherwise."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Baselines:
    """The records of a storage."""

    def __init__(self, storage: str | Path) -> None:
        """Take a folder, or a URL that fsspec knows."""
        self._storage: _Storage = _local(storage) or _Remote(str(storage))

    def save(self, name: str, record: Record) -> str:
        """Keep a record by a name, and say where. Raises BaselineError, or PlanError for no name.

        Loads that it did not make stay as they were kept.
        """
        place = _place(record.machine, name)
        with self._storage.alone():
            before = self._read(place)
            kept = self._merged(before, record) if before else record
            self._storage.write(place, kept.dumps())
        return self._storage.shown(place)

    def check(self) -> None:
        """Look whether something can be kept. Raises BaselineError."""
        with self._storage.alone():
            pass

    def find(self, name: str, machine: Fingerprint) -> Record | None:
        """Give what was kept on a machine, or nothing. Raises BaselineError."""
        return self._read(_place(machine, name))

    def elsewhere(self, name: str) -> Record | None:
        """Give what was kept by a name on any machine, the latest."""
        found = [self._read(place) for place in self._storage.places(f"{checked(name)}.json")]
        return max(filter(None, found), key=lambda record: record.date, default=None)

    def _read(self, place: str) -> Record | None:
        text = self._storage.read(place)
        return None if text is None else Record.loads(text, self._storage.shown(place))

    @staticmethod
    def _merged(before: Record, now: Record) -> Record:
        again = {(run.test, run.number) for run in now.runs}
        return replace(now, runs=(*(run for run in before.runs if (run.test, run.number) not in again), *now.runs))


class Comparison:
    """Finds what each load of a session is compared with."""

    def __init__(self, baselines: Baselines, name: str, machine: Fingerprint) -> None:
        """Read what was kept. Raises BaselineError."""
        self._name = name
        self._record = baselines.find(name, machine)
        self._why = self._missing(baselines, machine)

    def of(self, test: str, number: int, load: Result) -> Baseline:
        """Give the baseline of a test's load, counted from 0, or say why there is none."""
        if self._record is None:
            return Baseline(missing=self._why)
        found = (run.result for run in self._record.runs if (run.test, run.number) == (test, number))
        if (kept := next(found, None)) is None:
            return Baseline(missing=f"the baseline {self._name!r} has no such load: keep it with {_save(self._name)}")
        if different := differences(kept, load):
            return Baseline(missing=f"the baseline {self._name!r} is of another load: {', '.join(different)}")
        return Baseline(kept)

    def _missing(self, baselines: Baselines, machine: Fingerprint) -> str:
        if self._record is not None:
            return ""
        if (other := baselines.elsewhere(self._name)) is None:
            return f"there is no baseline {self._name!r} yet: make one with {_save(self._name)}"
        different = ", ".join(machine.differences(other.machine))
        return f"the baseline {self._name!r} is of another machine ({different}): make one with {_save(self._name)}"


def differences(kept: Result, load: Result) -> list[str]:
    """Tell, a phrase each, in what an earlier load differs from one, as far as figures depend on it."""
    then, now = _traits(kept), _traits(load)
    return [f"{what} {then[what]} and not {now[what]}" for what in then if then[what] != now[what]]


def _traits(result: Result) -> dict[str, str]:
    plan: Plan = result.plan
    return {
        "generator": result.generator,
        "sent from": result.sent_from or "this machine",
        "latency from": result.latency_from,
        # Services under test listen on any port.
        "request": f"{plan.target.scheme} {plan.target.name}",
        "load": ", ".join(map(_exactly, plan.stages)),
        "arrivals": plan.arrivals,
        "warm-up": str(plan.warmup),
        "right answers": " ".join(plan.expect),
        "connections": str(plan.connections),
        "time-out": str(plan.timeout),
    }


def _exactly(stage: Stage) -> str:
    """Write a stage with all digits, as plans are alike only where all are."""
    seconds = f"for {float(stage.seconds):.12g}s"
    if stage.start is None or stage.end is None:
        return f"max {seconds}"
    rates = dict.fromkeys((stage.start, stage.end))
    return f"{' to '.join(f'{float(rate):.12g}/s' for rate in rates)} {seconds}"


def _save(name: str) -> str:
    return f"--load-save {name}"


def checked(name: str) -> str:
    """Refuse what is no name for a file. Raises PlanError."""
    if not _NAME.fullmatch(name):
        raise PlanError(f"{name!r} is no name for a baseline: write letters, digits, dots, dashes")
    return name


def _place(machine: Fingerprint, name: str) -> str:
    return f"{machine.name}/{checked(name)}.json"


# Where texts are kept.


class _Storage(Protocol):
    """Keeps texts by their place, two names with a slash between."""

    def read(self, place: str) -> str | None: ...

    def write(self, place: str, text: str) -> None: ...

    def places(self, name: str) -> list[str]: ...

    def shown(self, place: str) -> str: ...

    def alone(self) -> Any: ...


def _local(storage: str | Path) -> _Folder | None:
    text = str(storage)
    if text.startswith("file://"):
        return _Folder(Path(text.removeprefix("file://")))
    return None if "://" in text else _Folder(Path(storage))


class _Folder:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, place: str) -> str | None:
        try:
            return (self._folder / place).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise BaselineError(f"cannot read {self.shown(place)}: {_reason(error)}") from None

    def write(self, place: str, text: str) -> None:
        path = self._folder / place
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
        except OSError as error:
            raise BaselineError(f"cannot write {path}: {_reason(error)}") from None

    def places(self, name: str) -> list[str]:
        return [f"{path.parent.name}/{name}" for path in sorted(self._folder.glob(f"*/{name}"))]

    def shown(self, place: str) -> str:
        return str(self._folder / place)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other sessions from reading what is about to be replaced."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BaselineError(f"cannot write into {self._folder}: {_reason(error)}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class _Remote:
    """What fsspec makes of a URL; two sessions that save at the same time are told apart by nothing there."""

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError:
            raise BaselineError(f"--load-storage {url} needs fsspec: pip install 'pytest-loadgen[storage]'") from None
        self._url = url.rstrip("/")
        with self._said(self._url):
            self._files, self._path = fsspec.core.url_to_fs(self._url)

    def read(self, place: str) -> str | None:
        with self._said(self.shown(place)):
            try:
                content: bytes = self._files.cat_file(f"{self._path}/{place}")
            except FileNotFoundError:
                return None
            return content.decode()

    def write(self, place: str, text: str) -> None:
        with self._said(self.shown(place)):
            with suppress(NotImplementedError):  # some storages have no folders
                self._files.makedirs(f"{self._path}/{place.partition('/')[0]}", exist_ok=True)
            self._files.pipe_file(f"{self._path}/{place}", text.encode())

    def places(self, name: str) -> list[str]:
        with self._said(self._url):
            return ["/".join(path.rsplit("/", 2)[-2:]) for path in self._files.glob(f"{self._path}/*/{name}")]

    def shown(self, place: str) -> str:
        return f"{self._url}/{place}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        yield

    @contextmanager
    def _said(self, where: str) -> Iterator[None]:
        """Say in a sentence what went wrong, whatever kind of storage it is."""
        try:
            yield
        except Exception as error:
            raise BaselineError(f"--load-storage: {where} cannot be used: {_reason(error)}") from error


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
