"""Baselines: which of the kept runs are compared with, and what the remark says about the others."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pytest_loadgen.objectives.baseline import NO_BASELINE, Baseline, KeptRun
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.looks import Looks
from pytest_loadgen.objectives.metric import Percentile
from pytest_loadgen.objectives.slo import SLO
from tests.builders.figures import means
from tests.builders.traffic import plan

MEDIAN = Percentile(50)


def history(*ms: int, commits: bool = True) -> Baseline:
    """Make a run for each number, one a day."""
    return Baseline(
        tuple(
            KeptRun(
                means(*[each] * 8),
                f"{number:x}bcdef0123456789" if commits else "",
                datetime(2026, 11, 1 + number, 3, tzinfo=UTC),
            )
            for number, each in enumerate(ms)
        )
    )


def remark(baseline: Baseline, ms: int, slo: str = "p50 < baseline + 10%") -> str:
    mine = means(*[ms] * 8)
    return JudgedResult(mine.plan, "mine", mine.intervals, baseline=baseline).judge(slo).remark


def test_a_step() -> None:
    """Runs from before a step are left out, and the remark names the first commit after it."""
    found = remark(history(1000, 1010, 990, 1000, 1210, 1200, 1190, 1200, 1205), 1200)
    assert found.endswith("; 4 older runs left out: p50 changed by +20.1% at commit 4bcdef0 (2026-11-05)")
    assert found.startswith("95% sure of +")


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"commit": "0123456789", "date": datetime(2026, 11, 20, tzinfo=UTC)}, "commit 0123456 (2026-11-20)"),
        ({"commit": "0123456789"}, "commit 0123456"),
        ({"date": datetime(2026, 11, 20, tzinfo=UTC)}, "an unknown commit (2026-11-20)"),
        ({}, "an unknown commit"),
    ],
)
def test_origin(run: dict[str, Any], said: str) -> None:
    """The origin of a run is its commit and date, as far as they are known."""
    assert KeptRun(means(10), **run).origin == said


def test_the_typical_figure() -> None:
    """It is the geometric mean of the runs since the last step; the newest run is one of these."""
    assert history(1000, 4000).typical(MEDIAN.figure) == pytest.approx(2.0, rel=0.001)
    stepped = history(1000, 1010, 990, 1000, 1200, 1210, 1190, 1200)
    assert stepped.typical(MEDIAN.figure) == pytest.approx(1.2, rel=0.002)
    assert stepped.result is stepped.runs[-1].result
    assert NO_BASELINE.result is None


def test_each_figure_has_its_own_steps() -> None:
    """A step in one figure leaves out no run from the comparison of another."""
    stepped = history(1000, 1010, 990, 1000, 1200, 1210, 1190, 1200)
    assert "left out" in remark(stepped, 1200)
    assert "left out" not in remark(stepped, 1200, "rate > baseline - 5%")


OBJECTIVE = "p50 < baseline + 10%"


@pytest.mark.parametrize(
    ("slo", "stop_early", "length"),
    [
        # Judged once, at the end: the seconds of a run do not show how runs differ.
        ([OBJECTIVE], False, 10),
        ([OBJECTIVE], True, 10),
        (["p50 < baseline + 900%"], True, 10),
        # Another objective may extend it.
        ([OBJECTIVE, "mean < 1.09s"], False, 30),
    ],
)
def test_how_long_a_load_lasts(slo: list[str], stop_early: bool, length: int) -> None:
    """A load is as long as the kept runs: it is neither extended nor ended early for a change from them."""
    load = plan(rate=100, duration=10)
    draft = JudgedResult(load, "mine", baseline=history(1000))
    judging = Gate.of(slo=slo, stop_early=stop_early).begin(draft)
    intervals = means(*[1080, 1100] * 30).intervals
    assert next(end for end in range(1, 61) if judging.enough(intervals[:end]) or end == 30) == length


def test_the_whole_error() -> None:
    """A change from kept runs is judged with the whole error, also if the load has several looks."""
    mine = JudgedResult(plan(rate=100, duration=10), "mine", means(*[1050] * 10).intervals, baseline=history(1000))
    (whole,) = judge_all([SLO.parse(OBJECTIVE)], mine)
    (look,) = judge_all([SLO.parse(OBJECTIVE)], mine, Looks.of(30).at(10))
    assert (look.low, look.high) == (whole.low, whole.high)
    # Several objectives share it all the same.
    together = judge_all([SLO.parse("p50 < baseline"), SLO.parse("p99 < baseline")], mine)
    assert all(each.low and whole.low and each.low < whole.low for each in together)
