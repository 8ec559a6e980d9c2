"""``python -m pytest_loadgen judge`` and ``compare``: questions to reports of earlier sessions."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pytest_loadgen.errors import PlanError
from pytest_loadgen.objectives.baseline import Baseline
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import OUTCOMES
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.summary import in_a_line, notes, titles
from pytest_loadgen.reports.terminal import shown
from pytest_loadgen.review.compared import Compared
from pytest_loadgen.review.rejudged import Rejudged
from pytest_loadgen.review.report_file import ReportFile
from pytest_loadgen.wording import counted, listed


def add_judge_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``judge``."""
    parser.add_argument("report", type=Path, metavar="REPORT", help="JSON report, written by --load-report=NAME.json")
    parser.add_argument("objectives", nargs="+", metavar="OBJECTIVE", help="objective in quotes: 'p99 < 150ms'")
    _add_choices(parser)


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    parser.add_argument("before", type=Path, metavar="BEFORE", help="JSON report to compare with: the baseline")
    parser.add_argument("after", type=Path, metavar="AFTER", help="JSON report to judge")
    parser.add_argument(
        "objectives",
        nargs="*",
        default=[],
        metavar="OBJECTIVE",
        help="objective in quotes: 'p99 < baseline + 10%%'; without objectives, nothing is judged",
    )
    _add_choices(parser)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--test",
        default="",
        metavar="TEXT",
        help="only the test with this node id or, if there is none, tests whose node id contains it",
    )
    parser.add_argument("--strict", action="store_true", help="fail if an objective is unclear, as --load-strict does")


def judge(options: argparse.Namespace) -> int:
    """Judge the runs of a report by other objectives, and return the exit status. Raises LoadError."""
    objectives = _parsed(options.objectives)
    report = ReportFile.read(options.report)
    runs = report.select(options.test)
    judged = [Rejudged.of(_with_baseline(run, report), objectives) for run in runs]
    _check_all_are_judged(objectives, judged)
    lines = [report.origin]
    for title, run, each in zip(titles(runs), runs, judged, strict=True):
        against = [f"against: {in_a_line(run.result.against)}"] if run.result.against else []
        lines += _block(title, [in_a_line(run.result), *against, *each.lines(), *notes(run)])
    _write([*lines, *_conclusion(judged, strict=options.strict)])
    return _status(judged, strict=options.strict)


def compare(options: argparse.Namespace) -> int:
    """Compare the runs of two reports, and return the exit status. Raises LoadError."""
    objectives = _parsed(options.objectives)
    before, after = map(ReportFile.read, (options.before, options.after))
    runs = after.select(options.test)
    compared = [Compared.of(kept, run) if (kept := before.same_load(run)) else None for run in runs]
    if not any(compared):
        raise PlanError(
            f"{before.path} and {after.path} have no load in common, so there is nothing to compare: in the first, "
            f"{listed(before.tests)}; in the second, {listed([*dict.fromkeys(run.test for run in runs)])}"
        )
    missing = f"{before.path} has no such load"
    judged = [
        Rejudged.of(each.after if each else _without_baseline(run, missing), objectives)
        for each, run in zip(compared, runs, strict=True)
    ]
    _check_all_are_judged(objectives, judged)
    lines = [f"before: {before.origin}", f"after:  {after.origin}"]
    if different := after.record.machine.differences(before.record.machine):
        lines.append(f"different machines ({', '.join(different)}): changes may be due to the machine.")
    for title, each, verdicts in zip(titles(runs), compared, judged, strict=True):
        found = each.lines() if each else [f"not compared: {missing}"]
        said = each.notes() if each else notes(verdicts.run)
        lines += _block(title, [*found, *(verdicts.lines() if objectives else ()), *said])
    if gone := [run for run in before.matching(options.test) if not after.same_load(run)]:
        lines += ["", *(f"only in {before.path}: {title}" for title in titles(gone))]
    _write([*lines, *(_conclusion(judged, strict=options.strict) if objectives else ())])
    return _status(judged, strict=options.strict) if objectives else 0


def _parsed(texts: Sequence[str]) -> list[SLO]:
    """Read objectives. Raises PlanError, which says what is wrong with each."""
    found, wrong = [], []
    for text in dict.fromkeys(texts):
        try:
            found.append(SLO.parse(text))
        except PlanError as error:
            wrong.append(str(error))
    if not wrong:
        return found
    with suppress(PlanError):  # the shell splits what is not quoted
        wrong = [f'write the objective in quotes: "{SLO.parse(" ".join(texts))}"']
    raise PlanError("\n".join(wrong))


def _with_baseline(run: Run, report: ReportFile) -> Run:
    """Say how to get a baseline where the report has none."""
    if run.result.baseline.result is not None:
        return run
    return _without_baseline(run, f"{report.path} has no baseline of this load: use 'compare' with an earlier report")


def _without_baseline(run: Run, why: str) -> Run:
    return replace(run, result=replace(run.result, baseline=Baseline(missing=why)))


def _check_all_are_judged(objectives: Sequence[SLO], judged: Sequence[Rejudged]) -> None:
    """Refuse objectives that apply to no load. Raises PlanError."""
    for slo in objectives:
        reasons = [each.not_judged.get(slo, "") for each in judged]
        if all(reasons):
            loads = zip(titles([each.run for each in judged]), reasons, strict=True)
            lines = [shown(f"  {title}: {reason}") for title, reason in loads]
            raise PlanError("\n".join([f"{slo.text!r} does not apply to any of these loads:", *lines]))


def _block(title: str, lines: Iterable[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)]


def _conclusion(judged: Sequence[Rejudged], *, strict: bool) -> list[str]:
    """Write how many loads failed, and how many verdicts there are of each kind."""
    failed = sum(each.failure(strict=strict) is not None for each in judged)
    counts = Counter(verdict.outcome for each in judged for verdict in each.run.result.verdicts)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    why = " (unclear objectives fail because of --strict)" if strict and counts["unclear"] else ""
    return ["", f"{failed} of {counted(len(judged), 'load')} failed; verdicts: {said}{why}"]


def _status(judged: Sequence[Rejudged], *, strict: bool) -> int:
    return int(any(each.failure(strict=strict) for each in judged))


def _write(lines: Iterable[str]) -> None:
    text, encoding = "\n".join(map(shown, lines)), sys.stdout.encoding or "utf-8"
    try:
        # Not every terminal can show all characters.
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)  # noqa: T201
    except BrokenPipeError:  # as with `| head -1`; the interpreter would fail again when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
