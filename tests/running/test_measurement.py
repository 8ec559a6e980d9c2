"""What every load goes through, whichever source its intervals come from."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.objectives.gate import Gate
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.running.calibration import Machine
from pytest_loadgen.running.cross_check import Alternation
from pytest_loadgen.running.measurement import Environment, measure
from pytest_loadgen.running.side_by_side import SideBySide
from pytest_loadgen.running.source import One, Source
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.units import Duration, Share

PLAN = plan_of("http://127.0.0.1:9/", {"rate": 100, "duration": 6})
OTHER = plan_of("http://127.0.0.1:10/", {"rate": 100, "duration": 6})


class Paper(LoadGenerator):
    """A generator that sends nothing, and so needs no service."""

    name = "paper"
    features = frozenset({"http", "rate"})
    remote = True

    def __init__(self, name: str = "paper", failing_at: int | None = None) -> None:
        self.name = name
        self._failing_at = failing_at

    def run(self, plan: object) -> Generator[Interval]:
        for second in range(max(1, int(getattr(plan, "duration", 1)))):
            if second == self._failing_at:
                raise KeyboardInterrupt
            latency = Histogram()
            latency.record(0.010, 100)
            yield Interval(second, 1, latency, latency, {"200": 100})


@dataclass
class Seen:
    """Notes what the measurement shows and reports; its lock is held by another load."""

    events: list[str] = field(default_factory=list)
    reported: list[JudgedResult] = field(default_factory=list)

    def started(self) -> None:
        self.events.append("started")

    def show(self, interval: Interval, generator: str = "") -> None:
        self.events.append(f"shown {generator}".strip())

    def close(self) -> None:
        self.events.append("closed")

    def report(self, number: int, result: JudgedResult) -> None:
        self.events.append(f"reported {number}")
        self.reported.append(result)

    def environment(self, machine_p99: str = "1ms") -> Environment:
        @contextmanager
        def lock() -> Iterator[None]:
            self.events.append("acquired")
            yield
            self.events.append("released")

        machine = Machine(Duration(machine_p99), Duration(0), Share(0))
        return Environment(lock=lock, machine=lambda: machine, progress=lambda _plan, _longest: self)


def draft(generator: str = "paper") -> JudgedResult:
    return JudgedResult(PLAN, generator)


def sources() -> list[tuple[Source, list[JudgedResult]]]:
    """One of each kind, with its results before the load."""
    return [
        (One(PLAN, Paper()), [draft()]),
        (SideBySide(draft(), OTHER, PLAN, Paper()), [draft()]),
        (Alternation(PLAN, [Paper("one"), Paper("two")], 2), [draft("one"), draft("two")]),
    ]


KINDS = pytest.mark.parametrize("kind", range(3), ids=["one", "side by side", "cross-check"])


@KINDS
def test_the_turn_and_progress_are_shown(kind: int) -> None:
    """A load has its turn before it starts, and the user sees how it is going."""
    source, drafts = sources()[kind]
    seen = Seen()
    measure(source, drafts, Gate.of(), seen.environment(), seen.report)
    assert seen.events[:2] == ["acquired", "started"]
    shown = {event for event in seen.events if event.startswith("shown")}
    assert shown == ({"shown"} if kind < 2 else {"shown one", "shown two"})
    reports = [f"reported {number}" for number in range(len(drafts))]
    assert seen.events[-2 - len(drafts) :] == ["released", "closed", *reports]


@KINDS
@pytest.mark.parametrize(("machine_p99", "outcome"), [("1ms", "met"), ("10ms", "unclear")])
def test_a_latency_is_held_against_the_machines_own(kind: int, machine_p99: str, outcome: str) -> None:
    """A limit below three times what the machine itself adds is unclear, also beside another service."""
    source, drafts = sources()[kind]
    seen = Seen()
    results = measure(
        source, drafts, Gate.of(["p50 < 20ms"], max_duration=6), seen.environment(machine_p99), seen.report
    )
    assert {verdict.outcome for result in results for verdict in result.verdicts} == {outcome}
    assert all(result.machine_p99 == Duration(machine_p99) for result in results)


def test_an_interrupted_load_is_reported_with_what_it_has() -> None:
    seen = Seen()
    with pytest.raises(KeyboardInterrupt):
        measure(One(PLAN, Paper(failing_at=2)), [draft()], Gate.of(), seen.environment(), seen.report)
    (result,) = seen.reported
    assert result.interrupted
    assert len(result.intervals) == 2


def test_the_other_service_is_the_baseline() -> None:
    seen = Seen()
    source = SideBySide(draft(), OTHER, PLAN, Paper())
    (result,) = measure(source, [draft()], Gate.of(["p50 < baseline + 10%"]), seen.environment(), seen.report)
    assert result.against
    assert result.against.plan.target == OTHER.target
    assert [verdict.outcome for verdict in result.verdicts] == ["met"]


def test_a_load_ends_early_once_it_is_decided() -> None:
    seen = Seen()
    (result,) = measure(
        One(PLAN, Paper()), [draft()], Gate.of(["p50 < 5ms"], stop_early=True), seen.environment(), seen.report
    )
    assert [verdict.outcome for verdict in result.verdicts] == ["missed"]
    assert len(result.intervals) < 6
