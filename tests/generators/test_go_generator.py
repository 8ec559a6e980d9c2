"""The example generator in Go, which needs only loadgen.proto, passes the tests for every generator."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_loadgen.errors import PlanError, ServiceError
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.generators.remote import Remote
from pytest_loadgen.running import runner
from pytest_loadgen.testing import GeneratorTests
from pytest_loadgen.testing.service import OK, Server
from pytest_loadgen.workers.distributed import Distributed
from tests.conftest import needs
from tests.serving.builders import plan_for

pytestmark = needs("go")
ROOT = Path(__file__).parents[2]
EXAMPLE = Path("examples/go_generator")
PROTO = Path("pytest_loadgen/generators/loadgen.proto")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it with the commands in its README; go caches its dependencies."""
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    root = tmp_path_factory.mktemp("go")
    (root / PROTO).parent.mkdir(parents=True)
    shutil.copy(ROOT / PROTO, root / PROTO)
    shutil.copytree(ROOT / EXAMPLE, root / EXAMPLE, ignore=shutil.ignore_patterns("bin", "pb"))
    readme = (ROOT / EXAMPLE / "README.md").read_text(encoding="utf-8")
    (commands,) = re.findall(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(Path.home())}
    run = {"cwd": root / EXAMPLE, "env": {**os.environ, **here}, "capture_output": True, "text": True}
    loaded = subprocess.run(["go", "mod", "download"], check=False, **run)  # type: ignore[call-overload]
    if loaded.returncode:
        pytest.skip(f"cannot download Go modules: {loaded.stderr.strip()}")
    built = subprocess.run(["sh", "-e", "-c", commands], check=False, **run)  # type: ignore[call-overload]
    assert built.returncode == 0, built.stderr
    return root / EXAMPLE / "bin" / "loadgen"


@pytest.fixture(scope="module")
def remote(program: Path) -> Iterator[Remote]:
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().split()[-1]
        yield Remote.at(f"remote://{address}/go")
        process.kill()


class TestGo(GeneratorTests):
    @pytest.fixture
    def generator(self, remote: Remote) -> LoadGenerator:
        return remote


def test_its_description(remote: Remote) -> None:
    assert remote.version() == "go 1.0"
    assert remote.features == {"http", "rate", "max", "body"}


def test_it_counts_like_the_embedded_generator(remote: Remote, embedded: LoadGenerator, server: Server) -> None:
    """The same load has the same requests in the same intervals, without the warm-up."""
    plan = plan_for(server, rate=40, duration=1.6, warmup=0.3)
    for result in (runner.run(plan, generator) for generator in (embedded, remote)):
        sending = [each for each in result.intervals if each.seconds]
        assert [(each.start, round(each.seconds, 3)) for each in sending] == [(0, 1), (1, 0.6)]
        assert [each.requests for each in sending] == pytest.approx([40, 24], abs=3)
        assert result.total.lag.count == result.requests == 64
        assert result.total.received == pytest.approx(64 * len(OK), abs=3 * len(OK))


def test_requests_in_flight_at_the_end_are_counted(remote: Remote, server: Server) -> None:
    """In intervals after the duration."""
    result = runner.run(plan_for(server, "/delay/0.4", rate=10), remote)
    assert (result.requests, result.errors) == (10, 0)
    assert sum(interval.requests for interval in result.intervals if not interval.seconds) == pytest.approx(4, abs=1)


def test_its_parts_keep_the_schedule(remote: Remote, server: Server) -> None:
    result = runner.run(plan_for(server, rate=30, duration=1), Distributed(remote, 3))
    assert (result.requests, result.errors) == (30, 0)


def test_its_errors(remote: Remote, server: Server) -> None:
    """Unsupported plans, services that are not allowed or not running, and unknown names."""
    plan = plan_for(server, ready_timeout=0.1)
    with pytest.raises(PlanError, match="go does not support this plan: only constant arrivals"):
        list(remote.run(replace(plan, arrivals="poisson")))
    with pytest.raises(PlanError, match="the path does not start with /"):
        list(remote.run(replace(plan, target=replace(plan.target, path=b"@127.0.0.2/"))))
    with pytest.raises(ServiceError, match=r"192\.0\.2\.1:80: it is neither this machine nor in a private network"):
        list(remote.run(replace(plan, target=replace(plan.target, host="192.0.2.1", port=80))))
    server.die()
    with pytest.raises(ServiceError, match=r"does not accept connections: .*refused"):
        list(remote.run(plan))
    with pytest.raises(PlanError, match='there is no load generator "gone" on that machine: there is "go"'):
        Registry([])[f"remote://{remote.address}/gone"].version()
    assert server.requests.total() == 0
