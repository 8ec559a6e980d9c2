"""Where pytest comes in.

Every pytest session imports this module, and few of them load: so it imports the rest of the
package where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_loadgen.errors import LoadError
from pytest_loadgen.plugin.reporting import Reporting, baselines, check_reports
from pytest_loadgen.plugin.session import Session
from pytest_loadgen.plugin.xdist import Controller, Sharing, its_turn, room_of

if TYPE_CHECKING:
    from pytest_loadgen.generators.base import LoadGenerator
    from pytest_loadgen.generators.registry import Registry
    from pytest_loadgen.plugin.fixture import Load, Setting
    from pytest_loadgen.plugin.progress import Progress
    from pytest_loadgen.records.baseline_finder import BaselineFinder
    from pytest_loadgen.running.calibration import Machine
    from pytest_loadgen.running.lock import Room
    from pytest_loadgen.traffic.options import Options
    from pytest_loadgen.traffic.plan import Plan

_SESSION = pytest.StashKey[Session]()
_SETTING = pytest.StashKey["Setting"]()
_DEFAULTS = pytest.StashKey["Options"]()
_REGISTRY = pytest.StashKey["Registry"]()
_ROOM: pytest.StashKey[Room | None] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    group = parser.getgroup("load", "load tests (pytest-loadgen)")
    group.addoption("--load-generator", metavar="NAME", help="which load generator to use (embedded)")
    group.addoption("--load-target", metavar="URL", help="what relative addresses of load() are relative to")
    group.addoption("--load-profile", metavar="NAME", help="take options from this profile of pyproject.toml")
    group.addoption(
        "--load-report", metavar="PATH", action="append", default=[], help="write a report; the ending says which"
    )
    group.addoption(
        "--load-workers",
        metavar="N|ADDRESS",
        help="share each load among N processes, or all workers of the Dask scheduler at ADDRESS",
    )
    group.addoption("--load-save", metavar="NAME", help="keep the runs of this session by this name")
    group.addoption(
        "--load-compare", metavar="NAME", help="what 'baseline' means in objectives: runs kept by this name"
    )
    group.addoption(
        "--load-storage", metavar="URL", help="where runs are kept: a folder, or a URL of fsspec (.loadgen)"
    )
    group.addoption(
        "--load-self-compare",
        metavar="N",
        type=int,
        default=0,
        help="make each comparison N times of a service with itself",
    )
    group.addoption("--load-stop-early", action="store_true", help="end each load as soon as its objectives are clear")
    group.addoption("--load-strict", action="store_true", help="fail where an objective is unclear")
    parser.addini("load_slo", "objectives for every load, one a line", type="linelist")
    parser.addini("load_generator", "which load generator to use (embedded)")
    parser.addini("load_target", "what relative addresses of load() are relative to")
    parser.addini("load_profile", "take options from this profile of pyproject.toml")
    parser.addini(
        "load_allowed_hosts",
        "hosts that may be loaded though neither local nor private (names, or patterns: *.test.example)",
        type="args",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Let plugins and conftest.py files define what is in `hookspecs`."""
    from pytest_loadgen.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_loadgen_generators() -> Iterable[LoadGenerator]:
    """Give the generators that come with the plugin."""
    from pytest_loadgen.generators import built_in

    return built_in()


def pytest_configure(config: pytest.Config) -> None:
    """Read what all loads share, and register what this session needs."""
    config.addinivalue_line(
        "markers",
        "load(rate, duration, ...): options for the loads of this test, as load() takes them; "
        "every test that uses the load fixture has it.",
    )
    config.addinivalue_line(
        "markers", "slo(objective, ...): objectives for the loads of this test, such as 'p99 < 200ms'; they add up."
    )
    try:
        config.stash[_DEFAULTS] = _defaults(config)
        if objectives := config.getini("load_slo"):
            _check_objectives(objectives)
        for option in ("load_save", "load_compare"):
            if (name := config.getoption(option)) is not None:
                _check_name(name)
                if not hasattr(config, "workerinput"):
                    _check_storage(config, option)
        check_reports(config)
    except LoadError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_SESSION] = session = Session()
    config.pluginmanager.register(Reporting(session), "loadgen-reporting")
    config.stash[_ROOM] = room = room_of(config)
    if room:
        config.pluginmanager.register(Sharing(room), "loadgen-sharing")
    elif config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(Controller(), "loadgen-controller")


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse marks that cannot be carried out, and mark the tests that load."""
    for item in items:
        loads = "load" in getattr(item, "fixturenames", ())
        said = item.get_closest_marker("load") or item.get_closest_marker("slo") or config.getini("load_slo")
        said = said or "generator" in config.stash[_DEFAULTS]
        # A worker of xdist has no way to say a sentence here: there the load fixture says it.
        if loads and said and not hasattr(config, "workerinput"):
            try:
                _check(_marked(item), _objectives(item), config.stash[_DEFAULTS], config)
            except LoadError as error:
                raise pytest.UsageError(f"{item.nodeid}: {error}") from None
        if loads:
            item.add_marker("load")


@pytest.fixture(scope="session")
def load_target(pytestconfig: pytest.Config) -> str | None:
    """Say what relative addresses of `load` are relative to; override it to start a service.

    By default it is what --load-target or the ini-file's load_target says.
    """
    return pytestconfig.getoption("load_target") or pytestconfig.getini("load_target") or None


@pytest.fixture
def load(request: pytest.FixtureRequest) -> Load:
    """Load a service: ``load("http://localhost:8000/search", rate=500, duration="30s")``."""
    from pytest_loadgen.plugin.fixture import Load

    node = request.node
    try:
        _check(_marked(node), _objectives(node), request.config.stash[_DEFAULTS], request.config)
    except LoadError as error:
        raise error.with_traceback(None) from None

    def base() -> str | None:
        # Said on the command line, it is what this session is about, whatever a fixture starts.
        said: str | None = request.config.getoption("load_target")
        return said or request.getfixturevalue("load_target")

    return Load(_setting(request.config), node, _marked(node), _objectives(node), base)


def _setting(config: pytest.Config) -> Setting:
    """Make what all loads share, for the first of them."""
    if _SETTING not in config.stash:
        from pytest_loadgen.plugin.fixture import Setting

        config.stash[_SETTING] = Setting(
            registry=_registry(config),
            session=config.stash[_SESSION],
            defaults=config.stash[_DEFAULTS],
            allowed_hosts=tuple(config.getini("load_allowed_hosts")),
            strict=config.getoption("load_strict"),
            machine=cache(lambda: _look(config)),
            comparison=cache(lambda: _comparison(config)),
            again=config.getoption("load_self_compare"),
            turn=its_turn(config.stash[_ROOM]),
            progress=lambda plan: _progress(config, plan),
        )
    return config.stash[_SETTING]


def _registry(config: pytest.Config) -> Registry:
    """Ask the plugins for their generators, once."""
    if _REGISTRY not in config.stash:
        from pytest_loadgen.generators.registry import Registry
        from pytest_loadgen.traffic.config import generators

        found = [generator for each in config.hook.pytest_loadgen_generators() for generator in each]
        config.stash[_REGISTRY] = Registry(found, generators(_folder(config)))
    return config.stash[_REGISTRY]


def _comparison(config: pytest.Config) -> BaselineFinder | None:
    """Read what loads are compared with."""
    if not (name := config.getoption("load_compare")):
        return None
    from pytest_loadgen.records.baseline_finder import BaselineFinder
    from pytest_loadgen.records.fingerprint import Fingerprint

    return BaselineFinder(baselines(config), name, Fingerprint.here())


def _look(config: pytest.Config) -> Machine:
    """Look at the machine, and keep what is to be said of it."""
    from pytest_loadgen.running.calibration import look

    machine = look(_registry(config)["embedded"])
    for remark in machine.remarks():
        config.stash[_SESSION].say(remark)
    return machine


def _folder(config: pytest.Config) -> Path:
    """Tell where pyproject.toml is."""
    return config.inipath.parent if config.inipath else config.rootpath


def _marked(item: pytest.Item) -> list[Options]:
    """Give the options of the marks, the nearest first."""
    from pytest_loadgen.traffic.options import check

    marked = []
    for mark in item.iter_markers("load"):
        if mark.args:
            raise LoadError(f"the load mark takes options by name, as in load(rate=500), not {mark.args[0]!r}")
        marked.append(check(mark.kwargs, "the load mark"))
    return marked


def _objectives(item: pytest.Item) -> list[str]:
    """Give the objectives of the ini-file and of the marks, the outermost first."""
    objectives = list(item.config.getini("load_slo"))
    for mark in reversed(list(item.iter_markers("slo"))):
        if mark.kwargs or not mark.args or not all(isinstance(arg, str) for arg in mark.args):
            raise LoadError("the slo mark takes objectives: slo('p99 < 200ms', 'errors < 0.1%')")
        objectives += mark.args
    return objectives


def _check(marked: list[Options], objectives: list[str], defaults: Options, config: pytest.Config | None) -> None:
    """Refuse options that no plan can have, whatever the call adds."""
    from pytest_loadgen.objectives.gate import Gate
    from pytest_loadgen.traffic.options import merge, plan_of

    options = merge([*marked, defaults])
    plan_of("http://localhost", options)
    Gate.of(options, objectives)
    if config and isinstance(name := options.get("generator"), str):
        _registry(config)[name]


def _check_objectives(objectives: list[str]) -> None:
    """Refuse objectives of the ini-file that cannot be read."""
    from pytest_loadgen.objectives.slo import SLO

    for objective in objectives:
        try:
            SLO.parse(objective)
        except LoadError as error:
            raise LoadError(f"load_slo in the ini-file (one objective a line): {error}") from None


def _check_name(name: str) -> None:
    from pytest_loadgen.records.store import check_name

    check_name(name)


def _check_storage(config: pytest.Config, option: str) -> None:
    """Find out before any load where nothing can be kept, or found."""
    storage = baselines(config)
    if option == "load_save":
        storage.check_writable()


def _defaults(config: pytest.Config) -> Options:
    """Read the options that the command line and the ini-file give all loads."""
    defaults: Options = {}
    if name := config.getoption("load_profile") or config.getini("load_profile"):
        from pytest_loadgen.traffic.config import profile

        defaults = profile(_folder(config), name)
        _check([], [], defaults, None)
    if generator := config.getoption("load_generator") or config.getini("load_generator"):
        defaults = {**defaults, "generator": generator}
    if workers := config.getoption("load_workers"):
        from pytest_loadgen.traffic.options import is_scheduler

        if not is_scheduler(workers) and (not workers.isdecimal() or not int(workers)):
            raise LoadError(
                f"--load-workers={workers}: write a whole number, 1 or more, "
                "or the address of a Dask scheduler (tcp://10.0.0.5:8786)"
            )
        defaults = {**defaults, "workers": workers if is_scheduler(workers) else int(workers)}
    if config.getoption("load_stop_early"):
        defaults = {**defaults, "stop_early": True}
    return defaults


def _progress(config: pytest.Config, plan: Plan) -> Progress | None:
    """Make a live line where somebody watches a terminal."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or config.get_verbosity() < 0 or not reporter.isatty:
        return None
    from pytest_loadgen.plugin.progress import Progress

    return Progress(reporter, config.pluginmanager.getplugin("capturemanager"), plan)
