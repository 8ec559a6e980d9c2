"""The hooks that a pytest plugin or conftest.py can implement."""

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
    """Give load generators that tests can choose by name.

    Called once per session, when the first is chosen.
    """


@pytest.hookspec(firstresult=True)
def pytest_loadgen_plan(item: pytest.Item, plan: Plan) -> Plan | None:
    """Give another plan for a load of a test, before it is checked and sent; or None to keep it."""


@pytest.hookspec
def pytest_loadgen_finished(item: pytest.Item, run: Run) -> None:
    """Take the run of a load, in the process that ran the test; an exception fails the test."""


@pytest.hookspec
def pytest_loadgen_reports() -> Mapping[str, Report]:  # type: ignore[empty-body]
    """Give report formats by the file extension of --load-report, with its dot."""
