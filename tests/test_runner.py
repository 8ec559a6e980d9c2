"""What is promised of running a plan."""

from collections.abc import Generator

import pytest

from pytest_loadgen import runner
from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.histogram import Histogram
from pytest_loadgen.options import plan_of
from pytest_loadgen.plan import Plan
from pytest_loadgen.result import Interval
from pytest_loadgen.testing.service import Server


class Miscounting(LoadGenerator):
    name = "miscounting"
    features = frozenset({"http", "rate"})

    def __init__(self, outcomes: dict[str, int], unsent: int) -> None:
        self._outcomes, self._unsent = outcomes, unsent

    def run(self, plan: Plan) -> Generator[Interval]:
        yield Interval(0.0, 1.0, Histogram(), Histogram(), self._outcomes, unsent=self._unsent)


@pytest.mark.parametrize(
    ("outcomes", "unsent", "said"),
    [({"failed": -3}, 0, "told of -3 failed"), ({"timeout": 2}, -1, "told of -1 unsent")],
)
def test_counts_below_zero_are_refused(server: Server, outcomes: dict[str, int], unsent: int, said: str) -> None:
    """From any generator, which is named."""
    with pytest.raises(GeneratorError, match=f"^miscounting: {said}$"):
        runner.run(plan_of(server.url, {"rate": 1, "duration": 1}), Miscounting(outcomes, unsent))
