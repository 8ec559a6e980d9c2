"""What users see of reports: on the command line, in JUnit's file, in GitHub's pages; and of Meshery's files."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pytest_loadgen.testing.service import Server
from tests.paper import CONFTEST, prepared, run

pytestmark = pytest.mark.filterwarnings("default")

TESTS = """
import pytest

@pytest.mark.slo("max < 20s", "status 200 < 10")
def test_missed(load):
    load("/tea?key=geheim-1", generator="paper", duration=4, headers={"Authorization": "Bearer geheim-2"})

def test_well(load):
    load("/", generator="paper", duration=4)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server) -> pytest.Pytester:
    return prepared(pytester, server, TESTS)


@pytest.mark.parametrize("args", [[], ["-n2"]])
def test_reports_are_written(suite: pytest.Pytester, args: list[str]) -> None:
    """Each form that is asked for, where it is asked for, with all runs whoever made them, and no secret."""
    result = run(suite, "--load-report=out/r.json", "--load-report=r.md", "--load-report=r.fortio.json", *args)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["report: *out/r.json", "report: *r.md", "report: *r.1.fortio.json, *r.2.fortio.json"])
    text = Path(suite.path / "out" / "r.json").read_text()
    runs = json.loads(text)["runs"]
    assert {run["test"] for run in runs} == {"test_a.py::test_missed", "test_a.py::test_well"}
    assert all(run["date"] for run in runs)
    written = [path.read_text() for path in [*suite.path.glob("r.*"), suite.path / "out" / "r.json"]]
    assert len(written) == 4
    assert not any("geheim" in text for text in written)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("r.htm", "ERROR: --load-report r.htm: unknown file extension: did you mean '.html'?"),
        ("r", "ERROR: --load-report r: unknown file extension: choose from *"),
    ],
)
def test_an_unknown_report_format_stops_before_any_load(suite: pytest.Pytester, path: str, said: str) -> None:
    result = run(suite, f"--load-report={path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])


def test_what_cannot_be_written_is_said_and_fails(suite: pytest.Pytester) -> None:
    """The others are written all the same."""
    (suite.path / "file").write_text("")
    result = run(suite, "--load-report=file/r.md", "--load-report=r.md", "-k", "well")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["--load-report: cannot write *file/r.md: *", "report: *r.md"])


@pytest.mark.parametrize("path", ["loop.md", "a.broken"])
def test_what_goes_wrong_with_one_keeps_none_from_being_written(suite: pytest.Pytester, path: str) -> None:
    """Neither a path that leads nowhere nor a form with a fault."""
    (suite.path / "loop.md").symlink_to("loop.md")
    suite.makeconftest(
        f"""{CONFTEST}
def pytest_loadgen_reports():
    from pytest_loadgen.reports.formats import Report
    return {{".broken": Report(lambda record: 1 / 0)}}
"""
    )
    result = run(suite, f"--load-report={path}", "--load-report=r.md", "-k", "well")
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"--load-report*{path}*", "report: *r.md"])


def test_what_goes_wrong_elsewhere_keeps_none_from_being_written(suite: pytest.Pytester) -> None:
    """Another plugin that fails at the end of the session."""
    suite.makeconftest(f"{CONFTEST}\ndef pytest_sessionfinish():\n    raise OSError('a full disk')\n")
    assert run(suite, "--load-report=r.md", "-k", "well").ret != 0
    assert (suite.path / "r.md").exists()


def test_a_hook_adds_a_report_format(suite: pytest.Pytester) -> None:
    suite.makeconftest(
        f"""{CONFTEST}
from pytest_loadgen.reports.formats import Report

def pytest_loadgen_reports():
    return {{".count": Report(lambda record: f"{{len(record.runs)}} loads")}}
"""
    )
    run(suite, "--load-report=r.count")
    assert Path(suite.path / "r.count").read_text() == "2 loads"


def test_a_summary_that_cannot_be_written_is_reported(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path))
    result = run(suite, "-k", "well")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"GITHUB_STEP_SUMMARY: cannot write {suite.path}: *"])


def test_junit_has_the_figures(suite: pytest.Pytester) -> None:
    run(suite, "--junitxml=junit.xml")
    cases = ElementTree.parse(suite.path / "junit.xml").getroot().iter("testcase")  # our own
    found = {
        case.get("name"): {each.get("name"): each.get("value") for each in case.iter("property")} for case in cases
    }
    assert found["test_well"] == {"requests": "400", "rate": "100/s", "p50": "10ms", "p99": "10ms", "error_rate": "0%"}
    assert found["test_missed"]["slo: max < 20s"] == "met 10ms"
    assert found["test_missed"]["slo: status 200 < 10"] == "missed 400"


def test_github_shows_what_is_missed(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the test's line, and in the step's summary; elsewhere nothing is printed for it."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    result = run(suite)
    result.stdout.fnmatch_lines(
        ["::error file=test_a.py,line=3,title=Objective missed::test_a.py::test_missed: missed *"]
    )
    assert "| test_a.py::test_well |" in Path(suite.path / "summary.md").read_text()
    monkeypatch.delenv("GITHUB_ACTIONS")
    run(suite).stdout.no_fnmatch_line("::*")


def test_meshery(suite: pytest.Pytester, server: Server) -> None:
    """A profile becomes a load; what is not carried out is told."""
    profile = {
        "endpoints": [f"{server.url}/tea", "http://b"],
        "qps": 50,
        "duration": "200ms",
        "loadGenerators": ["no-such"],
        "metadata": {"ca_certificate": {"file": "PEM"}},
    }
    (suite.path / "profile.json").write_text(json.dumps(profile))
    suite.makepyfile(
        test_a="""
        import os

        def test_profile(load):
            url, options = load.from_meshery("profile.json")
            assert open(options.pop("verify")).read() == "PEM"
            result = load(url, **options, expect=404)
            assert result.requests == 10
        """
    )
    server.choose = lambda path, before: "/404"
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "test_a.py::test_profile: profile.json: only the first of 2 endpoints is used.",
            "test_a.py::test_profile: profile.json: unknown load generator 'no-such'; using the default.",
        ]
    )
