"""wrk, which sends as fast as it can."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar

from pytest_loadgen.errors import GeneratorError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.generators.wrk_command import WrkCommand
from pytest_loadgen.generators.wrk_report import HookReport, count_within, fastest
from pytest_loadgen.traffic.plan import Plan


class Wrk(WrkCommand):
    """wrk: each connection sends its next request as soon as it gets a response.

    After a run wrk adds latencies of requests that it did not send while it waited for slow
    responses. What it adds is known exactly and removed again, so that each latency is one of a
    request that was sent. A request that is lost is sent again; it is a failure each time it is lost.
    Requests that are open at the end are timeouts if no connection got a response for that long. A
    connection that waits forever while others get their responses goes unnoticed.
    """

    name = "wrk"
    features = frozenset({"http", "https", "max", "body"})
    reserved_args: ClassVar = WrkCommand.reserved_args | {"--timeout": "timeout=", "-T": "timeout="}
    program = kind = "wrk"
    install_hint = "https://github.com/wg/wrk"

    def argv(self, plan: Plan) -> Sequence[str]:
        """Return the arguments. Raises PlanError unless the duration is in whole seconds."""
        # wrk allocates memory for each microsecond up to the timeout; none longer than the run is needed.
        timeout = math.ceil(min(plan.timeout, plan.duration + 1))
        return self._argv(plan, "--timeout", f"{timeout}s", threads=1, connections=plan.connections)

    def shutdown_time(self, plan: Plan) -> float:
        """Return how long it runs on after its duration: its threads check the time ten times a second."""
        return 0.1

    def parse(self, output: CommandOutput, plan: Plan) -> Iterable[Interval]:
        """Read the result, as one interval."""
        report = HookReport.of(output.stdout, output.stderr)
        if report.closes_silently:
            raise GeneratorError(
                "this service closes each connection after a response without announcing it (Connection: close), and "
                "wrk cannot tell that from failures: use another generator (--load-generator=embedded)"
            )
        latencies, errors = _uncorrected(report), report.errors
        if latencies.total() + errors["timeout"] != report.responses:
            raise GeneratorError(f"the number of latencies differs from the number of responses, {report.responses:,}")
        # A request without a connection was not taken from the hook; one that is open at the end is not a failure.
        unanswered = report.sent - report.responses
        lost = min(unanswered, errors["read"] + errors["write"]) + errors["connect"]
        lost = lost if report.responses else max(lost, report.connections)
        hung = min(max(0, unanswered - lost), report.connections) if report.silence > plan.timeout else 0
        in_time = count_within(latencies, plan.timeout)
        latency = fastest(latencies, in_time)
        outcomes = report.statuses_of(in_time) + report.failures_of(lost)
        yield Interval(
            start=0.0,
            seconds=report.seconds,
            latency=latency,
            service_time=latency,
            outcomes=outcomes + Counter(timeout=report.responses - in_time + hung),
            cpu=report.cpu,
            received=report.received,
        )


def _uncorrected(report: HookReport) -> Counter[int]:
    """Remove what wrk's `stats_correct` added. Raises GeneratorError if the latencies do not match it.

    If a connection made a request each `expected` microseconds, each latency n adds others:
    n - expected, n - 2 expected, and so on, while they are above expected. So the latencies at a
    value above expected include one for each latency that is longer by expected.
    """
    each = report.responses // report.connections
    expected = round(report.seconds * 1e6) // each if each else 0
    original = Counter(report.latencies)
    for value, count in report.latencies.items():
        if expected and value > 2 * expected:
            original[value - expected] -= count
    if any(count < 0 for count in original.values()):
        raise GeneratorError("wrk's latency correction cannot be undone: its latencies do not match the formula")
    return original
