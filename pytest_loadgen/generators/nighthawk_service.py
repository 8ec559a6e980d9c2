"""Envoy Nighthawk as a service, on this machine or another, over gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator, Running
from pytest_loadgen.generators.command import UNREADABLE, warming, without_secrets
from pytest_loadgen.generators.nighthawk_options import FEATURES, FLOOR, Asked, drain
from pytest_loadgen.generators.nighthawk_output import Told
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import without_password
from pytest_loadgen.units import NO_TIME, Duration

if TYPE_CHECKING:
    from pytest_loadgen.generators.nighthawk_pb2 import ExecutionRequest

_METHOD = "/nighthawk.client.NighthawkService/ExecutionStream"
# The proxy of the environment is for the web; a result with many workers has some megabytes.
_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 256 << 20))
_GRACE = 10.0
_SHOWN = 1000
_HINT = "Is nighthawk_service up?"
# How long it may take to say that it is there, in seconds.
_ASKED = 2.0


class NighthawkService(LoadGenerator):
    """A running ``nighthawk_service``, which is as true as the program: see `Nighthawk`.

    It does one load at a time, and cannot be told to end one: where a load is closed nothing more is
    heard of it, but the service goes on to send requests until the duration is over.
    """

    name = "nighthawk-service"
    features = FEATURES
    added_latency = FLOOR
    streams_intervals = False
    settings: Mapping[str, type] = {"address": str}

    address: str = "127.0.0.1:8443"
    """Where it is: host and port. It speaks gRPC without TLS."""

    def version(self) -> str:
        """Tell nothing, for the service does not; raises GeneratorError where it, or grpcio, is not there."""
        self.check()
        import grpc

        with grpc.insecure_channel(self.address, _OPTIONS) as channel:
            try:
                grpc.channel_ready_future(channel).result(_ASKED)
            except grpc.FutureTimeoutError:
                raise GeneratorError(
                    f"{self.name}: {without_password(self.address)} cannot be reached. {_HINT}"
                ) from None
        return ""

    def run(self, plan: Plan) -> _Run:
        """Have the service run a plan, when the first interval is asked for."""
        return _Run(self, plan)

    def check(self) -> None:
        """Look whether the libraries are there. Raises GeneratorError."""
        try:
            import google.protobuf  # noqa: F401
            import grpc  # noqa: F401
        except ImportError:
            raise GeneratorError(f"{self.name} needs grpcio: pip install 'pytest-loadgen[remote]'") from None

    def request(self, plan: Plan) -> ExecutionRequest:
        """Give what the service is asked for. Raises PlanError."""
        from pytest_loadgen.generators import nighthawk_pb2 as pb

        asked = Asked.of(plan)
        options = pb.CommandLineOptions(
            requests_per_second={"value": asked.rate},
            connections={"value": asked.connections},
            duration={"seconds": asked.seconds},
            timeout={"seconds": asked.timeout},
            address_family={"value": asked.family.upper()},
            max_pending_requests={"value": asked.waiting},
            max_active_requests={"value": asked.waiting},
            sequencer_idle_strategy={"value": "SLEEP"},
            uri={"value": asked.url},
            open_loop={"value": True},
            protocol={"value": "HTTP2" if asked.http2 else "HTTP1"},
            no_default_failure_predicates={"value": True},
            request_options={
                "request_method": asked.method,
                "request_headers": [{"header": {"key": name, "value": value}} for name, value in asked.headers],
            },
        )
        return pb.ExecutionRequest(start_request={"options": options})


class _Run(Running):
    """A load by a service, which tells of it at its end, and cannot be stopped: it goes on for its duration."""

    def __init__(self, generator: NighthawkService, plan: Plan) -> None:
        super().__init__()
        self._generator = generator
        self._plan = plan
        self._call: Any = None

    def _stop(self) -> None:
        if call := self._call:
            call.cancel()

    def _run(self) -> Generator[Interval]:
        generator, plan = self._generator, self._plan
        generator.check()
        parts = [replace(plan, warmup=NO_TIME)]
        if plan.warmup:
            parts.insert(0, warming(plan))
        requests = [generator.request(part) for part in parts]
        self._wait_for_start(plan)
        interval = None
        for part, request in zip(parts, requests, strict=True):
            try:
                interval = None if self._stopped.is_set() else self._carry_out(part, request)
            except GeneratorError as error:
                password = generator.address.rpartition("@")[0]
                message = without_secrets(str(error), plan.target, [password])[:_SHOWN]
                raise GeneratorError(f"{generator.name}: {without_password(generator.address)} {message}") from None
        if interval:
            yield interval

    def _carry_out(self, plan: Plan, request: ExecutionRequest) -> Interval | None:
        """Have the service run a plan, and read what it tells; nothing where it was closed meanwhile."""
        started = time.monotonic()
        answer = self._ask(request.SerializeToString(), plan.duration + drain(plan) + _GRACE)
        return _read(answer, plan, time.monotonic() - started) if answer is not None else None

    def _ask(self, request: bytes, limit: float) -> bytes | None:
        """Send the one request of a stream, and wait for its one answer."""
        import grpc

        with grpc.insecure_channel(self._generator.address, _OPTIONS) as channel:
            stream: Callable[..., Any] = channel.stream_stream(_METHOD)
            self._call = call = stream(iter([request]), timeout=limit)
            if self._stopped.is_set():  # before it could be cancelled
                call.cancel()
            try:
                answer: bytes = next(call)
                return answer
            except StopIteration:
                raise GeneratorError("ended the call without a result") from None
            except grpc.RpcError:
                if self._stopped.is_set():
                    return None
                raise GeneratorError(_trouble(call, limit)) from None


def _trouble(call: Any, limit: float) -> str:
    """Say why a call failed."""
    code, details = call.code().name, call.details() or "and does not say why"
    if code == "DEADLINE_EXCEEDED":
        return f"did not answer within {Duration(limit)}"
    if code == "UNAVAILABLE":
        return f"cannot be reached, or was lost: {details}. {_HINT}"
    return f"says: {details}"


def _read(answer: bytes, plan: Plan, took: float) -> Interval:
    """Read a response. Raises GeneratorError."""
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError

    from pytest_loadgen.generators.nighthawk_pb2 import ExecutionResponse

    try:
        response = ExecutionResponse.FromString(answer)
        if response.error_detail.code and not response.output.results:
            raise GeneratorError(f"says: {response.error_detail.message}")
        told = Told.read(MessageToDict(response.output, preserving_proto_field_name=True))
        return told.interval(plan, took)
    except (DecodeError, *UNREADABLE) as error:
        raise GeneratorError(f"sent no result that can be read ({error})") from None
