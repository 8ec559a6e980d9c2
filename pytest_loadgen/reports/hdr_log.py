"""HdrHistogram's interval log, version 1.3, which HistogramLogAnalyzer and similar tools read.

One line per interval: ``Tag=…,start,length,max,histogram``. Times are in seconds since BaseTime,
histograms in nanoseconds, and maxima in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from pytest_loadgen.figures.result import Result
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.summary import ordinals
from pytest_loadgen.wording import counted, printable

_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'


def document(record: Record) -> str:
    """Write the latencies of all intervals, tagged by test, request and generator; of a mix, also by name.

    The time to the first byte has tags of its own.
    """
    base = min((run.date for run in record.runs if run.date), default=record.date)
    tagged = [
        (tag, run, result)
        for run, ordinal in zip(record.runs, ordinals(record.runs), strict=True)
        for tag, result in _tagged(run, ordinal)
    ]
    # Readers expect times in ascending order.
    lines = sorted(
        (line for tag, run, result in tagged for line in _lines(tag, run, result, base)), key=lambda line: line[0]
    )
    return "\n".join(
        [
            f"#[Logged with pytest-loadgen {record.software}]",
            "#[Histogram log format version 1.3]",
            f"#[BaseTime: {base.timestamp():.3f} (seconds since epoch)]",
            f"#[StartTime: {base.timestamp():.3f} (seconds since epoch), {base.isoformat()}]",
            "#[Histograms are of latencies in ns; Interval_Max is in ms: ns / 1000000]",
            *(comment for tag, run, result in tagged for comment in _comments(tag, run, result)),
            _LEGEND,
            *(line for _, line in lines),
            "",
        ]
    )


def _tagged(run: Run, ordinal: int) -> Iterator[tuple[str, Result]]:
    """Yield the result of a run with its tag, and those of its names."""
    name = f"{run.test} {run.result.plan.name} {run.result.generator}"
    own = name if ordinal == 1 else f"{name} #{ordinal}"
    parts = {own: run.result, **{f"{own} {each}": run.result[each] for each in run.result.names}}
    for text, result in parts.items():
        yield _tag(text), result
        if result.total.first_byte:
            yield _tag(f"{text} first byte"), result.by_first_byte


def _tag(text: str) -> str:
    return printable(re.sub(r"[\s,]+", "_", text))


def _lines(tag: str, run: Run, result: Result, base: datetime) -> Iterator[tuple[float, str]]:
    """Yield each interval's start and line."""
    begin = ((run.date or base) - base).total_seconds()
    for interval in result.intervals:
        start = begin + interval.start
        slowest = float(interval.latency.percentile(100)) if interval.latency else 0.0
        # After the semicolon come wide buckets, which only this package reads.
        histogram = interval.latency.encode().partition(";")[0]
        yield start, f"Tag={tag},{start:.3f},{interval.seconds:.3f},{slowest * 1e3:.3f},{histogram}"


def _comments(tag: str, run: Run, result: Result) -> Iterator[str]:
    """Report what a histogram cannot hold."""
    if result is run.result and run.outcome:
        yield f"#[{tag}: test {run.outcome}]"
    if unanswered := result.total.unanswered:
        requests = counted(result.requests, "request")
        what = "got no response" if "check" not in result.outcomes else "got no response or failed the check"
        yield f"#[{tag}: {unanswered:,} of {requests} {what} and are in no histogram]"
