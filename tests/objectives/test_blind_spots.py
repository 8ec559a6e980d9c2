"""Blind spots: the stalls and outages that a run may be too short to show."""

import pytest

from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.slo import SLO
from tests.builders.figures import interval
from tests.builders.traffic import plan

RARE = "a run of 30s may not show what happens every 10s on average: "


@pytest.mark.parametrize(
    ("slos", "load", "said"),
    [
        (["p99 < 200ms"], {}, RARE + "stalls of 300ms, which would miss p99 < 200ms"),
        (["errors < 1%"], {}, RARE + "outages of 100ms, which would miss errors < 1%"),
        # The shortest of each kind.
        (
            ["p99 < 200ms", "p90 < 100ms", "errors < 5%", "timeouts < 1%"],
            {},
            RARE + "stalls of 300ms, which would miss p99 < 200ms, or outages of 100ms, which would miss timeouts < 1%",
        ),
        # What is not met, a fact, what is not about responses, and what has no schedule.
        (["p99 < 5ms", "errors == 0", "max < 1s", "service p99 < 200ms", "rate > 1/s"], {}, ""),
        (["p99 < 200ms"], {"rate": "max"}, ""),
        ([], {}, ""),
    ],
)
def test_blind_spots(slos: list[str], load: dict[str, str], said: str) -> None:
    """A load whose objectives are met says which rare stalls and outages would miss them."""
    seconds = tuple(interval({"200": 100}, ms=10, start=at) for at in range(30))
    found = JudgedResult(plan(**load), "mine", seconds)
    verdicts = judge_all([SLO.parse(each) for each in slos], found)
    assert JudgedResult(plan(**load), "mine", seconds, verdicts=tuple(verdicts)).blind_spots == said
