"""Why the figures of a result are the generator's and not the service's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_loadgen.figures.outcomes import FAILURES
from pytest_loadgen.units import Rate, Share
from pytest_loadgen.wording import counted

if TYPE_CHECKING:
    from pytest_loadgen.figures.result import Result

# The generator is the limit where one request in a hundred leaves this much late, or where it
# should go as fast as it can and has no CPU left.
LATE = 0.010
_FULL = 0.95
_THROTTLED = 0.05
_IDLE = 0.5
_REMEDY = "Use more workers (--load-workers)"
_RAN_OUT = {
    "filehandles": "Raise the limit (ulimit -n), or use fewer connections.",
    "ports": "Use fewer connections, or a service that keeps them open.",
}


def find_problems(result: Result) -> Iterator[str]:
    """Say what makes the generator the limit, a sentence each."""
    total, plan, name = result.total, result.plan, result.generator
    # One late request is a hiccup.
    if total.lag.over(LATE) > 1 and (late := total.lag.percentile(99)) > LATE:
        if result.fell_behind:
            sent = Rate((total.requests - total.never_sent) / total.seconds if total.seconds else 0.0)
            found = f"the {name} generator fell behind: asked {plan.rate}, sent {sent}."
        elif total.lag.count < 100:
            found = f"the {name} generator was late: a request left {late} after it was due."
        else:
            found = f"the {name} generator was late: 1 request in 100 left {late} or more after it was due."
        idle = f"It used {total.cpu:.0%} of its CPU, so the machine was busy with other things: free it, or send less."
        yield f"{found} {idle if total.cpu < _IDLE else f'{_REMEDY}, or fewer per second.'}"
    elif plan.closed and total.cpu >= _FULL:
        # At a set rate, the lag tells better: a generator may use all its CPU to be on time.
        yield (
            f"the {name} generator's CPU was full ({Share(total.cpu)}): the service may be able to do more. {_REMEDY}."
        )
    if total.seconds and total.throttled > _THROTTLED * total.seconds:
        share = Share(total.throttled / total.seconds)
        yield f"the {name} generator was kept from the CPU for {share} of the time: raise the container's CPU limit."
    for kind, remedy in _RAN_OUT.items():
        if count := total.outcomes.get(kind):
            yield f"{FAILURES[kind]} ({counted(count, 'request')}). {remedy}"
