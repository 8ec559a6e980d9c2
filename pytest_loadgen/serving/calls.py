"""Which calls are accepted, and how long they may be unfinished."""

from __future__ import annotations

import hmac
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from pytest_loadgen.generators.channel import SERVICE
from pytest_loadgen.serving.log import LOG, printable

# How many calls of one host, and of all, may be open whose request has not arrived; and for how long, in seconds. A
# plan has up to 64 MiB.
_MAX_UNFINISHED = 16
_MAX_UNFINISHED_OF_ALL = 32
_REQUEST_TIMEOUT = 30.0
_CHECK = f"/{health.SERVICE_NAME}/Check"


class Calls(grpc.ServerInterceptor):
    """Lets calls in that have the token, and gives up those that do not say what they want.

    Whoever has no token costs nothing: the call is answered without reading a request or waiting for one.
    """

    def __init__(self, token: str = "", request_timeout: float = _REQUEST_TIMEOUT) -> None:
        """Require a token if one is given; a request has to arrive within the timeout, in seconds."""
        self._expected = f"Bearer {token}".encode() if token else b""
        self._timeout = request_timeout
        self._unfinished: Counter[str] = Counter()
        self._changing = threading.Lock()
        self.serving = True
        """What the health check says."""

    def health(self) -> grpc.GenericRpcHandler:
        """Return the health check, for those with a token; others get the status without being asked about what."""
        check = grpc.unary_unary_rpc_method_handler(
            self._check, health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(health.SERVICE_NAME, {"Check": check})

    def intercept_service(self, continuation: Callable[..., Any], details: grpc.HandlerCallDetails) -> Any:
        """Choose what answers a call; gRPC calls this before it reads the request."""
        given = dict(details.invocation_metadata).get("authorization", "")
        given = given.encode() if isinstance(given, str) else given
        if self._expected and not hmac.compare_digest(given, self._expected):
            if details.method == _CHECK:
                return grpc.stream_stream_rpc_method_handler(
                    self._status, None, health_pb2.HealthCheckResponse.SerializeToString
                )
            # A handler for a stream of requests, so that no request is read.
            return grpc.stream_stream_rpc_method_handler(_refuse_wrong_token if given else _refuse_missing_token)
        handler = continuation(details)
        return handler and self._bounded(handler)

    def _status(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        kinds = health_pb2.HealthCheckResponse
        yield kinds(status=kinds.SERVING if self.serving else kinds.NOT_SERVING)

    def _check(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.service not in {"", SERVICE}:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return next(self._status(iter(()), context))

    def _bounded(self, handler: Any) -> Any:
        """Return a handler that waits for the request itself: gRPC would keep a thread waiting for ever."""

        def answer(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            with self._unfinished_call(context):
                if handler.request_streaming:
                    yield from handler.stream_stream(requests, context)
                    return
                request = _first(requests, context)
            if handler.response_streaming:
                yield from handler.unary_stream(request, context)
            else:
                yield handler.unary_unary(request, context)

        return grpc.stream_stream_rpc_method_handler(answer, handler.request_deserializer, handler.response_serializer)

    @contextmanager
    def _unfinished_call(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Cancel a call that is not through this in time, or refuse it if there are too many of its host."""
        host = context.peer().rpartition(":")[0]
        with self._changing:
            if free := self._unfinished[host] < _MAX_UNFINISHED and self._unfinished.total() < _MAX_UNFINISHED_OF_ALL:
                self._unfinished[host] += 1
        if not free:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls without a request are open")
        late = threading.Timer(self._timeout, context.cancel)
        late.daemon = True
        late.start()
        try:
            yield
        finally:
            late.cancel()
            with self._changing:
                self._unfinished[host] -= 1
                self._unfinished += Counter()  # without hosts that have none


def _first(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    try:
        return next(requests)
    except StopIteration:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "there is no request, or it cannot be read")


def _refuse_wrong_token(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    LOG.warning("%s: refused: wrong token", printable(context.peer()))
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")


def _refuse_missing_token(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
    LOG.warning("%s: refused: no token", printable(context.peer()))
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token is required")
