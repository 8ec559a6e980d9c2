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
from pytest_loadgen.generators.wrk_report import HookReport, count_within, fastest, unusual
from pytest_loadgen.traffic.plan import Plan


class Wrk(WrkCommand):
    """wrk: each connection sends its next request as soon as it gets a response.

    After a run wrk adds latencies of requests that it did not send while it waited for slow
    responses. What it adds is known exactly and removed again, so that each latency is one of a
    request that was sent. A request that is lost is sent again; it is a failure each time it is lost.
    Requests that are open at the end are timeouts if they were for that long. If they were for longer
    than any other request took, they may have failed: they are `unseen`.
    """

    name = "wrk"
    features = frozenset({"http", "https", "max", "body", "mix"})
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
        still_open = min(max(0, unanswered - lost), report.connections)
        hung, unseen = _hung(report, still_open, plan)
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
            unseen=unseen,
        )


def _hung(report: HookReport, still_open: int, plan: Plan) -> tuple[int, int]:
    """Count the requests that were open at the end for longer than the timeout, and for longer than any other.

    The latter may have failed: wrk does not wait for them.
    """
    if report.silence > plan.timeout:
        return still_open, 0
    longest = max(report.latencies, default=0) / 1e6
    if not report.peers:
        return 0, still_open if report.silence > unusual(longest) else 0
    ages = [each.sent for each in report.peers if each.sent <= each.received]
    hung = min(sum(age > plan.timeout for age in ages), still_open)
    return hung, min(sum(age > unusual(longest) for age in ages), still_open) - hung


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
