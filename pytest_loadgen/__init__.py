"""Load tests in pytest, with figures you can trust in CI."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_loadgen.errors import (
        BaselineError,
        GeneratorError,
        InvalidRun,
        LoadError,
        PlanError,
        ReportError,
        ServiceError,
        SLOMissed,
    )
    from pytest_loadgen.figures.histogram import Histogram
    from pytest_loadgen.figures.interval import Interval
    from pytest_loadgen.figures.resources import Resources
    from pytest_loadgen.figures.result import Result
    from pytest_loadgen.generators.base import LoadGenerator, Running
    from pytest_loadgen.generators.command import Command
    from pytest_loadgen.generators.process import CommandOutput
    from pytest_loadgen.generators.timeline import Timeline
    from pytest_loadgen.objectives.capacity import Capacity
    from pytest_loadgen.objectives.comparison import ChangeEstimate
    from pytest_loadgen.objectives.judged import JudgedResult
    from pytest_loadgen.objectives.slo import SLO
    from pytest_loadgen.objectives.verdict import Verdict
    from pytest_loadgen.plugin.fixture import Load
    from pytest_loadgen.records.record import Record
    from pytest_loadgen.records.run import Run
    from pytest_loadgen.reports.formats import Report
    from pytest_loadgen.running.cross_check import CrossCheck
    from pytest_loadgen.service.serve import serve
    from pytest_loadgen.traffic.data import Data, each
    from pytest_loadgen.traffic.har import from_har
    from pytest_loadgen.traffic.journey import step
    from pytest_loadgen.traffic.options import Options
    from pytest_loadgen.traffic.plan import Plan, Stage, hold, ramp
    from pytest_loadgen.traffic.request import Request, delete, get, head, options, patch, post, put, request
    from pytest_loadgen.traffic.target import Target
    from pytest_loadgen.units import Change, Duration, NoAnswer, Rate, Share, Size

_MODULES = {
    "errors": (
        "BaselineError",
        "GeneratorError",
        "InvalidRun",
        "LoadError",
        "PlanError",
        "ReportError",
        "SLOMissed",
        "ServiceError",
    ),
    "figures.histogram": ("Histogram",),
    "figures.interval": ("Interval",),
    "figures.resources": ("Resources",),
    "figures.result": ("Result",),
    "generators.base": ("LoadGenerator", "Running"),
    "generators.command": ("Command",),
    "generators.process": ("CommandOutput",),
    "generators.timeline": ("Timeline",),
    "objectives.capacity": ("Capacity",),
    "objectives.comparison": ("ChangeEstimate",),
    "objectives.judged": ("JudgedResult",),
    "objectives.slo": ("SLO",),
    "objectives.verdict": ("Verdict",),
    "plugin.fixture": ("Load",),
    "records.record": ("Record",),
    "records.run": ("Run",),
    "reports.formats": ("Report",),
    "running.cross_check": ("CrossCheck",),
    "service.serve": ("serve",),
    "traffic.data": ("Data", "each"),
    "traffic.har": ("from_har",),
    "traffic.journey": ("step",),
    "traffic.options": ("Options",),
    "traffic.plan": ("Plan", "Stage", "hold", "ramp"),
    "traffic.request": (
        "Request",
        "delete",
        "get",
        "head",
        "options",
        "patch",
        "post",
        "put",
        "request",
    ),
    "traffic.target": ("Target",),
    "units": ("Change", "Duration", "NoAnswer", "Rate", "Share", "Size"),
}

__all__ = [
    "SLO",
    "BaselineError",
    "Capacity",
    "Change",
    "ChangeEstimate",
    "Command",
    "CommandOutput",
    "CrossCheck",
    "Data",
    "Duration",
    "GeneratorError",
    "Histogram",
    "Interval",
    "InvalidRun",
    "JudgedResult",
    "Load",
    "LoadError",
    "LoadGenerator",
    "NoAnswer",
    "Options",
    "Plan",
    "PlanError",
    "Rate",
    "Record",
    "Report",
    "ReportError",
    "Request",
    "Resources",
    "Result",
    "Run",
    "Running",
    "SLOMissed",
    "ServiceError",
    "Share",
    "Size",
    "Stage",
    "Target",
    "Timeline",
    "Verdict",
    "delete",
    "each",
    "from_har",
    "get",
    "head",
    "hold",
    "options",
    "patch",
    "post",
    "put",
    "ramp",
    "request",
    "serve",
    "step",
]


def __getattr__(name: str) -> object:
    # Imported on first use: every pytest session imports this package, and few of them run a load.
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
