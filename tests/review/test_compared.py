"""A load before and after: the table, what changed in a line, and why loads are not compared."""

import re
from dataclasses import replace

import pytest

from pytest_loadgen.figures.result import Result
from pytest_loadgen.records.run import Run
from pytest_loadgen.review.compared import Compared
from tests.builders.figures import means, rates, seconds, statuses
from tests.builders.records import FAST, SLOW, record
from tests.builders.traffic import plan
from tests.reports.examples import MIX, NOTHING, SEARCH, WELL


def run(result: Result) -> Run:
    return record(("t", result)).runs[0]


def compared(before: Result, after: Result) -> list[str]:
    return list(Compared.of([run(before)], run(after)).lines())


def test_table() -> None:
    """Figures before and after, the change, and its confidence interval; errors are only shown."""
    assert compared(FAST, means(*[12] * 5)) == [
        "p50 +20%, p99 +20%",
        "          before    after    change  90% sure of",
        "------  --------  -------  --------  ----------------",
        "p50         10ms     12ms      +20%  +9.61% to +31.3%",
        "p90         10ms     12ms      +20%  +9.61% to +31.3%",
        "p99         10ms     12ms      +20%  +9.61% to +31.3%",
        "mean        10ms     12ms      +20%  +9.62% to +31.4%",
        "rate       100/s    100/s       +0%  +0% to +0%",
        "errors         0        0",
    ]
    noisy = compared(means(10, 11, 10, 9, 10, 10), means(12, 11, 12, 13, 12, 11))
    assert re.search(r"^p50 +10ms +12ms +\+20%  \+[\d.]+% to \+[\d.]+%$", noisy[3])


@pytest.mark.parametrize(
    ("before", "after", "shift"),
    [
        (FAST, FAST, "p50 same, p99 same"),
        (FAST, SLOW, "p50 +100%, p99 +100%"),
        (seconds(*[0] * 8), seconds(*[2] * 8), "p50 same, p99 +4900%: only the tail"),
        (FAST, means(20, 20, 20), "only 3 intervals to compare; at least 4 are needed: use longer loads"),
    ],
)
def test_shift(before: Result, after: Result, shift: str) -> None:
    """The first line says which latencies changed."""
    assert compared(before, replace(after, plan=before.plan))[0] == shift


def test_unknown_figures_are_not_shown() -> None:
    """A figure that is infinite has no change, and one of too few intervals no confidence interval."""
    lost = compared(statuses(*[0] * 5, kind="timeout"), statuses(*[5] * 5, kind="timeout"))
    assert [line.split() for line in lost if line.startswith(("p90", "p99", "errors"))] == [
        ["p90", "10ms", "10ms", "+0%", "-8.65%", "to", "+9.47%"],
        ["p99", "10ms", ">5s"],
        ["errors", "0", "5%:", "25", "×", "timeout"],
    ]
    (short,) = (line for line in compared(rates(100, 100), rates(110, 110)) if line.startswith("rate"))
    assert short.split() == ["rate", "100/s", "110/s", "+10%", "not", "known"]


def test_kept_runs() -> None:
    """Several kept runs are one baseline."""
    kept = [run(means(*[ms] * 5)) for ms in (100, 102, 98, 101, 99)]
    found = list(Compared.of(kept, run(means(*[110] * 5))).lines())
    assert found[0] == "p50 +10%, p99 +10%"
    assert found[3].split()[:4] == ["p50", "100ms", "110ms", "+10%"]
    other = run(replace(FAST, generator="wrk"))
    assert list(Compared.of([other, *kept], run(means(*[110] * 5))).lines()) == found


def test_names_of_a_mix() -> None:
    """Each name has a line."""
    mix = replace(MIX, result=replace(MIX.result, intervals=MIX.result.intervals * 2))
    assert list(Compared.of([mix], mix).lines())[:4] == [
        "p50 same, p99 same",
        "GET /search: p50 same, p99 same",
        "order: p50 same, p99 unclear",
        "missing|<b>: p50 same, p99 unclear",
    ]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (FAST, replace(FAST, generator="wrk"), "the loads differ: generator was mine, now wrk"),
        (
            FAST,
            replace(FAST, plan=plan(rate=50, connections=9)),
            "the loads differ: rate and duration were 100/s for 5s, now 50/s for 5s, connections were 100, now 9",
        ),
        (replace(FAST, intervals=()), FAST, "there were no requests before"),
        (FAST, replace(FAST, intervals=()), "there were no requests after"),
    ],
)
def test_not_compared(before: Result, after: Result, reason: str) -> None:
    """A different load is not compared, nor is one without requests."""
    assert compared(before, after) == [f"not compared: {reason}"]


def test_notes_name_their_run() -> None:
    """A note about both runs is said once."""
    cut = replace(FAST, interrupted=True)
    late = replace(cut, went_on="was extended to 9s while p99 < 1s was unclear")
    assert list(Compared.of([run(cut)], run(late)).notes()) == [
        "before and after: interrupted after 5s of 5s.",
        "after: the load was extended to 9s while p99 < 1s was unclear.",
    ]
    assert list(Compared.of([run(replace(FAST, abort_reason="no responses for 5s"))], run(FAST)).notes()) == [
        "before: aborted: no responses for 5s."
    ]
    assert next(Compared.of([WELL], SEARCH).notes()).startswith("after: capacity of GET /search: 400/s holds")


def test_strange_runs() -> None:
    for one in WELL, MIX, NOTHING, SEARCH:
        for other in WELL, MIX, NOTHING, SEARCH:
            assert list(Compared.of([one], other).lines())
