"""wrk2, which keeps a rate."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.generators.wrk_command import WrkCommand
from pytest_loadgen.generators.wrk_report import HookReport, count_within, fastest, unusual
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration

_SPECTRUM_TITLE = "Uncorrected Latency"
_SPECTRUM_ROW = re.compile(r"^ *(\d+\.\d{3}) +[01]\.\d{6} +(\d+) ", re.MULTILINE)
# The delay between the starts of two connections of a thread, in seconds.
_STAGGER = 0.005
# A request that is due this shortly before the end may have to wait for wrk2 to wake up on a busy machine.
_GRACE = 0.05
# How long before the end the hook counts the requests in flight.
_NEARLY = 0.01
# The largest part of a run that may pass until all connections are open.
_OPENING = 0.1
# The rate that one thread of wrk2 can keep.
_RATE_PER_THREAD = 20_000
# At this share of a core a thread has no CPU left.
_SATURATED = 0.95
# The smallest part of its duration that a run must have lasted.
_COMPLETE = 0.9
# The largest part of the requests due that may have been sent again.
_MAX_RETRIED = 0.2


class Wrk2(WrkCommand):
    """wrk2: keeps a rate, and measures latency from when each request was due.

    Ten seconds after its start wrk2 forgets all latencies until then; so it runs for at most 8 s,
    and longer loads are run in rounds (see `Rounds`). Rates and durations are whole numbers. It
    wakes up each millisecond, which its latencies include. Its connections start 5 ms apart, and
    each keeps time by itself: below 200/s requests come in bursts, one from each connection.
    So there are no more connections than requests per second, and a response may take a second
    before another request waits for it.

    Requests that were due and have no response at the end were in flight, if there are as few as
    the schedule explains; they do not count, nor does the time in which they were due. If there are
    more, all of them are failures, unless wrk2 did not send them although nothing kept it from that:
    then it was late. A request that is lost is sent again: it is a failure nevertheless, in addition
    to the outcome of the second attempt. If so many are lost that this is not the requested load,
    there is no result. If a service closes connections without announcing it (``Connection: close``),
    wrk2 waits for responses in vain.
    """

    name = "wrk2"
    features = frozenset({"http", "https", "rate", "body", "mix"})
    added_latency = Duration("2ms")
    max_duration = 8.0
    program = kind = "wrk2"
    install_hint = "https://github.com/giltene/wrk2"

    def path(self) -> str:
        """Find the program; its own makefile names it wrk. Raises GeneratorError."""
        if self.program == "wrk2" and not shutil.which("wrk2") and (path := shutil.which("wrk")):
            return self._checked(path)
        return super().path()

    def argv(self, plan: Plan) -> Sequence[str]:
        """Return the arguments. Raises PlanError unless rate and duration are whole numbers, or above 8 s."""
        rate = plan.stages[0].start
        assert rate is not None
        if rate.denominator != 1:
            raise PlanError(f"{self.name} supports whole numbers of requests per second only (got {plan.rate})")
        if plan.duration > self.max_duration:
            raise PlanError(
                f"{self.name} runs for at most {Duration(self.max_duration)} at a time (got {plan.duration})"
            )
        threads = min(2 if rate > _RATE_PER_THREAD else 1, os.cpu_count() or 1, plan.connections)
        # Each sends at least once a second, or wrk2 would count it as a connection that hangs.
        most = min(plan.connections, int(rate), int(plan.duration * _OPENING / _STAGGER) * threads)
        connections = max(threads, most - most % threads)
        each = connections // threads
        arguments = self._argv(plan, "-R", str(rate), "-U", threads=threads, connections=connections)
        # For the hook: the period of a connection, when all of them are open, when the run is nearly over.
        times = float(connections / rate), 2 * each * _STAGGER + _GRACE, plan.duration - _NEARLY
        return [*arguments, str(each), *(f"{seconds * 1e6:.0f}" for seconds in times)]

    def shutdown_time(self, plan: Plan) -> float:
        """Return how long it runs on after its duration: without a response it checks the time every two seconds."""
        return 2.0

    def parse(self, output: CommandOutput, plan: Plan) -> Iterable[Interval]:
        """Read the result, as one interval."""
        report, rate = HookReport.of(output.stdout, output.stderr), float(plan.rate)
        if report.seconds < _COMPLETE * plan.duration:
            ran = Duration(report.seconds)
            raise GeneratorError(f"ran for {ran} instead of {plan.duration}: check that its args do not change that")
        spectrum = _spectrum(output.stdout, report)
        service_time = Histogram.from_spectrum(spectrum)
        seconds = min(plan.duration, report.seconds)
        seconds = min(plan.duration, report.seconds)
        longest = float(service_time.percentile(100)) if service_time else 0.0
        end = _End.of(report, longest, plan)
        missing, never_sent = _missing(report, rate, seconds, service_time.mean, end)
        unseen = 0
        if not missing and not never_sent:
            missing, unseen = end.excused(max(0, _due(report, rate, seconds) - report.latencies.total()))
        # Requests that were answered when they were sent again: they come in addition to those that were due.
        retried = max(0, _lost(report) - missing) if report.responses else 0
        due = missing + never_sent + report.latencies.total()
        if retried > _MAX_RETRIED * due:
            raise GeneratorError(
                f"sent {retried:,} requests again in a loop because their connections were lost, in addition to "
                f"{due:,} that were due; the result does not describe the requested load: use another generator "
                "(--load-generator=embedded)"
            )
        failures, in_time = report.failures_of(missing + retried), count_within(report.latencies, plan.timeout)
        # Some late responses took that long; the requests of the others waited, and should not have been sent.
        late = report.latencies.total() - in_time
        waited = late - min(late, service_time.over(plan.timeout))
        latency = fastest(report.latencies, in_time)
        yield Interval(
            start=0.0,
            seconds=due / rate,
            latency=latency,
            # Which of them waited is unknown: leave out the fastest, so that the rest does not look better.
            service_time=Histogram.from_spectrum((value, min(rank - waited, in_time)) for value, rank in spectrum),
            outcomes=report.statuses_of(in_time) + failures + Counter(timeout=late),
            # Without CPU left, wrk2 itself may be why responses were late, and nothing shows by how much.
            lag=latency if report.cpu >= _SATURATED else _lag(report, never_sent),
            cpu=report.cpu,
            received=report.received,
            never_sent=waited + max(0, failures["timeout"] - report.unanswered),
            unseen=unseen,
        )


@dataclass(frozen=True)
class _End:
    """What the connections were waiting for at the end of a run.

    wrk2 does not notice that a connection was closed without a response, and waits for it to the end.
    A request that was open for longer than any other took may have failed.
    """

    known: bool
    failed: int
    """Connections that were closed, or waited for longer than the timeout."""
    stuck: int
    """Those that waited for longer than any other request took."""
    in_flight: int
    """Those that waited for as long as is usual."""

    @classmethod
    def of(cls, report: HookReport, longest: float, plan: Plan) -> _End:
        waiting = [each.sent for each in report.peers if each.sent < each.received and not each.is_dead]
        failed = sum(age > plan.timeout for age in waiting)
        in_flight = sum(age <= min(unusual(longest), plan.timeout) for age in waiting)
        dead = sum(each.is_dead for each in report.peers)
        return cls(bool(report.peers), dead + failed, len(waiting) - failed - in_flight, in_flight)

    def excused(self, missing: int) -> tuple[int, int]:
        """Count the failures among as few missing requests as may have been in flight, and those that nobody saw."""
        if not self.known:
            return 0, missing
        not_in_flight = missing - self.in_flight
        if self.failed:
            return max(self.failed, not_in_flight), 0
        return 0, max(self.stuck, not_in_flight) if self.stuck else 0


def _missing(report: HookReport, rate: float, seconds: float, service_time: float, end: _End) -> tuple[int, int]:
    """Count the requests that were due and have no response: by the service's fault, and not sent by wrk2's.

    Neither counts if it is as little as may have been in flight: one on each connection, as far as
    it was due within twice the usual service time; and what was due just before the end.
    """
    due = _due(report, rate, seconds)
    missing = max(0, due - report.latencies.total())
    in_flight = min(report.connections, due - _due(report, rate, seconds - 2 * service_time - Wrk2.added_latency))
    # If wrk2 saw a connection wait for two seconds, there is another reason.
    just_due = 0 if report.errors["timeout"] else due - _due(report, rate, seconds - _GRACE)
    if missing <= in_flight + just_due:
        return 0, 0
    # The service holds wrk2 up if more than usual is in flight, or half of the connections are in use.
    held_up = (
        end.failed
        or end.stuck
        or any(report.errors.values())
        or report.in_flight > min(in_flight, report.connections / 2)
    )
    return (missing, 0) if held_up else (0, missing)


def _due(report: HookReport, rate: float, seconds: float) -> int:
    """Count the requests due until a moment by wrk2's schedule: each connection keeps time from its own start."""
    each = report.connections // report.threads
    period = each * report.threads / rate
    running = (seconds - number * _STAGGER for number in range(each))
    return report.threads * sum(math.ceil(round(time / period, 9)) for time in running if time > 0)


def _lag(report: HookReport, never_sent: int) -> Histogram:
    """Return how late wrk2 sent its requests, at least; those that it never sent were due before the last moment."""
    sent = report.sent - report.errors["write"]
    lag = report.lag + Counter({0: max(0, sent - report.lag.total()), round(_GRACE * 1000): never_sent})
    return Histogram.from_buckets((ms / 1000, ms / 1000, count) for ms, count in lag.items())


def _lost(report: HookReport) -> int:
    """Count the requests that wrk2 lost and sent again.

    Not every error is one: while a service is down, each connection retries all the time.
    """
    attempts = report.errors["write"] + report.errors["connect"]
    return max(min(report.unanswered, report.errors["read"] + attempts), min(attempts, report.connections))


def _spectrum(printed: str, report: HookReport) -> list[tuple[float, int]]:
    """Read how many service times are up to a value in seconds, from wrk2's table. Raises GeneratorError."""
    rows = _SPECTRUM_ROW.findall(printed.partition(_SPECTRUM_TITLE)[2])
    if not rows or int(rows[-1][1]) != report.latencies.total():
        raise GeneratorError("the number of service times differs from the number of latencies")
    return [(float(value) / 1000, int(count)) for value, count in rows]
