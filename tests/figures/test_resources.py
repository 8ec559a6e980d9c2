"""What a service used: how it adds up, and which limit it was at."""

from dataclasses import replace

import pytest

from pytest_loadgen.figures.resources import Resources
from pytest_loadgen.units import Share, Size

ONE = Resources("uvicorn", 0.5, 2, 0.5, Size("100MB"), 4, 20, Share(0.1), 0.0)
OTHER = Resources("uvicorn (2 processes)", 1.5, 2, 1.0, Size("80MB"), 8, 10, Share(0.2), 0.5)


def test_one_process_samples() -> None:
    """Of workers that load the service together, one has its figures."""
    assert Resources.of_one([None, ONE, None]) is ONE
    assert Resources.of_one([None]) is None


def test_over_time() -> None:
    """CPU is an average over time, memory and the like are the most, and throttling adds up."""
    found = Resources.over_time([ONE, None, OTHER], [1, 5, 3])
    assert found == Resources("uvicorn (2 processes)", 1.25, 2, 0.875, Size("100MB"), 8, 20, Share(0.2), 0.5)
    assert Resources.over_time([None, ONE], [1, 0]) is ONE
    assert Resources.over_time([None], [1]) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"cpu": 0.99, "busiest": 0.99}, "the service used 99% of one core: it is CPU-bound."),
        ({"cpu": 0.99, "busiest": 0.99, "cores": 1}, "the service used 99% of one core: it is CPU-bound."),
        ({"cpu": 1.3, "busiest": 0.97}, "the busiest process of the service used 97% of one core: it is CPU-bound."),
        ({"cpu": 1.3, "busiest": 1.3}, ""),
        ({"cpu": 1.95, "busiest": 1.0}, "the service used 98% of its 2 cores: it is CPU-bound."),
        (
            {"cpu": 0.49, "busiest": 0.4, "cores": 0.5},
            "the service used 98% of the 0.5 cores that it may use: it is CPU-bound.",
        ),
        ({"throttled": 3.1}, "the service was at its CPU limit: its container's CPU limit stopped it for 3.1s."),
        ({"throttled": 0.4}, ""),
        ({"throttled": 31}, "the service was at its CPU limit: its container's CPU limit stopped it for 10s."),
        (
            {"files_share": Share(0.96)},
            "the service had 96% of the files open that it may open: raise its limit (ulimit -n).",
        ),
        (
            {"process": "the test process", "cpu": 1.0, "busiest": 1.0},
            "the test process used 100% of one core: it is CPU-bound.",
        ),
    ],
)
def test_limits(changes: dict[str, float], said: str) -> None:
    """A service that is at a limit is found to be, in ten seconds."""
    assert replace(ONE, **changes).limit(10) == said  # type: ignore[arg-type]
