"""What is promised of running a plan."""

from collections.abc import Generator

import pytest

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.running import runner
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import Plan


class Miscounting(LoadGenerator):
    name = "miscounting"
    features = frozenset({"http", "rate"})

    def __init__(self, outcomes: dict[str, int], never_sent: int) -> None:
        self._outcomes, self._unsent = outcomes, never_sent

    def run(self, plan: Plan) -> Generator[Interval]:
        yield Interval(0.0, 1.0, Histogram(), Histogram(), self._outcomes, never_sent=self._unsent)


@pytest.mark.parametrize(
    ("outcomes", "never_sent", "said"),
    [({"failed": -3}, 0, "reported -3 failed"), ({"timeout": 2}, -1, "reported -1 never_sent")],
)
def test_counts_below_zero_are_refused(server: Server, outcomes: dict[str, int], never_sent: int, said: str) -> None:
    """From any generator, which is named."""
    with pytest.raises(GeneratorError, match=f"^miscounting: {said}$"):
        runner.run(plan_of(server.url, {"rate": 1, "duration": 1}), Miscounting(outcomes, never_sent))
