"""fortio's result: JSON, with histograms but without single calls."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from typing import Any

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.traffic.plan import Plan

_FAILED = "-1"
# More than any machine can count in a load.
_MAX_COUNT = 10**15
# The bounds of fortio's buckets in units of the resolution; the last bucket has no upper bound.
_GRID = (
    *range(13), 14, 16, 18, 20, *range(25, 51, 5), *range(60, 101, 10), *range(120, 201, 20), *range(250, 501, 50),
    *range(600, 1001, 100), 2000, 3000, 4000, 5000, 7500, 10_000, 20_000, 30_000, 40_000, 50_000, 75_000, 100_000,
)  # fmt: skip
# On a busy machine, a thread may skip its last call if it is due this shortly before the end, in seconds.
_GRACE = 0.05


def read(text: str) -> dict[str, Any]:
    """Read a result. Raises GeneratorError if fortio reports an error, ValueError if it is malformed."""
    result = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(result, dict) or "DurationHistogram" not in result:
        raise ValueError(
            result["message"] if isinstance(result, dict) and "message" in result else "no DurationHistogram"
        )
    if result.get("error"):
        raise GeneratorError(f"could not run: {result.get('message')} {result.get('exception', '')}".strip())
    return result


def interval(result: dict[str, Any], plan: Plan, resolution: float) -> Interval:
    """Read the figures of a whole load, whose histograms have this resolution in seconds.

    Raises LookupError, TypeError or ValueError if the result is malformed.
    """
    bounds = (*(resolution * part for part in _GRID), math.inf)
    outcomes = Counter({str(code): _whole(count) for code, count in result["RetCodes"].items()})
    failed = outcomes.pop(_FAILED, 0)
    total, errors = (_counts(result[f"{kind}DurationHistogram"], bounds) for kind in ("", "Errors"))
    # If there are wrong statuses too, fortio does not say which errors they are: the fastest ones are
    # taken for failures, so that no response looks faster than it was.
    lost = errors if failed == errors.total() else _fastest(total, failed)
    timeouts = sum(count for bucket, count in lost.items() if bounds[bucket + 1] > plan.timeout)
    never_sent = _never_sent(result, plan)
    outcomes.update(timeout=timeouts + never_sent, failed=failed - timeouts)
    extremes = result["DurationHistogram"]["Min"], result["DurationHistogram"]["Max"]
    latency = Histogram.from_buckets(
        (max(bounds[bucket], extremes[0]), min(bounds[bucket + 1], extremes[1]), count)
        for bucket, count in (total - lost).items()
    )
    seconds = result["ActualDuration"] / 1e9 if plan.closed else float(plan.duration)
    opened = sum(map(_whole, result.get("Sockets") or []))
    unseen = max(0, opened - result["NumThreads"] - failed) if opened else 0
    # Of a stream that was cut short, HTTP/2 keeps the connection, and fortio says 204.
    unseen += outcomes["204"] if plan.target.http2 else 0
    unseen = min(unseen, outcomes.total())
    return Interval(0.0, seconds, latency, latency, dict(+outcomes), never_sent=never_sent, unseen=unseen)


def more_connections(result: dict[str, Any], failures_of: Callable[[int], int]) -> int:
    """Count the connections that threads opened although none of their calls failed: why is not known."""
    opened = [_whole(count) for count in result.get("Sockets") or []]
    return sum(max(0, count - 1 - failures_of(thread)) for thread, count in enumerate(opened))


def _never_sent(result: dict[str, Any], plan: Plan) -> int:
    """Count the calls that were due and not made."""
    if plan.closed:
        return 0
    rate, threads = float(result["RequestedQPS"]), result["NumThreads"]
    made = sum(each["Count"] for each in result["DurationHistogram"]["Data"] or ())
    planned = int(rate * float(plan.duration))
    missing = max(0, planned - planned % threads - made)
    # A thread that is busy when its last call is due does not make it: how many are depends on how long calls take.
    busy = 2 * result["DurationHistogram"]["Sum"] / made + _GRACE if made else 0.0
    return missing if missing > min(threads, rate * busy) else 0


def _counts(histogram: dict[str, Any], bounds: tuple[float, ...]) -> Counter[int]:
    """Count by bucket; the ends of the first and last are the smallest and largest value, not bounds."""
    counts: Counter[int] = Counter()
    for each in histogram["Data"] or ():
        middle = (each["Start"] + each["End"]) / 2
        counts[bisect_left(bounds, middle) - 1] += _whole(each["Count"])
    return counts


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        raise ValueError(f"{value!r} is not a count")
    return value


def _fastest(counts: Counter[int], wanted: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for bucket in sorted(counts):
        found[bucket] = min(counts[bucket], wanted - found.total())
    return found


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")
