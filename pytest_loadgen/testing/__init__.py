"""Tests that every load generator has to pass, to be inherited."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.errors import GeneratorError, PlanError, ServiceError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.outcomes import FAILURES, is_answer
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.base import LoadGenerator, check
from pytest_loadgen.running.rounds import Rounds
from pytest_loadgen.service.reachability import find
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.options import plan_of
from pytest_loadgen.traffic.plan import FEATURES, Plan
from pytest_loadgen.traffic.request import Traffic, get

_SECRET = "geheim-7f3a"
_SECONDS = 1


class GeneratorTests:
    """The requirements of a load generator, each as a test.

    Inherit from this class, and define a fixture that returns the generator::

        class TestMine(GeneratorTests):
            @pytest.fixture
            def generator(self) -> LoadGenerator:
                return Mine()

    The tests load a service of their own on this machine, and take about twenty seconds.
    """

    @pytest.fixture
    def generator(self) -> LoadGenerator:
        """Return the generator under test."""
        pytest.fail("define a fixture named generator that returns the load generator under test")

    @pytest.fixture
    def service(self) -> Iterator[Server]:
        """Start a service."""
        with Server() as service:
            yield service

    @pytest.fixture
    def load(self, generator: LoadGenerator, service: Server) -> Callable[..., Result]:
        """Load a path of the service for a second: at 50/s, or as fast as possible without the feature rate."""

        def load(path: str = "/", **options: Any) -> Result:
            return self.run(generator, self.plan(generator, service, path, **options))

        return load

    def plan(
        self, generator: LoadGenerator, service: Server, path: str = "/", traffic: Traffic = "", **options: Any
    ) -> Plan:
        """Build a plan for a path, or for other traffic."""
        rate = 50 if "rate" in generator.features else "max"
        chosen: Any = {"rate": rate, "duration": _SECONDS, "connections": 4, "timeout": 2, **options}
        plan = plan_of(traffic or service.url + path, chosen)
        return Plan(**{**vars(plan), "target": find(plan.target, 5)})

    def run(self, generator: LoadGenerator, plan: Plan) -> Result:
        """Run a plan to its end."""
        running = Rounds(generator, plan).run(plan)
        try:
            return Result(plan, generator.name, tuple(running), latency_from=generator.latency_from)
        finally:
            running.close()

    def tried(self, generator: LoadGenerator, plan: Plan) -> tuple[Result | None, str]:
        """Run a plan that may fail; return the result, if there is one, and its description or the error."""
        try:
            result = self.run(generator, plan)
        except (GeneratorError, ServiceError) as error:  # a remote generator checks the service itself
            return None, str(error)
        return result, repr(result)

    def test_it_describes_itself(self, generator: LoadGenerator) -> None:
        """It has a name, and its features are known ones."""
        assert generator.name
        assert generator.name == generator.name.strip()
        assert generator.features <= FEATURES
        assert generator.features & {"rate", "max"}
        assert isinstance(generator.version(), str)

    def test_a_rate_is_kept_or_refused(self, generator: LoadGenerator, service: Server) -> None:
        """It sends the requested number of requests, or is refused because it does not keep a rate."""
        plan = self.plan(generator, service, rate=50)
        if "rate" not in generator.features:
            with pytest.raises(PlanError, match=f"{generator.name} cannot keep a rate"):
                check(generator, plan.needs)
            return
        result = self.run(generator, plan)
        assert result.requests == pytest.approx(50 * _SECONDS, abs=3)
        assert result.rate == pytest.approx(50, abs=4)
        assert service.requests["/"] >= result.requests - result.total.unanswered

    def test_counts_add_up(self, load: Callable[..., Result], service: Server) -> None:
        """Each response has one latency and one outcome, whatever its status."""
        service.choose = lambda path, before: "/503" if before % 4 == 1 else path
        result = load()
        assert result.requests
        for interval in result.intervals:
            answers = sum(count for outcome, count in interval.outcomes.items() if is_answer(outcome))
            assert interval.latency.count == interval.service_time.count == answers
        failed = sum(count for outcome, count in result.outcomes.items() if outcome.startswith("5"))
        assert failed == pytest.approx(result.requests / 4, abs=2 + 0.01 * result.requests)
        assert result.errors == failed
        # The service gets a few requests that do not count: before the load, or at its end.
        assert 0 <= service.requests.total() - result.requests <= 20 + 0.05 * result.requests

    def test_a_mix_is_sent_by_its_weights(self, generator: LoadGenerator, service: Server) -> None:
        """Each request of a mix is sent as often as its weight says, or the mix is refused.

        Figures by name, if the generator has them, add up to the total.
        """
        plan = self.plan(generator, service, traffic=[get(f"{service.url}/", weight=3), get(f"{service.url}/503")])
        if "mix" not in generator.features:
            with pytest.raises(PlanError, match=generator.name):
                check(generator, plan.needs)
            return
        result = self.run(generator, plan)
        sent = service.requests
        assert sent.total() > 40 * _SECONDS
        # Requests in flight at the end may have any name.
        assert sent["/"] == pytest.approx(0.75 * sent.total(), abs=1 + plan.connections)
        assert bool(result.names) == ("names" in generator.features)
        if result.names:
            assert result["GET /"].outcomes.keys() == {"200"}
            assert result["GET /503"].outcomes.keys() == {"503"}
            assert sum(result[name].requests for name in result.names) == result.requests

    def test_latency_includes_the_delay_of_the_service(self, load: Callable[..., Result]) -> None:
        """No response looks faster than the service was."""
        result = load("/delay/0.05")
        assert result.errors == 0
        assert result.percentile(0) >= 0.045
        assert result.percentile(0, service=True) >= 0.045

    def test_a_stall_is_in_the_latencies(
        self, generator: LoadGenerator, load: Callable[..., Result], service: Server
    ) -> None:
        """If it measures from when requests were due, a stall delays all that are due in it."""
        if "rate" not in generator.features or generator.latency_from != "scheduled":
            pytest.skip(f"{generator.name} measures latency from {generator.latency_from}, or does not keep a rate")

        def choose(path: str, before: int) -> str:
            if before == 20:
                time.sleep(1)
            return path

        service.choose = choose
        result = load("/", rate=50, duration=2)
        # 40 of them are due in the first 0.8 s of the stall.
        assert result.total.latency.over(0.2) + result.total.unanswered >= 32

    @pytest.mark.parametrize("path", ["/silent", "/hang-up", "/reset", "/garbage"])
    def test_failures_are_named(self, load: Callable[..., Result], path: str) -> None:
        """A request without a response is a failure of a known kind."""
        result = load(path, timeout=1)
        assert result.requests
        assert result.outcomes.keys() <= FAILURES.keys()
        assert result.errors == result.requests
        if path == "/silent":
            assert result.outcomes.keys() <= {"timeout", "failed"}

    def test_no_data_is_an_error(self, generator: LoadGenerator, service: Server) -> None:
        """A service that is gone causes an error, or failures: nothing that looks like a response."""
        plan = self.plan(generator, service, ready_timeout=0.5)
        service.die()
        result, message = self.tried(generator, plan)
        assert generator.name in message
        assert not result or result.requests == result.errors == result.total.unanswered

    def test_closing_stops_it(self, generator: LoadGenerator, service: Server) -> None:
        """A load that any thread closes ends within a second, and leaves nothing running."""
        self.run(generator, self.plan(generator, service))
        before = _children()  # processes that it keeps for the next load may stay
        running = generator.run(self.plan(generator, service, duration=8))
        iterating = threading.Thread(target=_exhaust, args=(running,), daemon=True)
        iterating.start()
        _wait_for(lambda: service.open > 0)
        closed = time.monotonic()
        running.close()
        iterating.join(5)
        assert not iterating.is_alive()
        assert time.monotonic() - closed < 2  # one, and one for a busy machine
        _wait_for(lambda: service.open == 0 and _children() <= before)

    def test_secrets_are_redacted(self, generator: LoadGenerator, service: Server) -> None:
        """Headers and query are neither in the result nor in a message."""
        headers = {"Authorization": f"Bearer {_SECRET}", "Cookie": f"id={_SECRET}"}
        plan = self.plan(generator, service, f"/garbage?key={_SECRET}", headers=headers)
        result, message = self.tried(generator, plan)
        assert _SECRET not in message
        assert not result or _SECRET not in json.dumps(result.as_dict())
        assert _SECRET.encode() in service.last_request


def _exhaust(running: Iterator[Interval]) -> None:
    for _ in running:
        pass


def _wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.01)


def _children() -> set[str]:
    """Return the processes that this one has started; empty if the system does not list them."""
    found: set[str] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # that thread has just ended
            found.update(task.read_text(encoding="ascii").split())
    return found
