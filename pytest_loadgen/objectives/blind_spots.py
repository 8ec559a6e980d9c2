"""What a run may be too short to show: stalls and outages that are too rare to occur in every run of its length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.verdict import Verdict
from pytest_loadgen.units import Duration

# Random events, three per run on average, are absent from 5 % of runs: exp(-3).
_TIMES = 3


def describe_blind_spots(result: Result, verdicts: Sequence[Verdict]) -> str:
    """Say which stalls and outages would miss a met objective, and may not occur in a run of this length.

    Empty where there is no such objective. Requests that are due during a stall wait for its end.
    """
    found = list(_blind_spots(result, verdicts))
    if not found:
        return ""
    apart = Duration(round(result.total.seconds / _TIMES, 1))
    rare = [f"{what} of {_written(seconds)}, which would miss {slo}" for what, seconds, slo in found]
    run = f"a run of {_written(result.total.seconds)}"
    return f"{run} may not show what happens every {apart} on average: {', or '.join(rare)}"


def _blind_spots(result: Result, verdicts: Sequence[Verdict]) -> Iterator[tuple[str, float, str]]:
    """Give the shortest stalls and the shortest outages that miss an objective, with the objective."""
    if result.plan.closed or result.total.seconds <= 0:
        return  # connections that wait for a response send little during a stall
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
