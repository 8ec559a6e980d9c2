"""The runs of a test session, carried from tests to reports."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_loadgen.errors import LoadError
from pytest_loadgen.wording import listed

if TYPE_CHECKING:
    from pytest_loadgen.records.run import Run

# The attribute by which a test report carries its runs and remarks: as JSON, because xdist and pytest-forked take
# only values that their own formats know.
_CARRIED = "loadgen"
_PHASES = ("setup", "call", "teardown")


class Wait(NamedTuple):
    """How long a test waited for its turn."""

    test: str
    seconds: float
    for_whom: str


def waited(waits: list[Wait]) -> Iterator[str]:
    """Say which tests waited, a line for each kind of others that they waited for."""
    for whom in dict.fromkeys(wait.for_whom for wait in waits):
        tests = [f"{each.test} waited {each.seconds:.0f}s" for each in waits if each.for_whom == whom]
        yield f"{listed(tests)} for {whom}."


@dataclass(eq=False)
class Attempt:
    """A test, carried out once: what its phases came to, and what they loaded."""

    test: str
    runs: list[Run] = field(default_factory=list)
    lasting: list[Run] = field(default_factory=list)
    """Runs in fixtures of a wider scope, which are still set up in the next attempt."""
    remarks: list[str] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    """The outcome of each phase: passed, failed or skipped, or another plugin's word for what it repeats."""
    number: int = 0
    """How often the test had begun: pytest-retry repeats it between two reports."""
    location: tuple[str, int] | None = None
    """File and line of the test, counted from 1, where it loaded."""

    def take(self, report: pytest.TestReport) -> None:
        """Note the outcome of a phase, or of a part of one: a phase of which a part failed has failed."""
        if self.outcomes.get(report.when) != "failed":
            self.outcomes[report.when] = report.outcome

    @property
    def outcome(self) -> str:
        """What the test came to: passed, failed, skipped or error; empty where its end is not known."""
        outcomes = self.outcomes
        if "failed" in outcomes.values():
            return "failed" if outcomes.get("call") == "failed" else "error"
        if "skipped" in outcomes.values():
            return "skipped"
        return "passed" if all(outcomes.get(phase) == "passed" for phase in _PHASES) else ""

    @property
    def repeated(self) -> bool:
        """Whether a plugin such as pytest-rerunfailures replaces it by another attempt."""
        return not {"passed", "failed", "skipped"}.issuperset(self.outcomes.values())


class Session:
    """Gathers the runs of all tests, wherever they ran."""

    def __init__(self) -> None:
        """Start with none."""
        self._item: pytest.Item | None = None
        self._set_up: list[pytest.Item | pytest.Collector] = []
        self.not_awaited: set[object] = set()
        """The calls of `load.run` of the current test that are not awaited yet."""
        self._loads: Counter[str] = Counter()
        self.loaded: set[str] = set()
        """The tests whose current attempt called `load`."""
        self.judged: set[str] = set()
        """The tests whose current attempt has a verdict, and the classes, modules and so on with a verdict on a load in
        one of their fixtures."""
        self._remarks: list[str] = []
        self._attempts: list[Attempt] = []
        self._last: dict[tuple[str, str], Attempt] = {}
        self._begun: Counter[str] = Counter()
        self._unreported: list[Run] = []
        self._lasting: list[Run] = []
        self._unsaid: list[tuple[str, str]] = []
        self._waits: list[Wait] = []
        self._unreported_waits: list[Wait] = []

    @property
    def runs(self) -> list[Run]:
        """The runs of all attempts that count, of repeated tests the last, with the outcomes of their tests."""
        return [replace(run, outcome=attempt.outcome) for attempt in self._attempts for run in attempt.runs]

    @property
    def remarks(self) -> list[str]:
        """What is to be said in the summary."""
        of_tests = (remark for attempt in self._attempts for remark in attempt.remarks)
        return [*self._remarks, *of_tests, *waited(self._waits)]

    @property
    def locations(self) -> dict[str, tuple[str, int]]:
        """File and line of the tests that loaded."""
        return {attempt.test: attempt.location for attempt in self._attempts if attempt.location}

    @property
    def not_passed(self) -> set[str]:
        """The tests that are not known to have passed, wherever they were carried out."""
        return {attempt.test for attempt in self._attempts if attempt.outcome != "passed"}

    @property
    def item(self) -> pytest.Item:
        """The current test, to which all loads belong, including those in fixtures."""
        if self._item is None:
            raise LoadError("load() was called outside of a test")
        return self._item

    @property
    def node(self) -> pytest.Item | pytest.Collector:
        """What a load is for: the test, or the class, module and so on whose fixture is being set up."""
        return self._set_up[-1] if self._set_up else self.item

    @contextmanager
    def set_up_for(self, node: pytest.Item | pytest.Collector) -> Iterator[None]:
        """Note the node whose fixture is being set up."""
        self._set_up.append(node)
        try:
            yield
        finally:
            self._set_up.pop()

    def next_number(self) -> int:
        """Return the number of the next load of the current test, from 0."""
        self._loads[self.item.nodeid] += 1
        return self._loads[self.item.nodeid] - 1

    def say(self, remark: str, test: str = "") -> None:
        """Add a line to the summary; of a test, if that attempt of it counts."""
        self._unsaid.append((test, f"{test}: {remark}" if test else remark))

    def wait(self, wait: Wait) -> None:
        """Note that a test waited for its turn."""
        self._unreported_waits.append(wait)

    def add(self, run: Run) -> None:
        """Add a run of the current test."""
        self._unreported.append(run)
        if self.node is not self.item:
            self._lasting.append(run)
        if run.result.verdicts or run.result.not_judged:
            self.judged.add(self.node.nodeid)

    def begin(self, item: pytest.Item) -> None:
        """Begin an attempt of a test, and forget what an earlier one left unreported."""
        self._item = item
        self._begun[item.nodeid] += 1
        self._loads[item.nodeid] = 0
        self.not_awaited.clear()
        self.loaded.discard(item.nodeid)
        self.judged.discard(item.nodeid)
        self._unreported = [run for run in self._unreported if run.test != item.nodeid or self._lasts(run)]
        self._unsaid = [(test, remark) for test, remark in self._unsaid if test != item.nodeid]
        self._describe(item, [])

    def describe(self, item: pytest.Item) -> None:
        """Give a test case in a JUnit file the figures of all runs of this attempt, in whichever phase they were."""
        if self._unreported:
            self._describe(item, [*item.stash.get(_DESCRIBED, []), *self._unreported])

    @staticmethod
    def _describe(item: pytest.Item, runs: list[Run]) -> None:
        """Replace the properties of a test case: with several loads, the name of each says of which it is."""
        for added in item.stash.get(_PROPERTIES, []):
            item.user_properties.remove(added)
        described: list[tuple[str, object]] = []
        if runs:
            from pytest_loadgen.reports.junit import properties

            described += properties(runs)
        item.user_properties += described
        item.stash[_DESCRIBED], item.stash[_PROPERTIES] = runs, described

    def explain(self, report: pytest.TestReport) -> None:
        """Give a test that failed what is known of the requests that failed in its loads, unless its error says it."""
        if not (report.failed and self._unreported):
            return
        from pytest_loadgen.figures.problems import explained

        said = [f"{run.result.plan.name}: {each}" for run in self._unreported for each in explained(run.result)]
        if said and not any(line.partition(": ")[2] in report.longreprtext for line in said):
            report.sections.append(("Failed requests", "\n".join(said)))

    def attach(self, report: pytest.TestReport) -> None:
        """Let a report carry the runs and remarks since the last one."""
        if self._unreported or self._unsaid or self._unreported_waits:
            runs, number = [run.as_dict() for run in self._unreported], self._begun[report.nodeid]
            lasting = list(map(self._lasts, self._unreported))
            carried = {"runs": runs, "lasting": lasting, "remarks": self._unsaid, "number": number}
            setattr(report, _CARRIED, json.dumps({**carried, "waits": self._unreported_waits}))
            self._unreported, self._lasting, self._unsaid, self._unreported_waits = [], [], [], []

    def gather(self, report: pytest.TestReport) -> None:
        """Take the outcome of a phase, and the runs and remarks that its report carries."""
        worker: str = getattr(report, "worker_id", "")  # each of xdist's may carry out the same test
        attempt = self._attempt(report.nodeid, worker, anew=report.when == "setup")
        attempt.take(report)
        if not (carried := getattr(report, _CARRIED, "")):
            return
        from pytest_loadgen.records.run import Run

        found = json.loads(carried)
        if found["number"] > attempt.number:
            attempt.runs, attempt.remarks, attempt.number = list(attempt.lasting), [], found["number"]
        self._hear(found["remarks"], attempt)
        self._waits += [Wait(*wait) for wait in found["waits"]]
        if found["runs"]:
            runs = list(map(Run.from_dict, found["runs"]))
            attempt.runs += runs
            attempt.lasting += [run for run, lasts in zip(runs, found["lasting"], strict=True) if lasts]
            path, line, _ = report.location
            attempt.location = path, (line or 0) + 1

    def finish(self) -> None:
        """Keep the runs and remarks for which no report came, because the session was interrupted."""
        for run in self._unreported:
            self._attempt(run.test).runs.append(run)
        self._hear(self._unsaid)
        self._waits += self._unreported_waits
        self._unreported, self._unsaid, self._unreported_waits = [], [], []

    def conclude(self, remark: str) -> None:
        """Add a line to the summary when all tests have ended."""
        self._remarks.append(remark)

    def _lasts(self, run: Run) -> bool:
        return any(run is each for each in self._lasting)

    def _hear(self, said: list[tuple[str, str]], attempt: Attempt | None = None) -> None:
        for test, remark in said:
            (attempt or self._attempt(test)).remarks.append(remark) if test else self._remarks.append(remark)

    def _attempt(self, test: str, worker: str = "", *, anew: bool = False) -> Attempt:
        """Give the current attempt of a test, or another one, in place of one that is repeated."""
        last = self._last.get((test, worker))
        if last and not anew:
            return last
        attempt = Attempt(test)
        if last and last.repeated:
            self._attempts.remove(last)
            if last.outcomes.get("setup") == "passed":
                attempt = Attempt(test, list(last.lasting), list(last.lasting), location=last.location)
        self._last[test, worker] = attempt
        self._attempts.append(attempt)
        return attempt


SESSION = pytest.StashKey[Session]()
_DESCRIBED = pytest.StashKey[list["Run"]]()
_PROPERTIES = pytest.StashKey[list[tuple[str, object]]]()


FIXTURES = frozenset({"load", "load_session"})
"""The names of the fixture that loads."""


def uses_load(item: object) -> bool:
    """Return whether a test has the fixture that loads, and not a parameter of the same name."""
    parameters = getattr(getattr(item, "callspec", None), "params", ())
    return bool(FIXTURES.intersection(getattr(item, "fixturenames", ())).difference(parameters))
