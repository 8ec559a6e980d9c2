import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.testing.service import Server

pytest_plugins = ["pytester"]


# Published outputs of other projects, which this repository does not include.
RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"


def recording(name: str) -> Path:
    """Return a published output; skip the test, by name, if it is not here."""
    path = RECORDINGS / name
    if not path.exists():
        pytest.skip(f"the published recording {name} is not in {RECORDINGS}")
    return path


def needs(program: str) -> pytest.MarkDecorator:
    """Skip, by name, what needs a program that is not here."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> float:
    """Wait until it has come to that, and tell how long it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + seconds, "it did not come to that"
        time.sleep(0.01)
    return time.monotonic() - begun


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """One generator for all tests, as in a session: its process is reused."""
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
