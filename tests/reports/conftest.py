import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_loadgen.figures.histogram import Histogram

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a report with the file of its name; with LOADGEN_GOLDEN=1 in the environment, write that file anew."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("LOADGEN_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        kept = path.read_text(encoding="utf-8")
        if text != kept:
            assert _decoded(text) == _decoded(kept)

    return compare


def _decoded(text: str) -> str:
    """Show what is in histograms: what compresses them is not the same everywhere."""
    return re.sub(r"HIST[\w+/=]+", lambda match: repr(Histogram.decode(match[0]).counts), text)
