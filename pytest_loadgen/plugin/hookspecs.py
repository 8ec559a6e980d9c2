"""The hooks: what any pytest plugin or conftest.py may define, by these names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_loadgen.generators.base import LoadGenerator
    from pytest_loadgen.records.run import Run
    from pytest_loadgen.reports.formats import Report
    from pytest_loadgen.traffic.plan import Plan


@pytest.hookspec
def pytest_loadgen_generators() -> Iterable[LoadGenerator]:  # type: ignore[empty-body]
    """Give load generators that tests can choose by their names.

    Called once a session, when the first is chosen.
    """


@pytest.hookspec(firstresult=True)
def pytest_loadgen_plan(item: pytest.Item, plan: Plan) -> Plan | None:
    """Give another plan for a load of a test, before it is looked at any further; or None to leave it."""


@pytest.hookspec
def pytest_loadgen_finished(item: pytest.Item, run: Run) -> None:
    """Take what came of a load, in the process that ran the test; what is raised fails the test."""


@pytest.hookspec
def pytest_loadgen_reports() -> Mapping[str, Report]:  # type: ignore[empty-body]
    """Give reports by the ending of the path that --load-report names, with its dot."""
