"""The interface of load generators (base), the built-in ones, and the registry that finds one by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_loadgen.generators.base import LoadGenerator


def built_in() -> list[LoadGenerator]:
    """Return the generators that come with the plugin."""
    from pytest_loadgen.generators.embedded import Embedded
    from pytest_loadgen.generators.fortio import Fortio
    from pytest_loadgen.generators.fortio_server import FortioServer
    from pytest_loadgen.generators.nighthawk import Nighthawk
    from pytest_loadgen.generators.nighthawk_service import NighthawkService
    from pytest_loadgen.generators.remote import Remote
    from pytest_loadgen.generators.wrk import Wrk
    from pytest_loadgen.generators.wrk2 import Wrk2

    return [Embedded(), Fortio(), FortioServer(), Nighthawk(), NighthawkService(), Remote(), Wrk(), Wrk2()]
