"""Time goes on, whatever a test makes of it."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen import clock
from pytest_loadgen.errors import GeneratorError, LoadError, ServiceError
from pytest_loadgen.file_lock import locked
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.generators.embedded.worker import Worker
from pytest_loadgen.running import runner
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.workers.distributed import Distributed

Stop = AbstractContextManager[Any]


def frozen() -> AbstractContextManager[Any]:
    return pytest.importorskip("freezegun").freeze_time("2050-01-01")  # type: ignore[no-any-return]


def travelled() -> AbstractContextManager[Any]:
    return pytest.importorskip("time_machine").travel("2020-01-01", tick=False)  # type: ignore[no-any-return]


@contextmanager
def patched() -> Iterator[None]:
    """As of a test that replaces the functions of the module by hand."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "time",
            "monotonic",
            "perf_counter",
            "time_ns",
            "monotonic_ns",
            "perf_counter_ns",
            "clock_gettime",
        ):
            patch.setattr(time, name, lambda *_: 7)
        patch.setattr(time, "sleep", lambda _: None)
        yield


@pytest.fixture(params=[frozen, travelled, patched])
def stopped(request: pytest.FixtureRequest) -> Iterator[Stop]:
    """What stops time, made here: where it is not installed, a test is skipped before it starts anything."""

    def ring(*_: object) -> None:
        raise TimeoutError("it hangs")

    stop = request.param()
    # A wait that never ends is ended.
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(20)
    yield stop
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_the_clock_goes_on(stopped: Stop) -> None:
    before, wall = clock.monotonic(), clock.wall()
    with stopped:
        clock.sleep(0.02)
        assert 0.02 <= clock.monotonic() - before < 10
        assert 0.02 <= clock.wall() - wall < 10


def test_a_service_that_is_down(stopped: Stop, embedded: Embedded) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    plan = plan_of(f"http://127.0.0.1:{port}", {"ready_timeout": 0.3})
    with stopped, pytest.raises(ServiceError, match="does not accept connections after 300ms"):
        runner.run(plan, embedded)


def test_a_wait_for_another_load_ends(stopped: Stop, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    expected = pytest.raises(LoadError, match="timed out after 300ms")
    with locked(path, longest_wait=0), stopped, expected, locked(path, longest_wait=0.3):
        pass


def test_workers_start_together(stopped: Stop, embedded: Embedded, server: Server) -> None:
    with stopped:
        result = runner.run(plan_of(server.url, {"rate": 100, "duration": 1}), Distributed(embedded, 2))
    assert result.outcomes == {"200": 100}


def test_a_process_that_does_not_respond(stopped: Stop, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_loadgen.generators.embedded.worker._LATEST", -0.8)
    worker = Worker()
    with stopped:
        worker._process.send_signal(signal.SIGSTOP)
        with pytest.raises(GeneratorError, match="did not respond and was killed"):
            list(worker.run(plan_of(server.url, {"rate": 10, "duration": 0.5, "timeout": 0.5})))
    assert worker._process.returncode == -signal.SIGKILL
