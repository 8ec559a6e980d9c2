"""One load, from its turn to its verdicts: the same for every source of intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Protocol

from pytest_loadgen import clock
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.objectives.gate import Gate, Judging
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.running.calibration import Machine
from pytest_loadgen.running.sampled import Sampled
from pytest_loadgen.running.source import Source
from pytest_loadgen.running.stop import Stopped
from pytest_loadgen.service.resources import Watch
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import Duration


class Progress(Protocol):
    """Shows how a load is going."""

    def started(self) -> None:
        """Count the time from now on."""

    def show(self, interval: Interval, generator: str = "") -> None:
        """Show an interval; with the name of its generator where there are several."""

    def close(self) -> None:
        """Leave nothing on the screen."""


class NoProgress:
    """Shows nothing, where nobody watches."""

    def started(self) -> None:
        """Say nothing."""

    def show(self, interval: Interval, generator: str = "") -> None:
        """Say nothing."""

    def close(self) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Environment:
    """What a measurement needs of the place where it runs."""

    lock: Callable[[], AbstractContextManager[None]]
    """Keeps the machine for one load at a time."""
    machine: Callable[[], Machine]
    """Calibrates the machine, once."""
    progress: Callable[[Plan, Duration], Progress]
    """Shows a load, given how long it may last."""


Report = Callable[[int, JudgedResult], None]
"""Takes a result and its number, whether the load reached its end or not."""


def measure(
    source: Source, drafts: Sequence[JudgedResult], gate: Gate, environment: Environment, report: Report
) -> list[JudgedResult]:
    """Carry out a load and judge it; `drafts` are its results before it has intervals, one for each generator.

    An interrupted or failed load is reported with the intervals that it has. Raises what the source and
    the lock raise.
    """
    plan = drafts[0].plan
    judgings = [gate.begin(draft) for draft in drafts]
    watch = Watch(plan.target, drafts[0].sent_from)
    sampled = [Sampled(watch, live=gate.of_service) for _ in drafts]
    source.look = watch.look
    progress = environment.progress(plan, gate.lengthened(plan).duration)
    try:
        with environment.lock():
            for judging in judgings:
                _calibrate(judging, gate, environment)
            progress.started()
            with watch, closing(iter(source)) as coming:
                for number, interval, ended in coming:
                    sampled[number].add(interval, clock.monotonic() if ended is None else ended)
                    progress.show(interval, drafts[number].generator if len(drafts) > 1 else "")
                    _compare(judgings[number], source)
                    _explain(judgings[number], watch)
                    if judgings[number].enough(sampled[number].intervals):
                        source.finish()
    except BaseException as error:
        for number, (judging, found) in enumerate(zip(judgings, sampled, strict=True)):
            if found.intervals or isinstance(error, KeyboardInterrupt | Stopped):
                _explain(judging, watch)
                report(number, replace(judging.blank, intervals=found.complete(), interrupted=True))
        raise
    finally:
        progress.close()
    for judging in judgings:
        _explain(judging, watch)
    results = [judging.judged(found.complete()) for judging, found in zip(judgings, sampled, strict=True)]
    for number, result in enumerate(results):
        report(number, result)
    return results


def _calibrate(judging: Judging, gate: Gate, environment: Environment) -> None:
    """Note what this machine itself adds to a latency, where an objective depends on it."""
    if gate.of_latency and not judging.blank.sent_from:
        judging.blank = replace(judging.blank, machine_p99=environment.machine().p99)


def _explain(judging: Judging, watch: Watch) -> None:
    """Note why it is not known what the service uses, where that is so."""
    if judging.blank.service_unknown != watch.reason:
        judging.blank = replace(judging.blank, service_unknown=watch.reason)


def _compare(judging: Judging, source: Source) -> None:
    """Note what the load is compared with, where its source loads that, too."""
    if baseline := source.baseline():
        judging.blank = replace(judging.blank, baseline=baseline)
