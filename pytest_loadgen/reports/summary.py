"""A run in short: the columns of a table, and remarks in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pytest_loadgen.figures.problems import explained
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.verdict import OUTCOMES, Verdict
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.units import Duration, Size
from pytest_loadgen.wording import counted, listed, printable, tally

# Statuses of redirects to another address, so without 304.
_ELSEWHERE = frozenset({"301", "302", "303", "307", "308", "3xx"})


@dataclass(frozen=True)
class Row:
    """One row of a table: a run, the other service of a run side by side, or one request of a mix."""

    test: str
    result: Result
    verdicts: tuple[Verdict, ...] = ()
    name: str = ""
    """Of the request of a mix; its row follows that of the load."""
    outcome: str = ""
    """What the test came to; empty in the rows that follow that of the load."""

    @classmethod
    def of(cls, run: Run) -> Row:
        """Make the row of a run, with the objectives that are of all its requests."""
        names, verdicts = run.result.names, run.result.verdicts
        of_all = tuple(each for each in verdicts if each.slo.name not in names)
        return cls(run.test, run.result, of_all, outcome=run.outcome)

    @property
    def named(self) -> list[Row]:
        """The rows of the requests of a mix; empty where all requests are the same."""
        verdicts = getattr(self.result, "verdicts", ())
        return [
            Row("", self.result[name], tuple(each for each in verdicts if each.slo.name == name), name)
            for name in self.result.names
        ]


def rows(runs: Sequence[Run]) -> list[Row]:
    """Make the rows of a table: one for each run, and after a run side by side one for the other service.

    A row of a mix is followed by one for each of its requests.
    """
    made = []
    for run in runs:
        made.append(Row.of(run))
        if (other := run.result.against) is not None:
            made.append(Row(f"{run.test}, against", other))
    return [row for load in made for row in (load, *load.named)]


def _percentile(percent: float, row: Row) -> str:
    return str(row.result.percentile(percent)) if row.result.requests else "-"


def _first_byte(row: Row) -> str:
    return str(row.result.by_first_byte.percentile(99)) if row.result.total.first_byte else "-"


def _lag(row: Row) -> str:
    if row.name:
        return ""
    lag = row.result.total.lag
    return str(lag.percentile(99)) if lag else "-"


def _errors(row: Row) -> str:
    result = row.result
    if not result.errors:
        return "0"
    return f"{result.error_rate}: {printable(tally(result.failures))}"


def _objectives(row: Row) -> str:
    """Count the verdicts, the worst first: ``3 met``, ``1 missed, 2 met``."""
    counts = Counter(verdict.outcome for verdict in row.verdicts)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in (*OUTCOMES[1:], "met") if counts[outcome])


COLUMNS: dict[str, Callable[[Row], str]] = {
    "test": lambda row: printable(row.test),
    "outcome": lambda row: row.outcome,
    "request": lambda row: printable(f"- {row.name}" if row.name else row.result.plan.name),
    "generator": lambda row: "" if row.name else printable(row.result.generator),
    "requests": lambda row: f"{row.result.requests:,}",
    "offered": lambda row: str(row.result.offered),
    "rate": lambda row: str(row.result.rate),
    "p50": partial(_percentile, 50),
    "p90": partial(_percentile, 90),
    "p99": partial(_percentile, 99),
    "p99.9": partial(_percentile, 99.9),
    "max": partial(_percentile, 100),
    "first byte p99": _first_byte,
    "lag p99": _lag,
    "CPU": lambda row: "" if row.name else f"{row.result.total.cpu:.0%}",
    "errors": _errors,
    "objectives": _objectives,
}
"""The content of each column, by its heading."""
TEXT_COLUMNS = frozenset({"test", "outcome", "request", "generator", "errors", "objectives"})
"""The columns that are text; the others are numbers."""


def columns(runs: Sequence[Run], *names: str) -> tuple[str, ...]:
    """Return the column names: without "outcome" where none is known, and "objectives" last where there are any."""
    shown = tuple(name for name in names if name != "outcome" or any(run.outcome for run in runs))
    return (*shown, "objectives") if any(run.result.verdicts for run in runs) else shown


def figure(verdict: Verdict) -> str:
    """Write what was measured, and with what confidence: ``234ms (95% sure of 221ms or more)``."""
    return f"{verdict.value} ({verdict.remark})" if verdict.remark else verdict.value


def ordinals(runs: Sequence[Run]) -> list[int]:
    """Return a number for each run, from 1 among those with the same test, request and generator."""
    seen: Counter[tuple[str, ...]] = Counter()
    numbers = []
    for run in runs:
        key = tuple(COLUMNS[column](Row.of(run)) for column in ("test", "request", "generator"))
        seen[key] += 1
        numbers.append(seen[key])
    return numbers


def titles(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run that no other has: ``test: request (generator)``, or ``(generator, 2)``."""
    return [
        f"{run.test}: {run.result.plan.name} ({run.result.generator}{f', {number}' if number > 1 else ''})"
        for run, number in zip(runs, ordinals(runs), strict=True)
    ]


def in_a_line(result: Result) -> str:
    """Write the figures of a load in a line: ``15,000 requests, 500/s, p50 2.6ms, p99 41.3ms, errors 0``."""
    row = Row("", result)
    figures = [counted(result.requests, result.plan.noun), str(result.rate)]
    return ", ".join([*figures, *(f"{column} {COLUMNS[column](row)}" for column in ("p50", "p99", "errors"))])


def origin(record: Record) -> str:
    """Write when a record was made, of which code, on which machine."""
    commit = f", commit {record.revision.commit[:12]}" if record.revision.commit else ""
    branch = f" on {record.revision.branch}" if record.revision.branch else ""
    machine = f"{record.machine.processor}, {counted(record.machine.cores, 'core')}, {record.machine.system}"
    return f"pytest-loadgen {record.software}, {record.date:%Y-%m-%d %H:%M} UTC{commit}{branch}; {machine}."


def notes(run: Run) -> list[str]:
    """List what a reader of a run has to know, a sentence each."""
    return [*_searched(run), *remarks(run.result)]


def _searched(run: Run) -> Iterator[str]:
    """Say what a search for the capacity found, and by which loads."""
    if found := run.capacity:
        loads = ", ".join(f"{step.rate} {step.outcome}" for step in found.steps)
        yield f"capacity of {run.result.plan.name}: {found}. The figures are at {run.result.plan.rate}. Loads: {loads}."


def remarks(result: Result) -> list[str]:
    """List what a reader of the figures has to know, a sentence each."""
    remarks = list(result.problems)
    if result.interrupted:
        remarks.insert(0, f"interrupted after {Duration(result.total.seconds)} of {result.plan.duration}.")
    if result.abort_reason:
        remarks.insert(0, f"aborted: {result.abort_reason}.")
    if result.went_on:
        remarks.append(f"the load {result.went_on}.")
    if not_judged := getattr(result, "not_judged", ()):
        remarks.append(f"not judged, because of --load-scale: {', '.join(not_judged)}.")
    if result.error_rate >= 0.5:
        remarks.append(f"{result.error_rate} of {result.plan.noun}s failed.")
    if failing := _failing(result):
        remarks.append(f"most requests to {failing} failed.")
    remarks += _redirects(result)
    if result.plan.journey and not result.plan.journey.separate:
        remarks.append(
            "the journeys ran in the test process (process=False): other code in that process adds to their latency."
        )
    remarks += explained(result)
    if queued := _queued(result):
        remarks.append(queued)
    if retried := result.total.retried:
        remarks.append(
            f"the generator retried {counted(retried, 'request')} because the service closed the keep-alive connection."
        )
    if unseen := result.total.unseen:
        remarks.append(
            f"up to {counted(unseen, 'request')} more may have failed without {result.generator} noticing: "
            "use another generator (--load-generator=embedded)."
        )
    return remarks


def service(result: Result) -> str:
    """Write what the service used; empty where that is not known: ``uvicorn: 0.99 of 2 cores, 118 MB (+2 MB), …``."""
    known = [each.service for each in result.intervals if each.service]
    total = result.total.service
    if total is None:
        return ""
    grown = Size(known[-1].memory - known[0].memory)
    change = f" ({'' if grown < 0 else '+'}{grown})" if len(known) > 1 else ""
    throttled = f", CPU-throttled for {Duration(total.throttled)}" if total.throttled else ""
    return (
        f"{printable(total.process)}: {total.cpu:.2f} of {counted_cores(total.cores)}, {total.memory}{change}, "
        f"{counted(total.threads, 'thread')}, {counted(total.files, 'file')}{throttled}"
    )


def counted_cores(cores: float) -> str:
    """Write how many cores a service may use, which need not be a whole number."""
    return "1 core" if cores == 1 else f"{cores:.3g} cores"


def _failing(result: Result) -> str:
    """List the requests of a mix of which half or more failed."""
    parts = {row.name: row.result for row in Row("", result).named}
    failing = {name: part for name, part in parts.items() if part.requests and part.error_rate >= 0.5}
    return listed([f"{name} ({part.errors:,} of {part.requests:,})" for name, part in failing.items()])


def _redirects(result: Result) -> Iterator[str]:
    """Report requests that got nothing but redirects, which nobody expected."""
    if result.plan.journey:
        return  # its function sees redirects, and may follow them
    for row in Row("", result).named or [Row("", result)]:
        kinds, plan = row.result.outcomes, row.result.plan
        if kinds and plan.expects_default and _ELSEWHERE.issuperset(kinds):
            name = f" to {row.name}" if row.name else ""
            yield f"all responses{name} were redirects ({tally(kinds)}); load the address that they lead to."


def _queued(result: Result) -> str:
    """Report requests that waited longer for a connection than for the service."""
    total, plan = result.total, result.plan
    if plan.closed or result.fell_behind or not total.service_time:
        return ""
    response, service = total.latency.percentile(50), total.service_time.percentile(50)
    # Where requests that were sent timed out too, more connections would only hang as well.
    starved = total.never_sent and total.never_sent == total.outcomes.get("timeout", 0)
    if response < 2 * service + 0.01 and not starved:
        return ""
    return (
        f"requests waited for one of {counted(plan.connections, 'connection')}: p50 {response}, of which {service} is "
        "service time. Raise connections=; if that does not help, the service is too slow for this rate."
    )
