"""Time as it passes, whatever a test makes of the module `time`.

Tests freeze or move time: freezegun replaces functions in all modules, time-machine replaces what is behind them,
others put something in place of `time.sleep`. A wait that trusts them may never end. So the functions are kept where
nobody looks for them, and are those that are left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

# How often another clock is read.
_READINGS = 5


class _Real:
    """Functions as they were when the plugin was loaded, before any test."""

    clock = staticmethod(time.clock_gettime)
    sleep = staticmethod(time.sleep)
    time = staticmethod(time.time)


def monotonic() -> float:
    """Return the seconds since some moment, which is the same for all processes of this machine."""
    return _Real.clock(time.CLOCK_MONOTONIC)


def wall() -> float:
    """Return the seconds since 1970."""
    return _wall()()


def slept() -> float:
    """Return how long this machine has slept since it was started, in seconds; 0 if the system does not report it."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if boot is None else _Real.clock(boot) - monotonic()


def sleep(seconds: float) -> None:
    """Wait."""
    _Real.sleep(seconds)


def offset(read: Callable[[], float], now: Callable[[], float] = wall) -> float:
    """Measure how far another clock is ahead of this one, in seconds.

    Of several readings the fastest counts; the result is off by at most half its round-trip time.
    """
    readings = []
    for _ in range(_READINGS):
        before, remote, after = now(), read(), now()
        readings.append((after - before, remote - (before + after) / 2))
    return min(readings)[1]


@cache
def _wall() -> Callable[[], float]:
    """Return a function that asks the system and not Python, whose functions may be replaced."""
    import ctypes

    class Moment(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    try:
        ask = ctypes.CDLL(None).clock_gettime
    except (OSError, AttributeError):
        return _Real.time

    def read() -> float:
        moment = Moment()
        ask(time.CLOCK_REALTIME, ctypes.byref(moment))
        return float(moment.seconds + moment.nanoseconds / 1e9)

    return read
