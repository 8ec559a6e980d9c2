"""The direction of imports, as a table of packages, and a check of it."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pytest_loadgen

ROOT = Path(pytest_loadgen.__file__).parent
TESTS = Path(__file__).parent

# A package imports only from packages in rows above its own.
LAYERS = """
    cgroup clock errors redaction wording
    units
    file_lock traffic
    figures
    generators objectives service
    running workers records
    reports serving testing
    plugin review
    __init__ __main__
"""
RANKS = {package: rank for rank, line in enumerate(LAYERS.split("\n")) for package in line.split()}
# The modules that import each third-party library.
OWNERS = {
    "httpx": {
        *("traffic.target", "traffic.request", "traffic.check", "service.login", "generators.fortio_server"),
        *("generators.embedded.client", "generators.embedded.transport"),
    },
    "hdrh": {"figures.histogram"},
    "psutil": {"service.processes"},
    "tabulate": {"reports.generators", "review.compared"},
    "fsspec": {"records.storage"},
    "yaml": {"traffic.meshery"},
    "jinja2": {"reports.html_page"},
    "tqdm": {"plugin.progress"},
    "distributed": {"workers.dask"},
    "uvicorn": {"service.application"},
    "waitress": {"service.application"},
    "httptools": {"generators.embedded.http1", "generators.embedded.lenient"},
    "grpc": {
        "generators.channel",
        "generators.nighthawk_service",
        "generators.remote",
        "serving.calls",
        "serving.generator_service",
        "serving.server",
    },
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def package(module: str) -> str:
    return module.partition(".")[0]


def imports(tree: ast.AST, *, everywhere: bool = True) -> Iterator[str]:
    """Yield the modules imported at run time; without `everywhere`, only those imported with the module itself."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not everywhere:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            assert not node.level
            # A name imported from a package may be a module.
            yield from (
                whole
                if (whole := f"{node.module}.{alias.name}").removeprefix("pytest_loadgen.") in MODULES
                else node.module
                for alias in node.names
            )
        else:
            yield from imports(node, everywhere=everywhere)


TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}
IMPORTS = {module: set(imports(tree)) for module, tree in TREES.items()}


def ours(names: set[str]) -> set[str]:
    return {name.removeprefix("pytest_loadgen.") for name in names if name.startswith("pytest_loadgen.")}


def test_every_package_is_in_the_table() -> None:
    """The table has every package, and no others."""
    assert RANKS.keys() == {package(module) for module in MODULES}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module: str) -> None:
    """A module imports from its own package and from packages above it in the table."""
    wrong = {
        name
        for name in ours(IMPORTS[module])
        if package(name) != package(module) and RANKS[package(name)] >= RANKS[package(module)]
    }
    assert wrong == set()


@pytest.mark.parametrize("name", sorted({package(module) for module in MODULES if "." in module}))
def test_no_import_cycles_in_a_package(name: str) -> None:
    """The modules of a package do not import each other in a circle."""
    inside = {module: ours(IMPORTS[module]) for module in MODULES if package(module) == name}
    graph = {module: {other for other in names if other in inside} for module, names in inside.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' -> '.join(error.args[1])}")


def test_only_the_top_imports_pytest() -> None:
    """Sending, counting and judging do not depend on pytest."""
    users = {package(module) for module, names in IMPORTS.items() if "pytest" in names}
    assert users == {"plugin", "testing", "__main__"}


@pytest.mark.parametrize("library", sorted(OWNERS))
def test_libraries_are_imported_in_one_place(library: str) -> None:
    """Each library is imported only by the modules in the table, so that it can be replaced there."""
    users = {module for module, names in IMPORTS.items() if library in {name.partition(".")[0] for name in names}}
    assert users == OWNERS[library]


@pytest.mark.parametrize("statement", ["from pytest_loadgen import *", "import pytest_loadgen.plugin"])
def test_heavy_libraries_are_imported_when_used(statement: str) -> None:
    """Importing all public names, or starting pytest with the plugin, imports no heavy library."""
    script = f"import sys; {statement}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "pytest_loadgen" in loaded
    assert OWNERS.keys().isdisjoint(loaded)


def test_a_session_without_a_load_imports_little(tmp_path: Path) -> None:
    """A session without a load imports the options and hooks only: no statistics, histograms or plans."""
    script = (
        "import sys, pytest; pytest.main(['-q', '-p', 'pytest_loadgen.plugin', '-p', 'no:cacheprovider', sys.argv[1]]);"
        "print(*sys.modules)"
    )
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass")
    # Other installed plugins may import more.
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    argv = [sys.executable, "-c", script, str(tmp_path)]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
    assert "1 passed" in shown.stdout
    loaded = {name for name in shown.stdout.split() if name.startswith("pytest_loadgen.")}
    assert loaded == {
        f"pytest_loadgen.{name}"
        for name in (
            "clock",
            "errors",
            "plugin",
            "plugin.hookspecs",
            "plugin.reporting",
            "plugin.session",
            "plugin.settings",
            "plugin.turns",
            "plugin.uncaptured",
            "plugin.xdist",
            "wording",
        )
    }


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_module_is_imported(path: Path) -> None:
    """What several test modules need is in tests/builders or beside it, so that each can change alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [statement for statement in statements if re.search(r"\btests\b.*\btest_", statement)]
