"""A wrong option value in a mark or a profile stops the session at collection, before any load."""

from typing import Any

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.generators import built_in
from pytest_loadgen.generators.registry import Registry
from pytest_loadgen.plugin.order import check
from pytest_loadgen.traffic.options import Options

REGISTRY = Registry(built_in())

WRONG: list[tuple[str, Any]] = [
    ("rate", "fast"),
    ("rate", -1),
    ("rate", object()),
    ("stages", "30s"),
    ("stages", [5]),
    ("stages", []),
    ("duration", 0),
    ("duration", "5 parsecs"),
    ("duration", [5]),
    ("arrivals", "random"),
    ("arrivals", 5),
    ("connections", 0),
    ("connections", "ten"),
    ("connections", True),
    ("warmup", -1),
    ("warmup", "long"),
    ("timeout", 0),
    ("users", 0),
    ("users", "ten"),
    ("iterations", 0),
    ("iterations", 2.5),
    ("setup", 5),
    ("teardown", print),
    ("process", "no"),
    ("follow_redirects", 1),
    ("timeout", "inf"),
    ("expect", 999),
    ("expect", []),
    ("expect", 2.5),
    ("check", 5),
    ("check", ""),
    ("ready_timeout", -1),
    ("ready_timeout", "soon"),
    ("generator", "nope"),
    ("generator", ["nope", "nope"]),
    ("generator", ["embedded", "nope"]),
    ("generator", []),
    ("generator", 5),
    ("workers", "many"),
    ("workers", 0),
    ("workers", 1.5),
    ("workers", []),
    ("workers", ["one"]),
    ("workers", True),
    ("rounds", 0),
    ("rounds", "two"),
    ("rounds", True),
    ("against", 5),
    ("against", "/relative"),
    ("against", "gopher://old/"),
    ("slo", "p99 < 200"),
    ("slo", 5),
    ("slo", ["p99 < 200ms", 5]),
    ("max_duration", 0),
    ("max_duration", "forever"),
    ("stop_early", "yes"),
    ("abort_if", "errors > 50%"),
    ("abort_if", 5),
    ("method", "GET IT"),
    ("method", 5),
    ("params", 5),
    ("headers", "X-Key: 1"),
    ("headers", {"X-Key": "1\r\nX-More: 2"}),
    ("headers", {"X-Key": 5}),
    ("cookies", 5),
    ("content", 5),
    ("data", "a=1"),
    ("data", 5),
    ("files", 5),
    ("json", {1, 2}),
    ("json", float("nan")),
    ("auth", 5),
    ("auth", ("only-a-user",)),
    ("http2", "yes"),
    ("verify", 5),
    ("verify", object()),
    ("cert", 5),
    ("cert", (1, 2)),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_by_its_name(name: str, value: Any) -> None:
    """Before any load, with a message that names the option."""
    options: Any = {name: value}
    with pytest.raises(PlanError) as caught:
        check([options], [], REGISTRY)
    named = name, f"load generator {value!r}", "load generator 'nope'", "httpx cannot build this request", str(value)
    assert any(each in str(caught.value) for each in named)


def test_every_option_has_a_wrong_value_here() -> None:
    """A new option comes with what it refuses."""
    assert {name for name, _ in WRONG} == set(Options.__annotations__)


@pytest.mark.parametrize("mark", ["workers='many'", "rounds=0", "against=5", "generator=['nope', 'nope']"])
def test_a_mark_stops_the_session_at_collection(pytester: pytest.Pytester, mark: str) -> None:
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.load({mark})\ndef test_it(load): pass\ndef test_other(): pytest.fail('it ran')"
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *::test_it: *"])


def test_a_profile_stops_the_session_at_the_start(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml('[tool.pytest-loadgen.profiles.wrong]\nworkers = "many"\n')
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--load-profile=wrong")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: the profile 'wrong' in *pyproject.toml: workers='many': expected a whole number >= 1, *"]
    )
