"""What users see of objectives, in pytest sessions of their own, on a service that is well and one that is not."""

import threading
import time
from collections.abc import Callable

import pytest

from pytest_loadgen.figures import problems
from pytest_loadgen.objectives import caveats, gate, judgement
from pytest_loadgen.testing.service import Server
from tests import paper

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of tests whose load_target is the server; loads are small unless told otherwise.

    What a busy machine does to verdicts is in test_verdict.py: here it shall do nothing.
    """
    monkeypatch.setattr(problems, "LATE", 60)
    monkeypatch.setattr(caveats, "_ABOVE_MACHINE", 0)
    monkeypatch.setattr(judgement, "_TREND", 1000)
    pytester.makeini(f"[pytest]\nload_target = {server.url}\n")
    pytester.makepyprojecttoml('[tool.pytest-loadgen.profiles.small]\nrate = 100\nduration = "0.2s"\n')
    return pytester


def run(suite: pytest.Pytester, *args: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("--load-profile=small", "-p", "no:cacheprovider", *args)


def every(count: int, path: str) -> Callable[[str, int], str]:
    """Send every so many-th request elsewhere."""
    return lambda wanted, before: path if before % count == count - 1 else wanted


UNCLEAR = "unclear  errors < 5%              20 of 400  (90% sure of *% to *%; too close to the limit to decide)"

# The four outcomes; unclear is told and passes, or fails where that is asked for.


def test_objectives_by_name(suite: pytest.Pytester) -> None:
    """Of a mix, each request is judged on its own; a misspelt name is refused before anything is sent."""
    suite.makepyfile(
        test_a="""
        import pytest
        from pytest_loadgen.errors import PlanError
        from pytest_loadgen.traffic.request import get

        MIX = [get("/"), get("/delay/0.2", name="order", slo="p50 < 9s"), get("/503", name="broken")]

        @pytest.mark.slo("errors of broken == 0", "errors of GET / == 0", "first byte p50 of order > 100ms")
        def test_mixed(load):
            load(MIX, duration=4)

        def test_well(load):
            slo = ["p50 of order < 9s", "p90 of GET / < 9s", "errors < 50%"]
            result = load(MIX, duration=4, max_duration=4, slo=slo[1:])
            assert [str(verdict.slo) for verdict in result.verdicts] == slo
            assert all(result.verdicts)
            assert result["order"].judge("p50 > 100ms")
            assert result["order"].requests == result["broken"].requests

        def test_misspelt(load):
            with pytest.raises(PlanError, match="no request named 'odrer': did you mean 'order'"):
                load(MIX, slo="p99 of odrer < 1s")
        """
    )
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *missed   errors of broken == 0 *1??",
            "E *met      errors of GET / == 0 *0",
            "E *met      first byte p50 of order > 100ms *",
            "E *met      p50 of order < 9s *",
        ],
        consecutive=True,
    )


def test_met_passes_and_is_counted(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_a="""
        def test_well(load):
            result = load("/", duration=4, slo=["p99 < 9s", "errors < 5%", "rate > 50/s", "errors == 0"])
            assert [(str(verdict.slo), verdict.outcome) for verdict in result.verdicts] == [
                ("p99 < 9s", "met"), ("errors < 5%", "met"), ("rate > 50/s", "met"), ("errors == 0", "met")
            ]
            assert result.judge("p90 < 9s")
            assert result.judge("p90 < 1us").outcome == "missed"
            assert result.requests >= 400
        """
    )
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["test *request *errors *objectives", "test_a.py::test_well *GET / *[4-9]?? * 0 *4 met"]
    )


def test_missed_fails_at_the_users_line_with_the_table(suite: pytest.Pytester) -> None:
    """A service that is made slow misses its latency, and what it does not miss is told too."""
    suite.makepyfile(
        test_a="""
        import pytest

        @pytest.mark.slo("errors == 0", "p99 < 500ms")
        def test_slow(load):
            load("/delay/0.7", duration=4)
            raise AssertionError("not reached")
        """
    )
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       load("/delay/0.7", duration=4)',
            "E       pytest_loadgen.SLOMissed: <Result of embedded: * requests, *, p50 7*ms, p99 *, 0 errors>",
            "E         met      errors == 0              0",
            "E         missed   p99 < 500ms              *s  (95% sure of *s or more)",
            "test_a.py:5: SLOMissed",
            "test_a.py::test_slow *GET /delay/0.7 *[45]?? * 0 *1 missed, 1 met",
        ]
    )
    result.stdout.no_fnmatch_line("*fixture.py*")


def test_unclear_passes_and_is_told(suite: pytest.Pytester, server: Server) -> None:
    server.choose = every(20, "/503")
    suite.makepyfile(
        test_a="def test_near(load):\n    load('/', duration=4, max_duration=4, slo=['errors < 5%', 'errors > 0'])\n"
    )
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*1 unclear, 1 met", f"test_a.py::test_near: {UNCLEAR}"])


@pytest.mark.parametrize(
    ("choose", "slo", "missed"),
    [
        (every(10, "/503"), "errors == 0", "errors == 0              6"),
        (every(10, "/503"), "status 5xx < 5", "status 5xx < 5           6"),
        (every(10, "/reset"), "errors <= 5", "errors <= 5              6"),
        (every(10, "/delay/0.9"), "max < 500ms", "max < 500ms              9*ms"),
    ],
)
def test_a_flaky_service_misses(
    suite: pytest.Pytester, server: Server, choose: Callable[[str, int], str], slo: str, missed: str
) -> None:
    server.choose = choose
    suite.makepyfile(f"def test_flaky(load):\n    load('/', duration=0.6, slo={slo!r})\n")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E *missed   {missed}"])


def test_a_stalling_service_misses_for_all_who_wait(suite: pytest.Pytester, server: Server) -> None:
    """One pause of a second delays the requests that are due in it, whether they could be sent or not."""

    def choose(path: str, before: int) -> str:
        if before == 20:
            time.sleep(1)
        return path

    server.choose = choose
    suite.makepyfile(
        """
        def test_stalling(load):
            result = load("/", duration=2, connections=10)
            assert result.judge("max < 900ms").outcome == "missed"
            assert result.total.latency.over(0.1) > 60
            load("/", slo="max < 50s")
        """
    )
    run(suite).assert_outcomes(passed=1)


def test_a_service_that_dies_misses(suite: pytest.Pytester, server: Server) -> None:
    def choose(path: str, before: int) -> str:
        if before == 30:
            threading.Thread(target=server.die).start()
        return path

    server.choose = choose
    suite.makepyfile("def test_dying(load):\n    load('/', duration=1, slo='errors < 10')\n")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *SLOMissed: <Result of embedded: 100 requests, *", "E *missed   errors < 10 *"])


def test_a_burst_of_errors_misses_though_it_is_one(suite: pytest.Pytester, server: Server) -> None:
    """A service that was down for a second of four did not keep its promise, however seldom that may be."""
    server.choose = lambda path, before: "/503" if 200 <= before < 400 else path
    suite.makepyfile(
        "def test_down(load):\n    load('/', rate=200, duration=4, max_duration=4, slo='errors < 2% over any 4s')\n"
    )
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *missed   errors < 2% over any 4s  200 of 8?? *(200 of 8?? requests failed in this run; 2% is allowed)"]
    )


def test_a_service_that_hangs_is_to_blame_for_it(suite: pytest.Pytester, server: Server) -> None:
    """Requests that waited for a connection that a hung one held are the service's time-outs."""
    server.choose = lambda path, before: "/silent" if before >= 150 else path
    suite.makepyfile(
        "def test_hanging(load):\n"
        "    load('/', duration=4, max_duration=4, timeout=1, connections=20, slo=['p99 < 100ms', 'timeouts == 0'])\n"
    )
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *missed   p99 < 100ms *>1s *", "E *missed   timeouts == 0 *2??"])


def test_an_objective_that_no_load_was_judged_by_is_told(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_a="""
        import pytest

        @pytest.mark.slo("errors == 0")
        def test_idle(load):
            pass

        @pytest.mark.slo("errors == 0")
        def test_without_the_fixture():
            pass
        """
    )
    result = run(suite)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            f"test_a.py::{test}: has objectives, but no load was run."
            for test in ("test_idle", "test_without_the_fixture")
        ]
    )


# Where objectives are said.


def test_objectives_add_up(suite: pytest.Pytester, server: Server) -> None:
    suite.makeini(f"[pytest]\nload_target = {server.url}\nload_slo =\n    errors == 0\n    max < 91s\n")
    suite.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.slo("max < 92s")

        def said(result):
            return [str(verdict.slo) for verdict in result.verdicts]

        @pytest.mark.slo("max < 93s", "errors == 0")
        @pytest.mark.load(slo="max < 97s")
        class TestIt:
            @pytest.mark.slo("max < 94s")
            @pytest.mark.slo("max < 95s")
            def test_function(self, load):
                ini_and_marks = ["errors == 0", *(f"max < {n}s" for n in (91, 92, 93, 95, 94, 97))]
                ini_and_marks = sorted(ini_and_marks)
                assert sorted(said(load("/", slo="max < 96s"))) == sorted([*ini_and_marks, "max < 96s"])
                assert sorted(said(load("/"))) == ini_and_marks

        def test_module(load):
            assert said(load("/", slo=["max < 92s"])) == ["errors == 0", "max < 91s", "max < 92s"]
        """
    )
    run(suite, "--strict-markers").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("slo('p99 < 200')", "'p99 < 200': 200 needs a unit: did you mean p99 < 200ms?"),
        ("slo('errors == 0', 'eror < 1')", "'eror < 1': 'eror' is not a metric: did you mean 'errors'?"),
        ("slo('errors < baseline')", "'errors < baseline': errors cannot be compared with a baseline; *"),
        ("slo()", "the slo mark takes objectives, for example slo('p99 < 200ms', 'errors < 0.1%')"),
        ("slo(p99=5)", "the slo mark takes objectives, for example slo('p99 < 200ms', 'errors < 0.1%')"),
        ("load(slo='p99 = 1s')", "'p99 = 1s': '=' is not a comparison operator: write <, <=, > or >="),
        ("load(abort_if='errors > 1')", "abort_if='errors > 1': add a window of the last seconds, *"),
    ],
)  # fmt: skip
def test_a_typo_stops_at_collection(suite: pytest.Pytester, server: Server, mark: str, said: str) -> None:
    suite.makepyfile(
        test_a=f"""
        import pytest

        def test_first(load):
            load("/")

        @pytest.mark.{mark}
        def test_typo(load):
            load("/")
        """
    )
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: test_a.py::test_typo: {said}".replace("[", "[[]")])
    assert server.connections == 0


@pytest.mark.parametrize("args", [[], ["-n2"]])
def test_a_typo_in_the_ini_file_is_said_to_be_there(suite: pytest.Pytester, server: Server, args: list[str]) -> None:
    suite.makeini(f"[pytest]\nload_target = {server.url}\nload_slo = p99 < 200\n")
    suite.makepyfile("def test_it(load):\n    load('/')\n")
    result = run(suite, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: load_slo in the ini-file (one objective per line): 'p99 < 200': 200 needs *"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            "rate=10, duration=5, slo='p99 < 1s'",
            "'p99 < 1s' needs at least 299 requests *at 10/s, use duration='30s' or more",
        ),
        (
            "duration=1, slo='p50 < 1s'",
            "'p50 < 1s' needs at least 4s for a confidence interval; *: use duration='4s' or more",
        ),
        ("slo=5", "slo=*5*: expected an objective ('p99 < 200ms') or a list of them"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_any_request(
    suite: pytest.Pytester, server: Server, options: str, said: str
) -> None:
    suite.makepyfile(f"def test_small(load):\n    load('/', {options})\n")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">   *load('/', *", f"E *PlanError: {said}"])
    assert server.connections == 0


# How long it takes.


def test_a_wide_margin_ends_early_where_that_is_asked_for(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        def test_fast(load):
            result = load("/", rate=400, duration=12, slo="p99 < 9s")
            assert result.verdicts[0]
            assert 5.5 <= result.total.seconds < 11
        """
    )
    run(suite, "--load-stop-early").assert_outcomes(passed=1)


def test_a_hopeless_load_is_given_up(suite: pytest.Pytester, server: Server) -> None:
    server.choose = lambda path, before: path if before % 5 == 0 else "/503"
    suite.makepyfile(
        "def test_broken(load):\n    load('/', duration=60, abort_if='errors > 50% over last 4s', slo='max < 50s')\n"
    )
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            ">   *load('/', *",
            "E *SLOMissed: <Result of embedded: *>, aborted: errors > 50% over last 4s (3* of 4*)",
            "E *unclear  max < 50s * (* of requests failed, so their latency says little)",
        ]
    )


def test_a_load_that_nothing_answers_is_given_up(
    suite: pytest.Pytester, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "SILENCE", 3.0)
    server.choose = lambda path, before: path if before < 5 else "/silent"
    suite.makepyfile("def test_silent(load):\n    load('/', rate=20, duration=60, timeout=1)\n")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *SLOMissed: <Result of *>, aborted: no responses for 3s"])


# Under xdist.


def test_the_same_under_xdist(suite: pytest.Pytester, server: Server) -> None:
    server.choose = lambda path, before: "/503" if path != "/" and before % 20 == 10 else "/"
    suite.makeconftest(
        """
        import os
        import pytest_loadgen.figures.result

        if "PYTEST_XDIST_WORKER" in os.environ:  # as the fixture suite does it in this process
            pytest_loadgen.figures.result._LATE = 60
        """
    )
    suite.makepyfile(
        test_a="""
        import pytest

        pytestmark = pytest.mark.slo("max < 90s")

        def test_near(load):
            load("/flaky", duration=4, max_duration=4, slo="errors < 5%")

        @pytest.mark.slo("errors > 5")
        def test_missed(load):
            load("/", duration=0.1)

        @pytest.mark.slo("p99 < 200ms")
        def test_small(load):
            load("/", rate=1, duration=5)

        @pytest.mark.slo("errors == 0")
        def test_met(load):
            load("/", duration=0.1)
        """
    )
    result = run(suite, "-n2", "--load-strict")
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines_random(
        [
            f"E *{UNCLEAR.replace('20 of', '[12]? of')}",
            "E *missed   errors > 5               0",
            "E *PlanError: 'p99 < 200ms' needs at least 299 requests *",
            "test_a.py::test_near *GET /flaky *1 unclear, 1 met",
            "test_a.py::test_missed *GET / *1 missed, 1 met",
            "test_a.py::test_met *GET / *2 met",
            f"test_a.py::test_near: {UNCLEAR.replace('20 of', '[12]? of')}",
        ]
    )


# What a verdict rests on.


@pytest.mark.parametrize(
    ("option", "said", "unsaid"),
    [
        ("-q", [], ["*may not show*", "*count as*"]),
        (
            "-v",
            ["test_a.py::test_a: a run of 30s may not show *: stalls of 300ms, which would miss p99 < 200ms"],
            ["*count as*"],
        ),
        (
            "-vv",
            [
                "test_a.py::test_a: a run of 30s may not show *",
                "test_a.py::test_a: met      p99 < 200ms *(95% sure of 10ms or less); "
                "6,000 requests in 30 intervals count as 6,000 independent ones",
                "test_a.py::test_a: met      errors == 0 *0",
            ],
            [],
        ),
    ],
)
def test_verbose(pytester: pytest.Pytester, server: Server, option: str, said: list[str], unsaid: list[str]) -> None:
    """With -v the summary says what a load may not show, and with -vv what each verdict rests on."""
    options = "generator='paper', rate=200, duration=30, slo=['p99 < 200ms', 'errors == 0']"
    result = paper.run(paper.prepared(pytester, server, f"def test_a(load):\n    load('/', {options})\n"), option)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(said)
    for line in unsaid:
        result.stdout.no_fnmatch_line(line)
