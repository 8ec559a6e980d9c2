"""The table in pytest's summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pytest_loadgen.result import Result, counted
from pytest_loadgen.runs import Run
from pytest_loadgen.units import Duration, Share
from pytest_loadgen.verdict import OUTCOMES

_LEFT = {"test", "request", "errors", "objectives"}


def table(runs: Sequence[Run], verbose: bool) -> str:
    """Draw one row per load; more columns where verbose."""
    from tabulate import tabulate

    rows = [_row(run, verbose) for run in runs]
    if any(run.verdicts for run in runs):
        for run, row in zip(runs, rows, strict=True):
            row["objectives"] = _objectives(run)
    columns = list(rows[0])
    return tabulate(
        [list(row.values()) for row in rows],
        headers=columns,
        tablefmt="simple",
        disable_numparse=True,
        colalign=["left" if column in _LEFT else "right" for column in columns],
    )


def remarks(runs: Sequence[Run]) -> list[str]:
    """Tell, a line each, what the reader of the table must know."""
    return [f"{run.test}: {remark}" for run in runs for remark in _remarks(run.result)]


def undecided(runs: Sequence[Run]) -> list[tuple[str, bool]]:
    """Tell of each objective that is unclear or invalid, a line each, and whether it is invalid."""
    return [
        (f"{run.test}: {verdict}", verdict.outcome == "invalid")
        for run in runs
        for verdict in run.verdicts
        if verdict.outcome in {"unclear", "invalid"}
    ]


def _row(run: Run, verbose: bool) -> dict[str, str]:
    result, total = run.result, run.result.total
    row = {
        "test": run.test,
        "request": result.plan.target.name,
        "requests": f"{result.requests:,}",
    }
    if verbose:
        row["offered"] = str(result.offered)
    row["rate"] = str(result.rate)
    for name, percent in _percentiles(verbose).items():
        row[name] = str(result.percentile(percent)) if result.requests else "-"
    if verbose:
        row["lag p99"] = str(total.lag.percentile(99)) if total.lag else "-"
        row["CPU"] = f"{total.cpu:.0%}"
    row["errors"] = _errors(result)
    return row


def _percentiles(verbose: bool) -> dict[str, float]:
    if verbose:
        return {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "max": 100}
    return {"p50": 50, "p99": 99}


def _objectives(run: Run) -> str:
    """Count the verdicts: ``3 met``, ``2 met, 1 missed``."""
    counts = Counter(verdict.outcome for verdict in run.verdicts)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])


def _errors(result: Result) -> str:
    if not result.errors:
        return "0"
    kinds = [f"{count:,} {outcome}" for outcome, count in result.outcomes.items() if not result.plan.expects(outcome)]
    return f"{Share(result.error_rate)}: {', '.join(kinds)}"


def _waited(result: Result) -> str:
    """Say so where requests waited for a connection longer than for the service."""
    total, plan = result.total, result.plan
    if plan.closed or result.fell_behind or not total.service_time:
        return ""
    waited, served = total.latency.percentile(50), total.service_time.percentile(50)
    # Where requests that were sent timed out too, more connections would only hang as well.
    starved = total.unsent and total.unsent == total.outcomes.get("timeout", 0)
    if waited < 2 * served + 0.01 and not starved:
        return ""
    return (
        f"requests waited for one of {counted(plan.connections, 'connection')}: p50 {waited}, of which {served} were "
        "the service's. Raise connections=, or it is too slow for this rate."
    )


def _remarks(result: Result) -> list[str]:
    remarks = list(result.health)
    if result.interrupted:
        remarks.insert(0, f"interrupted after {Duration(result.total.seconds)} of {result.plan.duration}.")
    if result.given_up:
        remarks.insert(0, f"given up: {result.given_up}.")
    if 0.5 <= result.error_rate < 1:
        remarks.append(f"{result.error_rate} of requests failed.")
    if waited := _waited(result):
        remarks.append(waited)
    if resent := result.total.resent:
        remarks.append(
            f"the service closed {counted(resent, 'kept-alive connection')} under a request, which was then sent again."
        )
    return remarks
