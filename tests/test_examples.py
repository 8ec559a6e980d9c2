"""The examples run as the README says."""

import re
import subprocess
import sys
from importlib import metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen import CommandOutput
from pytest_loadgen.traffic.options import plan_of

ROOT = Path(__file__).parent.parent


def test_the_first_command_of_the_readme_reports_five_loads() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "examples", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert len(set(re.findall(r"^examples/test_shop.py::(\w+) +\w", done.stdout, re.MULTILINE))) == 5


def test_an_example_that_is_not_installed_is_skipped(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason for the skip names the command that installs it."""
    found = metadata.distributions
    monkeypatch.setattr(metadata, "distributions", lambda **only: [] if only else found())
    pytester.makepyfile(test_hey=(ROOT / "examples" / "own_generator" / "test_hey.py").read_text())
    result = pytester.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *: pip install examples/own_generator"])


@pytest.fixture
def hey() -> Any:
    """Load the generator of the example, whether it is installed or not."""
    spec = spec_from_file_location("hey", ROOT / "examples" / "own_generator" / "pytest_loadgen_hey.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Hey()


@pytest.mark.parametrize(
    ("rate", "connections", "arguments"),
    [
        (100, 10, ["-n", "100", "-c", "10", "-q", "10.0"]),
        (101, 10, ["-n", "102", "-c", "6", "-q", "17.0"]),
        (7, 4, ["-n", "8", "-c", "4", "-q", "2.0"]),
        (2, 10, ["-n", "2", "-c", "2", "-q", "1.0"]),
        (1, 10, ["-n", "1", "-c", "1", "-q", "1.0"]),
    ],
)
def test_hey_shares_a_load_among_workers(hey: Any, rate: int, connections: int, arguments: list[str]) -> None:
    """The load is divided among at least half as many workers as connections, with few extra requests."""
    asked = plan_of("http://127.0.0.1:9/", {"rate": rate, "duration": 1, "connections": connections})
    assert hey.argv(asked)[:6] == arguments


def test_hey_may_report_more_requests_than_planned(hey: Any) -> None:
    asked = plan_of("http://127.0.0.1:9/", {"rate": 2, "duration": 1})
    output = "response-time,offset,status-code\n" + "0.1,0.2,200\n" * 3
    assert [dict(each.outcomes) for each in hey.parse(CommandOutput(output, "", 0, 1.0, 0.1, ROOT), asked)] == [
        {"200": 3},
        {"failed": 0},
    ]
