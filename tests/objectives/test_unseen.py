"""What a run may not have shown, although its objectives are met."""

import pytest

from pytest_loadgen.objectives.judged import JudgedResult, judge_all
from pytest_loadgen.objectives.slo import SLO
from tests.builders.figures import interval
from tests.builders.traffic import plan

RARE = "30s may not show what comes every 10s on average: "


@pytest.mark.parametrize(
    ("slos", "load", "said"),
    [
        (["p99 < 200ms"], {}, RARE + "stalls of 300ms, which miss p99 < 200ms"),
        (["errors < 1%"], {}, RARE + "outages of 100ms, which miss errors < 1%"),
        # The shortest of each kind.
        (
            ["p99 < 200ms", "p90 < 100ms", "errors < 5%", "timeouts < 1%"],
            {},
            RARE + "stalls of 300ms, which miss p99 < 200ms, or outages of 100ms, which miss timeouts < 1%",
        ),
        # What is not met, a fact, what is not about responses, and what has no schedule.
        (["p99 < 5ms", "errors == 0", "max < 1s", "service p99 < 200ms", "rate > 1/s"], {}, ""),
        (["p99 < 200ms"], {"rate": "max"}, ""),
        ([], {}, ""),
    ],
)
def test_unseen(slos: list[str], load: dict[str, str], said: str) -> None:
    """A load that is met says which stalls and outages would miss it, that are so rare that it may not show one."""
    seconds = tuple(interval({"200": 100}, ms=10, start=at) for at in range(30))
    found = JudgedResult(plan(**load), "mine", seconds)
    verdicts = judge_all([SLO.parse(each) for each in slos], found)
    assert JudgedResult(plan(**load), "mine", seconds, verdicts=tuple(verdicts)).unseen == said
