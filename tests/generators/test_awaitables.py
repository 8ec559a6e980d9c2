"""Journeys that do not use the client: other asyncio libraries, against real servers."""

import asyncio
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import websockets
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.running import runner
from pytest_loadgen.traffic.journey import step
from pytest_loadgen.traffic.options import plan_of
from tests.conftest import needs, wait_for


def run(generator: Embedded, journey: Any, **options: Any) -> Result:
    return runner.run(plan_of(journey, {"rate": 100, "duration": 1, **options}), generator)  # type: ignore[typeddict-item]


@pytest.fixture
def grpc_port() -> Iterator[int]:
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(None).wait()


def test_grpc(embedded: Embedded, grpc_port: int) -> None:
    made: dict[str, Any] = {}

    async def connect(_: Any) -> None:
        made["channel"] = grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}")

    async def checks(_: Any) -> None:
        async with step("check"):
            stub: Any = health_pb2_grpc.HealthStub(made["channel"])
            answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING

    async def disconnect(_: Any) -> None:
        await made["channel"].close()

    result = run(embedded, checks, setup=connect, teardown=disconnect)
    assert result.outcomes == {"OK": 100}, result.total.reasons
    assert result["check"].requests == 100


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A WebSocket service that sends back what it gets."""
    found: list[int] = []
    started, stop = threading.Event(), threading.Event()

    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def serve() -> None:
        async with websockets.serve(echo, "127.0.0.1", 0) as server:
            found.append(next(iter(server.sockets)).getsockname()[1])
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    yield found[0]
    stop.set()
    thread.join()


def test_websockets(embedded: Embedded, echo_port: int) -> None:
    async def chats(_: Any) -> None:
        async with step("connect"):
            connection = await websockets.connect(f"ws://127.0.0.1:{echo_port}")
        async with connection, step("echo"):
            await connection.send("hello")
            assert await connection.recv() == "hello"

    result = run(embedded, chats, rate=50)
    assert result.outcomes == {"OK": 50}, result.total.reasons
    assert result["connect"].requests == result["echo"].requests == 50


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]

    def answers() -> bool:
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        wait_for(answers)
        yield port
        server.terminate()


@needs("redis-server")
def test_redis(embedded: Embedded, redis_port: int) -> None:
    import redis.asyncio

    made: dict[str, Any] = {}

    async def connect(_: Any) -> None:
        made["redis"] = redis.asyncio.Redis(port=redis_port)

    async def counts(_: Any) -> None:
        async with step("incr"):
            await made["redis"].incr("visits")

    async def disconnect(_: Any) -> None:
        await made["redis"].aclose()

    result = run(embedded, counts, setup=connect, teardown=disconnect)
    assert result.outcomes == {"OK": 100}, result.total.reasons
    with redis.Redis(port=redis_port) as client:
        assert client.get("visits") == b"100"


def test_a_blocking_call_in_a_thread_delays_no_other_journey(embedded: Embedded) -> None:
    """There it keeps no other journey from running."""

    async def waits(_: Any) -> None:
        await asyncio.to_thread(time.sleep, 0.02)

    result = run(embedded, waits)
    assert result.outcomes == {"OK": 100}
    assert "lag" not in result.total.reasons
