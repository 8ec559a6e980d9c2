"""What can go wrong, as a tree.

LoadError
├── PlanError        the load asked for is impossible or misspelt (also a ValueError)
├── GeneratorError   the load generator could not do its work
├── InvalidRun       it could not do it well enough to judge the service by
├── BaselineError    what was kept of earlier runs cannot be read or written
├── ReportError      a report cannot be made or written
└── ServiceError     there is no service to load
SLOMissed            the service misses an objective (an AssertionError)
"""


class LoadError(Exception):
    """A load test could not be carried out."""


class PlanError(LoadError, ValueError):
    """The load that was asked for is impossible or misspelt; nothing was sent."""


class GeneratorError(LoadError):
    """The load generator could not do its work; this says nothing about the service."""


class InvalidRun(LoadError):  # noqa: N818  # a finding, as in the summary
    """The generator was the limit, so the figures are not the service's; neither good nor bad."""


class BaselineError(LoadError):
    """What was kept of earlier runs cannot be read or written."""


class ReportError(LoadError):
    """A report cannot be made or written; the runs themselves are sound."""


class SLOMissed(AssertionError):  # noqa: N818  # a finding, as in the summary
    """The service misses an objective."""


class ServiceError(LoadError):
    """The service cannot be loaded: not allowed, not found, or not accepting connections."""


# pytest prints an exception with its module: users know these by the package.
for _error in (
    LoadError,
    PlanError,
    GeneratorError,
    InvalidRun,
    BaselineError,
    ReportError,
    ServiceError,
    SLOMissed,
):
    _error.__module__ = "pytest_loadgen"
