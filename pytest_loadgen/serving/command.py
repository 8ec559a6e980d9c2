"""``python -m pytest_loadgen serve``: offer this machine's load generators until a signal arrives."""

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
from pytest_loadgen.serving.log import LOG

if TYPE_CHECKING:
    from pytest_loadgen.serving.server import Access, Server

_POLL = 0.05
# How long the current load has to end after the second signal, in seconds.
_STOP_TIMEOUT = 3.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "--bind",
        default="127.0.0.1:50051",
        metavar="HOST:PORT",
        help="address to listen on; port 0 takes a free port (default: %(default)s)",
    )
    parser.add_argument("--tls-cert", default="", metavar="PATH", help="certificate of the server (PEM); enables TLS")
    parser.add_argument("--tls-key", default="", metavar="PATH", help="private key of the certificate (PEM)")
    parser.add_argument(
        "--tls-client-ca",
        default="",
        metavar="PATH",
        help="require client certificates signed by one of these CAs (PEM)",
    )
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token-env", metavar="NAME", help="require the token in this environment variable")
    token.add_argument("--token-file", type=Path, metavar="PATH", help="require the token in this file")
    parser.add_argument(
        "--allowed-hosts",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="public hosts, and paths of unix sockets, that may be loaded (names or patterns)",
    )


def serve(options: argparse.Namespace, registry: Registry) -> int:
    """Serve until a signal arrives, finish the current load, and return the exit status.

    Raises LoadError if the server cannot start, or would not be safe.
    """
    # gRPC would print a line for each failed handshake.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from pytest_loadgen.serving.generator_service import GeneratorService
        from pytest_loadgen.serving.server import Server
    except ImportError as error:
        raise LoadError(f"serve needs grpcio ({error}): pip install 'pytest-loadgen[remote]'") from None
    access = _access(options)
    service = GeneratorService(registry, options.allowed_hosts)
    server = Server(access, service)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def note(number: int, frame: FrameType | None) -> None:
        signals.put(number)

    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, note)
    server.start()
    print(f"serving {', '.join(service.names)} at {server.address}", flush=True)  # noqa: T201  # the port may be a free one
    signals.get()
    return _end(server, signals)


def _end(server: Server, signals: queue.SimpleQueue[int]) -> int:
    """Finish the current load; exit immediately on the next signal."""
    stopped = server.drain()
    LOG.info("taking no more loads; exiting when the current load has ended, or immediately on the next signal")
    while not stopped.wait(_POLL):
        if not signals.empty():
            server.stop().wait(_STOP_TIMEOUT)
            # Without waiting for threads; the load has been stopped.
            os._exit(1)
    return 0


def _access(options: argparse.Namespace) -> Access:
    from pytest_loadgen.serving.server import Access

    try:
        # Clients have a default port; where to listen has to be said.
        if not re.search(r":\d+$", options.bind):
            raise LoadError("no port")
        host, port = host_and_port(options.bind)
    except LoadError:
        raise LoadError(f"--bind {options.bind}: expected HOST:PORT") from None
    return Access(host, port, options.tls_cert, options.tls_key, options.tls_client_ca, _token(options))


def _token(options: argparse.Namespace) -> str:
    token, source = "", ""
    if options.token_file:
        source = f"the file {options.token_file}"
        try:
            token = options.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise LoadError(f"--token-file {options.token_file}: {error}") from None
    elif options.token_env:
        source = f"the environment variable {options.token_env}"
        if not (token := os.environ.get(options.token_env, "").strip()):
            name = options.token_env
            raise LoadError(f"the environment variable {name} is not set: export {name}=$(openssl rand -hex 32)")
    if source and not (token and token.isascii() and token.isprintable()):
        raise LoadError(f"{source} does not contain a token: write one line of ASCII")
    return token
