"""Fixtures that most tests use, and how a test is skipped or waits.

What is under test is imported in the fixtures: under xdist, coverage begins after this file is loaded.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from hypothesis import settings

if TYPE_CHECKING:
    from pytest_loadgen.generators.embedded import Embedded
    from pytest_loadgen.testing.service import Server

pytest_plugins = ["pytester"]

# How long an example takes says nothing on a busy machine.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


# Outputs of real programs whose licenses do not allow a copy in this repository: a folder beside it has them.
RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"


def recording(name: str) -> Path:
    """Give the path of a recorded output, or skip the test if it is missing."""
    path = RECORDINGS / name
    if not path.exists():
        pytest.skip(f"no recording {name}")
    return path


def needs(program: str) -> pytest.MarkDecorator:
    """Skip a test if a program it needs is not installed."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


@pytest.fixture(autouse=True)
def _no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the summary show all columns, also where a worker of xdist is told the width of a terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def server() -> "Iterator[Server]":
    """A service that answers, counts what it receives, and can be told to misbehave."""
    from pytest_loadgen.testing.service import Server

    with Server() as server:
        yield server


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> float:
    """Wait until a condition is true, and return how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - started


@pytest.fixture(scope="session")
def embedded() -> "Iterator[Embedded]":
    """One generator for all tests: like a session of pytest, they reuse its process."""
    from pytest_loadgen.generators.embedded import Embedded

    generator = Embedded()
    yield generator
    generator.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path
