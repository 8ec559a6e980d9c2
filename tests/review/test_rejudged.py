"""Runs judged by other objectives: the verdicts that the load would have had, and why some are not judged."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from pytest_loadgen.figures.interval import NamedFigures
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.judged import judge_all
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.records.run import Run
from pytest_loadgen.review.rejudged import Rejudged
from pytest_loadgen.traffic.journey import Journey
from pytest_loadgen.units import Duration
from tests.builders.figures import seconds
from tests.builders.records import FAST, record
from tests.reports.examples import CLOSED, ILL, MIX, NOTHING, RECORD, SEARCH, UNANSWERED, WELL

SOUND = ["p99 < 150ms", "p90 < 100ms", "errors < 0.1%", "rate >= 99/s"]


def kept(result: Result, **more: Any) -> Run:
    """Give the run of a result; with what is known of a judged one."""
    (run,) = record(("t", result)).runs
    return replace(run, result=replace(run.result, **more))


async def shopper(client: Any) -> None:
    """Shop."""


def journey() -> Run:
    """Give the run of a journey with the step ``checkout``."""
    latency = FAST.intervals[0].latency
    names = {"checkout": NamedFigures(latency=latency, service_time=latency, outcomes={"200": 100})}
    intervals = tuple(replace(each, names=names) for each in FAST.intervals)
    return kept(replace(FAST, plan=replace(FAST.plan, journey=Journey.of(shopper)), intervals=intervals))


JOURNEY = journey()


def again(run: Run, *objectives: str) -> Rejudged:
    return Rejudged.of(run, [SLO.parse(text) for text in objectives])


@pytest.mark.parametrize("slow", [[0] * 8, [0, 3, 0, 1, 0, 2, 0, 1], [30] * 8])
def test_verdicts_are_those_of_the_load(slow: Sequence[int]) -> None:
    """All objectives are judged together, as a load judges them."""
    run = kept(seconds(*slow))
    assert again(run, *SOUND).run.result.verdicts == tuple(judge_all(list(map(SLO.parse, SOUND)), run.result))


def test_circumstances_are_kept() -> None:
    """As in the load: a limit near the machine's own latency is unclear, a count is that of the planned duration."""
    run = Run.from_dict(kept(FAST, machine_p99=Duration("8ms"), extended_by=2.0).as_dict())
    noisy, count = again(run, "p99 < 20ms", "status 200 < 300").run.result.verdicts
    assert noisy.outcome == "unclear"
    assert noisy.remark == "the limit is below 3 × 8ms, this machine's own p99 (no-op service)"
    assert count.outcome == "met"
    assert count.remark == "the load was extended: 250 per 5s"
    silent = Run.from_dict(kept(FAST, machine_p99=Duration(math.inf)).as_dict())
    assert again(silent, "p99 < 1s").run.result.verdicts[0].outcome == "unclear"


@pytest.mark.parametrize(
    ("limit", "known", "said"), [("12ms", False, True), ("12ms", True, False), ("1s", False, False)]
)
def test_the_machine_was_not_measured(limit: str, known: bool, said: bool) -> None:
    """If the machine was not measured, a line warns about a low limit."""
    run = kept(FAST, machine_p99=Duration(0.0001 if known else 0))
    lines = list(again(run, f"p99 < {limit}").lines())
    wanted = (
        "p99 < 12ms: so low a limit may be within the machine's own latency, which is not in this report: "
        "only loads with an objective on latency measure it."
    )
    assert lines[1:] == [wanted] * said


@pytest.mark.parametrize(
    ("run", "objective", "reason"),
    [
        (WELL, "p99 of order < 1s", "this load has one request, without a name: leave out 'of order'"),
        (MIX, "p99 of ordr < 1s", "this load has no request 'ordr': did you mean 'order'?"),
        (MIX, "p99 of order < 1s", ""),
        (CLOSED, "lag < 1ms", "a load with rate='max' has no schedule, so nothing can be late"),
        (JOURNEY, "p99 of chekout < 1s", "this load has no step 'chekout': did you mean 'checkout'?"),
        (JOURNEY, "p99 of checkout < 1s", ""),
        (
            replace(MIX, result=replace(MIX.result, intervals=WELL.result.intervals)),
            "p99 of order < 1s",
            "no figures of 'order': embedded does not tell the requests of a mix apart; use another generator "
            "(--load-generator=embedded)",
        ),
    ],
)
def test_an_objective_that_does_not_apply(run: Run, objective: str, reason: str) -> None:
    """It has a reason instead of a verdict; others are judged."""
    found = again(run, objective, "errors < 99%")
    assert found.not_judged == ({SLO.parse(objective): reason} if reason else {})
    assert (f"not judged: {objective}: {reason}" in found.lines()) == bool(reason)
    assert len(found.run.result.verdicts) == (1 if reason else 2)


@pytest.mark.parametrize(
    ("run", "objective", "outcome", "remark"),
    [
        (WELL, "memory < 50MB", "missed", ""),
        (
            ILL,
            "memory < 50MB",
            "unclear",
            "the CPU and memory of the service are not known: it runs on another machine",
        ),
        (kept(FAST), "first byte p99 < 1s", "unclear", "mine does not measure when the first byte of a response came"),
        (NOTHING, "p99 < 1s", "unclear", ""),
        (SEARCH, "p99 < 1s", "met", "95% sure of 22.4ms or less"),
        (kept(FAST), "p50 < baseline + 10%", "unclear", "there is no baseline: "),
    ],
)
def test_figures_that_a_report_does_not_have(run: Run, objective: str, outcome: str, remark: str) -> None:
    """The verdict is unclear, with a reason."""
    (verdict,) = again(run, objective).run.result.verdicts
    assert verdict.outcome == outcome
    assert verdict.remark.startswith(remark)


@pytest.mark.parametrize(
    ("run", "objective", "strict", "failure"),
    [
        (kept(seconds(*[0] * 8)), "p99 < 150ms", True, None),
        (kept(seconds(*[30] * 8)), "p99 < 150ms", False, "SLOMissed"),
        (kept(seconds(*[1] * 8)), "p99 < 150ms", False, None),
        (kept(seconds(*[1] * 8)), "p99 < 150ms", True, "SLOMissed"),
        (kept(replace(seconds(*[0] * 8), abort_reason="no responses for 5s")), "p99 < 150ms", False, "SLOMissed"),
        (UNANSWERED, "lag < 1s", False, "ServiceError"),
    ],
)
def test_it_fails_as_its_test_would(run: Run, objective: str, strict: bool, failure: str | None) -> None:
    """A run fails if an objective is missed or invalid, or unclear with --strict, or if its requests failed."""
    found = again(run, objective).failure(strict=strict)
    assert (type(found).__name__ if found else None) == failure


def test_a_service_that_did_not_respond() -> None:
    """The line is the one that its test failed with."""
    assert list(again(UNANSWERED, "lag < 1s").lines())[1:] == [
        "failed: GET /: all 10 requests failed: 10 × timeout. No response came within 5s (timeout=)."
    ]


def test_every_run_of_the_reports() -> None:
    """Every run of the example reports can be judged."""
    for run in (*RECORD.runs, UNANSWERED, NOTHING, SEARCH):
        found = again(run, *SOUND, "p50 < baseline", "mean < 1s", "max < 1s", "cpu < 99%", "memory growth < 1MB/s")
        assert len(list(found.lines())) >= 8
        found.failure(strict=True)
