"""A load generator that sends nothing, for suites that are about something else."""

import pytest

from pytest_loadgen.testing.service import Server

CONFTEST = """
import pytest
from pytest_loadgen import Histogram, Interval
from pytest_loadgen.generators.base import LoadGenerator

class Paper(LoadGenerator):
    name = "paper"
    features = frozenset({"http", "rate"})
    settings = {"ms": int, "words": list}
    ms = 10
    words = ()

    def version(self):
        return "1.2"

    def run(self, plan):
        for second in range(int(plan.duration)):
            latency = Histogram()
            latency.record(self.ms / 1000, int(plan.rate))
            yield Interval(second, 1, latency, latency, {"200": int(plan.rate)})

class Whole(Paper):
    name = "whole"
    streams_intervals = False

    def run(self, plan):
        intervals = list(super().run(plan))
        yield Interval.concatenate(intervals)

def pytest_loadgen_generators():
    return [Paper(), Whole()]
"""


def prepared(pytester: pytest.Pytester, server: Server, tests: str) -> pytest.Pytester:
    """Give a suite of these tests, which can be loaded by it."""
    pytester.makeini(f"[pytest]\nload_target = {server.url}\n")
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(test_a=tests)
    return pytester


def run(suite: pytest.Pytester, *args: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("-p", "no:cacheprovider", *args)
