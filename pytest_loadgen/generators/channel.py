"""The gRPC channel to a server of load generators: encryption, authentication and errors."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pytest_loadgen.errors import PlanError

if TYPE_CHECKING:
    import grpc

    from pytest_loadgen.generators import loadgen_pb2 as pb

SERVICE = "pytest_loadgen.v1.LoadGenerator"
DEFAULT_PORT = 50051
MAX_MESSAGE = 64 << 20
"""The maximum size of a message in bytes: a plan contains the request's body."""
KEEPALIVE = 5
"""How often each side pings the other, and how long it waits for the response, in seconds."""
DESCRIBE_TIMEOUT = 20.0
"""How long a server may take to describe a generator, in seconds; it may have to start a program."""

OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 1000 * KEEPALIVE),
    ("grpc.keepalive_timeout_ms", 1000 * KEEPALIVE),
    ("grpc.http2.ping_timeout_ms", 1000 * KEEPALIVE),
    # Some generators send nothing before the end of the load.
    ("grpc.http2.max_pings_without_data", 0),
)
# gRPC's messages for connections that failed, and ours.
_CONNECTION_ERRORS = (
    (r"CERTIFICATE_VERIFY_FAILED:? *(.*?)(?:: OK)?$", r"its certificate is not trusted: \1 (tls=)"),
    (r"Hostname Verification Check failed", "its certificate is for another host"),
    (r"WRONG_VERSION_NUMBER", "it does not speak TLS (tls=)"),
    (r"address lookup failed for [^:]+:\d+: (.*?)\W*$", r"\1"),
    (r"Failed to connect to remote host: (.*)$", r"\1"),
    (r"last error: \w+: (?:ipv[46]:\S+: )?(.*)$", r"\1"),
)


class CallError(Exception):
    """A call that failed, with the name of its gRPC status code."""

    def __init__(self, code: str, details: str) -> None:
        """Take the code and the message."""
        super().__init__(f"{code}: {details}")
        self.code, self.details = code, details


@dataclass(frozen=True)
class Channel:
    """The address and the credentials for a server. No connection is kept open between calls."""

    address: str
    """Host and port; the default port is 50051."""
    tls: bool | str | None = None
    """Whether to use TLS, or a file of CA certificates to trust; by default, unless the host is this machine."""
    cert: Sequence[str] = ()
    """The files of a client certificate and its key."""
    token: str = field(default="", repr=False)

    def describe(self, request: pb.DescribeRequest, timeout: float = DESCRIBE_TIMEOUT) -> pb.Description:
        """Ask for the description of a generator. Raises PlanError or CallError."""
        import grpc

        from pytest_loadgen.generators import loadgen_pb2 as pb

        with self._open() as channel:
            call: Callable[..., pb.Description] = channel.unary_unary(
                f"/{SERVICE}/Describe",
                request_serializer=pb.DescribeRequest.SerializeToString,
                response_deserializer=pb.Description.FromString,
            )
            try:
                return call(request, timeout=timeout, metadata=self._metadata())
            except grpc.RpcError as error:
                raise self._error(error) from None

    def run(self, plan: pb.Plan, timeout: float) -> Call:
        """Start a load that has to end within the timeout. Raises PlanError; iterating the call raises CallError."""
        from pytest_loadgen.generators import loadgen_pb2 as pb

        channel = self._open()
        call: Callable[..., Any] = channel.unary_stream(
            f"/{SERVICE}/Run",
            request_serializer=pb.Plan.SerializeToString,
            response_deserializer=pb.Interval.FromString,
        )
        return Call(channel, call(plan, timeout=timeout, metadata=self._metadata()), self._error)

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return not is_loopback(self._host) if self.tls is None else self.tls is not False

    @property
    def _host(self) -> str:
        return host_and_port(self.address)[0]

    def _open(self) -> grpc.Channel:
        import grpc

        host, port = host_and_port(self.address)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # HTTP_PROXY is for the web.
        options = (*OPTIONS, ("grpc.enable_http_proxy", 0))
        if self.encrypted:
            return grpc.secure_channel(target, self._credentials(), options)
        if self.token and not is_loopback(host):
            raise PlanError("refusing to send a token unencrypted to another machine: set tls")
        return grpc.insecure_channel(target, options)

    def _credentials(self) -> grpc.ChannelCredentials:
        import grpc

        ca_file = self.tls if isinstance(self.tls, str) else None
        try:
            context = ssl.create_default_context(cafile=ca_file)
            if not self.cert:
                return grpc.ssl_channel_credentials(Path(ca_file).read_bytes() if ca_file else None)
            certificate, key = self.cert[0], self.cert[-1]
            # gRPC would not report invalid files.
            context.load_cert_chain(certificate, key, lambda: "")
            return grpc.ssl_channel_credentials(
                Path(ca_file).read_bytes() if ca_file else None,
                Path(key).read_bytes(),
                Path(certificate).read_bytes(),
            )
        except OSError as error:  # an SSLError is one
            files = ", ".join(filter(None, [ca_file, *self.cert]))
            raise PlanError(f"tls, cert: cannot use {files} ({error.strerror or error})") from None

    def _metadata(self) -> list[tuple[str, str]]:
        if not (self.token.isascii() and self.token.isprintable()):
            raise PlanError("the token must be one line of ASCII")
        return [("authorization", f"Bearer {self.token}")] if self.token else []

    def _error(self, error: Any) -> CallError:
        details = error.details() or ""
        if re.search("failed to connect.*Socket closed$", details):
            required = "a client certificate (cert=)" if self.encrypted else "TLS (tls=)"
            details = f"it closed the connection; does it require {required}?"
        for pattern, message in _CONNECTION_ERRORS:
            if found := re.search(pattern, details):
                details = found.expand(message)
                break
        return CallError(error.code().name, details)


class Call:
    """A running load: an iterator over its messages, which any thread may cancel."""

    def __init__(self, channel: grpc.Channel, call: Any, error: Callable[[Any], CallError]) -> None:
        """Take a call and its channel, which has no other calls."""
        self._channel, self._call, self._error = channel, call, error

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pb.Interval:
        import grpc

        try:
            message: pb.Interval = next(self._call)
            return message
        except grpc.RpcError as error:
            raise self._error(error) from None

    def cancel(self) -> None:
        """Tell the server to stop the load."""
        self._call.cancel()

    def close(self) -> None:
        """Cancel it, and close the channel."""
        self._channel.close()


def host_and_port(address: str) -> tuple[str, int]:
    """Parse ``host:port``; the port is optional. Raises PlanError."""
    found = re.fullmatch(r"(?:\[([\da-fA-F:.]+)\]|([\w.-]+))(?::(\d{1,5}))?", address)
    if not found or not int(found[3] or 1) < 1 << 16:
        # The address is not shown: it may contain a password.
        raise PlanError("invalid address: write 'host:port'")
    return found[1] or found[2], int(found[3]) if found[3] else DEFAULT_PORT


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, without resolving its name."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
