"""How options are laid over one another: the nearest word counts, and no misspelt one gets through."""

from typing import Any

import pytest

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.options import Options, check, merge, plan_of
from pytest_loadgen.traffic.plan import Plan, hold
from pytest_loadgen.traffic.target import Target

STAGES = [hold(5, 1)]


@pytest.mark.parametrize(
    ("layers", "merged"),
    [
        ([], {}),
        ([{"rate": 1}, {"rate": 2}, {"rate": 3}], {"rate": 1}),
        ([{"rate": 1}, {"duration": 2}, {"rate": 3, "timeout": 4}], {"rate": 1, "duration": 2, "timeout": 4}),
        # Stages say rate and duration, and the other way round.
        ([{"stages": STAGES}, {"rate": 1, "duration": 2, "timeout": 3}], {"stages": STAGES, "timeout": 3}),
        ([{"rate": 1}, {"stages": STAGES}], {"rate": 1}),
        ([{"duration": 1}, {"stages": STAGES}, {"rate": 2}], {"duration": 1, "rate": 2}),
        ([{"stages": STAGES, "rate": 1}], {"stages": STAGES, "rate": 1}),
        # A request has one body.
        ([{"json": 1}, {"content": "2", "method": "PUT"}], {"json": 1, "method": "PUT"}),
        ([{"json": 1}, {"data": {}, "files": {}}], {"json": 1}),
        ([{"content": "1"}, {"json": 2, "data": {}}], {"content": "1"}),
        ([{"data": {}}, {"json": 1, "content": "2"}], {"data": {}}),
        ([{"files": {}}, {"json": 1}, {"data": {}}], {"files": {}, "data": {}}),
        # Headers are replaced as a whole, as every option is.
        ([{"headers": {"a": "1"}}, {"headers": {"b": "2"}}], {"headers": {"a": "1"}}),
    ],
)
def test_merging(layers: list[Options], merged: Options) -> None:
    """What is said nearer replaces what is said of the same further away, and the layers stay as they are."""
    before = [dict(layer) for layer in layers]
    assert merge(layers) == merged
    assert layers == before


@pytest.mark.parametrize(
    ("name", "proposal"),
    [
        ("durration", "did you mean 'duration'?"),
        ("arrival", "did you mean 'arrivals'?"),
        ("qqq", "choose from abort_if, against, arrivals, auth, cert, check, connections, content, cookies, data, "
         "duration, expect, files, follow_redirects, generator, headers, http2, iterations, json, max_duration, "
         "method, params, process, rate, ready_timeout, rounds, setup, slo, stages, stop_early, teardown, timeout, "
         "users, verify, warmup, workers."),
    ],
)  # fmt: skip
def test_unknown(name: str, proposal: str) -> None:
    """An option that does not exist is refused, and the nearest word, or all of them, proposed."""
    with pytest.raises(PlanError) as caught:
        check({"rate": 5, name: 1}, "load")
    assert str(caught.value) == f"load has no option {name!r}: {proposal}"


def test_known() -> None:
    """Options that exist pass as they are."""
    options: dict[str, Any] = dict.fromkeys(Options.__annotations__, 1)
    assert check(options, "load") == options


def test_planning() -> None:
    """Options go where they belong: to the plan, to the request, or to who shares the work or judges it."""
    options: Options = {"rate": 5, "duration": "2s", "json": {"x": 1}, "headers": {"X": "1"}, "workers": 2}
    options |= {"slo": "p99 < 1s", "max_duration": "9s", "stop_early": True, "abort_if": "errors > 9 over last 5s"}
    target = Target.of("http://localhost/", json={"x": 1}, headers={"X": "1"})
    assert plan_of("http://localhost/", options) == Plan.of(target, rate=5, duration=2)
    assert plan_of("http://localhost/", {}) == Plan.of(Target.of("http://localhost/"))
