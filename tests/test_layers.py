"""Which way imports go: the table, and that it is kept."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_loadgen

ROOT = Path(pytest_loadgen.__file__).parent

# A module imports from the rows below its own only.
ROWS = """
    __init__
    plugin __main__
    reporting sharing
    fixture session progress hookspecs testing serving.command
    reports.formats reports.github
    baselines serving.server
    reports.csv_file reports.fortio reports.hdr_log reports.html_page reports.markdown reports.open_metrics reports.smp
    config serving.lender record reports.terminal reports.generators reports.junit
    machine crosscheck sidebyside registry reports.summary reports.charts
    generators gate runner distributed rounds
    generators.embedded generators.fortio_server loopback cluster
    runs generators.fortio generators.nighthawk generators.nighthawk_service generators.remote generators.wrk
    judged
    comparison generators.command
    baseline verdict
    sample generators.embedded.worker
    generators.embedded.engine
    generators.embedded.http1 generators.timeline generators.wire
    generators.embedded.readiness generators.base generators.process generators.nighthawk_output hub
    result pacing options service slo meshery generators.nighthawk_options
    plan
    target turn histogram stats
    units fingerprint generators.channel serving.line
    errors cgroup reports serving testing.service generators.loadgen_pb2 generators.nighthawk_pb2
"""
LEVELS = {module: -row for row, line in enumerate(ROWS.split("\n")) for module in line.split()}
PYTEST_FROM = LEVELS["fixture"]
OWNERS = {
    "httpx": {"target", "generators.fortio_server"},
    "hdrh": {"histogram"},
    "tabulate": {"reports.terminal", "reports.generators"},
    "fsspec": {"baselines"},
    "yaml": {"meshery"},
    "jinja2": {"reports.html_page"},
    "plotly": {"reports.html_page"},
    "tqdm": {"progress"},
    "distributed": {"cluster"},
    "httptools": {"generators.embedded.http1"},
    "grpc": {
        "generators.channel",
        "generators.nighthawk_service",
        "generators.remote",
        "serving.lender",
        "serving.server",
    },
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imports(tree: ast.AST) -> Iterator[str]:
    """Name what is imported where types are not only checked."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            assert not node.level
            # What is imported from a package may be a module.
            yield from (
                whole
                if (whole := f"{node.module}.{alias.name}").removeprefix("pytest_loadgen.") in MODULES
                else node.module
                for alias in node.names
            )
        else:
            yield from imports(node)


IMPORTS = {module: set(imports(ast.parse(path.read_text(encoding="utf-8")))) for module, path in MODULES.items()}


def test_the_table_is_whole() -> None:
    """Every module has its place, and every place its module."""
    assert LEVELS.keys() == MODULES.keys()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    """A module imports from lower rows only."""
    ours = {name.removeprefix("pytest_loadgen.") for name in IMPORTS[module] if name.startswith("pytest_loadgen.")}
    assert {name for name in ours if LEVELS[name] >= LEVELS[module]} == set()


def test_pytest_is_on_top() -> None:
    """What sends and counts knows nothing of pytest."""
    users = {module for module, names in IMPORTS.items() if "pytest" in names}
    assert users
    assert min(LEVELS[module] for module in users) >= PYTEST_FROM


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_few_modules_know_a_library(library: str) -> None:
    """Each library is imported where it is known to be, and replaced there."""
    users = {module for module, names in IMPORTS.items() if library in {name.partition(".")[0] for name in names}}
    assert users == OWNERS[library]


@pytest.mark.parametrize("statement", ["from pytest_loadgen import *", "import pytest_loadgen.plugin"])
def test_heavy_libraries_are_imported_when_used(statement: str) -> None:
    """Who imports all public names, or runs pytest without a load, does not pay for what a load takes."""
    script = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "pytest_loadgen" in loaded
    assert OWNERS.keys().isdisjoint(loaded)
