"""That hey keeps what every load generator must: run `pytest examples/own_generator`."""

import shutil

import pytest
from pytest_loadgen_hey import Hey

from pytest_loadgen import Load
from pytest_loadgen.testing import GeneratorTests
from pytest_loadgen.testing.service import Server

pytestmark = pytest.mark.skipif(not shutil.which("hey"), reason="hey is not installed")


class TestHey(GeneratorTests):
    @pytest.fixture
    def generator(self) -> Hey:
        return Hey()


def test_it_can_be_chosen(load: Load) -> None:
    with Server() as service:
        assert load(service.url, generator="hey", rate=50, duration=1).errors == 0
