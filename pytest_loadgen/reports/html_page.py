"""One HTML page with tables and charts that needs no network."""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from operator import attrgetter, methodcaller
from typing import Any

from pytest_loadgen.figures.outcomes import FAILURES, is_answer
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import Baseline
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.verdict import OUTCOMES, Outcome, Verdict
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import summary
from pytest_loadgen.reports.charts import charts
from pytest_loadgen.reports.history import figure_histories, origins
from pytest_loadgen.reports.summary import Row
from pytest_loadgen.traffic.journey import CANCELLED, OK, UNAWAITED
from pytest_loadgen.traffic.target import NO_SERVICE
from pytest_loadgen.units import Change, Duration, NoAnswer, Share
from pytest_loadgen.wording import counted

_COLUMNS = ("test", "outcome", "request", "generator", "requests", "rate", "p50", "p99", "errors")
_BY_NAME = ("requests", "rate", "p50", "p99", "first byte p99", "errors")
_COMPARED = ("p50 of baseline", "p50 change", "p99 of baseline", "p99 change")
_LATENCY_FROM = {
    "scheduled": "from each request's scheduled time",
    "sent": "from when each request was sent; waiting time before that is not included",
    "corrected": "from when each request was sent, with synthetic samples for requests that could not be sent in time",
}
_SYMBOLS = {
    **{"met": "✓", "missed": "✕", "unclear": "?", "invalid": "!"},
    **{"passed": "✓", "failed": "✕", "error": "✕", "skipped": "–"},
}
# The percentiles to show, and how many requests each needs.
_PERCENTILES = {50: 1, 75: 1, 90: 1, 95: 1, 99: 1, 99.9: 1_000, 99.99: 10_000}


def document(record: Record) -> str:
    """Write the page. Raises ImportError where jinja2 is missing."""
    from jinja2 import Environment, StrictUndefined

    scripts = [_read("page.js"), _read("uplot/uPlot.iife.min.js")]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_read("page.html.j2")).render(
        record=record,
        sections=[Section(number, run) for number, run in enumerate(record.runs, 1)],
        columns=_columns(record.runs),
        text_columns=summary.TEXT_COLUMNS,
        tests=Counter(filter(None, {run.test: run.outcome for run in record.runs}.values())),
        tally=_tally([verdict for run in record.runs for verdict in run.result.verdicts]),
        opened=_opened(record.runs),
        symbols=_SYMBOLS,
        counted=counted,
        latency=_latency,
        style=_read("uplot/uPlot.min.css") + _read("page.css"),
        licence=_read("uplot/LICENSE"),
        scripts=scripts,
        sources=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
    )


def _latency(seconds: float | None) -> str:
    return "no answer" if seconds is None else str(Duration(seconds))


def _columns(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the columns of the overview; each load says its generator below."""
    several = len({run.result.generator for run in runs}) > 1
    return summary.columns(runs, *(name for name in _COLUMNS if name != "generator" or several))


def _read(name: str) -> str:
    # Line ends as a browser has them when it checks the digests.
    return "\n".join(files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines()) + "\n"


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _tally(verdicts: list[Verdict]) -> list[tuple[Outcome, int]]:
    """Count verdicts by outcome; outcomes without a verdict are left out."""
    counts = {outcome: sum(verdict.outcome == outcome for verdict in verdicts) for outcome in OUTCOMES}
    return [(outcome, count) for outcome, count in counts.items() if count]


def _opened(runs: tuple[Run, ...]) -> int:
    """Return the number of the run to show open: the first that needs attention, else the first."""
    troubled = [
        number
        for number, run in enumerate(runs, 1)
        if run.outcome in {"failed", "error"}
        or not all(run.result.verdicts)
        or run.result.problems
        or run.result.all_failed
        or run.result.abort_reason
    ]
    return troubled[0] if troubled else 1


@dataclass(frozen=True)
class Section:
    """A run, as the page shows it."""

    number: int
    run: Run

    @property
    def result(self) -> JudgedResult:
        """The run's result."""
        return self.run.result

    @cached_property
    def rows(self) -> list[tuple[Row, dict[str, str], list[tuple[Outcome, int]]]]:
        """The rows of the overview with their cells and verdicts: the run's, and of a mix one for each name."""
        own = Row.of(self.run)
        return [(row, _cells(row), _tally(list(row.verdicts))) for row in (own, *own.named)]

    @property
    def by_name(self) -> tuple[str, ...]:
        """The columns of the figures by name."""
        return _BY_NAME if self.baseline is None else (*_BY_NAME, *_COMPARED)

    @property
    def named(self) -> list[dict[str, str]]:
        """The figures of a mix by name, with those of the baseline and the change from it."""
        return [{**cells, **self._compared(row.name), "name": row.name} for row, cells, _ in self.rows if row.name]

    def _compared(self, name: str) -> dict[str, str]:
        own, baseline = self.result[name], self.result.baseline.of(name)
        if baseline.result is None or not baseline.result.requests:
            return dict.fromkeys(_COMPARED, "-")
        pairs = [(figure(own), _before(baseline, figure)) for figure in (attrgetter("p50"), attrgetter("p99"))]
        return dict(
            zip(_COMPARED, [cell for one, before in pairs for cell in (str(before), _change(one, before))], strict=True)
        )

    @property
    def tally(self) -> list[tuple[Outcome, int]]:
        """The run's verdicts, counted by outcome."""
        return _tally(list(self.result.verdicts))

    @cached_property
    def charts(self) -> dict[str, Any]:
        """The data of its charts."""
        return charts(self.run).as_dict()

    @property
    def percentiles(self) -> Iterator[tuple[str, list[str]]]:
        """Rows of figures: response time, service time, first byte, and the baseline with the change from it."""
        for percent, fewest in _PERCENTILES.items():
            if self.result.requests >= fewest:
                yield f"p{percent:g}", self._figures(methodcaller("percentile", percent))
        if self.result.requests:
            yield "max", self._figures(attrgetter("max"))
            yield "mean", self._figures(attrgetter("mean"))

    def _figures(self, figure: Callable[[Result], Duration]) -> list[str]:
        own = figure(self.result)
        service = str(figure(self.result.by_service_time)) if self.result.total.service_time else "-"
        figures = [str(own), service]
        if self.result.total.first_byte:
            figures.append(str(figure(self.result.by_first_byte)))
        if self.baseline is not None:
            before = _before(self.result.baseline, figure) if self.baseline.requests else NoAnswer()
            figures += [str(before), _change(own, before)]
        return figures

    @property
    def baseline(self) -> Result | None:
        """The newest of the results that this one was compared with."""
        return self.result.baseline.result

    @property
    def baseline_name(self) -> str:
        """The heading of the baseline's figures."""
        if other := self.result.against:
            return f"against {other.plan.target.origin}"
        kept = len(self.result.baseline.runs)
        return "baseline" if kept == 1 else f"baseline of {kept} runs"

    @cached_property
    def history(self) -> list[tuple[str, str, list[tuple[str, bool]]]]:
        """Rows of the kept runs and of this one: date, commit, and each figure with whether it is compared with."""
        found = figure_histories(self.run)
        rows = [
            (date, commit, [(each.write(each.kept[at]), at >= each.left_out) for each in found])
            for at, (date, commit) in enumerate(origins(self.result.baseline.runs if found else ()))
        ]
        return [*rows, ("this run", "", [(each.write(each.own), True) for each in found])] if rows else []

    @property
    def history_columns(self) -> list[str]:
        """The figures in the rows of the history."""
        return [each.said for each in figure_histories(self.run)]

    @property
    def unanswered(self) -> str:
        """How many requests got no response, or failed their check, of how many."""
        unanswered, requests = self.result.total.unanswered, self.result.requests
        if self.result.plan.journey:
            return f"{unanswered:,} of {counted(requests, 'journey')} ({Share(unanswered / requests)}) failed"
        what = "got no response" if "check" not in self.result.outcomes else "got no response or failed the check"
        return f"{unanswered:,} of {counted(requests, 'request')} ({Share(unanswered / requests)}) {what}"

    @property
    def outcomes(self) -> Iterator[tuple[str, str, str, Share, bool]]:
        """Rows of outcomes: outcome, meaning, count, share, and whether it is expected."""
        failures = self.result.failures
        for outcome, count in self.result.outcomes.items():
            failed = failures.get(outcome, 0)
            meaning = _of_journey(outcome) if self.result.plan.journey else _meaning(outcome, not failed)
            if 0 < failed < count:
                meaning = f"{meaning} of {counted(failed, 'request')}"
            yield outcome, meaning, f"{count:,}", Share(count / self.result.requests), not failed

    @property
    def plan(self) -> Iterator[tuple[str, str]]:
        """The load that was requested."""
        plan = self.result.plan
        if plan.is_mix:
            yield "service", plan.target.origin
            for each in plan.mix:
                data = f", filled from {each.data}" if each.data else ""
                expected = "" if each.expect == plan.expect else f", expects {' or '.join(each.expect)}"
                yield each.name, f"{each.target.name}, weight {each.weight}{data}{expected}"
        elif plan.journey:
            yield "journey", plan.journey.name
            if plan.target.scheme != NO_SERVICE:
                yield "service", plan.target.origin
        else:
            yield "request", f"{plan.target.method} {plan.target.url}"
        yield "load", str(plan)
        if plan.iterations is not None:
            yield "iterations", f"{plan.iterations:,}"
        if not plan.closed:
            yield "arrivals", plan.arrivals
        yield "users" if plan.journey and plan.closed else "connections", f"{plan.connections:,}"
        yield "warmup", str(plan.warmup)
        yield "timeout", str(plan.timeout)
        yield "expected statuses", ", ".join(plan.expect)

    @property
    def generator(self) -> Iterator[tuple[str, str]]:
        """The generator: how it measures, and how much room it had."""
        result, total = self.result, self.result.total
        yield "name", f"{result.generator} {result.version}".strip()
        yield "latency", _LATENCY_FROM.get(result.latency_from, result.latency_from)
        if result.added_latency:
            yield "adds at most", str(result.added_latency)
        if total.lag:
            yield "generator lag", f"p50 {total.lag.percentile(50)}, p99 {total.lag.percentile(99)}"
        yield "CPU", f"{total.cpu:.0%} of a core"
        if total.throttled:
            yield "CPU-throttled for", str(Duration(total.throttled))

    @property
    def service(self) -> Iterator[tuple[str, str]]:
        """What the service used; why that is not known, where it is not."""
        total = self.result.total
        if not (used := total.service):
            yield "resources", self.result.service_unknown or "not sampled"
            return
        yield "process", used.process
        yield "CPU", f"{used.cpu:.2f} of {summary.counted_cores(used.cores)} ({used.cpu_share})"
        yield "memory", str(used.memory)
        yield "threads", f"{used.threads:,}"
        yield "open files", f"{used.files:,}"
        if used.throttled:
            yield "CPU-throttled for", str(Duration(used.throttled))
        if limit := used.limit(total.seconds):
            yield "limit", limit

    @property
    def remarks(self) -> list[str]:
        """What a reader of the figures has to know; that the load went on is said with the verdicts."""
        notes = summary.notes(replace(self.run, result=replace(self.result, went_on="")))
        return [*notes, said] if (said := self.result.blind_spots) else notes


def _cells(row: Row) -> dict[str, str]:
    return {name: column(row) for name, column in summary.COLUMNS.items()}


def _meaning(outcome: str, expected: bool) -> str:
    if is_answer(outcome):
        return "expected status" if expected else "unexpected status"
    return FAILURES.get(outcome, "no response")


def _of_journey(outcome: str) -> str:
    """Say how a journey ended."""
    if outcome == OK:
        return "nothing failed"
    if outcome.isdigit():
        return "a request had this status, which is unexpected"
    said = {
        "check": "an assert failed",
        "timeout": "it took longer than timeout=",
        CANCELLED: "it cancelled itself",
        UNAWAITED: "it did not await an async function",
    }
    return said.get(outcome) or (f"a request failed: {FAILURES[outcome]}" if outcome in FAILURES else "it raised this")


def _before(baseline: Baseline, figure: Callable[[Result], Duration]) -> Duration:
    """Give a figure of the baseline; with several runs, the geometric mean of those that are compared with."""
    if len(baseline.runs) == 1:
        return figure(baseline.runs[0].result)
    typical = baseline.typical(figure)
    return Duration(typical) if math.isfinite(typical) else NoAnswer()


def _change(own: Duration, before: Duration) -> str:
    if isinstance(own, NoAnswer) or isinstance(before, NoAnswer) or not before:
        return "-"
    return "same" if own == before else str(Change(own / before))
