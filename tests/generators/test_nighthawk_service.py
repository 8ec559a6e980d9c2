"""Nighthawk as a service, with services that behave like it and some that misbehave."""

import pickle
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.nighthawk_service import NighthawkService
from pytest_loadgen.traffic.plan import Plan
from tests.builders.nighthawk import at, output, plan, second
from tests.conftest import wait_for

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
pb = pytest.importorskip("pytest_loadgen.generators.nighthawk_pb2", reason="protobuf is not installed")

Answer = Callable[[bytes, Any], Iterator[bytes]]


class Service:
    """A gRPC service with Nighthawk's only method; `answer` gets each request, and yields the responses."""

    def __init__(self, answer: Answer, method: str = "nighthawk.client.NighthawkService/ExecutionStream") -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.open = 0
        name, _, stream = method.partition("/")
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {stream: handler}),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _serve(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self.open += 1
        context.add_callback(self._ended)
        for request in requests:
            self.requests.append(request)
            yield from self.answer(request, context)

    def _ended(self) -> None:
        self.open -= 1

    def close(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def serve(answer: Answer, **rest: Any) -> Service:
        started.append(Service(answer, **rest))
        return started[-1]

    yield serve
    for service in started:
        service.close()


def generator(service: Service | str) -> NighthawkService:
    made = NighthawkService()
    made.address = service if isinstance(service, str) else service.address
    return made


def response(told: dict[str, Any] | None = None, *, error: str = "") -> bytes:
    """A response of the service."""
    from google.protobuf.json_format import ParseDict

    message = pb.ExecutionResponse()
    if told:
        ParseDict(told, message.output, ignore_unknown_fields=True)
    if error:
        message.error_detail.code, message.error_detail.message = 13, error
    return bytes(message.SerializeToString())


RESULT = response(output({"2xx": 99, "5xx": 1}, seconds=1))


def result(request: bytes, context: Any) -> Iterator[bytes]:
    yield RESULT


# Its request.


def fields(data: bytes, *numbers: int) -> list[int | bytes]:
    """The values of a field in an encoded message, found by field numbers alone."""
    found: list[tuple[int, int | bytes]] = []
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(data):
        key = varint()
        if key & 7 == 0:
            found.append((key >> 3, varint()))
        else:
            assert key & 7 == 2
            length = varint()
            found.append((key >> 3, data[position : position + length]))
            position += length
    values = [value for number, value in found if number == numbers[0]]
    if len(numbers) == 1:
        return values
    return [each for value in values if isinstance(value, bytes) for each in fields(value, *numbers[1:])]


START, OPTIONS = 1, 1


@pytest.mark.parametrize(
    ("what", "numbers", "found"),
    [
        ("requests per second", [1, 1], [100]),
        ("connections", [2, 1], [7]),
        ("duration", [3, 1], [5]),
        ("timeout", [4, 1], [2]),
        ("address family: IPv4", [11, 1], [1]),
        ("method: POST", [12, 1], [3]),
        ("header names", [12, 2, 1, 1], [b"Host", b"X-Tea", b"Content-Length", b"User-Agent", b"Accept"]),
        ("header values", [12, 2, 1, 2], [b"tea.test:8000", b"green", b"0", b"pytest-loadgen", b"*/*"]),
        ("waiting for a connection", [14, 1], [500]),
        ("under way", [15, 1], [500]),
        ("idle strategy: sleep", [17, 1], [3]),
        ("address", [18, 1], [b"http://127.0.0.1:8000/x?y=1"]),
        ("open loop", [21, 1], [1]),
        ("protocol: HTTP/2", [107, 1], [1]),
        ("no failure predicates", [113, 1], [1]),
    ],
)
def test_request(what: str, numbers: list[int], found: list[int | bytes]) -> None:
    """Each option has the field numbers of Nighthawk's message."""
    url = "http://tea.test:8000/x?y=1"
    asked = plan(url, method="POST", connections=7, timeout="1.5s", http2=True, headers={"X-Tea": "green"})
    data = NighthawkService().request(at(asked, "127.0.0.1", 8000)).SerializeToString()
    assert fields(data, START, OPTIONS, *numbers) == found, what


def test_a_plan_that_it_cannot_run_is_refused_before_the_call(serve: Callable[..., Service]) -> None:
    """That includes the warm-up: nothing is sent unless Nighthawk can run all of the load."""
    service = serve(result)
    for impossible in (second(rate="30/m", duration=2), second(duration="1.5s", warmup="1s"), second(warmup="1.5s")):
        with pytest.raises(PlanError):
            list(generator(service).run(impossible))
    assert service.requests == []


# Its response.


def test_a_load(serve: Callable[..., Service]) -> None:
    """A call with one request gives one interval."""
    service = serve(result)
    (interval,) = generator(service).run(second())
    assert interval.outcomes == {"2xx": 99, "5xx": 1}
    assert str(interval.latency.percentile(50)) == "10ms"
    assert len(service.requests) == 1
    wait_for(lambda: service.open == 0)


def test_the_warm_up_is_a_run_of_its_own(serve: Callable[..., Service]) -> None:
    """The first call is as long as the warm-up, and does not count."""
    told = iter([response(output({"2xx": 200}, seconds=2)), RESULT])
    service = serve(lambda request, context: iter([next(told)]))
    (interval,) = generator(service).run(second(warmup="2s"))
    assert interval.outcomes == {"2xx": 99, "5xx": 1}
    assert [fields(request, START, OPTIONS, 3, 1) for request in service.requests] == [[2], [1]]


def test_requests_that_hang_at_the_end_are_timeouts(serve: Callable[..., Service]) -> None:
    """The service responds when no request is open any more, or when the timeout is over."""
    told = response(output({"2xx": 90}, seconds=1, more={"upstream_rq_total": 100}))

    def late(request: bytes, context: Any) -> Iterator[bytes]:
        time.sleep(2.1)
        yield told

    (interval,) = generator(serve(late)).run(second())
    assert interval.outcomes == {"2xx": 90, "timeout": 10}
    (interval,) = generator(serve(lambda request, context: iter([told]))).run(second())
    assert interval.outcomes == {"2xx": 90}


def test_a_result_with_an_error_is_read(serve: Callable[..., Service]) -> None:
    """A run that ended with an error may have a result nevertheless."""
    told = response(output({"2xx": 100}, seconds=1), error="Unknown failure")
    (interval,) = generator(serve(lambda request, context: iter([told]))).run(second())
    assert interval.outcomes == {"2xx": 100}


def aborting(details: str) -> Answer:
    def abort(request: bytes, context: Any) -> Iterator[bytes]:
        context.abort(grpc.StatusCode.INTERNAL, details)
        yield b""

    return abort


BUSY = "Only a single benchmark session is allowed at a time."
ECHO = 'Proto constraint validation failed: key: "authorization" value: "Bearer geheim-1", key=sesam-1'


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (aborting(BUSY), f"reports: {BUSY}"),
        (aborting(ECHO), '*value: "[...]", [...]'),
        (aborting("x" * 5000), "reports: x*"),
        (lambda request, context: iter([response(error="Invalid target URI: ''")]), "reports: Invalid target URI: ''"),
        (lambda request, context: iter([response(error=ECHO)]), "reports: Proto *value: *"),
        (lambda request, context: iter([response({"results": []}, error="Unknown failure.")]), "reports: Unknown *"),
        (lambda request, context: iter([b"\xff\xfe no message"]), "sent a result that cannot be read (*"),
        (lambda request, context: iter([RESULT[: len(RESULT) // 2]]), "sent a result that cannot be read (*"),
        (lambda request, context: iter([b""]), "sent a result that cannot be read (not a Nighthawk result)"),
        (lambda request, context: iter(()), "ended the call without a result"),
        (
            lambda request, context: iter([response(output({"2xx": 50}, seconds=0.5))]),
            "ran for 500ms instead of 1s: a termination predicate ended it",
        ),
    ],
)
def test_a_missing_or_malformed_result_is_an_error(serve: Callable[..., Service], answer: Answer, message: str) -> None:
    """The message shows what the service did instead, and no secrets of the request."""
    service = serve(answer)
    with pytest.raises(GeneratorError) as caught:
        list(generator(service).run(second(headers={"Authorization": "Bearer geheim-1"})))
    expected = f"nighthawk-service: {service.address} {message}"
    assert fnmatch(str(caught.value), expected.replace("[", "[[]"))
    assert len(str(caught.value)) < 1100
    assert "geheim" not in str(caught.value)
    assert "sesam" not in str(caught.value)


def test_another_service_is_an_error(serve: Callable[..., Service]) -> None:
    with pytest.raises(GeneratorError, match="reports: Method not found!"):
        list(generator(serve(result, method="shop.Orders/Get")).run(second()))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:8443", "no address"])
def test_a_service_that_cannot_be_reached_is_an_error(address: str) -> None:
    with pytest.raises(GeneratorError) as caught:
        list(generator(address).run(second()))
    assert fnmatch(str(caught.value), f"nighthawk-service: {address} cannot be reached, or was lost: *")
    assert str(caught.value).endswith("Is nighthawk_service running there?")


def test_a_password_in_its_address_is_not_shown() -> None:
    with pytest.raises(GeneratorError) as caught:
        list(generator("user:geheim@127.0.0.1:1").run(second()))
    assert str(caught.value).startswith("nighthawk-service: 127.0.0.1:1 cannot be reached")
    assert "geheim" not in str(caught.value)


def test_version_checks_that_it_can_be_reached(serve: Callable[..., Service]) -> None:
    """Without a load, and without waiting for long."""
    unreachable = generator("user:geheim@127.0.0.1:1")
    unreachable.connect_timeout = 0.2
    with pytest.raises(GeneratorError) as caught:
        unreachable.version()
    assert str(caught.value) == "nighthawk-service: 127.0.0.1:1 cannot be reached. Is nighthawk_service running there?"
    assert generator(serve(result)).version() == ""


def test_a_service_that_does_not_respond_is_an_error(serve: Callable[..., Service]) -> None:
    """Its limit is the duration and the timeout, whether it speaks gRPC or not."""
    ended = threading.Event()

    def hang(request: bytes, context: Any) -> Iterator[bytes]:
        ended.wait(30)
        yield b""

    service = serve(hang)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        addresses = [service.address, f"127.0.0.1:{silent.getsockname()[1]}"]
        for address in addresses:
            started = time.monotonic()
            impatient = generator(address)
            impatient.grace = 0.2
            with pytest.raises(GeneratorError, match=re.escape(f"{address} did not respond within 2.2s")):
                list(impatient.run(second()))
            assert time.monotonic() - started < 6
    ended.set()


def test_a_service_that_dies_is_an_error(serve: Callable[..., Service]) -> None:
    """Its load is lost, and does not look like one without responses."""
    ended = threading.Event()

    def hang(request: bytes, context: Any) -> Iterator[bytes]:
        ended.wait(30)
        yield b""

    service = serve(hang)
    running = Background(service, second(duration=60))
    wait_for(lambda: bool(service.requests))
    threading.Thread(target=service.close).start()
    running.join()
    ended.set()
    assert isinstance(running.error, GeneratorError)
    assert str(running.error).startswith(f"nighthawk-service: {service.address} ")


class Background:
    """A load in another thread."""

    def __init__(self, service: Service, asked: Plan) -> None:
        self.found: list[Interval] = []
        self.error: BaseException | None = None
        self.load = generator(service).run(asked)
        self._thread = threading.Thread(target=self._exhaust)
        self._thread.start()

    def _exhaust(self) -> None:
        try:
            self.found.extend(self.load)
        except BaseException as error:
            self.error = error

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_closing_ends_the_wait(serve: Callable[..., Service]) -> None:
    """Any thread may close a load; both the load and the call end within a second."""
    ended = threading.Event()

    def hang(request: bytes, context: Any) -> Iterator[bytes]:
        context.add_callback(ended.set)
        ended.wait(30)
        yield b""

    service = serve(hang)
    running = Background(service, second(duration=60))
    wait_for(lambda: bool(service.requests))
    closed = time.monotonic()
    running.load.close()
    running.join()
    assert time.monotonic() - closed < 2  # one, and one for a busy machine
    assert (running.found, running.error) == ([], None)
    wait_for(lambda: service.open == 0)


def test_closing_before_the_start_sends_nothing(serve: Callable[..., Service]) -> None:
    service = serve(result)
    load = generator(service).run(second(warmup="1s"))
    load.close()
    assert list(load) == []
    assert service.requests == []


@pytest.mark.parametrize("closes", [0.0, 0.01])
def test_closing_while_it_starts(serve: Callable[..., Service], closes: float) -> None:
    """However early it is closed, it does not wait."""

    def slow(request: bytes, context: Any) -> Iterator[bytes]:
        time.sleep(1)
        yield RESULT

    service = serve(slow)
    running = Background(service, second(duration=60))
    threading.Event().wait(closes)
    running.load.close()
    running.join()
    assert (running.found, running.error) == ([], None)


# The libraries.


@pytest.mark.parametrize("library", ["grpc", "google.protobuf"])
def test_a_missing_library_is_an_error(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message shows how to install it."""
    monkeypatch.setitem(sys.modules, library, None)
    for use in (NighthawkService().version, lambda: list(NighthawkService().run(second()))):
        with pytest.raises(GeneratorError) as caught:
            use()
        assert str(caught.value) == "nighthawk-service needs grpcio: pip install 'pytest-loadgen[remote]'"


def test_it_can_be_sent_to_a_worker() -> None:
    made = generator("10.0.0.1:8443")
    assert pickle.loads(pickle.dumps(made)).address == made.address


PROTO = Path("pytest_loadgen/generators/nighthawk.proto")


def test_the_generated_module_is_up_to_date(tmp_path: Path) -> None:
    """nighthawk_pb2.py and its types are generated from nighthawk.proto."""
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed")
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

    root = Path(__file__).parents[2]
    made = tmp_path / "set"
    include = Path(protoc.__file__).parent / "_proto"
    assert protoc.main(["protoc", f"-I{root}", f"-I{include}", f"--descriptor_set_out={made}", str(root / PROTO)]) == 0
    (found,) = FileDescriptorSet.FromString(made.read_bytes()).file
    ours = FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    for message in found.message_type:
        for field in message.field:
            field.ClearField("json_name")  # which only the set has
    assert found == ours
    types = (root / PROTO).with_name("nighthawk_pb2.pyi").read_text(encoding="utf-8")
    for message in found.message_type:
        names = [field.name for field in message.field]
        assert f"class {message.name}(_message.Message):" in types
        assert f"__slots__ = ({', '.join(map(repr, names))}{',' * (len(names) == 1)})".replace("'", '"') in types
