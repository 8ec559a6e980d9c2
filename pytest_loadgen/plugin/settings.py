"""What the command line, the ini-file and pyproject.toml say, made into objects when a load needs them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_loadgen.errors import LoadError
from pytest_loadgen.plugin.session import SESSION
from pytest_loadgen.plugin.turns import TURNS

if TYPE_CHECKING:
    from pytest_loadgen.generators.registry import Registry
    from pytest_loadgen.plugin.fixture import Settings
    from pytest_loadgen.records.baseline_finder import BaselineFinder
    from pytest_loadgen.records.store import BaselineStore
    from pytest_loadgen.reports.formats import Report
    from pytest_loadgen.running.calibration import Machine
    from pytest_loadgen.running.measurement import Progress
    from pytest_loadgen.traffic.options import Options
    from pytest_loadgen.traffic.plan import Plan
    from pytest_loadgen.units import Duration

DEFAULTS = pytest.StashKey["Options"]()
"""The options that the command line and the ini-file give all loads."""
# Where pytest finds its root directory.
_INI = ("pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "setup.py")
_MOST_KEPT = 50
_SETTINGS = pytest.StashKey["Settings"]()
_REGISTRY = pytest.StashKey["Registry"]()


def settings(config: pytest.Config) -> Settings:
    """Give what all loads share; made for the first of them."""
    if _SETTINGS not in config.stash:
        from pytest_loadgen.plugin.fixture import Settings
        from pytest_loadgen.running.measurement import Environment

        config.stash[_SETTINGS] = Settings(
            registry=registry(config),
            session=config.stash[SESSION],
            defaults=config.stash[DEFAULTS],
            allowed_hosts=tuple(config.getini("load_allowed_hosts")),
            strict=config.getoption("load_strict"),
            require_baseline=config.getoption("load_require_baseline"),
            scale=scale(config),
            environment=Environment(
                lock=config.stash[TURNS].one_load,
                machine=cache(lambda: _calibrate(config)),
                progress=lambda plan, longest: _progress(config, plan, longest),
            ),
            comparison=cache(lambda: _comparison(config)),
            self_comparisons=config.getoption("load_self_compare"),
        )
    return config.stash[_SETTINGS]


def registry(config: pytest.Config) -> Registry:
    """Ask the plugins for their generators, once."""
    if _REGISTRY not in config.stash:
        from pytest_loadgen.generators.registry import Registry
        from pytest_loadgen.traffic.config import generators

        found = [generator for each in config.hook.pytest_loadgen_generators() for generator in each]
        config.stash[_REGISTRY] = Registry(found, generators(_folder(config)))
    return config.stash[_REGISTRY]


def close(config: pytest.Config) -> None:
    """End what the generators of the session keep from one load to the next."""
    if found := config.stash.get(_REGISTRY, None):
        found.close()


def baselines(config: pytest.Config) -> BaselineStore:
    """Give the store of runs."""
    from pytest_loadgen.records.store import FOLDER, BaselineStore

    return BaselineStore(config.getoption("load_storage") or config.rootpath / FOLDER)


def formats(config: pytest.Config) -> Mapping[str, Report]:
    """Give the report formats, by file extension: those of the plugin and those of others."""
    from pytest_loadgen.reports.formats import FORMATS

    more = config.hook.pytest_loadgen_reports()
    return {**FORMATS, **{extension: report for each in more for extension, report in each.items()}}


def check_names(config: pytest.Config) -> None:
    """Refuse a base URL, names of baselines and paths of reports that cannot be used. Raises LoadError."""
    for source, base in (
        ("--load-target", config.getoption("load_target")),
        ("load_target in the ini-file", config.getini("load_target")),
    ):
        if base:
            from pytest_loadgen.traffic.target import Target, join

            try:
                Target.of(join(base, ""))  # with a query, if it has one: then it is the whole address
            except LoadError as error:
                raise LoadError(f"{source}: {error}") from None
    for option in ("load_save", "load_compare"):
        if (name := config.getoption(option)) is not None:
            from pytest_loadgen.records.store import check_name

            check_name(name)
            if not hasattr(config, "workerinput"):
                store = baselines(config)
                if option == "load_save":
                    from pytest_loadgen.records.fingerprint import Fingerprint

                    store.check_writable(name, Fingerprint.here())
    for path in config.getoption("load_report"):
        from pytest_loadgen.reports import formats as reports

        reports.check(Path(path), formats(config))


def keep(config: pytest.Config) -> int:
    """Read how many runs of each load --load-save keeps. Raises LoadError."""
    text: str = config.getini("load_keep")
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_KEPT:
        raise LoadError(f"load_keep={text} in the ini-file: expected a whole number from 1 to {_MOST_KEPT}")
    return int(text)


def scale(config: pytest.Config) -> float:
    """Read what the durations of all loads are multiplied by. Raises LoadError."""
    text: str = config.getoption("load_scale")
    with suppress(ValueError):
        if 0 < (factor := float(text)) < math.inf:
            return factor
    raise LoadError(f"--load-scale={text}: expected a number above 0, such as 0.1 for a tenth of all durations")


def moved_root(config: pytest.Config) -> str:
    """Say so where pytest took the value of an option for the path of tests, and its root directory from that.

    It looks for the root before it knows the options of plugins: ``--load-report out`` are two words then, and
    ``out`` a path if it exists.
    """
    words, start = config.invocation_params.args, config.invocation_params.dir
    if config.getoption("rootdir", None) or config.getoption("inifilename", None):
        return ""
    paths = [start / arg.partition("::")[0] for arg in config.args]
    common = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths] or [start]))
    meant = next((each for each in (common, *common.parents) if any((each / ini).is_file() for ini in _INI)), common)
    if config.rootpath == meant:
        return ""
    for option, value in pairwise(map(str, words)):
        is_word = option.startswith("--load-") and "=" not in option and value not in config.args
        if is_word and (start / value).exists():
            return (
                f"pytest took {value} for a path of tests: its root directory is {config.rootpath}, not {meant}. "
                f"Write {option}={value}"
            )
    return ""


def defaults(config: pytest.Config) -> Options:
    """Read the options that the command line and the ini-file give all loads. Raises LoadError."""
    found: Options = {}
    if name := config.getoption("load_profile") or config.getini("load_profile"):
        from pytest_loadgen.plugin.order import check
        from pytest_loadgen.traffic.config import profile

        found = profile(_folder(config), name)
        try:
            check([found], [])
        except LoadError as error:
            path = _folder(config) / "pyproject.toml"
            raise LoadError(f"the profile {name!r} in {path}: {error}") from None
    if generator := config.getoption("load_generator") or config.getini("load_generator"):
        found = {**found, "generator": generator}
    if workers := config.getoption("load_workers"):
        found = {**found, "workers": _workers(workers)}
    if config.getoption("load_stop_early"):
        found = {**found, "stop_early": found.get("stop_early") or True}
    return found


def _workers(workers: str) -> int | str:
    from pytest_loadgen.running.arrangement import is_scheduler

    if is_scheduler(workers):
        return workers
    if not workers.isdecimal() or not int(workers):
        raise LoadError(
            f"--load-workers={workers}: expected a whole number >= 1, "
            "or the address of a Dask scheduler (tcp://10.0.0.5:8786)"
        )
    return int(workers)


def _folder(config: pytest.Config) -> Path:
    """Give the directory of pyproject.toml."""
    return config.inipath.parent if config.inipath else config.rootpath


def _comparison(config: pytest.Config) -> BaselineFinder | None:
    """Read what loads are compared with."""
    if not (name := config.getoption("load_compare")):
        return None
    from pytest_loadgen.records.baseline_finder import BaselineFinder
    from pytest_loadgen.records.fingerprint import Fingerprint

    return BaselineFinder(baselines(config), name, Fingerprint.here(), scaled=scale(config) != 1)


def _calibrate(config: pytest.Config) -> Machine:
    """Calibrate the machine, and keep the remarks on it for the summary."""
    from pytest_loadgen.running.calibration import calibrate

    machine = calibrate(registry(config)["embedded"])
    for remark in machine.remarks():
        config.stash[SESSION].say(remark)
    return machine


def _progress(config: pytest.Config, plan: Plan, longest: Duration) -> Progress:
    """Show a live line where somebody watches a terminal."""
    from pytest_loadgen.running.measurement import NoProgress

    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or config.get_verbosity() < 0 or not reporter.isatty:
        return NoProgress()
    from pytest_loadgen.plugin.progress import LiveLine

    return LiveLine(reporter, config.pluginmanager.getplugin("capturemanager"), plan, longest)
