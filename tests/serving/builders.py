"""A server of load generators in a process of its own, as its users start it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from pytest_loadgen.generators.remote import Remote
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan

pytest.importorskip("grpc_reflection", reason="the extra 'remote' is not installed")
TOKEN = "geheim-token-5b1c"


@dataclass
class Lent:
    """A server that is up."""

    process: subprocess.Popen[str]
    address: str
    log: Path

    def remote(self, generator: str = "embedded", **settings: object) -> Remote:
        """Give a generator of it."""
        remote = Remote()
        for name, value in {"address": self.address, "generator": generator, **settings}.items():
            setattr(remote, name, value)
        return remote

    @property
    def said(self) -> str:
        """What it has logged."""
        return self.log.read_text(encoding="utf-8")


@contextmanager
def lending(
    folder: Path, *args: object, bind: str = "127.0.0.1:0", within: Sequence[str] = (), env: Mapping[str, str] = {}
) -> Iterator[Lent]:
    """Start a server, within another program if need be, and end it."""
    log = folder / f"{len(list(folder.glob('*.log')))}.log"
    argv = [*within, sys.executable, "-m", "pytest_loadgen", "serve", "--bind", bind, *map(str, args)]
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder, env={**os.environ, **env}
        ) as process,
    ):
        assert process.stdout
        try:
            said = process.stdout.readline()
            assert said.startswith("lending embedded, "), log.read_text(encoding="utf-8")
            yield Lent(process, said.split()[-1], log)
        finally:
            process.kill()


def tls(folder: Path, authority: trustme.CA, name: str = "127.0.0.1", **more: Any) -> list[object]:
    """Write a certificate, and give the arguments for it."""
    certificate = authority.issue_cert(name, **more)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    return ["--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem"]


def plan_for(service: Server, path: str = "/", **options: object) -> Plan:
    """Make a plan of a small load."""
    given: dict[str, object] = {"rate": 50, "duration": 1, "connections": 4, "timeout": 2, **options}
    return plan_of(service.url + path, given)  # type: ignore[arg-type]  # these are such options
