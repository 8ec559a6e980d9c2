"""A way to a server of load generators: gRPC, encryption, the token, and what its errors mean."""

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
LARGEST = 64 << 20
"""How many bytes a message may have: a plan has the request's body in it."""
ALIVE = 5
"""How often each side asks the other for a sign of life, and how long it waits for that, in seconds."""

OPTIONS = (
    ("grpc.max_send_message_length", LARGEST),
    ("grpc.max_receive_message_length", LARGEST),
    ("grpc.keepalive_time_ms", 1000 * ALIVE),
    ("grpc.keepalive_timeout_ms", 1000 * ALIVE),
    ("grpc.http2.ping_timeout_ms", 1000 * ALIVE),
    # A load may be silent to its end.
    ("grpc.http2.max_pings_without_data", 0),
)
# What a server has to say what it is, in seconds; it may have to ask a program.
_PATIENCE = 20.0
# What gRPC says of connections that failed, and what it means.
_MEANINGS = (
    (r"CERTIFICATE_VERIFY_FAILED:? *(.*?)(?:: OK)?$", r"its certificate is not to be trusted: \1 (tls=)"),
    (r"Hostname Verification Check failed", "its certificate is another host's"),
    (r"WRONG_VERSION_NUMBER", "it does not speak TLS (tls=)"),
    (r"address lookup failed for [^:]+:\d+: (.*?)\W*$", r"\1"),
    (r"Failed to connect to remote host: (.*)$", r"\1"),
    (r"last error: \w+: (?:ipv[46]:\S+: )?(.*)$", r"\1"),
)


class CallError(Exception):
    """A call that did not end well: gRPC's name for what kind of trouble it is, and a sentence."""

    def __init__(self, code: str, details: str) -> None:
        """Take both."""
        super().__init__(f"{code}: {details}")
        self.code, self.details = code, details


@dataclass(frozen=True)
class Channel:
    """Where a server is, and how it knows who calls. Nothing is kept open between calls."""

    address: str
    """Host and port; 50051 where that is left out."""
    tls: bool | str | None = None
    """Whether it speaks TLS, or which authorities' certificates to trust for it; by default, unless it is here."""
    cert: Sequence[str] = ()
    """The files of a certificate to show to it, and of its key."""
    token: str = field(default="", repr=False)

    def describe(self, request: pb.DescribeRequest) -> pb.Description:
        """Ask what a generator is. Raises PlanError or CallError."""
        import grpc

        from pytest_loadgen.generators import loadgen_pb2 as pb

        with self._open() as channel:
            ask: Callable[..., pb.Description] = channel.unary_unary(
                f"/{SERVICE}/Describe",
                request_serializer=pb.DescribeRequest.SerializeToString,
                response_deserializer=pb.Description.FromString,
            )
            try:
                return ask(request, timeout=_PATIENCE, metadata=self._metadata())
            except grpc.RpcError as error:
                raise self._error(error) from None

    def run(self, plan: pb.Plan, seconds: float) -> Call:
        """Have a plan carried out within so many seconds. Raises PlanError; the call, where iterated, CallError."""
        from pytest_loadgen.generators import loadgen_pb2 as pb

        channel = self._open()
        start: Callable[..., Any] = channel.unary_stream(
            f"/{SERVICE}/Run",
            request_serializer=pb.Plan.SerializeToString,
            response_deserializer=pb.Interval.FromString,
        )
        return Call(channel, start(plan, timeout=seconds, metadata=self._metadata()), self._error)

    @property
    def encrypted(self) -> bool:
        """Whether it is reached by TLS."""
        return not is_loopback(self._host) if self.tls is None else self.tls is not False

    @property
    def _host(self) -> str:
        return host_and_port(self.address)[0]

    def _open(self) -> grpc.Channel:
        import grpc

        host, port = host_and_port(self.address)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # The proxy of the environment is for the web.
        options = (*OPTIONS, ("grpc.enable_http_proxy", 0))
        if self.encrypted:
            return grpc.secure_channel(target, self._credentials(), options)
        if self.token and not is_loopback(host):
            raise PlanError(f"{self.address} is another machine, where no token is sent unencrypted: tls is needed")
        return grpc.insecure_channel(target, options)

    def _credentials(self) -> grpc.ChannelCredentials:
        import grpc

        authorities = self.tls if isinstance(self.tls, str) else None
        try:
            context = ssl.create_default_context(cafile=authorities)
            if not self.cert:
                return grpc.ssl_channel_credentials(Path(authorities).read_bytes() if authorities else None)
            certificate, key = self.cert[0], self.cert[-1]
            # gRPC would say nothing of files that are none.
            context.load_cert_chain(certificate, key, lambda: "")
            return grpc.ssl_channel_credentials(
                Path(authorities).read_bytes() if authorities else None,
                Path(key).read_bytes(),
                Path(certificate).read_bytes(),
            )
        except OSError as error:  # that of TLS is one
            files = ", ".join(filter(None, [authorities, *self.cert]))
            raise PlanError(f"tls, cert: cannot use {files} ({error.strerror or error})") from None

    def _metadata(self) -> list[tuple[str, str]]:
        if not (self.token.isascii() and self.token.isprintable()):
            raise PlanError("the token is to be one line of ASCII")
        return [("authorization", f"Bearer {self.token}")] if self.token else []

    def _error(self, error: Any) -> CallError:
        details = error.details() or ""
        if re.search("failed to connect.*Socket closed$", details):
            asked = "want a certificate (cert=)" if self.encrypted else "speak TLS (tls=)"
            details = f"it closed the connection; does it {asked}?"
        for pattern, meaning in _MEANINGS:
            if found := re.search(pattern, details):
                details = found.expand(meaning)
                break
        return CallError(error.code().name, details)


class Call:
    """A load that is under way: an iterator over its messages, that any thread may cancel."""

    def __init__(self, channel: grpc.Channel, call: Any, error: Callable[[Any], CallError]) -> None:
        """Take a call, and the channel that it is the only one of."""
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
        """Let the server stop the load."""
        self._call.cancel()

    def close(self) -> None:
        """Cancel it, and close the channel."""
        self._channel.close()


def host_and_port(address: str) -> tuple[str, int]:
    """Read ``host:port``; without a port it is the default one. Raises PlanError."""
    found = re.fullmatch(r"(?:\[([\da-fA-F:.]+)\]|([\w.-]+))(?::(\d{1,5}))?", address)
    if not found or not int(found[3] or 1) < 1 << 16:
        # What is wrong may be a password.
        raise PlanError("not the address of a server of load generators: write 'host:port'")
    return found[1] or found[2], int(found[3]) if found[3] else DEFAULT_PORT


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or address alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
