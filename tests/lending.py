"""A server of load generators in a process of its own, as its users start it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pytest_loadgen.generators.remote import Remote


@dataclass
class Lent:
    """A server that is up."""

    process: subprocess.Popen[str]
    log: Path
    address: str

    def remote(self, generator: str = "embedded", **settings: object) -> Remote:
        """Give a generator of it."""
        remote = Remote()
        for name, value in {"address": self.address, "generator": generator, **settings}.items():
            setattr(remote, name, value)
        return remote

    @property
    def said(self) -> str:
        """What it has logged."""
        return self.log.read_text()

    def end(self) -> int:
        """End it now."""
        self.process.kill()
        return self.process.wait()


@contextmanager
def lending(
    folder: Path, *args: object, bind: str = "127.0.0.1:0", env: Mapping[str, str] | None = None, before: list[str] = []
) -> Iterator[Lent]:
    """Start a server, and end it; `before` is the program that is to start it, where that is another one."""
    number = len(list(folder.glob("*.log")))
    log = folder / f"{number}.log"
    argv = [*before, sys.executable, "-m", "pytest_loadgen", "serve", "--bind", bind, *map(str, args)]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder, env={**os.environ, **(env or {})}
        ) as process,
    ):
        assert process.stdout
        said = process.stdout.readline()
        if not said:
            process.wait()
            raise RuntimeError(log.read_text())
        try:
            yield Lent(process, log, said.split()[-1])
        finally:
            process.kill()
