"""One page with tables and charts, that opens from a file and asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from operator import attrgetter, methodcaller
from typing import Any

from pytest_loadgen.figures.outcomes import FAILURES, is_answer
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.verdict import OUTCOMES, Outcome, Verdict
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports import summary
from pytest_loadgen.reports.charts import charts
from pytest_loadgen.units import Change, Duration, NoAnswer, Share
from pytest_loadgen.wording import counted

_COLUMNS = ("test", "request", "generator", "requests", "rate", "p50", "p99", "errors")
_BASIS = {
    "scheduled": "from when each request was due",
    "sent": "from when each request was sent; what waited to be sent is not in it",
    "corrected": "from when each request was sent, with samples made up for those that were not",
}
_SYMBOLS: dict[Outcome, str] = {"met": "✓", "missed": "✕", "unclear": "?", "invalid": "!"}
# A percentile is told where there are so many requests.
_PERCENTILES = {50: 1, 75: 1, 90: 1, 95: 1, 99: 1, 99.9: 1_000, 99.99: 10_000}


def document(record: Record) -> str:
    """Write the page. Raises ImportError where jinja2 or plotly is missing."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    # As a browser reads their line ends, or they would not be what their digests are of.
    scripts = [script.replace("\r\n", "\n").replace("\r", "\n") for script in (_read("page.js"), get_plotlyjs())]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_read("page.html.j2")).render(
        record=record,
        sections=[Section(number, run) for number, run in enumerate(record.runs, 1)],
        columns=summary.columns(record.runs, *_COLUMNS),
        texts=summary.TEXTS,
        failed=sum(run.result.all_failed for run in record.runs),
        tally=_tally([verdict for run in record.runs for verdict in run.verdicts]),
        opened=_opened(record.runs),
        symbols=_SYMBOLS,
        counted=counted,
        style=_read("page.css"),
        scripts=scripts,
        sources=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
    )


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _tally(verdicts: list[Verdict]) -> list[tuple[Outcome, int]]:
    """Count verdicts by outcome, those that there are."""
    counts = {outcome: sum(verdict.outcome == outcome for verdict in verdicts) for outcome in OUTCOMES}
    return [(outcome, count) for outcome, count in counts.items() if count]


def _opened(runs: tuple[Run, ...]) -> int:
    """Choose the run that is open at first: the first that is not well, else the first."""
    ill = [
        number
        for number, run in enumerate(runs, 1)
        if not all(run.verdicts) or run.result.problems or run.result.all_failed or run.result.abort_reason
    ]
    return ill[0] if ill else 1


@dataclass(frozen=True)
class Section:
    """A run, as the page tells of it."""

    number: int
    run: Run

    @property
    def result(self) -> Result:
        """Its figures."""
        return self.run.result

    @property
    def cells(self) -> dict[str, str]:
        """What is in the columns of the overview."""
        return {name: column(self.run) for name, column in summary.COLUMNS.items()}

    @property
    def tally(self) -> list[tuple[Outcome, int]]:
        """How many of its objectives came out how."""
        return _tally(list(self.run.verdicts))

    @cached_property
    def charts(self) -> dict[str, Any]:
        """What its charts draw."""
        return charts(self.run).as_dict()

    @property
    def percentiles(self) -> Iterator[tuple[str, list[str]]]:
        """Rows of figures: of response time, of service time, and of the baseline with the change from it."""
        for percent, fewest in _PERCENTILES.items():
            if self.result.requests >= fewest:
                yield f"p{percent:g}", self._figures(methodcaller("percentile", percent))
        if self.result.requests:
            yield "max", self._figures(attrgetter("max"))
            yield "mean", self._figures(attrgetter("mean"))

    def _figures(self, figure: Callable[[Result], Duration]) -> list[str]:
        own = figure(self.result)
        served = str(figure(self.result.by_service_time)) if self.result.total.service_time else "-"
        figures = [str(own), served]
        if self.run.baseline is not None:
            before = figure(self.run.baseline) if self.run.baseline.requests else NoAnswer()
            figures += [str(before), _change(own, before)]
        return figures

    @property
    def other(self) -> str:
        """What its baseline is."""
        other = self.run.baseline
        return f"against {other.plan.target.origin}" if self.run.paired and other else "baseline"

    @property
    def lost(self) -> str:
        """How many requests got no answer, of how many."""
        lost, requests = self.result.total.unanswered, self.result.requests
        return f"{lost:,} of {counted(requests, 'request')} ({Share(lost / requests)})"

    @property
    def outcomes(self) -> Iterator[tuple[str, str, str, Share, bool]]:
        """What became of requests: outcome, what that is, count, share, and whether it is right."""
        for outcome, count in self.result.outcomes.items():
            right = self.result.plan.expects(outcome)
            yield outcome, _meaning(outcome, right), f"{count:,}", Share(count / self.result.requests), right

    @property
    def plan(self) -> Iterator[tuple[str, str]]:
        """What was asked for."""
        plan = self.result.plan
        yield "request", f"{plan.target.method} {plan.target.url}"
        yield "load", str(plan)
        if not plan.closed:
            yield "arrivals", plan.arrivals
        yield "connections", f"{plan.connections:,}"
        yield "warm-up", str(plan.warmup)
        yield "time-out", str(plan.timeout)
        yield "right answers", ", ".join(plan.expect)

    @property
    def generator(self) -> Iterator[tuple[str, str]]:
        """What made the load, how it counts, and how it fared."""
        result, total = self.result, self.result.total
        yield "name", f"{result.generator} {result.version}".strip()
        yield "latency counts", _BASIS.get(result.latency_from, result.latency_from)
        if result.added_latency:
            yield "adds up to", str(result.added_latency)
        if total.lag:
            yield "its own lateness", f"p50 {total.lag.percentile(50)}, p99 {total.lag.percentile(99)}"
        yield "CPU", f"{total.cpu:.0%} of a core"
        if total.throttled:
            yield "kept from the CPU for", str(Duration(total.throttled))

    @property
    def remarks(self) -> list[str]:
        """What the reader of the figures must know."""
        return summary.remarks(self.result)


def _meaning(outcome: str, right: bool) -> str:
    if is_answer(outcome):
        return "as expected" if right else "error"
    return FAILURES.get(outcome, "no answer")


def _change(own: Duration, before: Duration) -> str:
    if isinstance(own, NoAnswer) or isinstance(before, NoAnswer) or not before:
        return "-"
    return "same" if own == before else str(Change(own / before))
