"""What a service uses, sampled of real processes."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_loadgen.service.listening import Socket, nearest
from pytest_loadgen.service.processes import Used, progress
from pytest_loadgen.service.resources import Sample, Watch
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.target import Target
from tests.builders.obedient import Obedient, obedient
from tests.conftest import wait_for

MB = 1_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux says more of processes")


@contextmanager
def watched(service: Obedient, samples: int = 1) -> Iterator[Callable[[], Sample]]:
    """Watch a service; the function that is given takes a sample now."""
    with Watch(service.target) as watch:

        def look() -> Sample:
            before = len(watch.samples)
            watch.look()
            wait_for(lambda: len(watch.samples) > before)
            return watch.samples[-1]

        try:
            wait_for(lambda: len(watch.samples) >= samples)
        except AssertionError:
            pytest.fail(f"no samples: {watch.reason}")
        yield look


@pytest.fixture
def service() -> Iterator[Obedient]:
    with obedient() as service:
        yield service


def test_cpu(service: Obedient) -> None:
    """The CPU time is what the service itself counts."""
    with watched(service) as look:
        first, begin = look(), service.tell("time.process_time()")
        service.tell("burn(0.4)")
        last, end = look(), service.tell("time.process_time()")
    assert last.cpu - first.cpu == pytest.approx(end - begin, abs=0.05)
    assert last.busiest == pytest.approx(last.cpu)
    assert first.cores == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


def test_memory_threads_and_files(service: Obedient) -> None:
    with watched(service) as look:
        first = look()
        service.tell("grow(30)")
        service.tell("[kept.append(os.dup(1)) for _ in range(7)]")
        last = look()
    assert last.memory - first.memory > 29 * MB
    assert last.files - first.files == 7
    assert last.threads == first.threads == 1


@linux
def test_files_near_the_limit(service: Obedient) -> None:
    with watched(service) as look:
        assert look().files_share < 0.5
    service.tell("open_files(0.98)")
    with watched(service) as look:
        assert look().files_share == pytest.approx(0.98, abs=0.02)


@linux
def test_workers(service: Obedient) -> None:
    """Forked processes that listen at the same socket are one service, and count the pages that they share once."""
    service.tell("grow(60)")
    service.tell("[fork(lambda: time.sleep(60)) for _ in range(3)] and None")
    with watched(service) as look:
        sample = look()
    assert sample.process.endswith(" (4 processes)")
    assert sample.threads == 4
    assert 60 * MB < sample.memory < 120 * MB


def test_children(service: Obedient) -> None:
    """A child counts from its birth, also if it ends between two samples; the busiest is the one with most CPU."""
    with watched(service) as look:
        first = look()
        service.tell("fork(lambda: burn(0.3), wait=True)")
        second = look()
        pid = service.tell("fork(lambda: (burn(0.3), time.sleep(60)))")
        service.tell("time.sleep(0.1)")
        wait_for(lambda: look().cpu - second.cpu > 0.25)
        both = look()
        assert both.process.endswith("(2 processes)")
        os.kill(pid, signal.SIGKILL)
        service.tell(f"os.waitpid({pid}, 0) and None")
        last = look()
    assert second.cpu - first.cpu == pytest.approx(0.3, abs=0.06)
    assert last.cpu - second.cpu == pytest.approx(0.3, abs=0.06)
    assert second.busiest - first.busiest < 0.06
    assert both.busiest - second.busiest == pytest.approx(0.3, abs=0.06)


def test_a_unix_socket(tmp_path: Path) -> None:
    with obedient(str(tmp_path / "service")) as service, watched(service) as look:
        assert look().memory > MB


def test_a_service_of_the_test_process(server: Server) -> None:
    """It is called that, and the processes that the tests have started do not count."""
    with obedient(), Watch(Target.of(server.url)) as watch:
        wait_for(lambda: bool(watch.samples))
    assert watch.samples[0].process == "the test process"
    assert watch.samples[0].memory > 10 * MB


@linux
def test_a_socket_of_the_test_process_in_another() -> None:
    """Of several processes that have the socket, the service is the one that accepts connections."""
    with (
        socket.create_server(("127.0.0.1", 0)) as opened,
        obedient(inherited=opened) as service,
        watched(service) as look,
    ):
        assert look().process != "the test process"


@pytest.mark.parametrize(
    ("url", "sent_from", "reason"),
    [
        ("http://192.0.2.1:80/", "", "it runs on another machine (192.0.2.1:80)"),
        ("http://nowhere.invalid/", "", "nowhere.invalid cannot be resolved here"),
        ("udp://127.0.0.1:9", "", "services of UDP are not looked for"),
        ("http://127.0.0.1:9/", "", "no process of this machine listens at 127.0.0.1:9"),
        ("http://127.0.0.1:9/", "10.0.0.5:50051/fortio", "sent from 10.0.0.5:50051/fortio, which has a 127.0.0.1:9"),
        ("http://127.0.0.1:9/", "localhost:50051/fortio", "no process of this machine listens at 127.0.0.1:9"),
        ("http+unix://%2Fno%2Fsuch/", "", "no process of this machine listens at /no/such"),
    ],
)
def test_not_known(url: str, sent_from: str, reason: str) -> None:
    """Where the service cannot be found nothing is claimed, and the reason is kept."""
    with Watch(Target.of(url), sent_from) as watch:
        wait_for(lambda: bool(watch.reason))
    assert reason in watch.reason
    assert not watch.samples


def test_a_load_without_an_address() -> None:
    with Watch(Target.none("shopper")) as watch:
        wait_for(lambda: bool(watch.reason))
    assert watch.reason == "the load has no base URL"


@linux
def test_a_program_that_forwards(tmp_path: Path) -> None:
    with obedient(name=tmp_path / "docker-proxy") as service, Watch(service.target) as watch:
        wait_for(lambda: bool(watch.reason))
    assert watch.reason == "docker-proxy forwards its connections to where it runs"


@linux
def test_a_script_is_called_by_its_name(tmp_path: Path) -> None:
    with obedient(name=tmp_path / "shop") as service, watched(service) as look:
        assert look().process == "shop"


def test_a_service_that_dies_and_comes_back() -> None:
    """Nothing is raised, and the new process is found."""
    with obedient() as first, Watch(first.target) as watch:
        wait_for(lambda: bool(watch.samples))
        first.process.kill()
        first.process.wait()
        watch.look()
        samples = len(watch.samples)
        assert isinstance(first.address, tuple)
        with obedient(str(first.address[1])):
            wait_for(lambda: len(watch.samples) > samples + 1)
    cpu = [each.cpu for each in watch.samples]
    assert cpu == sorted(cpu)
    assert watch.reason == ""


def test_nothing_fails_a_load(service: Obedient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong is a reason."""
    monkeypatch.setattr("pytest_loadgen.service.processes.Search.processes", lambda *_: 1 / 0)
    with Watch(service.target) as watch:
        wait_for(lambda: bool(watch.reason))
        watch.catch_up(1)
    assert watch.reason == "ZeroDivisionError: division by zero"


def listening(*ips: str) -> list[Socket]:
    return [Socket((ip, 80), ip) for ip in ips]


@pytest.mark.parametrize(
    ("wanted", "ips", "chosen"),
    [
        ("127.0.0.1", ["127.0.0.1", "0.0.0.0", "::"], ["127.0.0.1"]),
        ("127.0.0.1", ["0.0.0.0", "::"], ["0.0.0.0"]),
        ("127.0.0.1", ["::", "::1", "10.0.0.1"], ["::"]),
        ("127.0.0.1", ["::ffff:127.0.0.1", "::"], ["::ffff:127.0.0.1"]),
        ("::1", ["::1", "::"], ["::1"]),
        ("::1", ["0.0.0.0"], []),
        ("127.0.0.1", ["127.0.0.1", "127.0.0.1"], ["127.0.0.1"] * 2),  # SO_REUSEPORT
    ],
)
def test_who_gets_the_connections(wanted: str, ips: list[str], chosen: list[str]) -> None:
    """As the system does, the most exact address is chosen."""
    assert [each.inode for each in nearest((wanted, 80), listening(*ips))] == chosen
    assert not nearest((wanted, 81), listening(*ips))


@pytest.mark.parametrize(
    ("before", "now", "born", "total", "busiest"),
    [
        ({1: Used(1)}, {1: Used(3)}, [], 2, 2),
        ({1: Used(1), 2: Used(5)}, {1: Used(2), 2: Used(8)}, [], 4, 3),
        ({}, {1: Used(3)}, [], 0, 0),  # seen for the first time
        ({1: Used(1)}, {1: Used(1), 2: Used(3, 1)}, [2], 4, 3),
        ({1: Used(1), 2: Used(5)}, {1: Used(2, 6)}, [], 2, 1),  # its parent counts the other
        ({1: Used(1), 2: Used(5)}, {1: Used(2)}, [], 1, 1),  # or nobody does
        ({1: Used(1, 7)}, {1: Used(2, 9)}, [], 3, 1),  # born and ended meanwhile
    ],
)
def test_progress(before: dict[int, Used], now: dict[int, Used], born: list[int], total: float, busiest: float) -> None:
    """CPU time is counted once, whoever used it, and never shrinks."""
    assert progress(before, now, born) == (total, busiest)


def test_a_target_with_its_address(service: Obedient) -> None:
    """Where the address is known, it is not looked up again."""
    assert isinstance(service.address, tuple)
    with Watch(replace(service.target, host="nowhere.invalid", address=service.address)) as watch:
        wait_for(lambda: bool(watch.samples))
