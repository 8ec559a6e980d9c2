"""A running ``nighthawk_service``, on this machine or another, over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_loadgen import clock
from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import PARSE_ERRORS, LoadGenerator, Running
from pytest_loadgen.generators.nighthawk_options import ADDED_LATENCY, FEATURES, NighthawkOptions, drain_time
from pytest_loadgen.generators.nighthawk_result import NighthawkResult
from pytest_loadgen.redaction import redact, without_password
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import NO_TIME, Duration
from pytest_loadgen.wording import one_line

if TYPE_CHECKING:
    from pytest_loadgen.generators.nighthawk_pb2 import ExecutionRequest

_METHOD = "/nighthawk.client.NighthawkService/ExecutionStream"
# Proxies of the environment are meant for the web; a result with many workers has some megabytes.
_CHANNEL_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 256 << 20))
_MAX_MESSAGE = 1000
_HINT = "Is nighthawk_service running there?"


class NighthawkService(LoadGenerator):
    """A running ``nighthawk_service``, which measures like the program: see `Nighthawk`.

    It runs one load at a time and cannot be told to stop: when a load is closed its result is
    dropped, but the service continues to send requests until the duration is over.
    """

    name = "nighthawk-service"
    features = FEATURES
    added_latency = ADDED_LATENCY
    streams_intervals = False
    settings: Mapping[str, type] = {"address": str}

    address: str = "127.0.0.1:8443"
    """Its host and port. It speaks gRPC without TLS."""
    connect_timeout: float = 2.0
    """How long `version` waits for it, in seconds."""
    grace: float = 10.0
    """How long it may take to respond beyond the plan, in seconds."""

    def version(self) -> str:
        """Return nothing: the service does not tell its version. Raises GeneratorError if it cannot be reached."""
        self.check_libraries()
        import grpc

        with grpc.insecure_channel(self.address, _CHANNEL_OPTIONS) as channel:
            try:
                grpc.channel_ready_future(channel).result(self.connect_timeout)
            except grpc.FutureTimeoutError:
                address = without_password(self.address)
                raise GeneratorError(f"{self.name}: {address} cannot be reached. {_HINT}") from None
        return ""

    def run(self, plan: Plan) -> NighthawkServiceRun:
        """Return a run that calls the service when its first interval is asked for."""
        return NighthawkServiceRun(self, plan)

    def check_libraries(self) -> None:
        """Check that grpcio and protobuf are installed. Raises GeneratorError."""
        try:
            import google.protobuf  # noqa: F401
            import grpc  # noqa: F401
        except ImportError:
            raise GeneratorError(f"{self.name} needs grpcio: pip install 'pytest-loadgen[remote]'") from None

    def request(self, plan: Plan) -> ExecutionRequest:
        """Return the request for a plan. Raises PlanError."""
        from pytest_loadgen.generators import nighthawk_pb2 as pb

        options = NighthawkOptions.of(plan)
        message = pb.CommandLineOptions(
            requests_per_second={"value": options.rate},
            connections={"value": options.connections},
            duration={"seconds": options.seconds},
            timeout={"seconds": options.timeout},
            address_family={"value": options.address_family.upper()},
            max_pending_requests={"value": options.max_queue},
            max_active_requests={"value": options.max_queue},
            sequencer_idle_strategy={"value": "SLEEP"},
            uri={"value": options.url},
            open_loop={"value": True},
            protocol={"value": "HTTP2" if options.http2 else "HTTP1"},
            no_default_failure_predicates={"value": True},
            request_options={
                "request_method": options.method,
                "request_headers": [{"header": {"key": name, "value": value}} for name, value in options.headers],
            },
        )
        return pb.ExecutionRequest(start_request={"options": message})


class NighthawkServiceRun(Running):
    """A load that a nighthawk_service carries out; its interval comes at the end."""

    def __init__(self, generator: NighthawkService, plan: Plan) -> None:
        """Start nothing yet."""
        super().__init__()
        self._generator = generator
        self._plan = plan
        self._call: Any = None

    def _stop(self) -> None:
        if call := self._call:
            call.cancel()

    def _run(self) -> Generator[Interval]:
        generator, plan = self._generator, self._plan
        generator.check_libraries()
        parts = [replace(plan, warmup=NO_TIME)]
        if plan.warmup:
            parts.insert(0, plan.warmup_only())
        requests = [generator.request(part) for part in parts]
        self._wait_for_start(plan)
        interval = None
        for part, request in zip(parts, requests, strict=True):
            try:
                interval = None if self._stopped.is_set() else self._execute(part, request)
            except GeneratorError as error:
                password = generator.address.rpartition("@")[0]
                message = redact(one_line(str(error)), [*plan.target.secrets, password])[:_MAX_MESSAGE]
                raise GeneratorError(f"{generator.name}: {without_password(generator.address)} {message}") from None
        if interval:
            yield interval

    def _execute(self, plan: Plan, request: ExecutionRequest) -> Interval | None:
        """Run a plan on the service, and read its result; returns None if the load was closed meanwhile."""
        started = clock.monotonic()
        response = self._send(request.SerializeToString(), plan.duration + drain_time(plan) + self._generator.grace)
        return _read(response, plan, clock.monotonic() - started) if response is not None else None

    def _send(self, request: bytes, limit: float) -> bytes | None:
        """Send the only request of a stream, and wait for its only response."""
        import grpc

        with grpc.insecure_channel(self._generator.address, _CHANNEL_OPTIONS) as channel:
            stream: Callable[..., Any] = channel.stream_stream(_METHOD)
            self._call = call = stream(iter([request]), timeout=limit)
            if self._stopped.is_set():  # before it could be cancelled
                call.cancel()
            try:
                response: bytes = next(call)
                return response
            except StopIteration:
                raise GeneratorError("ended the call without a result") from None
            except grpc.RpcError:
                if self._stopped.is_set():
                    return None
                raise GeneratorError(_describe_error(call, limit)) from None


def _describe_error(call: Any, limit: float) -> str:
    """Describe why a call failed."""
    code, details = call.code().name, call.details() or "no details"
    if code == "DEADLINE_EXCEEDED":
        return f"did not respond within {Duration(limit)}"
    if code == "UNAVAILABLE":
        return f"cannot be reached, or was lost: {details}. {_HINT}"
    return f"reports: {details}"


def _read(data: bytes, plan: Plan, took: float) -> Interval:
    """Read a response. Raises GeneratorError."""
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError

    from pytest_loadgen.generators.nighthawk_pb2 import ExecutionResponse

    try:
        response = ExecutionResponse.FromString(data)
        if response.error_detail.code and not response.output.results:
            raise GeneratorError(f"reports: {response.error_detail.message}")
        result = NighthawkResult.read(MessageToDict(response.output, preserving_proto_field_name=True))
        return result.interval(plan, took)
    except (DecodeError, *PARSE_ERRORS) as error:
        raise GeneratorError(f"sent a result that cannot be read ({error})") from None
