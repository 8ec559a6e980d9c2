"""Builders for tests of generators over gRPC: a running server, its certificate, and a small plan."""

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
class GeneratorServer:
    """A running ``python -m pytest_loadgen serve``."""

    process: subprocess.Popen[str]
    address: str
    log_file: Path

    def remote(self, generator: str = "embedded", **settings: object) -> Remote:
        """Return one of its generators."""
        remote = Remote()
        for name, value in {"address": self.address, "generator": generator, **settings}.items():
            setattr(remote, name, value)
        return remote

    @property
    def log(self) -> str:
        """What it has logged."""
        return self.log_file.read_text(encoding="utf-8")


@contextmanager
def serving(
    folder: Path, *args: object, bind: str = "127.0.0.1:0", command: Sequence[str] = (), env: Mapping[str, str] = {}
) -> Iterator[GeneratorServer]:
    """Start a server, prefixed with another command if one is given, and end it."""
    log_file = folder / f"{len(list(folder.glob('*.log')))}.log"
    argv = [*command, sys.executable, "-m", "pytest_loadgen", "serve", "--bind", bind, *map(str, args)]
    with (
        log_file.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder, env={**os.environ, **env}
        ) as process,
    ):
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line.startswith("serving embedded, "), log_file.read_text(encoding="utf-8")
            yield GeneratorServer(process, line.split()[-1], log_file)
        finally:
            process.kill()


def tls_options(folder: Path, authority: trustme.CA, name: str = "127.0.0.1", **more: Any) -> list[object]:
    """Write a certificate and its key, and return the server's options for them."""
    certificate = authority.issue_cert(name, **more)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    return ["--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem"]


def plan_for(service: Server, path: str = "/", **options: object) -> Plan:
    """Return the plan of a small load."""
    given: dict[str, object] = {"rate": 50, "duration": 1, "connections": 4, "timeout": 2, **options}
    return plan_of(service.url + path, given)  # type: ignore[arg-type]  # these are such options
