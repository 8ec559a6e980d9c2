"""What counts of a test that fails, or is carried out again: its last attempt, and no baseline unless it passed."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pytest_loadgen.testing.service import Server
from tests.paper import CONFTEST, prepared, run

pytestmark = pytest.mark.filterwarnings("default")

# As pytest-rerunfailures does: the outcome of what is repeated is "rerun", and what follows of it is not logged.
REPEATING = (
    CONFTEST
    + """
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    for attempt in range(2):
        item._initrequest()
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            again = report.failed and not attempt
            if again:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
            if again:
                break
        else:
            return True
"""
)
FLAKY = """
attempts = 0

def test_flaky(load):
    global attempts
    attempts += 1
    load("/", generator="paper", rate=100 * attempts, duration=4, slo=f"status 200 >= 800")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server) -> pytest.Pytester:
    return prepared(pytester, server, FLAKY)


def saved(suite: pytest.Pytester) -> dict[str, int]:
    """Give the requests of the loads that were kept, by the names of their tests."""
    (path,) = Path(suite.path).glob(".loadgen/*/main.json")
    runs = json.loads(path.read_text())["runs"]
    return {
        run["test"].partition("::")[2]: sum(
            sum(interval["outcomes"].values()) for interval in run["result"]["intervals"]
        )
        for run in runs
    }


def outcomes(suite: pytest.Pytester) -> dict[str, str]:
    """Give what the tests came to, by their names, as the report r.json has it."""
    runs = json.loads((suite.path / "r.json").read_text())["runs"]
    return {run["test"].partition("::")[2]: run["outcome"] for run in runs}


@pytest.mark.parametrize("args", [[], ["-n1"]])
def test_of_repeated_tests_the_last_attempt_counts(suite: pytest.Pytester, args: list[str]) -> None:
    """In the summary, the baseline, reports and JUnit."""
    suite.makeconftest(REPEATING)
    result = run(suite, "--load-save=main", "--load-report=r.json", "--junitxml=junit.xml", *args)
    assert outcomes(suite) == {"test_flaky": "passed"}
    result.stdout.fnmatch_lines(["test_a.py::test_flaky * 800 *"])
    result.stdout.no_fnmatch_line("test_a.py::test_flaky * 400 *")
    assert saved(suite) == {"test_flaky": 800}
    assert len(json.loads((suite.path / "r.json").read_text())["runs"]) == 1
    *_, case = ElementTree.parse(suite.path / "junit.xml").getroot().iter("testcase")
    names = [str(each.get("name")) for each in case.iter("property")]
    assert sorted(names) == sorted(set(names))
    assert "p50" in names


MANY = """
import pytest
from pytest_loadgen import get

OPTIONS = dict(generator="mixed", duration=1, slo=["errors == 0", "status 503 == 0"])
attempts = []

@pytest.fixture(scope="module")
def of_module(load_session):
    load_session("/", **OPTIONS)
    return load_session("/", **OPTIONS)

@pytest.fixture
def around(load):
    load("/", **OPTIONS)
    yield
    load("/", **OPTIONS)

def test_fixtures(of_module, around, load):
    load("/", **OPTIONS)

def test_again(of_module, around): pass

def test_same_request(load):
    load("/", **OPTIONS)
    load("/", **OPTIONS)

def test_names(load):
    mix = [get("/", name=name) for name in ("a: b", "a", "b", "slo: errors == 0", "p50", "1 GET /: p50")]
    load(mix, **OPTIONS)
    load(mix, **OPTIONS)

def test_repeated(load, around):
    attempts.append(load("/", **OPTIONS))
    assert len(attempts) > 1
"""


@pytest.mark.parametrize("args", [[], ["-n1"]])
def test_no_two_properties_of_a_test_case_have_one_name(suite: pytest.Pytester, args: list[str]) -> None:
    """Whichever loads it has, in the test, in fixtures before and after it, and in the attempts of it that fail."""
    mixed = (
        REPEATING.replace("Whole()]", "Whole(), Mixed()]")
        + """
from pytest_loadgen.figures.interval import NamedFigures

class Mixed(Paper):
    name = "mixed"
    features = Paper.features | {"mix", "names"}

    def run(self, plan):
        for interval in super().run(plan):
            figures = NamedFigures(interval.latency, interval.latency, interval.outcomes)
            yield replace(interval, names={request.name: figures for request in plan.mix})
"""
    ).replace("import pytest", "from dataclasses import replace\nimport pytest", 1)
    suite.makeconftest(mixed)
    suite.makepyfile(test_a=MANY)
    run(suite, "--junitxml=junit.xml", *args).stdout.fnmatch_lines(["*5 passed, 1 rerun*"])
    loads = {}
    for case in ElementTree.parse(suite.path / "junit.xml").getroot().iter("testcase"):
        names = [str(each.get("name")) for each in case.iter("property")]
        assert sorted(names) == sorted(set(names))
        loads[case.get("name")] = sum(name.endswith("GET /: p50") or name.endswith("requests: p50") for name in names)
    once = {"test_fixtures": 5, "test_again": 2, "test_same_request": 2, "test_names": 2, "test_repeated": 3}
    assert loads == once


def test_the_load_of_a_modules_fixture_is_kept(suite: pytest.Pytester) -> None:
    """When the test is repeated, the fixture is still set up, and its load counts."""
    suite.makeconftest(REPEATING)
    suite.makepyfile(
        test_a="""
        import pytest
        attempts = []

        @pytest.fixture(scope="module")
        def result(load_session):
            return load_session("/", generator="paper", rate=100, duration=4)

        def test_flaky(result):
            attempts.append(result)
            assert len(attempts) > 1

        def test_other(result): pass
        """
    )
    run(suite, "--load-save=main")
    assert saved(suite) == {"test_flaky": 400}


@pytest.mark.parametrize("args", [[], ["-n2"]])
def test_what_failed_is_no_baseline(suite: pytest.Pytester, args: list[str]) -> None:
    """Whatever failed, in whichever phase, and whoever ran it; the summary says why, and reports have the outcome."""
    suite.makepyfile(
        test_a="""
        import pytest

        OPTIONS = dict(generator="paper", duration=4)

        @pytest.fixture
        def spoilt():
            yield
            raise OSError("a full disk")

        def test_missed(load):
            with pytest.raises(AssertionError):
                load("/", **OPTIONS, slo="status 200 < 10")

        def test_plain_assert(load):
            assert load("/", **OPTIONS).p50 < "1ms"

        def test_teardown(load, spoilt):
            load("/", **OPTIONS)

        @pytest.mark.xfail
        def test_expected(load):
            load("/", **OPTIONS)
            assert False

        def test_skipped(load):
            load("/", **OPTIONS)
            pytest.skip("no licence")

        def test_well(load):
            load("/", **OPTIONS)
        """
    )
    result = run(suite, "--load-save=main", "--load-report=r.json", *args)
    assert saved(suite) == {"test_well": 400}
    assert outcomes(suite) == {
        "test_missed": "passed",
        "test_plain_assert": "failed",
        "test_teardown": "error",
        "test_expected": "skipped",
        "test_skipped": "skipped",
        "test_well": "passed",
    }
    result.stdout.fnmatch_lines(["saved as 'main': *; not saved: *"])
    result.stdout.fnmatch_lines(["*1 load missed an objective*"])
    result.stdout.fnmatch_lines(["*4 loads of a test that did not pass*"])


def test_a_change_that_is_unclear_is_kept(suite: pytest.Pytester) -> None:
    """If only the fast runs were kept, they would differ less than runs do."""
    suite.makepyfile(
        test_a="""
        def test_it(load):
            load("/", generator="paper", duration=6, slo="p50 < baseline + 49.999%")
        """
    )
    run(suite, "--load-save=main").assert_outcomes(passed=1)
    suite.makeconftest(
        CONFTEST.replace("latency.record(self.ms / 1000, ", "latency.record((12, 18)[second % 2] / 1000, ")
    )
    result = run(suite, "--load-save=main", "--load-compare=main")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["saved as 'main': *main.json", "*1 kept run, so runs are assumed to differ by 3%: *"])
    (path,) = Path(suite.path).glob(".loadgen/*/main.json")
    assert len(json.loads(path.read_text())["runs"]) == 2


def test_what_a_report_carries_can_be_marshalled(suite: pytest.Pytester) -> None:
    """By plugins that run a test in another process, such as pytest-forked."""
    suite.makeconftest(
        CONFTEST
        + """
import marshal

def pytest_runtest_logreport(report):
    if report.when == "call":
        marshal.dumps({**vars(report), "longrepr": None})
        assert "loadgen" in vars(report)
"""
    )
    run(suite, "-k", "flaky").assert_outcomes(failed=1)


STRICT = """
import pytest

pytestmark = pytest.mark.slo("errors == 0")

def test_idle(load):
    pass

def test_swallowed(load):
    with pytest.raises(Exception):
        load("/", generator="paper", rate=-1)

@pytest.mark.slo("errors == 0")
def test_without_the_fixture():
    pass

@pytest.mark.skip
def test_skipped(load):
    pass

def test_plain():
    pass

def test_loads(load):
    load("/", generator="paper", duration=4)

@pytest.fixture
def after(load):
    yield
    load("/", generator="paper", duration=4)

def test_after(after):
    pass
"""


@pytest.mark.parametrize("args", [[], ["-n2"]])
def test_strictly_an_objective_has_to_be_judged(suite: pytest.Pytester, args: list[str]) -> None:
    suite.makepyfile(test_a=STRICT)
    run(suite, *args).assert_outcomes(passed=6, skipped=1)
    result = run(suite, "--load-strict", *args)
    result.assert_outcomes(passed=3, failed=3, skipped=1)
    result.stdout.fnmatch_lines(
        ["test_a.py::test_idle: has objectives, but no load was run. This fails because of --load-strict."]
    )
    result.stdout.fnmatch_lines(
        ["test_a.py::test_swallowed: has objectives, but no load was judged. This fails because of --load-strict."]
    )
