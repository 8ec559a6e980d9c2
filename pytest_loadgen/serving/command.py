"""``python -m pytest_loadgen serve``: lending this machine's load generators until it is told to end."""

from __future__ import annotations

import argparse
import logging
import os
import queue
import re
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from pytest_loadgen.errors import LoadError
from pytest_loadgen.generators.channel import host_and_port
from pytest_loadgen.generators.registry import Registry

if TYPE_CHECKING:
    from pytest_loadgen.serving.server import Access, Server

LOG = logging.getLogger("pytest_loadgen.serve")

_TICK = 0.05
# How long loads have to end when the server ends at once, in seconds.
_AT_ONCE = 3.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--bind",
        default="127.0.0.1:50051",
        metavar="HOST:PORT",
        help="where to listen; port 0 is a free one (%(default)s)",
    )
    parser.add_argument("--tls-cert", default="", metavar="PATH", help="speak TLS, with this certificate (PEM)")
    parser.add_argument("--tls-key", default="", metavar="PATH", help="its key (PEM)")
    parser.add_argument(
        "--tls-client-ca", default="", metavar="PATH", help="let in whose certificate one of these has signed (PEM)"
    )
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token-env", metavar="NAME", help="let in who has the token in this variable of the environment"
    )
    token.add_argument("--token-file", type=Path, metavar="PATH", help="let in who has the token in this file")
    parser.add_argument(
        "--allowed-hosts",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="hosts that may be loaded though neither local nor private, and unix sockets (names, or patterns)",
    )


def serve(options: argparse.Namespace, registry: Registry) -> int:
    """Serve until a signal comes; then finish the load that is under way, and give the exit status.

    Raises LoadError where this cannot be, or would not be safe.
    """
    # It logs each failed handshake in its own words.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from pytest_loadgen.serving.generator_service import Lender
        from pytest_loadgen.serving.server import Server
    except ImportError as error:
        raise LoadError(f"serve needs {error.name}: pip install 'pytest-loadgen[remote]'") from None
    access = _access(options)
    lender = Lender(registry, options.allowed_hosts)
    server = Server(access, lender)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, frame: FrameType | None) -> None:
        signals.put(number)

    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, note)
    server.start()
    print(f"lending {', '.join(lender.names)} at {server.address}", flush=True)  # noqa: T201  # for who started it
    signals.get()
    return _end(server, signals)


def _end(server: Server, signals: queue.SimpleQueue[int]) -> int:
    """Finish the load that is under way, or at the next signal end at once."""
    stopped = server.drain()
    LOG.info("taking no more loads, and ending when that under way has ended, or at the next signal")
    while not stopped.wait(_TICK):
        if not signals.empty():
            server.stop().wait(_AT_ONCE)
            # Past what waits for threads; what they started has been ended.
            os._exit(1)
    return 0


def _access(options: argparse.Namespace) -> Access:
    from pytest_loadgen.serving.server import Access

    try:
        # A port that is left out is a caller's to know, and not where to listen.
        if not re.search(r":\d+$", options.bind):
            raise LoadError("it has no port")
        host, port = host_and_port(options.bind)
    except LoadError:
        raise LoadError(f"--bind {options.bind}: write HOST:PORT") from None
    return Access(host, port, options.tls_cert, options.tls_key, options.tls_client_ca, _token(options))


def _token(options: argparse.Namespace) -> str:
    token, where = "", ""
    if options.token_file:
        where = f"the file {options.token_file}"
        try:
            token = options.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise LoadError(f"--token-file {options.token_file}: {error}") from None
    elif options.token_env:
        where = f"the environment's {options.token_env}"
        if not (token := os.environ.get(options.token_env, "").strip()):
            name = options.token_env
            raise LoadError(f"the environment has no {name}: export {name}=$(openssl rand -hex 32)")
    if where and not (token and token.isascii() and token.isprintable()):
        raise LoadError(f"{where} has no token: write one line of ASCII")
    return token
