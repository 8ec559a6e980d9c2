"""What a run may not have shown, although its objectives are met: what comes so seldom that it did not come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.units import Duration

# What comes at random, on average once in a third of a run, does not come in 5 % of runs: exp(-3).
_TIMES = 3


def describe_unseen(result: Result, verdicts: Sequence[Verdict]) -> str:
    """Say which stalls and outages would miss an objective, and may yet not show in a run of this length.

    Empty where no objective is met that they would miss. All that is due in a stall waits for its end.
    """
    found = list(_unseen(result, verdicts))
    if not found:
        return ""
    apart = Duration(round(result.total.seconds / _TIMES, 1))
    rare = [f"{what} of {_written(seconds)}, which miss {slo}" for what, seconds, slo in found]
    return f"{_written(result.total.seconds)} may not show what comes every {apart} on average: {', or '.join(rare)}"


def _unseen(result: Result, verdicts: Sequence[Verdict]) -> Iterator[tuple[str, float, str]]:
    """Give the shortest stalls, and the shortest outages, with the objective that they would miss."""
    if result.plan.closed or result.total.seconds <= 0:
        return  # where a request waits for a response, few are due in a stall
    shortest: dict[str, tuple[float, str]] = {}
    for verdict in verdicts:
        slo = verdict.slo
        allowed = slo.allowed
        if verdict.outcome != "met" or allowed is None or not slo.upper or not 0 < allowed < 0.5 or slo.window:
            continue
        lost = allowed * result.total.seconds / _TIMES
        if slo.metric.is_response_time:
            what, seconds = "stalls", lost + float(slo.bound)
        elif slo.metric.is_count:
            what, seconds = "outages", lost
        else:
            continue
        shortest[what] = min(shortest.get(what, (seconds, slo.text)), (seconds, slo.text))
    for what, (seconds, text) in shortest.items():
        yield what, seconds, text


def _written(seconds: float) -> str:
    return str(Duration(float(f"{seconds:.2g}") if seconds < 1 else round(seconds, 1)))
