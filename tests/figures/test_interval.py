"""A figure of an interval is declared once; everything that carries intervals knows it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

import pytest

import pytest_loadgen
from pytest_loadgen.figures.interval import FIGURES, TOTAL, UTILIZATION, Interval, NamedFigures
from tests.builders.figures import histogram, resources

ROOT = files(pytest_loadgen)


def schema() -> set[str]:
    document = json.loads(ROOT.joinpath("records", "schema.json").read_text(encoding="utf-8"))
    found = document["$defs"]["interval"]
    assert set(found["required"]) == set(found["properties"])
    return set(found["properties"])


def proto() -> set[str]:
    text = ROOT.joinpath("generators", "loadgen.proto").read_text(encoding="utf-8")
    body = re.search(r"^message Interval \{(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    assert body
    return set(re.findall(r"^\s+[\w<>, ]+ (\w+) = \d+;", body[1], re.MULTILINE))


@pytest.mark.parametrize("names", [schema(), proto() | {"service"}, set(Interval.__dataclass_fields__)])
def test_everyone_knows_the_figures(names: set[str]) -> None:
    """The JSON schema, the messages of other programs and the interval have the same figures.

    What the service used, only the test process finds out.
    """
    assert names == {"start", "seconds", *FIGURES, "reasons"}
    assert [name for name, figure in FIGURES.items() if not figure.of_generator] == ["service"]


FIRST: Mapping[str, Any] = {
    "latency": histogram(0.01),
    "service_time": histogram(0.008),
    "outcomes": {"200": 1, "timeout": 2},
    "lag": histogram(0.001, 0.001, 0.001),
    "cpu": 0.2,
    "throttled": 0.25,
    "stalled": 0.2,
    "received": 100,
    "connections": 5,
    "retried": 1,
    "never_sent": 2,
    "unseen": 3,
    "first_byte": histogram(0.005),
    "names": {"a": NamedFigures(outcomes={"200": 1}), "b": NamedFigures(received=3)},
    "service": resources(1.0),
}
SECOND: Mapping[str, Any] = {
    "latency": histogram(0.02),
    "service_time": histogram(0.02),
    "outcomes": {"200": 1},
    "lag": histogram(0.002),
    "cpu": 0.8,
    "throttled": 0.5,
    "stalled": 0.8,
    "received": 10,
    "connections": 3,
    "retried": 0,
    "never_sent": 0,
    "unseen": 4,
    "first_byte": histogram(0.02),
    "names": {"a": NamedFigures(outcomes={"200": 2}), "c": NamedFigures(histogram(0.02))},
}
SUMS: Mapping[str, Any] = {
    "latency": histogram(0.01, 0.02),
    "service_time": histogram(0.008, 0.02),
    "outcomes": {"200": 2, "timeout": 2},
    "lag": histogram(0.001, 0.001, 0.001, 0.002),
    "connections": 8,
    "throttled": 0.75,
    "stalled": 1.0,
    "received": 110,
    "retried": 1,
    "never_sent": 2,
    "unseen": 7,
    "first_byte": histogram(0.005, 0.02),
    "names": {
        "a": NamedFigures(outcomes={"200": 3}),
        "b": NamedFigures(received=3),
        "c": NamedFigures(histogram(0.02)),
    },
    "service": resources(1.0),  # one of the workers samples it
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_add_up(name: str) -> None:
    """Each figure is a sum, but for the CPU and stalls, the most of any worker; the CPU, an average over time; and
    connections, the most at any time."""
    one, other = Interval(0, 1, **FIRST), Interval(1, 3, **SECOND)
    parallel, sequence = Interval.merge_parallel([one, other]), Interval.concatenate([one, other])
    assert getattr(parallel, name) == (0.8 if name in {"cpu", "stalled"} else SUMS[name])
    assert getattr(sequence, name) == {"cpu": pytest.approx(0.65), "connections": 5}.get(name, SUMS.get(name))


def test_what_is_not_known_adds_nothing() -> None:
    """The connections of workers that do not know theirs are left out; of nobody who knows, none are known."""
    one, other = Interval(0, 1, connections=5), Interval(0, 1)
    assert (one + other).connections == 5
    assert Interval.concatenate([other, one]).connections == 5
    assert (other + other).connections is None
    assert Interval.from_dict(other.as_dict()).connections is None


@pytest.mark.parametrize("name", ["start", "seconds", *FIGURES])
def test_figures_as_json(name: str) -> None:
    """Each figure comes out of JSON as it went in; one that is missing, or no number, is an error."""
    interval = Interval(0, 1, **FIRST)
    data = json.loads(json.dumps(interval.as_dict()))
    assert getattr(Interval.from_dict(data), name) == getattr(interval, name)
    with pytest.raises(KeyError, match=name):
        Interval.from_dict({key: value for key, value in data.items() if key != name})
    for wrong in (-1, True, "1"):
        broken = {"200": wrong} if name in {"outcomes", "names"} else wrong
        with pytest.raises((ValueError, TypeError, AttributeError)):
            Interval.from_dict({**data, name: broken})
    assert Interval.from_dict({**data, "of_a_later_version": 1}) == interval


@dataclass(frozen=True)
class Sampled(Interval):
    """An interval with two more figures."""

    memory: float = field(default=0.0, metadata=UTILIZATION)
    allocations: int = field(default=0, metadata=TOTAL)


def test_a_new_figure_is_one_declaration() -> None:
    """A figure adds up and is written from its declaration alone."""
    one, other = Sampled(0, 1, memory=0.5, allocations=3), Sampled(1, 1, memory=0.7, allocations=4)
    whole = Sampled.concatenate([one, other])
    assert whole.memory == pytest.approx(0.6)
    assert whole.allocations == 7
    assert (one + other) == replace(Sampled(0, 1), memory=0.7, allocations=7)
    assert Sampled.from_dict(one.as_dict()) == one


def test_the_first_reason_of_each_kind_is_kept() -> None:
    one, other = Interval(0, 1, reasons={"tls": "a"}), Interval(1, 1, reasons={"tls": "b", "protocol": "c"})
    for merge in (Interval.merge_parallel, Interval.concatenate):
        assert merge([one, other]).reasons == {"tls": "a", "protocol": "c"}


def test_reasons_are_kept() -> None:
    """JSON has the reasons; those of one name are not those of another."""
    figures = {name: NamedFigures(outcomes={"503": 1}) for name in ("a", "b (a)")}
    one = Interval(0, 1, outcomes={"503": 2}, names=figures, reasons={"503": "its body is empty (b (a))", "tls": "cut"})
    assert Interval.from_dict(json.loads(json.dumps(one.as_dict()))).reasons == one.reasons
    assert one.of("b (a)").reasons == one.reasons
    assert one.of("a").reasons == {"tls": "cut"}
