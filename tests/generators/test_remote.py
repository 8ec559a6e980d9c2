"""Generators elsewhere, with real servers of them on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.testing import GeneratorTests
from tests.lending import Lent, lending


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lent]:
    with lending(tmp_path_factory.mktemp("lent")) as lent:
        yield lent


class TestRemote(GeneratorTests):
    @pytest.fixture
    def generator(self, lent: Lent) -> LoadGenerator:
        return lent.remote()
