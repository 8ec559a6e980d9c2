"""Choosing the generator: for all tests, for one, by configuration; and the hooks by which there are more."""

import sys
from pathlib import Path

import pytest

from pytest_loadgen.testing.service import Server
from tests.paper import CONFTEST, run

pytestmark = pytest.mark.filterwarnings("default")

# Three generators without a program or a network, which tell what they were asked for.
TOML = """
[tool.pytest-loadgen.profiles.small]
duration = "5s"

[tool.pytest-loadgen.generators.slow-paper]
use = "paper"
ms = 50
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server) -> pytest.Pytester:
    pytester.makeini(f"[pytest]\nload_target = {server.url}\nload_profile = small\n")
    pytester.makepyprojecttoml(TOML)
    pytester.makeconftest(CONFTEST)
    return pytester


def test_for_all_tests_or_one(suite: pytest.Pytester) -> None:
    """A call's choice comes before the mark's, this before the command line's, this before the ini-file's."""
    suite.makepyfile(
        """
        import pytest

        def test_all(load):
            assert load("/").generator == "paper"

        @pytest.mark.load(generator="slow-paper")
        def test_one(load):
            result = load("/")
            assert (result.generator, result.version) == ("slow-paper", "1.2")
            assert result.p50 > "49ms"
            assert load("/", generator="embedded", duration=0.1).generator == "embedded"

        @pytest.mark.parametrize("generator", ["paper", "slow-paper", "whole"])
        def test_each(load, generator):
            assert load("/", generator=generator).generator == generator
        """
    )
    run(suite, "--load-generator=paper").assert_outcomes(passed=5)
    result = run(suite, "-k", "all", "-o", "load_generator=slow-paper")
    result.stdout.fnmatch_lines(["E *AssertionError: assert 'slow-paper' == 'paper'"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--load-generator=papr"], "*test_it: unknown load generator 'papr': did you mean 'paper'?"),
        (["-o", "load_generator=papr"], "*test_it: unknown load generator 'papr': did you mean 'paper'?"),
        (["-k", "marked"], "*test_marked: unknown load generator 'fortoi': did you mean 'fortio'?"),
    ],
)
def test_a_misspelt_one_stops_at_collection(suite: pytest.Pytester, server: Server, args: list[str], said: str) -> None:
    suite.makepyfile(
        """
        import pytest

        def test_it(load):
            load("/")

        @pytest.mark.load(generator="fortoi")
        def test_marked(load):
            load("/")
        """
    )
    result = run(suite, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
    assert server.connections == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("generator='papr'", "PlanError: unknown load generator 'papr': did you mean 'paper'?"),
        (
            "generator='paper', rate='max'",
            "PlanError: paper cannot send as fast as the service responds (rate='max'): set a rate, *",
        ),
        (
            "generator='paper', arrivals='poisson'",
            "PlanError: paper cannot send at random moments (arrivals='poisson'): use arrivals='constant', or *",
        ),
        ("generator=5", "PlanError: generator=5: expected a name, or a list of different names"),
        ("generator=[]", "PlanError: generator=[[]]: expected a name, or a list of different names"),
        ("generator=[['paper']]", "PlanError: generator=*: expected a name, or a list of different names"),
        ("generator=['paper', 'paper']", "PlanError: generator=*: expected a name, or a list of different names"),
        ("generator='paper', rounds=0", "PlanError: rounds=0: expected a whole number >= 1"),
        (
            "generator='lost'",
            "GeneratorError: lost: '/nowhere/fortio' does not exist. Install it (https://fortio.org), *",
        ),
    ],
)
def test_what_cannot_be_is_said_before_any_load(
    suite: pytest.Pytester, server: Server, options: str, said: str
) -> None:
    suite.makepyprojecttoml(
        f"{TOML}\n[tool.pytest-loadgen.generators.lost]\nuse = 'fortio'\nprogram = '/nowhere/fortio'\n"
    )
    suite.makepyfile(f"def test_it(load):\n    load('/', {options})\n")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       load('/', *", f"E *{said}"])
    assert server.connections == 0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("use = 'papr'", "[tool.pytest-loadgen.generators.mine]: use = 'papr': did you mean 'paper'?"),
        ("", "[tool.pytest-loadgen.generators.mine]: use = 'mine': choose from *"),
        ("use = 'paper'\nmss = 1", "[tool.pytest-loadgen.generators.mine] has no 'mss': did you mean 'ms'?"),
        ("use = 'paper'\nms = 'x'", "[tool.pytest-loadgen.generators.mine]: ms is of type str; expected an integer"),
        ("use = 'paper'\nms = true", "[tool.pytest-loadgen.generators.mine]: ms is of type bool; expected an integer"),
        ("use = 'paper'\nwords = 'x'", "[tool.*.mine]: words is of type str; expected a list of strings"),
        ("use = 'paper'\nwords = ['x', 1]", "[tool.*.mine]: words[1] is of type int; expected a list of strings"),
        ("use = ['fortio']", "[tool.pytest-loadgen.generators.mine]: use = ['fortio']: did you mean 'fortio'?"),
        (
            "use = 'fortio'\nenv = {TOKEN = 'geheim', A = 1}",
            "[tool.pytest-loadgen.generators.mine]: env.A is of type int; expected a table of strings",
        ),
        ("use = 'embedded'\nms = 1", "[tool.pytest-loadgen.generators.mine] has no 'ms': choose from use."),
    ],
)
def test_a_wrong_configuration_stops_at_collection(suite: pytest.Pytester, table: str, said: str) -> None:
    suite.makepyprojecttoml(f"{TOML}\n[tool.pytest-loadgen.generators.mine]\n{table}\n")
    suite.makepyfile("def test_it(load):\n    load('/')\n")
    result = run(suite, "--load-generator=paper")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *test_it: {said}".replace("[", "[[]")])


def test_a_configured_program_is_meant_from_its_configuration(suite: pytest.Pytester) -> None:
    """A path in pyproject.toml is relative to it, wherever pytest is called."""
    program = suite.path / "bin" / "mine"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nprint('9.8.7')\n")
    program.chmod(0o755)
    suite.makepyprojecttoml(f"{TOML}\n[tool.pytest-loadgen.generators.fortio]\nprogram = 'bin/mine'\n")
    result = suite.run(sys.executable, "-m", "pytest_loadgen", "generators")
    result.stdout.fnmatch_lines([f"fortio *{program} *9.8.7 *scheduled *"])


def test_two_of_a_name_are_refused(suite: pytest.Pytester) -> None:
    suite.makeconftest(CONFTEST.replace("return [Paper(), Whole()]", "return [Paper(), Paper()]"))
    suite.makepyfile("def test_it(load):\n    load('/')\n")
    result = run(suite)
    result.stdout.fnmatch_lines(
        ["E *PlanError: two load generators are named 'paper': conftest.Paper and conftest.Paper"]
    )


# In rounds, and by turns.


def test_what_tells_only_at_its_end_goes_on_in_rounds(suite: pytest.Pytester) -> None:
    """A load by a generator that is not live goes on, and has batches, by rounds."""
    suite.makepyfile(
        """
        def test_once(load):
            result = load("/", generator="whole", slo="p90 < 1s")
            assert [interval.start for interval in result.intervals] == [0, 5, 10]
            assert result.verdicts[0].outcome == "unclear"
            assert result.verdicts[0].remark.startswith("only 3 intervals; at least 4 are needed")
            assert result.verdicts[0].remark.endswith(": use rounds=4 or more")

        def test_in_rounds(load):
            result = load("/", generator="whole", rounds=4, duration="8s", slo="p90 < 1s")
            assert [each.start for each in result.intervals] == [0, 2, 4, 6]
            assert {each.seconds for each in result.intervals} == {2}
            assert result.verdicts[0]
            assert result.requests == 800
        """
    )
    run(suite).assert_outcomes(passed=2)


def test_several_by_turns(suite: pytest.Pytester) -> None:
    """Each has a result, its objectives are judged, and where two differ is said."""
    suite.makepyfile(
        test_a="""
        def test_they_agree(load):
            results = load("/", generator=["paper", "whole"], slo="max < 20ms")
            assert list(results) == ["paper", "whole"]
            assert results.disagreements == ()
            assert [result.requests for result in results.values()] == [500, 500]
            assert all(result.verdicts for result in results.values())

        def test_they_do_not(load):
            results = load("/", generator=["paper", "slow-paper"])
            assert "paper and slow-paper disagree on p99: 10ms and 50ms" in results.disagreements

        def test_one_misses(load):
            load("/", generator=["paper", "slow-paper"], slo="max < 20ms")
        """
    )
    result = run(suite)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       load("/", generator=["paper", "slow-paper"], slo="max < 20ms")',
            "E *SLOMissed: <Result of slow-paper: 500 requests, *",
            "test_a.py::test_they_do_not: paper and slow-paper disagree on p50: 10ms and 50ms",
        ]
    )


# The other hooks.


def test_a_hook_changes_plans_and_another_is_told_of_runs(suite: pytest.Pytester) -> None:
    suite.makeconftest(
        f"""{CONFTEST}
from dataclasses import replace

def pytest_loadgen_plan(item, plan):
    return plan.between(0, 2) if item.name == "test_short" else None

def pytest_loadgen_finished(item, run):
    with open("told", "a") as told:
        told.write(f"{{item.name}} {{run.result.requests}}\\n")
"""
    )
    suite.makepyfile(
        """
        def test_short(load):
            assert load("/", generator="paper").requests == 200

        def test_long(load):
            assert load("/", generator="paper").requests == 500
        """
    )
    run(suite).assert_outcomes(passed=2)
    assert Path(suite.path / "told").read_text() == "test_short 200\ntest_long 500\n"
