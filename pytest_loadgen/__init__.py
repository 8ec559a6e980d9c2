"""Load tests in pytest, with figures you can trust in CI."""

from pytest_loadgen.errors import GeneratorError, LoadError, PlanError, ServiceError
from pytest_loadgen.fixture import Load
from pytest_loadgen.histogram import Histogram
from pytest_loadgen.plan import Plan, Stage, hold, ramp
from pytest_loadgen.result import Interval, Result
from pytest_loadgen.target import Target
from pytest_loadgen.units import Duration, Rate, Share

__all__ = [
    "Duration",
    "GeneratorError",
    "Histogram",
    "Interval",
    "Load",
    "LoadError",
    "Plan",
    "PlanError",
    "Rate",
    "Result",
    "ServiceError",
    "Share",
    "Stage",
    "Target",
    "hold",
    "ramp",
]
