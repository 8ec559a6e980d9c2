"""A load in a thread, for a coroutine that awaits it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from pytest_loadgen.running.stop import Stop

T = TypeVar("T")


def in_coroutine() -> bool:
    """Whether the caller is in a coroutine, so that a blocking call would block its event loop.

    A running loop alone does not show this: that of Playwright's synchronous API runs while its caller does.
    """
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


async def in_thread(call: Callable[[], T], stop: Stop) -> T:
    """Make a blocking call in a thread, in the caller's context; if the caller is cancelled, stop and wait for it."""
    with ThreadPoolExecutor(1, "pytest-loadgen") as pool:
        running = asyncio.get_running_loop().run_in_executor(pool, copy_context().run, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.ask()
            # Meanwhile the loop keeps running, perhaps with the service in it.
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # or asyncio would log that it was never retrieved
            raise
        finally:
            stop.ask()
