"""Load tests in pytest, with figures you can trust in CI."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_loadgen.crosscheck import CrossCheck
    from pytest_loadgen.errors import GeneratorError, InvalidRun, LoadError, PlanError, ServiceError, SLOMissed
    from pytest_loadgen.fixture import Load
    from pytest_loadgen.generators.base import LoadGenerator
    from pytest_loadgen.generators.command import Command
    from pytest_loadgen.generators.process import Output
    from pytest_loadgen.generators.timeline import Timeline
    from pytest_loadgen.histogram import Histogram
    from pytest_loadgen.judged import JudgedResult
    from pytest_loadgen.plan import Plan, Stage, hold, ramp
    from pytest_loadgen.result import Interval, Result
    from pytest_loadgen.target import Target
    from pytest_loadgen.units import Duration, Rate, Share
from pytest_loadgen.verdict import Verdict

__all__ = [
    "Command",
    "CrossCheck",
    "Duration",
    "GeneratorError",
    "Histogram",
    "Interval",
    "InvalidRun",
    "JudgedResult",
    "Load",
    "LoadError",
    "LoadGenerator",
    "Output",
    "Plan",
    "PlanError",
    "Rate",
    "Result",
    "SLOMissed",
    "ServiceError",
    "Share",
    "Stage",
    "Target",
    "Timeline",
    "Verdict",
    "hold",
    "ramp",
]

_HOMES = {
    "errors": ("GeneratorError", "InvalidRun", "LoadError", "PlanError", "SLOMissed", "ServiceError"),
    "crosscheck": ("CrossCheck",),
    "fixture": ("Load",),
    "generators.base": ("LoadGenerator",),
    "generators.command": ("Command",),
    "generators.process": ("Output",),
    "generators.timeline": ("Timeline",),
    "histogram": ("Histogram",),
    "plan": ("Plan", "Stage", "hold", "ramp"),
    "result": ("Interval", "Result"),
    "target": ("Target",),
    "units": ("Duration", "Rate", "Share"),
    "judged": ("JudgedResult",),
    "verdict": ("Verdict",),
}


def __getattr__(name: str) -> object:
    # Imported when asked for: every pytest session imports this package, few of them load.
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
