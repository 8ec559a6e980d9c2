"""What is told of a run in short: in the columns of a table, and in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.verdict import OUTCOMES, Verdict
from pytest_loadgen.records.run import Run
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import counted, tally


def _percentile(percent: float, run: Run) -> str:
    return str(run.result.percentile(percent)) if run.result.requests else "-"


def _lag(run: Run) -> str:
    lag = run.result.total.lag
    return str(lag.percentile(99)) if lag else "-"


def _errors(run: Run) -> str:
    result = run.result
    if not result.errors:
        return "0"
    wrong = {outcome: count for outcome, count in result.outcomes.items() if not result.plan.expects(outcome)}
    return f"{result.error_rate}: {tally(wrong)}"


def _objectives(run: Run) -> str:
    """Count the verdicts: ``3 met``, ``2 met, 1 missed``."""
    counts = Counter(verdict.outcome for verdict in run.verdicts)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])


COLUMNS: dict[str, Callable[[Run], str]] = {
    "test": lambda run: run.test,
    "request": lambda run: run.result.plan.target.name,
    "generator": lambda run: run.result.generator,
    "requests": lambda run: f"{run.result.requests:,}",
    "offered": lambda run: str(run.result.offered),
    "rate": lambda run: str(run.result.rate),
    "p50": partial(_percentile, 50),
    "p90": partial(_percentile, 90),
    "p99": partial(_percentile, 99),
    "p99.9": partial(_percentile, 99.9),
    "max": partial(_percentile, 100),
    "lag p99": _lag,
    "CPU": lambda run: f"{run.result.total.cpu:.0%}",
    "errors": _errors,
    "objectives": _objectives,
}
"""What stands in a column, by its heading."""
TEXTS = frozenset({"test", "request", "generator", "errors", "objectives"})
"""The columns that are no numbers."""


def rows(runs: Sequence[Run]) -> list[Run]:
    """Give the runs of a table: behind each that was compared side by side, that of the other service."""
    found = []
    for run in runs:
        found.append(run)
        if run.paired and run.baseline is not None:
            found.append(Run(f"{run.test}, against", run.baseline))
    return found


def columns(runs: Sequence[Run], *names: str) -> tuple[str, ...]:
    """Give the columns of a table, with one for the objectives where there are any."""
    return (*names, "objectives") if any(run.verdicts for run in runs) else names


def figure(verdict: Verdict) -> str:
    """Give what was found, and how sure that is: ``234ms (95% sure of 221ms or more)``."""
    return f"{verdict.value} ({verdict.remark})" if verdict.remark else verdict.value


def ordinals(runs: Sequence[Run]) -> list[int]:
    """Tell of each run which it is of those with its test, request and generator, counted from 1."""
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for run in runs:
        key = tuple(COLUMNS[column](run) for column in ("test", "request", "generator"))
        seen[key] += 1
        found.append(seen[key])
    return found


def remarks(result: Result) -> list[str]:
    """Tell, a sentence each, what the reader of the figures must know."""
    remarks = list(result.problems)
    if result.interrupted:
        remarks.insert(0, f"interrupted after {Duration(result.total.seconds)} of {result.plan.duration}.")
    if result.abort_reason:
        remarks.insert(0, f"given up: {result.abort_reason}.")
    if result.error_rate >= 0.5:
        remarks.append(f"{result.error_rate} of requests failed.")
    if waited := _waited(result):
        remarks.append(waited)
    if retried := result.total.retried:
        remarks.append(
            f"the service closed {counted(retried, 'kept-alive connection')} under a request, which was then sent again."
        )
    return remarks


def _waited(result: Result) -> str:
    """Say so where requests waited for a connection longer than for the service."""
    total, plan = result.total, result.plan
    if plan.closed or result.fell_behind or not total.service_time:
        return ""
    waited, served = total.latency.percentile(50), total.service_time.percentile(50)
    # Where requests that were sent timed out too, more connections would only hang as well.
    starved = total.never_sent and total.never_sent == total.outcomes.get("timeout", 0)
    if waited < 2 * served + 0.01 and not starved:
        return ""
    return (
        f"requests waited for one of {counted(plan.connections, 'connection')}: p50 {waited}, of which {served} were "
        "the service's. Raise connections=, or it is too slow for this rate."
    )
