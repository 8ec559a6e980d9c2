"""The server by which load generators are lent: gRPC, encryption and who is let in."""

from __future__ import annotations

import hmac
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pytest_loadgen.errors import LoadError
from pytest_loadgen.generators import loadgen_pb2 as pb
from pytest_loadgen.generators.channel import OPTIONS, SERVICE, is_loopback
from pytest_loadgen.serving.generator_service import LOG, Lender

# Each caller that waits for its turn keeps a thread waiting.
_CALLERS = 64
_OPTIONS = (
    *OPTIONS,
    # Two servers at one port would share its callers.
    ("grpc.so_reuseport", 0),
    # A caller asks for a sign of life as often as it likes.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
)


@dataclass(frozen=True)
class Access:
    """Where callers come in, and who is let in."""

    host: str
    port: int
    certificate: str = ""
    key: str = ""
    authorities: str = ""
    """The file of those whose certificate a caller has to have."""
    token: str = field(default="", repr=False)

    def check(self) -> None:
        """Refuse what would let in anybody. Raises LoadError."""
        if bool(self.certificate) != bool(self.key):
            raise LoadError("a certificate needs its key: give both --tls-cert and --tls-key")
        if self.authorities and not self.certificate:
            raise LoadError("callers can have certificates where there is TLS only: give --tls-cert and --tls-key, too")
        if not is_loopback(self.host) and not (self.certificate and (self.token or self.authorities)):
            raise LoadError(
                f"other machines reach {self.host}: load generators are lent to them by TLS only "
                "(--tls-cert, --tls-key), and only where they have a token (--token-env, --token-file) "
                "or a certificate (--tls-client-ca)"
            )

    def credentials(self) -> grpc.ServerCredentials:
        """Read the certificates. Raises LoadError."""
        try:
            # gRPC would say nothing of files that are none.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, lambda: "")
            if self.authorities:
                context.load_verify_locations(self.authorities)
            pair = Path(self.key).read_bytes(), Path(self.certificate).read_bytes()
            authorities = Path(self.authorities).read_bytes() if self.authorities else None
        except OSError as error:  # that of TLS is one
            files = ", ".join(filter(None, [self.certificate, self.key, self.authorities]))
            raise LoadError(f"cannot use {files} for TLS ({error.strerror or error})") from None
        return grpc.ssl_server_credentials([pair], authorities, require_client_auth=bool(self.authorities))


class Server:
    """Takes calls until it is told to stop."""

    def __init__(self, access: Access, lender: Lender) -> None:
        """Listen. Raises LoadError."""
        access.check()
        self._lender = lender
        self._server = server = grpc.server(
            ThreadPoolExecutor(_CALLERS, "call"),
            options=_OPTIONS,
            interceptors=[_Token(access.token)] if access.token else None,
            maximum_concurrent_rpcs=_CALLERS,
        )
        server.add_generic_rpc_handlers([_methods(lender)])
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        for name in "", SERVICE:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection([SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        self.address = self._listen(access)
        """Host and port."""

    def start(self) -> None:
        """Take calls from now on."""
        self._server.start()

    def drain(self) -> threading.Event:
        """Take no more loads; what this gives is set when the one under way has ended, too."""
        self._health.enter_graceful_shutdown()
        return self._server.stop(self._lender.drain())

    def stop(self) -> threading.Event:
        """Stop the load that is under way, too."""
        return self._server.stop(None)

    def _listen(self, access: Access) -> str:
        host = f"[{access.host}]" if ":" in access.host else access.host
        address = f"{host}:{access.port}"
        credentials = access.credentials() if access.certificate else None
        try:
            if credentials:
                port = self._server.add_secure_port(address, credentials)
            else:
                port = self._server.add_insecure_port(address)
            return f"{host}:{port}"
        except RuntimeError:
            raise LoadError(f"cannot listen at {address}: is it taken, or not an address of this machine?") from None


def _methods(lender: Lender) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Describe": grpc.unary_unary_rpc_method_handler(
                lender.describe, pb.DescribeRequest.FromString, pb.Description.SerializeToString
            ),
            "Run": grpc.unary_stream_rpc_method_handler(lender.run, pb.Plan.FromString, pb.Interval.SerializeToString),
        },
    )


class _Token(grpc.ServerInterceptor):
    """Lets in those who have the token; how the server is may be asked by anybody."""

    def __init__(self, token: str) -> None:
        self._right = f"Bearer {token}".encode()

    def intercept_service(self, continuation: Callable[..., Any], details: grpc.HandlerCallDetails) -> Any:
        given = dict(details.invocation_metadata).get("authorization", "")
        given = given.encode() if isinstance(given, str) else given
        if details.method.startswith(f"/{health.SERVICE_NAME}/") or hmac.compare_digest(given, self._right):
            return continuation(details)
        # As a stream of requests, so that not one of them is read.
        return grpc.stream_stream_rpc_method_handler(_refuse if given else _refuse_silence)


def _refuse(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    LOG.warning("%s: refused, as its token is wrong", context.peer())
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "it does not take this token")


def _refuse_silence(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    LOG.warning("%s: refused, as it has no token", context.peer())
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "it wants a token")
