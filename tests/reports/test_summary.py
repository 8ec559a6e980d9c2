"""Remarks: what a reader of the figures has to know."""

from dataclasses import replace
from typing import Any

import pytest

from pytest_loadgen.reports.summary import remarks
from tests.builders.figures import interval, result
from tests.builders.traffic import plan


@pytest.mark.parametrize(
    ("outcomes", "expect", "said"),
    [
        ({"302": 100}, None, ["all responses were redirects (100 × 302); load the address that they lead to."]),
        ({"301": 60, "302": 40}, None, ["all responses were redirects (60 × 301, 40 × 302); load the address *"]),
        ({"3xx": 100}, None, ["all responses were redirects (100 × 3xx); load the address *"]),
        ({"302": 99, "200": 1}, None, []),
        ({"302": 100}, 302, []),
        ({}, None, []),
    ],
)
def test_redirects(outcomes: dict[str, int], expect: Any, said: list[str]) -> None:
    """A load of nothing but redirects says so, unless that is what was expected."""
    found = [each for each in remarks(result(interval(outcomes), plan=plan(expect=expect))) if "redirects" in each]
    assert len(found) == len(said)
    assert all(each.startswith(start.rstrip("*")) for each, start in zip(found, said, strict=True))


def test_a_load_that_went_on() -> None:
    """A load that lasted longer than planned says what for."""
    longer = replace(result(interval({"200": 100})), went_on="was extended to 15s while p99 < 1s was unclear")
    assert remarks(longer) == ["the load was extended to 15s while p99 < 1s was unclear."]
