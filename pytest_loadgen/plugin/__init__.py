"""pytest's hooks and the fixtures.

Every pytest session imports this module, and few of them run a load: so it imports the rest of the
package where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from pytest_loadgen import clock  # noqa: F401  # before a test replaces its functions
from pytest_loadgen.errors import LoadError
from pytest_loadgen.plugin.reporting import Reporting
from pytest_loadgen.plugin.session import SESSION, Session
from pytest_loadgen.plugin.settings import DEFAULTS, TEST_LOCK, check_names, defaults, registry, settings
from pytest_loadgen.plugin.xdist import ControllerHooks, WorkerHooks, test_lock

if TYPE_CHECKING:
    from pytest_loadgen.generators.base import LoadGenerator
    from pytest_loadgen.plugin.fixture import Load
    from pytest_loadgen.traffic.options import Options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini-file counterparts."""
    group = parser.getgroup("load", "load tests (pytest-loadgen)")
    group.addoption("--load-generator", metavar="NAME", help="load generator to use (default: embedded)")
    group.addoption("--load-target", metavar="URL", help="base URL for relative addresses of load()")
    group.addoption("--load-profile", metavar="NAME", help="take options from this profile in pyproject.toml")
    group.addoption(
        "--load-report",
        metavar="PATH",
        action="append",
        default=[],
        help="write a report; the file extension selects the format; may be repeated",
    )
    group.addoption(
        "--load-workers",
        metavar="N|ADDRESS",
        help="share each load among N processes, or among all workers of the Dask scheduler at ADDRESS",
    )
    group.addoption("--load-save", metavar="NAME", help="save the runs of this session under this name")
    group.addoption(
        "--load-compare", metavar="NAME", help="compare 'baseline' objectives with the runs saved under this name"
    )
    group.addoption(
        "--load-storage", metavar="URL", help="where runs are saved: a directory or an fsspec URL (default: .loadgen)"
    )
    group.addoption(
        "--load-self-compare",
        metavar="N",
        type=int,
        default=0,
        help="repeat each comparison N times with the same service (A/A test), to see how far it can be trusted",
    )
    group.addoption("--load-stop-early", action="store_true", help="end each load as soon as its objectives are clear")
    group.addoption("--load-strict", action="store_true", help="fail tests with unclear objectives")
    parser.addini("load_slo", "objectives for every load, one per line", type="linelist")
    parser.addini("load_generator", "load generator to use (default: embedded)")
    parser.addini("load_target", "base URL for relative addresses of load()")
    parser.addini("load_profile", "take options from this profile in pyproject.toml")
    parser.addini(
        "load_allowed_hosts",
        "hosts that may be loaded although they are neither local nor private (names, or patterns: *.test.example)",
        type="args",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let plugins and conftest.py files implement the hooks of `hookspecs`."""
    from pytest_loadgen.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_loadgen_generators() -> Iterable[LoadGenerator]:
    """Give the generators that come with the plugin."""
    from pytest_loadgen.generators import built_in

    return built_in()


def pytest_configure(config: pytest.Config) -> None:
    """Read what all loads share, and register the plugins that this session needs."""
    config.addinivalue_line(
        "markers",
        "load(rate, duration, ...): options for the loads of this test, as load() takes them; "
        "every test that uses the load fixture has this mark.",
    )
    config.addinivalue_line(
        "markers", "slo(objective, ...): objectives for the loads of this test, such as 'p99 < 200ms'; they add up."
    )
    try:
        config.stash[DEFAULTS] = defaults(config)
        if objectives := config.getini("load_slo"):
            _check_objectives(objectives)
        check_names(config)
    except LoadError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = session = Session()
    config.pluginmanager.register(Reporting(session), "loadgen-reporting")
    config.stash[TEST_LOCK] = lock = test_lock(config)
    if lock:
        config.pluginmanager.register(WorkerHooks(lock), "loadgen-worker")
    elif config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(ControllerHooks(), "loadgen-controller")


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse marks that no load can carry out, and mark the tests that load."""
    for item in items:
        loads = "load" in getattr(item, "fixturenames", ())
        given = item.get_closest_marker("load") or item.get_closest_marker("slo") or config.getini("load_slo")
        given = given or "generator" in config.stash[DEFAULTS]
        # A worker of xdist cannot print a message here: there the load fixture raises it.
        if loads and given and not hasattr(config, "workerinput"):
            try:
                _check(item)
            except LoadError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from None
        if loads:
            item.add_marker("load")


@pytest.fixture(scope="session")
def load_target(pytestconfig: pytest.Config) -> str | None:
    """Give the base URL for relative addresses of `load`; override it to start a service.

    By default it is the value of --load-target or of load_target in the ini-file.
    """
    return pytestconfig.getoption("load_target") or pytestconfig.getini("load_target") or None


@pytest.fixture
def load(request: pytest.FixtureRequest) -> Load:
    """Load a service: ``load("http://localhost:8000/search", rate=500, duration="30s")``."""
    from pytest_loadgen.plugin.fixture import Load

    item = request.node
    try:
        _check(item)
    except LoadError as error:
        raise error.with_traceback(None) from None

    def base() -> str | None:
        # The command line comes first, whatever a fixture starts.
        given: str | None = request.config.getoption("load_target")
        return given or request.getfixturevalue("load_target")

    return Load(settings(request.config), item, _marked(item), _objectives(item), base)


def _check(item: pytest.Item) -> None:
    """Refuse options and objectives of a test that no call can make possible. Raises LoadError."""
    from pytest_loadgen.plugin.order import check

    check([*_marked(item), item.config.stash[DEFAULTS]], _objectives(item), registry(item.config))


def _check_objectives(objectives: list[str]) -> None:
    """Refuse objectives of the ini-file that cannot be read. Raises LoadError."""
    from pytest_loadgen.objectives.slo import SLO

    for objective in objectives:
        try:
            SLO.parse(objective)
        except LoadError as error:
            raise LoadError(f"load_slo in the ini-file (one objective per line): {error}") from None


def _marked(item: pytest.Item) -> list[Options]:
    """Give the options of the marks, the nearest first. Raises LoadError."""
    from pytest_loadgen.traffic.options import check

    marked = []
    for mark in item.iter_markers("load"):
        if mark.args:
            raise LoadError(f"the load mark takes options by name, for example load(rate=500); got {mark.args[0]!r}")
        marked.append(check(mark.kwargs, "the load mark"))
    return marked


def _objectives(item: pytest.Item) -> list[str]:
    """Give the objectives of the ini-file and of the marks, the outermost first. Raises LoadError."""
    objectives = list(item.config.getini("load_slo"))
    for mark in reversed(list(item.iter_markers("slo"))):
        if mark.kwargs or not mark.args or not all(isinstance(arg, str) for arg in mark.args):
            raise LoadError("the slo mark takes objectives, for example slo('p99 < 200ms', 'errors < 0.1%')")
        objectives += mark.args
    return objectives
