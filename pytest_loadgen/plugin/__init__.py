"""pytest's hooks and the fixtures.

Every pytest session imports this module, and few of them run a load: so it imports the rest of the
package where it is used.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_loadgen import clock  # noqa: F401  # before a test replaces its functions
from pytest_loadgen.errors import LoadError
from pytest_loadgen.plugin.reporting import Reporting
from pytest_loadgen.plugin.session import FIXTURES, SESSION, Session, uses_load
from pytest_loadgen.plugin.settings import (
    DEFAULTS,
    check_names,
    close,
    defaults,
    keep,
    moved_root,
    registry,
    scale,
    settings,
)
from pytest_loadgen.plugin.turns import TURNS, Turns
from pytest_loadgen.plugin.xdist import ControllerHooks, test_lock
from pytest_loadgen.wording import printable

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
    group.addoption("--load-save", metavar="NAME", help="add the runs of this session to those kept under this name")
    group.addoption(
        "--load-compare", metavar="NAME", help="compare 'baseline' objectives with the runs kept under this name"
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
    group.addoption(
        "--load-stop-early", action="store_true", help="end each load as soon as its objectives are decided"
    )
    group.addoption("--load-strict", action="store_true", help="fail tests with unclear objectives")
    group.addoption(
        "--load-require-baseline", action="store_true", help="fail loads that are to be compared and have no baseline"
    )
    group.addoption(
        "--load-scale",
        metavar="FACTOR",
        default="1",
        help="multiply the durations of all loads: 0.1 for a smoke run; leaves out objectives that need longer loads",
    )
    parser.addini("load_slo", "objectives for every load, one per line", type="linelist")
    parser.addini("load_generator", "load generator to use (default: embedded)")
    parser.addini("load_target", "base URL for relative addresses of load()")
    parser.addini("load_keep", "how many runs of each load --load-save keeps (default: 10)", default="10")
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
        scale(config)
        keep(config)
    except LoadError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[SESSION] = session = Session()
    if moved := moved_root(config):
        session.conclude(moved)
    config.pluginmanager.register(Reporting(session), "loadgen-reporting")
    config.stash[TURNS] = turns = Turns(config, test_lock(config))
    config.pluginmanager.register(turns, "loadgen-turns")
    if not hasattr(config, "workerinput") and config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(ControllerHooks(), "loadgen-controller")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no process behind."""
    close(config)


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse marks that no load can carry out, all at once, and mark the tests that load."""
    wrong: dict[str, list[str]] = {}
    for item in items:
        if not uses_load(item):
            continue
        given = item.get_closest_marker("load") or item.get_closest_marker("slo") or config.getini("load_slo")
        # A worker of xdist cannot print a message here: there the load fixture raises it.
        if (given or "generator" in config.stash[DEFAULTS]) and not hasattr(config, "workerinput"):
            for typo in _typos(item):
                wrong.setdefault(typo, []).append(item.nodeid)
        item.add_marker("load")
    if wrong:
        raise pytest.UsageError(
            *(
                f"{printable(tests[0])}{f' and {len(tests) - 1} more' if tests[1:] else ''}: {typo}"
                for typo, tests in wrong.items()
            )
        )


@pytest.fixture(scope="session")
def load_target(pytestconfig: pytest.Config) -> str | None:
    """Give the base URL for relative addresses of `load`; override it to start a service.

    By default it is the value of --load-target or of load_target in the ini-file.
    """
    return pytestconfig.getoption("load_target") or pytestconfig.getini("load_target") or None


@pytest.fixture(scope="session")
def load(pytestconfig: pytest.Config) -> Load:
    """Load a service: ``load("http://localhost:8000/search", rate=500, duration="30s")``."""
    from pytest_loadgen.plugin.fixture import Load

    return Load(settings(pytestconfig), _ready, _marked, _objectives, _base)


@pytest.fixture(scope="session")
def load_session(pytestconfig: pytest.Config) -> Load:
    """Load a service in a fixture of a wider scope, as `load` does in a test."""
    from pytest_loadgen.plugin.fixture import Load

    return Load(settings(pytestconfig), _ready, _marked, _objectives, _base)


_ONE_THREAD = threading.Lock()


def _base(item: pytest.Item) -> str | None:
    """Return the base URL of the loads of a test; the command line overrides the fixture."""
    given: str | None = item.config.getoption("load_target")
    with _ONE_THREAD:  # pytest sets fixtures up for one thread at a time
        # The nearest fixture of this name to the test, whichever fixture loads. pytest has no public way to get it.
        return given or item._request.getfixturevalue("load_target")  # type: ignore[attr-defined]


def _base_in_advance(item: pytest.Item) -> None:
    """Set up the fixture of the base URL while that is still possible."""
    with suppress(Exception):  # raised again where it is needed
        _base(item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Note what a fixture is set up for; if it uses `load`, set up the base URL before it."""
    session = request.config.stash[SESSION]
    with session.set_up_for(request.node):
        if FIXTURES.intersection(fixturedef.argnames):
            _base_in_advance(session.item)
        value = yield
        # An application, or what serve() gives: addresses have neither.
        if fixturedef.argname == "load_target" and (callable(value) or hasattr(value, "__enter__")):
            from pytest_loadgen.plugin.served import served

            return served(fixturedef)
        return value


@pytest.hookimpl(specname="pytest_fixture_setup", tryfirst=True)
def pytest_load_target_given(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> object:
    """Let --load-target come first for everyone who asks for `load_target`: what overrides it starts nothing."""
    given: str | None = request.config.getoption("load_target")
    if given and fixturedef.argname == "load_target":
        key = fixturedef.cache_key(request)  # type: ignore[arg-type]  # pytest does not export its type
        fixturedef.cached_result = (given, key, None)
        return given
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Refuse wrong marks before the test; set up the base URL of a coroutine before its event loop runs."""
    yield
    if not uses_load(item):
        return
    try:
        _check(item)
    except LoadError as error:
        raise error.with_traceback(None) from None
    if inspect.iscoroutinefunction(getattr(item, "obj", None)):
        _base_in_advance(item)


def _ready(item: pytest.Item) -> None:
    """Skip a test that asks for the fixture only when it runs (doctests do), where -m does not want loads."""
    if item.get_closest_marker("load"):
        return
    from _pytest.mark.expression import Expression  # pytest gives no other way to ask

    item.add_marker("load")
    names = {mark.name for mark in item.iter_markers()}
    wanted: str = item.config.getoption("markexpr")
    if wanted and not Expression.compile(wanted).evaluate(lambda name, /, **_: name in names):
        pytest.skip(f"it runs a load, which -m {wanted!r} deselects")


def _typos(item: pytest.Item) -> Iterator[str]:
    """Say what is wrong with each mark of a test; or, where nothing is, with all together."""
    from pytest_loadgen.objectives.slo import SLO

    def parts() -> Iterator[Callable[[], object]]:
        for mark in item.iter_markers("load"):
            yield partial(_options, mark)
        for mark in item.iter_markers("slo"):
            yield partial(_texts, mark)
            yield from (partial(SLO.parse, text) for text in mark.args if isinstance(text, str))

    found = list(filter(None, map(_fault, parts())))
    yield from found or filter(None, [_fault(partial(_check, item))])


def _fault(read: Callable[[], object]) -> str:
    try:
        read()
    except LoadError as error:
        return str(error)
    return ""


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


def _marked(node: pytest.Item | pytest.Collector) -> list[Options]:
    """Give the options of the marks, the nearest first. Raises LoadError."""
    return [_options(mark) for mark in node.iter_markers("load")]


def _options(mark: pytest.Mark) -> Options:
    from pytest_loadgen.traffic.options import check

    if mark.args:
        raise LoadError(f"the load mark takes options by name, for example load(rate=500); got {mark.args[0]!r}")
    return check(mark.kwargs, "the load mark")


def _objectives(node: pytest.Item | pytest.Collector) -> list[str]:
    """Return the objectives of the ini file and of the marks, the outermost first. Raises LoadError."""
    marked = [text for mark in reversed(list(node.iter_markers("slo"))) for text in _texts(mark)]
    return [*node.config.getini("load_slo"), *marked]


def _texts(mark: pytest.Mark) -> tuple[str, ...]:
    if mark.kwargs or not mark.args or not all(isinstance(arg, str) for arg in mark.args):
        raise LoadError("the slo mark takes objectives, for example slo('p99 < 200ms', 'errors < 0.1%')")
    return mark.args
