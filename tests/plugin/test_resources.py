"""What users see of the CPU and memory of their service, in pytest sessions of their own."""

import sys
from pathlib import Path

import pytest

from pytest_loadgen.figures import problems
from pytest_loadgen.testing.service import Server
from tests.conftest import needs

pytestmark = pytest.mark.filterwarnings("default")

# A service that works for a while on each request, and keeps what it is told to.
SERVICE = """
import http.server, os, sys, time

kept = []

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        end = time.thread_time() + float(self.path.partition("burn=")[2] or 0)
        while time.thread_time() < end:
            pass
        if "grow" in self.path:
            kept.append(os.urandom(100_000))
        if "die" in self.path:
            os._exit(1)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
CONFTEST = f"""
import pytest
from pytest_loadgen import serve

@pytest.fixture(scope="session")
def load_target():
    with serve([{sys.executable!r}, "shop.py", "{{port}}"]) as url:
        yield url
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder whose load_target is the service; what a busy machine does to verdicts shall not matter here."""
    monkeypatch.setattr(problems, "LATE", 60)
    pytester.path.joinpath("shop.py").write_text(SERVICE)
    pytester.makeconftest(CONFTEST)
    return pytester


def run(suite: pytest.Pytester, *args: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("-p", "no:cacheprovider", *args)


def test_figures(suite: pytest.Pytester) -> None:
    """The result has what the service used, and so has the summary with -v."""
    suite.makepyfile(
        """
        def test_it(load):
            service = load("/?burn=0.005", rate=40, duration=1.5, connections=4).service
            assert service.process == "shop.py"
            assert 0 < service.cpu <= service.cores
            assert 0 < service.cpu_share < "100%"
            assert "1MB" < service.memory < "1GB"
            assert service.threads > 1
            assert service.files > 3
        """
    )
    result = run(suite, "-v")
    result.assert_outcomes(passed=1)
    said = "test_figures.py::test_it: service: shop.py: *.* of * core*, * MB*, * threads, * files"
    result.stdout.fnmatch_lines([said])
    assert "service:" not in run(suite).stdout.str()


def test_memory(suite: pytest.Pytester) -> None:
    """An objective on memory fails the test that misses it."""
    suite.makepyfile("def test_it(load): load('/', rate=50, duration=0.5, slo='memory < 1MB')")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *missed   memory < 1MB * MB"])


def test_growth(suite: pytest.Pytester) -> None:
    """A leak is a trend: 100 kB of each of 50 requests a second."""
    suite.makepyfile(
        """
        import pytest

        @pytest.mark.slo("memory growth < 1MB/s")
        def test_it(load):
            load("/?grow", rate=50, duration=5, max_duration=5, connections=2)
        """
    )
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *missed   memory growth < 1MB/s * MB/s  (95% sure of * or more)"])


def test_a_service_of_the_test_process(pytester: pytest.Pytester, server: Server) -> None:
    pytester.makeini(f"[pytest]\nload_target = {server.url}\n")
    pytester.makepyfile("def test_it(load): print(load('/', rate=50, duration=0.5).service)")
    result = run(pytester, "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_it: service: the test process: *"])


def test_a_service_that_is_not_known(pytester: pytest.Pytester) -> None:
    """Its figures are an error that says why, an objective on them is unclear, and the load is as long as planned."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_loadgen.generators.base import LoadGenerator
        from pytest_loadgen.figures.interval import Interval
        from pytest_loadgen.figures.histogram import Histogram

        def interval(second):
            latency = Histogram()
            latency.record(0.01, 100)
            return Interval(second, 1, latency, latency, {"200": 100})

        class Paper(LoadGenerator):
            name, features, remote = "paper", frozenset({"http", "rate"}), True
            def run(self, plan):
                yield from map(interval, range(int(plan.duration)))

        def test_it(load):
            result = load("http://192.0.2.1/", duration=5, generator="paper", slo="cpu < 80%")
            assert result.requests == 500
            with pytest.raises(ValueError, match="not known: it runs on another machine"):
                result.service
        """
    )
    pytester.makeconftest(
        """
        def pytest_loadgen_generators():
            import test_a_service_that_is_not_known as tests
            return [tests.Paper()]
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*unclear  cpu < 80%  *-  (the CPU and memory of the service are not known: it runs on another machine "
            "(192.0.2.1:80))"
        ]
    )


def test_a_service_that_dies_during_the_load(suite: pytest.Pytester) -> None:
    """What was known before stays; the load fails as it would have."""
    suite.makepyfile(
        """
        import pytest
        from pytest_loadgen import get

        def test_it(load):
            mix = [get("/", weight=150), get("/?die", name="die")]  # the 75th request, after more than a second
            result = load(mix, rate=60, duration=2.5, connections=2, timeout=1)
            assert result.errors
            assert result.service.memory > "1MB"
        """
    )
    run(suite).assert_outcomes(passed=1)


@needs("fortio")
def test_a_program_that_reports_at_its_end(suite: pytest.Pytester) -> None:
    """Its intervals have the figures of their own time."""
    suite.makepyfile(
        """
        def test_it(load):
            result = load("/?burn=0.005", rate=40, duration=4, connections=4, generator="fortio")
            cpu = [each.service.cpu for each in result.intervals if each.service]
            assert len(cpu) >= 4
            assert min(cpu[1:4]) > 0.1
        """
    )
    run(suite).assert_outcomes(passed=1)


def test_side_by_side(suite: pytest.Pytester) -> None:
    """Only the service of the load itself is sampled."""
    suite.makepyfile(
        """
        import pytest

        def test_it(load, load_target):
            result = load("/?burn=0.005", rate=40, duration=2, connections=4, against=load_target)
            assert result.service.process == "shop.py"
            with pytest.raises(ValueError, match="of two services side by side"):
                result.against.service
        """
    )
    run(suite).assert_outcomes(passed=1)


def test_reports(suite: pytest.Pytester, tmp_path: Path) -> None:
    """JSON, CSV and OpenMetrics have the figures."""
    suite.makepyfile("def test_it(load): load('/', rate=40, duration=0.5, connections=4)")
    paths = [tmp_path / name for name in ("loads.json", "loads.csv", "loads.om", "loads.html")]
    run(suite, *(f"--load-report={path}" for path in paths)).assert_outcomes(passed=1)
    for path, part in zip(
        paths, ('"process": "shop.py"', "service_memory_bytes", "service_memory", "shop.py"), strict=True
    ):
        assert part in path.read_text(encoding="utf-8")
