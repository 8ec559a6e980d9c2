import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_loadgen.figures.histogram import Histogram

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a report with the file of that name; with LOADGEN_GOLDEN=1 in the environment, write the file instead."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("LOADGEN_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        expected = path.read_text(encoding="utf-8")
        if text != expected:
            assert _decoded(text) == _decoded(expected)

    return compare


def _decoded(text: str) -> str:
    """Show the content of histograms: zlib does not compress the same everywhere."""
    return re.sub(r"HIST[\w+/=]+", lambda match: repr(Histogram.decode(match[0]).counts), text)
