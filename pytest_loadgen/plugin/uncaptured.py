"""Writing past pytest's capture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.capture import CaptureManager


@contextmanager
def uncaptured(capture: CaptureManager | None) -> Iterator[None]:
    """Let what is written be seen at once; then the output goes where it went before, for example to a doctest."""
    if capture is None:
        yield
        return
    before = sys.stdout, sys.stderr
    try:
        with capture.global_and_fixture_disabled():
            yield
    finally:
        sys.stdout, sys.stderr = before
