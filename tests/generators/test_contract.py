"""The tests that every load generator has to pass, with each whose program is installed."""

import pytest

from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.generators.embedded import Embedded
from pytest_loadgen.generators.fortio import Fortio
from pytest_loadgen.generators.nighthawk import Nighthawk
from pytest_loadgen.generators.wrk import Wrk
from pytest_loadgen.generators.wrk2 import Wrk2
from pytest_loadgen.testing import GeneratorTests
from tests.conftest import needs


class TestEmbedded(GeneratorTests):
    @pytest.fixture
    def generator(self, embedded: Embedded) -> LoadGenerator:
        return embedded


@needs("fortio")
class TestFortio(GeneratorTests):
    @pytest.fixture
    def generator(self) -> LoadGenerator:
        return Fortio().configured("fortio", {"secrets_in_arguments": True})


@needs("nighthawk_client")
class TestNighthawk(GeneratorTests):
    @pytest.fixture
    def generator(self) -> LoadGenerator:
        return Nighthawk().configured("nighthawk", {"secrets_in_arguments": True})


@needs("wrk")
class TestWrk(GeneratorTests):
    @pytest.fixture
    def generator(self) -> LoadGenerator:
        return Wrk()


@needs("wrk2")
class TestWrk2(GeneratorTests):
    @pytest.fixture
    def generator(self) -> LoadGenerator:
        return Wrk2()
