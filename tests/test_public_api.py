"""The public names."""

import importlib.metadata
from importlib.resources import files

import pytest

import pytest_loadgen


def test_names() -> None:
    """The public names are these, in order."""
    assert pytest_loadgen.__all__ == [
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


@pytest.mark.parametrize("name", pytest_loadgen.__all__)
def test_documented(name: str) -> None:
    """Each public name has a docstring that starts with a sentence, not with a generated signature."""
    public = getattr(pytest_loadgen, name)
    sentence = (public.__doc__ or "").strip().partition("\n")[0]
    assert sentence.endswith((".", ":", "``."))
    assert not sentence.startswith(f"{name}(")


@pytest.mark.parametrize("name", ["GeneratorError", "InvalidRun", "PlanError", "ServiceError"])
def test_errors(name: str) -> None:
    """Every error of a load is a LoadError."""
    kind = getattr(pytest_loadgen, name)
    assert issubclass(kind, pytest_loadgen.LoadError)
    assert issubclass(kind, ValueError) == (kind is pytest_loadgen.PlanError)


def test_a_miss() -> None:
    """A missed objective is a failed assertion, not an error of the load."""
    assert issubclass(pytest_loadgen.SLOMissed, AssertionError)
    assert not issubclass(pytest_loadgen.SLOMissed, pytest_loadgen.LoadError)


def test_typed() -> None:
    """The package is marked as typed."""
    assert files(pytest_loadgen).joinpath("py.typed").is_file()


def test_found_by_pytest() -> None:
    """pytest finds the installed plugin."""
    (entry,) = importlib.metadata.entry_points(group="pytest11", name="loadgen")
    assert entry.value == "pytest_loadgen.plugin"
