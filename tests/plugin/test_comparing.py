"""What users see of comparisons: baselines on the command line, two services side by side."""

import json
from pathlib import Path

import pytest

from pytest_loadgen.testing.service import Server
from tests.paper import CONFTEST, prepared, run

pytestmark = pytest.mark.filterwarnings("default")

TESTS = """
import pytest

def test_it(load):
    result = load("/", generator="paper", duration=6, slo=["p50 < baseline + 10%", "errors == 0"])
    assert result.requests in (600, 1800)

def test_twice(load):
    load("/", generator="paper", duration=6)
    load("/", generator="paper", duration=6, slo="p99 < baseline + 10%")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server) -> pytest.Pytester:
    return prepared(pytester, server, TESTS)


def test_a_baseline_is_kept_and_compared_with(suite: pytest.Pytester) -> None:
    result = run(suite, "--load-save=main")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["saved as 'main': *.loadgen/*/main.json"])
    result = run(suite, "--load-compare=main", "--load-strict")
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*unclear*")
    suite.makeconftest(CONFTEST.replace("ms = 10", "ms = 15"))
    result = run(suite, "--load-compare=main")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E *missed   p50 < baseline + 10%     10ms → 15ms, +50%  (95% sure of +3*% or more; p50 +50%, "
            "p99 +50%; 1 kept run, so runs are assumed to differ by 3%: save 4 more)",
            "E *met      errors == 0 *",
        ]
    )


MIXED = """
from pytest_loadgen.figures.interval import NamedFigures

class Mixed(Paper):
    name = "mixed"
    features = Paper.features | {"mix", "names"}
    slower = 1

    def run(self, plan):
        for second in range(int(plan.duration)):
            names = {}
            for request in plan.mix:
                latency = Histogram()
                latency.record(0.01 * (self.slower if request.name == "order" else 1), 50)
                names[request.name] = NamedFigures(latency, latency, {"200": 50})
            whole = Histogram.sum([figures.latency for figures in names.values()])
            yield Interval(second, 1, whole, whole, {"200": 50 * len(names)}, names=names)
"""
MIX = """
from pytest_loadgen import get

def test_mix(load):
    shop = [get("/", name="home"), get("/o", name="order")]
    load(shop, generator="mixed", duration=6, slo=["p50 of order < baseline + 10%", "p50 of home < baseline + 10%"])
"""


def test_a_mix_is_compared_by_name(suite: pytest.Pytester) -> None:
    """With a saved baseline; if a request is new, the message says so, and nothing is compared."""
    with_mix = CONFTEST.replace("Whole()]", "Whole(), Mixed()]") + MIXED
    suite.makeconftest(with_mix)
    suite.makepyfile(test_a=MIX)
    run(suite, "--load-save=main").assert_outcomes(passed=1)
    run(suite, "--load-compare=main", "--load-strict").assert_outcomes(passed=1)
    suite.makeconftest(with_mix.replace("slower = 1", "slower = 2"))
    result = run(suite, "--load-compare=main")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *missed   p50 of order < baseline + 10% *+100%  (95% sure of +*% or more; p50 +100%, p99 +100%; 1 *)",
            "E *met      p50 of home < baseline + 10%  *(95% sure of *% or less; 1 kept run, *)",
        ]
    )
    suite.makepyfile(test_a=MIX.replace('name="order")', 'name="order"), get("/new", weight=2)'))
    result = run(suite, "--load-compare=main")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*test_mix: unclear  p50 of order < baseline + 10% *(the baseline 'main' is of a different load "
            "(request was http mix of 2 requests, now http mix of 3 requests, GET /new is new): "
            "replace it with --load-save=main)"
        ]
    )


HISTORY = """
def test_it(load):
    load("/", generator="paper", duration=6, slo="p50 < baseline + 10%")
"""


def kept(suite: pytest.Pytester) -> int:
    """Count the runs that are kept."""
    (path,) = Path(suite.path).glob(".loadgen/*/main.json")
    return len(json.loads(path.read_text())["runs"])


def loaded(suite: pytest.Pytester, ms: float, *args: str) -> pytest.RunResult:
    """Load a service with this latency."""
    suite.makeconftest(CONFTEST.replace("ms = 10", f"ms = {ms}"))
    return run(suite, "--load-save=main", *args)


def test_several_runs_are_kept(suite: pytest.Pytester) -> None:
    """A run is compared with those before it, and not with itself; those that miss are not kept."""
    suite.makepyfile(test_a=HISTORY)
    compared = "--load-compare=main"
    loaded(suite, 10, compared).stdout.fnmatch_lines(["*(there is no baseline 'main' yet: create it with *"])
    for number, ms in enumerate((10.1, 9.9, 10, 10.05, 9.95), 2):
        loaded(suite, ms, compared).assert_outcomes(passed=1)
        assert kept(suite) == number
    result = loaded(suite, 12, compared)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *missed   p50 < baseline + 10%     10ms → 12ms, +20%  (95% sure of +1*% or more; *"]
    )
    assert kept(suite) == 6


def test_a_step_in_the_kept_runs(suite: pytest.Pytester) -> None:
    """Runs from before an intended change are left out; the verdict says so, and the report shows them."""
    suite.makepyfile(test_a=HISTORY)
    for ms in (10, 10.1, 9.9, 10, 13, 13.1, 12.9):
        loaded(suite, ms).assert_outcomes(passed=1)
    result = run(suite, "--load-compare=main", "--load-report=r.json", "--load-report=r.html")
    result.assert_outcomes(passed=1)
    result = loaded(suite, 16, "--load-compare=main")
    said = "E *missed *13ms → 16ms, +23.1% *; 4 older runs left out: p50 changed by +30% at an unknown commit (*)"
    result.stdout.fnmatch_lines([said])
    (report,) = json.loads((suite.path / "r.json").read_text())["runs"]
    assert len(report["kept"]) == 7
    assert report["kept"][-1]["result"]["plan"] == report["baseline"]["plan"]
    assert (suite.path / "r.html").read_text().count("(left out)") == 4


def test_how_many_runs_are_kept(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_a=HISTORY)
    for ms in (10, 11, 12, 13):
        loaded(suite, ms, "-o", "load_keep=3")
    assert kept(suite) == 3
    for wrong in ("0", "51", "many"):
        result = run(suite, "-o", f"load_keep={wrong}")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: load_keep={wrong} in the ini-file: expected a whole number from 1 to 50"])


def test_without_a_baseline_it_is_unclear_and_said_what_to_do(suite: pytest.Pytester) -> None:
    """It neither passes for good nor fails; and the load does not go on for it."""
    result = run(suite)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "test_a.py::test_it *600 *1 unclear, 1 met",
            "test_a.py::test_it: unclear  p50 < baseline + 10%     -  (there is no baseline: use *",
        ]
    )
    result = run(suite, "--load-compare=main")
    result.stdout.fnmatch_lines(["*(there is no baseline 'main' yet: create it with --load-save=main)"])
    run(suite, "--load-compare=main", "--load-strict").assert_outcomes(failed=2)


NEEDS = "E *BaselineError: GET /: {} needs a baseline (--load-require-baseline): {}"


def test_a_baseline_that_has_to_be_there(suite: pytest.Pytester, server: Server) -> None:
    """A test whose load has none fails before anything is sent, and says what to do.

    Without --load-compare, a load without such an objective needs none; a service side by side is one.
    """
    suite.makepyfile(
        test_a=f"""
        def test_it(load):
            load("/", generator="paper", duration=4, slo=["errors == 0", "rate > baseline - 10%"])

        def test_plain(load):
            load("/", generator="paper", duration=4)

        def test_side_by_side(load):
            load("/", rate=60, duration=0.5, against="{server.url}")
        """
    )
    saved = "-k", "not side_by_side"
    result = run(suite, "--load-require-baseline", *saved)
    result.assert_outcomes(failed=1, passed=1)
    absent = NEEDS.format("rate > baseline - 10%", "there is no baseline: use --load-compare NAME, or against=")
    result.stdout.fnmatch_lines([">*load(*", absent])
    result.stdout.no_fnmatch_line("test_a.py::test_it * GET / *")
    result = run(suite, "--load-require-baseline", "--load-compare=main")
    result.assert_outcomes(failed=2, passed=1)
    absent = "there is no baseline 'main' yet: create it with --load-save=main"
    result.stdout.fnmatch_lines([NEEDS.format("rate > baseline - 10%", absent), NEEDS.format("--load-compare", absent)])
    run(suite, "--load-save=main", *saved).assert_outcomes(passed=2)
    run(suite, "--load-require-baseline", "--load-compare=main", *saved).assert_outcomes(passed=2)


@pytest.mark.parametrize("option", ["--load-save", "--load-compare"])
def test_what_is_no_name_is_said_so(suite: pytest.Pytester, option: str) -> None:
    result = run(suite, f"{option}=../x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: '../x' is not a valid baseline name: *"])


def test_a_corrupt_baseline_is_an_error_at_the_users_line(suite: pytest.Pytester) -> None:
    run(suite, "--load-save=main")
    (path,) = Path(suite.path).glob(".loadgen/*/main.json")
    path.write_text("{")
    result = run(suite, "--load-compare=main")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ['>*load("/", generator=*', "E *BaselineError: *main.json is not a valid record of loads *"]
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--load-save=main", "--load-storage=file"], "*cannot write to *file: *"),
        (["--load-save=main", "--load-storage=tea://x"], "*--load-storage: cannot use tea://x: *"),
        (["--load-compare=main", "--load-storage=tea://x"], "*--load-storage: cannot use tea://x: *"),
    ],
)
def test_where_nothing_can_be_kept_nothing_is_loaded(suite: pytest.Pytester, args: list[str], said: str) -> None:
    (suite.path / "file").write_text("")
    result = run(suite, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    result.stdout.no_fnmatch_line("*GET /*")


def test_what_others_cannot_be_compared_with_is_not_kept(suite: pytest.Pytester) -> None:
    """A load that failed is no baseline, and it is said so."""
    suite.makepyfile(test_a="def test_it(load):\n    load('/503', rate=20, duration=0.5)\n")
    result = run(suite, "--load-save=main")
    said = "--load-save main: nothing saved: 1 load failed."
    result.stdout.fnmatch_lines([said])
    assert not list(Path(suite.path).glob(".loadgen/*/main.json"))


def test_a_dead_service_to_compare_with_does_not_pass(suite: pytest.Pytester) -> None:
    """To be faster than what does not answer is easy."""
    with Server() as old:
        old.choose = lambda path, before: "/503"
        suite.makepyfile(
            test_a=f"def test_it(load):\n    load('/', duration=2, against='{old.url}', slo='p50 < baseline + 500%')\n"
        )
        result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *ServiceError: GET / of * (against=): all * requests failed: * × 503. *"])


def test_under_xdist_all_workers_runs_are_kept(suite: pytest.Pytester) -> None:
    result = run(suite, "-n2", "--load-save=main")
    result.assert_outcomes(passed=2)
    assert len(list(Path(suite.path).glob(".loadgen/*/main.json"))) == 1
    result = run(suite, "-n2", "--load-compare=main", "--load-strict")
    result.assert_outcomes(passed=2)


def test_two_services_side_by_side(suite: pytest.Pytester, server: Server) -> None:
    """Each has its share of the pairs, and the one is judged by the other."""
    with Server() as old:
        server.choose = lambda path, before: "/delay/0.03"
        old.choose = lambda path, before: "/delay/0.015"
        suite.makepyfile(
            test_a=f"""
            def test_new(load):
                load("/tea", rate=50, duration=3, against="{old.url}", slo="p50 < baseline + 10%")

            def test_decided_here(load):
                result = load("/tea", rate=50, duration=3, against="{old.url}")
                change = result.change("p50")
                assert 1 < change.low <= change.estimate <= change.high
                assert result.against.requests == result.requests
                assert result.against.p50 < result.p50
                assert len(result.intervals) == len(result.against.intervals) == 15
                assert result.requests == 150
            """
        )
        result = run(suite)
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["E *missed   p50 < baseline + 10% *(95% sure of +*% or more; p50 +*"])
        result.stdout.fnmatch_lines(["test_a.py::test_new  *", "test_a.py::test_new, against  *"])
        assert old.requests["/delay/0.015"] >= 300
        assert server.requests["/delay/0.03"] >= 300


def test_the_requested_number_of_requests(suite: pytest.Pytester) -> None:
    """Slices add up to the plan, also where a twelfth of it has no end in nanoseconds."""
    with Server() as old:
        suite.makepyfile(
            test_a=f"""
            def test_new(load):
                result = load("/", rate=60, duration=1, against="{old.url}")
                assert result.requests == result.against.requests == 60
            """
        )
        run(suite).assert_outcomes(passed=1)


def test_a_mix_side_by_side(suite: pytest.Pytester, server: Server) -> None:
    """Both services get the whole mix, and each request is compared with the same one of the other."""
    with Server() as old:
        suite.makepyfile(
            test_a=f"""
            from pytest_loadgen.traffic.request import get

            def test_new(load):
                result = load(
                    [get("/delay/0.03", name="order"), get("/", name="home")], rate=50, duration=3, against="{old.url}",
                )
                assert result.against["order"].requests == result["order"].requests == 75
                assert result["order"].against.p50 > "30ms"
            """
        )
        run(suite).assert_outcomes(passed=1)
        for each in (old, server):
            # And some to warm up.
            assert min(each.requests["/delay/0.03"], each.requests["/"]) >= 75


def test_of_itself(suite: pytest.Pytester) -> None:
    """How far a comparison can be trusted is found out by comparing a service with itself."""
    run(suite, "--load-save=main")
    result = run(suite, "--load-compare=main", "--load-self-compare=3", "-k", "test_it")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["test_a.py::test_it: p50 < baseline + 10%, the service compared with itself: missed in 0 of 3 *; a change *"]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("against='/x'", "PlanError: against='/x': expected the address of the other service ('http://old:8000')"),
        ("against=5", "PlanError: against=5: expected the address *"),
        (
            "against='http://127.0.0.1:1', ready_timeout=0",
            "ServiceError: http://127.0.0.1:1 does not accept connections: *",
        ),
        (
            "against='http://1.1.1.1'",
            "NotAllowedError: 1.1.1.1 (1.1.1.1) is neither this machine nor in a private network, *",
        ),
        (
            "against='http://127.0.0.1:1', generator=['paper', 'whole']",
            "PlanError: against= compares two services with one *",
        ),
    ],
)
def test_what_cannot_be_compared_with_is_said(suite: pytest.Pytester, options: str, said: str) -> None:
    suite.makepyfile(test_a=f"def test_it(load):\n    load('/', duration=0.5, {options})\n")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E *{said}"])
