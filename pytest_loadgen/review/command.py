"""``python -m pytest_loadgen judge`` and ``compare``: what kept runs say afterwards."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pytest_loadgen.errors import PlanError
from pytest_loadgen.objectives.comparison import Baseline
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import OUTCOMES
from pytest_loadgen.records.run import Run
from pytest_loadgen.reports.summary import origin, titles
from pytest_loadgen.reports.terminal import shown
from pytest_loadgen.review.compared import Compared
from pytest_loadgen.review.rejudged import Rejudged
from pytest_loadgen.review.report_file import ReportFile
from pytest_loadgen.wording import counted, listed


def add_judge_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``judge``."""
    parser.add_argument("report", type=Path, metavar="REPORT", help="JSON report, as --load-report=NAME.json writes it")
    parser.add_argument("objectives", nargs="+", metavar="OBJECTIVE", help="objective in quotes, as 'p99 < 150ms'")
    _add_choices(parser)


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    parser.add_argument("before", type=Path, metavar="BEFORE", help="JSON report to compare with: the baseline")
    parser.add_argument("after", type=Path, metavar="AFTER", help="JSON report to judge")
    parser.add_argument(
        "objectives",
        nargs="*",
        metavar="OBJECTIVE",
        help="objective in quotes, as 'p99 < baseline + 10%%'; without any, nothing is judged",
    )
    _add_choices(parser)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--test", default="", metavar="TEXT", help="only the test of this node id, or with this text")
    parser.add_argument("--strict", action="store_true", help="fail if an objective is unclear, as --load-strict does")


def judge(options: argparse.Namespace) -> int:
    """Judge the runs of a report by other objectives, and return the exit status. Raises LoadError."""
    objectives = _parsed(options.objectives)
    report = ReportFile.read(options.report)
    runs = report.select(options.test)
    judged = [Rejudged.of(_with_baseline(run, report), objectives) for run in runs]
    _check_all_are_judged(objectives, judged)
    _write([origin(report.record)])
    for title, each in zip(titles(runs), judged, strict=True):
        _write_load(title, each.lines())
    return _conclude(judged, strict=options.strict)


def compare(options: argparse.Namespace) -> int:
    """Compare the runs of two reports, and return the exit status. Raises LoadError."""
    objectives = _parsed(options.objectives)
    before, after = map(ReportFile.read, (options.before, options.after))
    runs = after.select(options.test)
    pairs = before.pairs(runs)
    compared = [Compared.of(pair, run) if pair else None for pair, run in zip(pairs, runs, strict=True)]
    if not any(compared):
        raise PlanError(
            f"{before.path} and {after.path} have no load in common, so there is nothing to compare: in the first, "
            f"{listed(before.tests)}; in the second, {listed(after.tests)}"
        )
    judged = [
        Rejudged.of(each.after if each else _without_baseline(run, f"{before.path} has no such load"), objectives)
        for each, run in zip(compared, runs, strict=True)
    ]
    _check_all_are_judged(objectives, judged)
    _write([f"before: {origin(before.record)}", f"after:  {origin(after.record)}"])
    if different := after.record.machine.differences(before.record.machine):
        _write([f"different machines: {', '.join(different)}. A change may be that of the machine."])
    for title, each, verdicts in zip(titles(runs), compared, judged, strict=True):
        alone = [f"not compared: {before.path} has no such load"]
        _write_load(title, [*(each.lines() if each else alone), *verdicts.lines()])
    if gone := [run for run in before.record.runs if options.test in run.test and run not in pairs]:
        _write(["", *(f"only in {before.path}: {title}" for title in titles(gone))])
    return _conclude(judged, strict=options.strict) if objectives else 0


def _parsed(texts: Sequence[str]) -> list[SLO]:
    """Read objectives. Raises PlanError that has what is wrong with each."""
    found, wrong = [], []
    for text in dict.fromkeys(texts):
        try:
            found.append(SLO.parse(text))
        except PlanError as error:
            wrong.append(str(error))
    if wrong and len(texts) > 1:
        with suppress(PlanError):  # the shell has split it
            raise PlanError(f'write the objective in quotes: "{SLO.parse(" ".join(texts))}"')
    if wrong:
        raise PlanError("\n".join(wrong))
    return found


def _with_baseline(run: Run, report: ReportFile) -> Run:
    """Say where a baseline could come from, where the report has none."""
    if run.result.baseline.result is not None:
        return run
    return _without_baseline(run, f"{report.path} has no baseline of this load: use compare, with an earlier report")


def _without_baseline(run: Run, why: str) -> Run:
    return replace(run, result=replace(run.result, baseline=Baseline(missing=why)))


def _check_all_are_judged(objectives: Sequence[SLO], judged: Sequence[Rejudged]) -> None:
    """Refuse objectives that no load is judged by. Raises PlanError."""
    wrong = [slo for slo in objectives if all(slo in each.not_judged for each in judged)]
    if wrong:
        raise PlanError("\n".join(f"{slo.text!r}: {judged[0].not_judged[slo]}" for slo in wrong))


def _conclude(judged: Sequence[Rejudged], *, strict: bool) -> int:
    """Write how many verdicts there are of each kind, and return the exit status."""
    counts = Counter(verdict.outcome for each in judged for verdict in each.run.result.verdicts)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    unclear = "; unclear objectives fail because of --strict" if strict and counts["unclear"] else ""
    _write(["", f"{counted(len(judged), 'load')}: {said}{unclear}"])
    return int(any(each.fails(strict=strict) for each in judged))


def _write_load(title: str, lines: Iterable[str]) -> None:
    _write(["", title, *(f"  {line}" for line in lines)])


def _write(lines: Iterable[str]) -> None:
    for line in lines:
        print(shown(line))  # noqa: T201
