"""The application that a `load_target` fixture returns, served for as long as the fixture lasts."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import pytest

from pytest_loadgen.errors import LoadError
from pytest_loadgen.service.serve import Service, serve


def served(fixture: pytest.FixtureDef[Any]) -> str:
    """Serve the application that a fixture has returned, and make its address what the fixture returns.

    `serve(…)` itself may be returned, too. Raises PlanError, ServiceError.
    """
    __tracebackhide__ = True
    application, key, _ = cast("tuple[Any, object, object]", fixture.cached_result)
    try:
        service = application if isinstance(application, Service) else serve(application)
        address = service.__enter__()
    except LoadError as error:
        fixture.cached_result = (None, key, (error.with_traceback(None), None))
        raise error from None
    # It ends before what the fixture does after its yield.
    fixture.addfinalizer(partial(service.__exit__, None, None, None))
    fixture.cached_result = (address, key, None)
    return address
