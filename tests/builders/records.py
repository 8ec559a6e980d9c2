"""Records, and the machines that they are from."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.record import Record
from pytest_loadgen.records.revision import Revision
from pytest_loadgen.records.run import Run
from tests.builders.figures import means

HERE = Fingerprint("Linux 6 x86_64", "Quick 9000", 2, "CPython 3.12.1", "")
THERE = replace(HERE, processor="Slow 100", cores=4)
FAST, SLOW = means(*[10] * 5), means(*[20] * 5)


def record(*runs: tuple[str, Result], machine: Fingerprint = HERE, day: int = 1) -> Record:
    """Make a record of tests and their results; each run is numbered among those of its test."""
    seen: Counter[str] = Counter()
    numbered = []
    for test, result in runs:
        judged = JudgedResult(**{name: getattr(result, name) for name in Result.__dataclass_fields__})
        numbered.append(Run(test, judged, seen[test]))
        seen[test] += 1
    return Record(tuple(numbered), machine, Revision("abc", "main"), datetime(2026, 1, day, tzinfo=UTC), "0.1.0")
