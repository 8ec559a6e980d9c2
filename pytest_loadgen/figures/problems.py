"""Why the figures of a result describe the generator and not the service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from pytest_loadgen.figures.outcomes import FAILURES, is_answer
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.units import Duration, Rate, Share
from pytest_loadgen.wording import counted

if TYPE_CHECKING:
    from pytest_loadgen.figures.interval import Interval, NamedFigures
    from pytest_loadgen.figures.result import Result

T = TypeVar("T", "Interval", "NamedFigures")
# The generator is the limit if one request in a hundred leaves this many seconds late, or if it sends
# as fast as it can and has no CPU left.
LATE = 0.010
_SATURATED = 0.95
_THROTTLED = 0.05
# A generator counts as stalled if it did not run for this share of the load, or for this many seconds in all.
_STALLED, _LONG_STALL = 0.01, 0.5
# If the generator itself took this share of the timeout, it may have caused the timeout.
_MUCH_OF_TIMEOUT = 0.25
_IDLE = 0.5
_LIMIT = "the generator was the limit"
# A service may refuse an identical request with one of these methods when it is repeated. The result says so if all
# responses but this share, or but one, have a status of 4xx. The statuses below have other causes and do not count.
_CHANGES = frozenset({"POST", "PUT", "PATCH"})
_FIRST_FEW = 0.05
_NOT_REPEATED = frozenset({"408", "429"})
_MORE_WORKERS = "Use more workers (--load-workers)"
_OWN_PROCESS = "Use a separate process for the journeys (without process=False)"
_RAN_OUT = {
    "filehandles": "Raise the limit (ulimit -n), or use fewer connections.",
    "ports": "Use fewer connections, or a service that keeps them open.",
}


@dataclass(frozen=True)
class Problem:
    """Why figures describe the generator."""

    reason: str
    """In a few words, for a verdict."""
    sentence: str
    """With what was found, and what to do."""


def explained(result: Result) -> list[str]:
    """Say what was wrong with requests that failed, one sentence for each kind, where the generator knows it."""
    reasons, failures = result.total.reasons, result.failures
    noun = result.plan.noun
    said = [
        f"One of {_failed(kind, failures[kind], noun)}: {reasons[kind]}."
        for kind in sorted(reasons)
        if kind in failures
    ]
    return [*said, *_repeated(result)]


def _repeated(result: Result) -> Iterator[str]:
    """Report requests that all but the first few are refused, it seems because they are all the same."""
    if result.plan.journey or (result.plan.is_mix and not result.names):
        return
    for request in result.plan.mix or (NamedRequest(result.plan.name, result.plan.target),):
        if request.data or request.target.method not in _CHANGES:
            continue
        part = result[request.name] if result.names else result
        refused = {
            kind: count for kind, count in part.failures.items() if kind[:1] == "4" and kind not in _NOT_REPEATED
        }
        count = sum(refused.values())
        others = part.requests - count
        answered = any(map(part.plan.expects, part.outcomes))
        if others < max(2, _FIRST_FEW * part.requests) and count > 4 * others and (answered or "409" in refused):
            kinds = " or ".join(refused)
            yield (
                f"{count:,} of {part.requests:,} responses to {request.name} were {kinds}: the service may "
                "refuse the same body twice; give each request data of its own with each()."
            )


def _failed(kind: str, count: int, noun: str) -> str:
    answer = "response" if noun == "request" else noun
    if kind == "check":
        return f"{counted(count, answer)} that failed {'the' if noun == 'request' else 'a'} check"
    return (
        f"{counted(count, answer)} with status {kind}"
        if is_answer(kind)
        else f"{counted(count, noun)} that failed as {kind}"
    )


def find_problems(result: Result) -> Iterator[Problem]:
    """Say what makes the generator the limit."""
    total, plan, name = result.total, result.plan, result.generator
    shared = plan.journey is not None and not plan.journey.separate
    remedy = _OWN_PROCESS if shared else _MORE_WORKERS
    if (blocked := total.reasons.get("lag")) and total.lag.over(LATE) > 1 and total.lag.percentile(99) > LATE:
        code = "their code, or other code in the test process," if shared else "their code"
        or_else = "a separate process (without process=False)" if shared else "more workers"
        yield Problem(
            "the journeys blocked their event loop",
            f"the journeys were late: {code} blocked the event loop, longest at {blocked}. "
            f"Use async libraries, await asyncio.to_thread(…), or {or_else}.",
        )
    elif total.stalled > max(LATE, min(_LONG_STALL, _STALLED * total.seconds)):
        stalled = Duration(total.stalled)
        yield Problem(
            f"the generator did not run for {stalled}",
            f"the {name} generator did not run for {stalled}: it was stopped, the machine slept, "
            "or other work had its CPU. Run the load again.",
        )
    # One late request is a hiccup.
    elif total.lag.over(LATE) > 1 and (late := total.lag.percentile(99)) > LATE:
        if result.fell_behind:
            achieved = Rate((total.requests - total.never_sent) / total.seconds if total.seconds else 0.0)
            found = f"the {name} generator fell behind: requested {plan.rate}, achieved {achieved}."
        elif total.lag.count < 100:
            found = f"the {name} generator was late: it sent a request {late} after it was due."
        else:
            found = f"the {name} generator was late: it sent 1 request in 100 {late} or more after it was due."
        if total.cpu < _IDLE:
            with_data = any(request.data for request in plan.mix)
            late_rows, remedy = ("rows of data came late, or ", "have the rows ready, or ") if with_data else ("", "")
            yield Problem(
                f"{late_rows}the machine was busy with other work",
                f"{found} It used only {total.cpu:.0%} of its CPU, so {late_rows}the machine was busy with other work: "
                f"{remedy}stop that, or use a lower rate.",
            )
        else:
            yield Problem(_LIMIT, f"{found} {remedy}, or a lower rate.")
    elif plan.closed and total.cpu >= _SATURATED:
        # At a set rate the lag shows it better: a generator may use all its CPU to be on time.
        cpu = Share(total.cpu)
        yield Problem(
            _LIMIT, f"the {name} generator's CPU was saturated ({cpu}): the service may handle more. {remedy}."
        )
    if total.seconds and total.throttled > _THROTTLED * total.seconds:
        share = Share(total.throttled / total.seconds)
        yield Problem(
            "the generator was CPU-throttled",
            f"the {name} generator was CPU-throttled for {share} of the time. Raise the container's CPU limit.",
        )
    for kind, remedy in _RAN_OUT.items():
        if count := total.outcomes.get(kind):
            yield Problem(FAILURES[kind], f"{FAILURES[kind]} ({counted(count, 'request')}). {remedy}")


def suspects(result: Result) -> list[bool]:
    """Say of each interval whether failures in it may be the generator's: it did not run then, or was very late.

    Requests that were open when it stopped, and those that were due meanwhile, end up to a timeout before or after.
    """
    timeout = float(result.plan.timeout)
    much = _MUCH_OF_TIMEOUT * timeout
    held = [
        (each.start, each.start + each.seconds)
        for each in result.intervals
        if each.stalled > min(_LONG_STALL, much) or each.lag.over(much)
    ]
    return [
        any(each.start <= end + timeout and each.start + each.seconds >= start - timeout for start, end in held)
        for each in result.intervals
    ]


def without_own_failures(result: Result) -> tuple[Interval, ...]:
    """Give the intervals without the requests whose failure may be the generator's."""
    kept = []
    for each, suspect in zip(result.intervals, suspects(result), strict=True):
        own = {kind for kind in each.outcomes if kind in _RAN_OUT or (suspect and not is_answer(kind))}
        if own:
            names = {name: _without(figures, own, suspect) for name, figures in each.names.items()}
            kept.append(replace(_without(each, own, suspect), names=names))
        else:
            kept.append(each)
    return tuple(kept)


def _without(figures: T, kinds: set[str], suspect: bool) -> T:
    outcomes = {kind: count for kind, count in figures.outcomes.items() if kind not in kinds}
    return replace(figures, outcomes=outcomes, never_sent=0 if suspect else figures.never_sent)
