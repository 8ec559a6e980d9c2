"""hey passes the tests of load generators: `pip install examples/own_generator && pytest examples`."""

import shutil
from importlib import import_module, metadata

import pytest

from pytest_loadgen import Load, LoadGenerator
from pytest_loadgen.testing import GeneratorTests
from pytest_loadgen.testing.service import Server

if not any(
    metadata.distributions(name="pytest-loadgen-hey")
):  # pytest could import it from here, but would not have registered it
    pytest.skip("pip install examples/own_generator", allow_module_level=True)
hey = import_module("pytest_loadgen_hey")
pytestmark = pytest.mark.skipif(not shutil.which("hey"), reason="hey is not installed")


class TestHey(GeneratorTests):
    @pytest.fixture
    def generator(self) -> LoadGenerator:
        mine: LoadGenerator = hey.Hey()
        return mine


def test_it_can_be_chosen(load: Load) -> None:
    with Server() as service:
        assert load(service.url, generator="hey", rate=50, duration=1).errors == 0
