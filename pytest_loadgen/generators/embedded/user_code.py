"""The lines of the user's code: which one failed, waits, or keeps others from running."""

from __future__ import annotations

import asyncio
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

_PACKAGE = str(Path(__file__).parents[2])
# How much of the message of an exception is told, in characters.
_LONGEST = 500


def told(error: BaseException) -> str:
    """Write where in the user's code an exception was raised, and its message."""
    where = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if _is_of_user(frame):
            where = _written(frame, line)
    lines = "".join(traceback.format_exception_only(error)).strip().split("\n")
    # pytest explains a failed assert in lines that begin with a plus.
    text = ", ".join(line.strip().removeprefix("+").strip() for line in lines if line.strip())
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    return f"{where}: {text}" if where else text


def awaited_line(task: asyncio.Task[Any]) -> str:
    """Write the innermost line of the user's code that a task waits at."""
    found = ""
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None)
        if frame is not None and _is_of_user(frame):
            found = _written(frame, frame.f_lineno)
        awaited = getattr(awaited, "cr_await", None)
    return found


def user_line(frame: FrameType | None) -> str:
    """Write the innermost line of the user's code that a thread executes; empty if none."""
    while frame is not None and not _is_of_user(frame):
        frame = frame.f_back
    return _written(frame, frame.f_lineno) if frame else ""


def blocking_frame(frame: FrameType | None) -> FrameType | None:
    """Find the frame of the user's code that keeps a thread busy; None if that is the code of this package."""
    while frame is not None and not _is_of_user(frame):
        if _file(frame).startswith(_PACKAGE):
            return None
        frame = frame.f_back
    return frame


def line_of(frame: FrameType) -> str:
    """Write the line that a frame executes."""
    return _written(frame, frame.f_lineno)


def _is_of_user(frame: FrameType) -> bool:
    path = _file(frame)
    library = path.startswith(("<", sys.base_prefix, sys.prefix)) or "site-packages" in path
    return not library and not path.startswith(_PACKAGE)


def _written(frame: FrameType, line: int) -> str:
    return f"{Path(_file(frame)).name}:{line} in {frame.f_code.co_name}()"


def _file(frame: FrameType) -> str:
    # The code of a function that was sent by value does not have its file, but its module does.
    return str(frame.f_globals.get("__file__") or frame.f_code.co_filename)
