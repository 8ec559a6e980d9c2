"""The exceptions.

LoadError
├── PlanError        the requested load is impossible or misspelt (also a ValueError)
├── GeneratorError   the load generator failed
├── InvalidRun       the load generator was too slow to judge the service
├── BaselineError    saved runs cannot be read or written
├── ReportError      a report cannot be made or written
└── ServiceError     the service cannot be loaded
SLOMissed            the service misses an objective (an AssertionError)
"""


class LoadError(Exception):
    """A load test could not be carried out: the base class of these errors."""


class PlanError(LoadError, ValueError):
    """The requested load is impossible or misspelt; nothing was sent."""


class GeneratorError(LoadError):
    """The load generator failed; this says nothing about the service."""


class InvalidRun(LoadError):  # noqa: N818  # a finding, as in the summary
    """The generator was the limit, so its figures say nothing about the service."""


class BaselineError(LoadError):
    """Saved runs cannot be read or written."""


class ReportError(LoadError):
    """A report cannot be made or written; the runs themselves are valid."""


class SLOMissed(AssertionError):  # noqa: N818  # a finding, as in the summary
    """The service misses an objective."""


class ServiceError(LoadError):
    """The service cannot be loaded: it did not start, is not allowed, not there, or every request failed."""


# pytest prints an exception with its module: users import these from the package.
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
