"""The live line: how far a load is, also when it is extended."""

import io
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_loadgen.plugin.progress import LiveLine
from pytest_loadgen.units import Duration
from tests.builders.figures import interval
from tests.builders.traffic import plan


@pytest.mark.parametrize(
    ("start", "seconds", "shown"),
    [
        (0, 1, " 1/5s 100/s"),
        (4, 1, ""),  # its end
        (5, 0, ""),  # late responses
        (5, 1, " extended, 6/15s 100/s"),
        (14, 1, ""),
    ],
)
def test_extended(start: int, seconds: int, shown: str) -> None:
    """A load that is extended says so, and how long it may last."""
    file = io.StringIO()
    writer = SimpleNamespace(_file=file, fullwidth=120, width_of_current_line=0, flush=file.flush)
    reporter: Any = SimpleNamespace(_tw=writer)
    line = LiveLine(reporter, None, plan(duration=5), Duration(15))
    line.show(interval({"200": 100}, start=start, seconds=seconds))
    assert shown in file.getvalue()
    assert bool(shown) == bool(file.getvalue())
