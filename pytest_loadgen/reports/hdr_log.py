"""HdrHistogram's interval log, version 1.3, which HistogramLogAnalyzer and similar tools read.

One line per interval: ``Tag=…,start,length,max,histogram``. Times are in seconds since BaseTime,
histograms in nanoseconds, and maxima in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from pytest_loadgen.records.record import Record
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.summary import ordinals
from pytest_loadgen.wording import counted, printable

_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'


def document(record: Record) -> str:
    """Write the latencies of all intervals, tagged by test, request and generator."""
    base = min((run.date for run in record.runs if run.date), default=record.date)
    tagged = [(_tag(run, ordinal), run) for run, ordinal in zip(record.runs, ordinals(record.runs), strict=True)]
    # Readers expect times in ascending order.
    lines = sorted((line for tag, run in tagged for line in _lines(tag, run, base)), key=lambda line: line[0])
    return "\n".join(
        [
            f"#[Logged with pytest-loadgen {record.software}]",
            "#[Histogram log format version 1.3]",
            f"#[BaseTime: {base.timestamp():.3f} (seconds since epoch)]",
            f"#[StartTime: {base.timestamp():.3f} (seconds since epoch), {base.isoformat()}]",
            "#[Histograms are of latencies in ns; Interval_Max is in ms: ns / 1000000]",
            *(comment for tag, run in tagged for comment in _comments(tag, run)),
            _LEGEND,
            *(line for _, line in lines),
            "",
        ]
    )


def _tag(run: Run, ordinal: int) -> str:
    name = f"{run.test} {run.result.plan.target.name} {run.result.generator}"
    return printable(re.sub(r"[\s,]+", "_", name if ordinal == 1 else f"{name} #{ordinal}"))


def _lines(tag: str, run: Run, base: datetime) -> Iterator[tuple[float, str]]:
    """Yield each interval's start and line."""
    begin = ((run.date or base) - base).total_seconds()
    for interval in run.result.intervals:
        start = begin + interval.start
        slowest = float(interval.latency.percentile(100)) if interval.latency else 0.0
        # After the semicolon come wide buckets, which only this package reads.
        histogram = interval.latency.encode().partition(";")[0]
        yield start, f"Tag={tag},{start:.3f},{interval.seconds:.3f},{slowest * 1e3:.3f},{histogram}"


def _comments(tag: str, run: Run) -> Iterator[str]:
    """Report what a histogram cannot hold."""
    if unanswered := run.result.total.unanswered:
        requests = counted(run.result.requests, "request")
        yield f"#[{tag}: {unanswered:,} of {requests} got no response and are in no histogram]"
