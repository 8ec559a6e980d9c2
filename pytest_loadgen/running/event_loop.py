"""A load beside a running event loop: in a thread, for a coroutine that awaits it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from pytest_loadgen.running.stop import Stop

T = TypeVar("T")


def in_coroutine() -> bool:
    """Whether the caller is in a coroutine: then whatever else its event loop runs waits for it.

    A running loop alone does not say so: that of Playwright's synchronous interface runs beside its caller.
    """
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


async def in_thread(call: Callable[[], T], stop: Stop) -> T:
    """Make a blocking call in a thread, with the context of the caller; if that is cancelled, stop and wait for it."""
    with ThreadPoolExecutor(1, "pytest-loadgen") as pool:
        running = asyncio.get_running_loop().run_in_executor(pool, copy_context().run, call)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.ask()
            # What else the loop runs, the service perhaps, goes on meanwhile.
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # or asyncio would say that nobody asked for it
            raise
        finally:
            stop.ask()
