"""The calibration: what is typical of this machine, and not one hiccup."""

from collections.abc import Generator

import pytest

from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.running.calibration import calibrate
from tests.builders.figures import histogram


class Scripted(LoadGenerator):
    """Reports one latency, in ms, for each part of the calibration; the last one from then on."""

    name = "scripted"
    features = frozenset({"http", "rate"})
    remote = True

    def __init__(self, *latencies: float) -> None:
        self._latencies = list(latencies)
        self.parts = 0

    def run(self, plan: object) -> Generator[Interval]:
        took = self._latencies[min(self.parts, len(self._latencies) - 1)] / 1000
        self.parts += 1
        latency = histogram(*[0.0001] * 38, took, took)
        yield Interval(0, 0.1, latency, latency, {"200": 40}, lag=latency)


@pytest.mark.parametrize("hiccup", range(5))
def test_one_hiccup_is_not_the_machine(hiccup: int) -> None:
    """A delay in one part of the calibration does not count for the session."""
    generator = Scripted(*(40 if part == hiccup else 1 for part in range(5)), 1)
    machine = calibrate(generator)
    assert machine.p99 == pytest.approx(0.001, rel=0.01)
    assert generator.parts == 5
    assert machine.jitter == pytest.approx(0.001, rel=0.01)


def test_a_machine_that_looks_bad_is_looked_at_again() -> None:
    """Disturbed at first, a machine is what it is most of the time; one that stays slow is slow."""
    generator = Scripted(40, 40, 40, 40, 1)
    assert calibrate(generator).p99 == pytest.approx(0.001, rel=0.01)
    assert generator.parts == 10
    assert calibrate(Scripted(40)).p99 == pytest.approx(0.04, rel=0.01)
