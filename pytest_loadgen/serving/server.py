"""The gRPC server: where it listens, encryption and authentication."""

from __future__ import annotations

import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from pytest_loadgen.errors import LoadError
from pytest_loadgen.generators import loadgen_pb2 as pb
from pytest_loadgen.generators.channel import OPTIONS, SERVICE, is_loopback
from pytest_loadgen.serving.calls import Calls
from pytest_loadgen.serving.generator_service import GeneratorService

# Each call takes a thread, also while it waits in the queue. There are more than may wait there, and than may be
# unfinished.
_MAX_CALLS = 96
_HANDSHAKE_TIMEOUT = 10
_OPTIONS = (
    *OPTIONS,
    # Two servers on one port would share its clients.
    ("grpc.so_reuseport", 0),
    # Clients may ping often.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.server_handshake_timeout_ms", 1000 * _HANDSHAKE_TIMEOUT),
)


@dataclass(frozen=True)
class Access:
    """Where the server listens, and which clients it accepts."""

    host: str
    port: int
    certificate: str = ""
    key: str = ""
    authorities: str = ""
    """A file of CA certificates; a client needs a certificate that one of them has signed."""
    token: str = field(default="", repr=False)

    def check(self) -> None:
        """Refuse settings that would accept anybody. Raises LoadError."""
        if bool(self.certificate) != bool(self.key):
            raise LoadError("--tls-cert and --tls-key must be given together")
        if self.authorities and not self.certificate:
            raise LoadError("--tls-client-ca needs TLS: give --tls-cert and --tls-key, too")
        if not is_loopback(self.host) and not (self.certificate and (self.token or self.authorities)):
            raise LoadError(
                f"{self.host} is reachable from other machines: this requires TLS (--tls-cert, --tls-key), and "
                "a token (--token-env, --token-file) or client certificates (--tls-client-ca)"
            )

    def credentials(self) -> grpc.ServerCredentials:
        """Read the certificates. Raises LoadError."""
        try:
            # gRPC would not report invalid files.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, lambda: "")
            if self.authorities:
                context.load_verify_locations(self.authorities)
            pair = Path(self.key).read_bytes(), Path(self.certificate).read_bytes()
            authorities = Path(self.authorities).read_bytes() if self.authorities else None
        except OSError as error:  # an SSLError is one
            files = ", ".join(filter(None, [self.certificate, self.key, self.authorities]))
            raise LoadError(f"cannot use {files} for TLS ({error.strerror or error})") from None
        return grpc.ssl_server_credentials([pair], authorities, require_client_auth=bool(self.authorities))


class Server:
    """Serves load generators until it is stopped."""

    def __init__(self, access: Access, service: GeneratorService) -> None:
        """Listen. Raises LoadError."""
        access.check()
        self._service = service
        self._calls = Calls(access.token)
        self._server = server = grpc.server(
            ThreadPoolExecutor(_MAX_CALLS, "call"),
            options=_OPTIONS,
            interceptors=[self._calls],
            maximum_concurrent_rpcs=_MAX_CALLS,
        )
        server.add_generic_rpc_handlers([_methods(service), self._calls.health()])
        reflection.enable_server_reflection([SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
        self.address = self._listen(access)
        """Host and port."""

    def start(self) -> None:
        """Accept calls."""
        self._server.start()

    def drain(self) -> threading.Event:
        """Take no more loads; the event is set when the current one has ended."""
        self._calls.serving = False
        return self._server.stop(self._service.drain())

    def stop(self) -> threading.Event:
        """Stop the current load, too."""
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
            raise LoadError(f"cannot listen on {address}: it is in use, or not an address of this machine") from None


def _methods(service: GeneratorService) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "Describe": grpc.unary_unary_rpc_method_handler(
                service.describe, pb.DescribeRequest.FromString, pb.Description.SerializeToString
            ),
            "Run": grpc.unary_stream_rpc_method_handler(service.run, pb.Plan.FromString, pb.Interval.SerializeToString),
        },
    )
