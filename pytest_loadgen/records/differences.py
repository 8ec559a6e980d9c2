"""How two loads differ, so that their figures cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_loadgen.figures.result import Result
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.plan import Plan, Stage
from pytest_loadgen.wording import changed, listed


def differences(saved: Result, load: Result) -> list[str]:
    """List what differs between a saved load and this one, as far as it affects the figures."""
    then, now = _traits(saved), _traits(load)
    found = [changed(trait, then[trait], now[trait]) for trait in then if then[trait] != now[trait]]
    if saved.plan.is_mix == load.plan.is_mix:
        found += _changed_requests(_requests(saved.plan), _requests(load.plan))
    return found


def _traits(result: Result) -> dict[str, str]:
    plan: Plan = result.plan
    return {
        "generator": result.generator,
        "sent from": result.sent_from or "this machine",
        "latency from": result.latency_from,
        # Without the host and port: services under test often listen on any free port.
        "request": f"{plan.target.scheme} {plan.name if plan.is_mix or plan.journey else plan.target.name}",
        "rate and duration": ", ".join(map(_exact, plan.stages)),
        "arrivals": plan.arrivals,
        "warmup": str(plan.warmup),
        "connections": str(plan.connections),
        "timeout": str(plan.timeout),
        "iterations": str(plan.iterations),
    }


def _requests(plan: Plan) -> dict[str, NamedRequest]:
    """Return the requests of a mix by name; the name of a single request does not matter."""
    if plan.is_mix:
        return {request.name: request for request in plan.mix}
    return {"": plan.mix[0] if plan.mix else NamedRequest("", plan.target, expect=plan.expect)}


def _changed_requests(then: Mapping[str, NamedRequest], now: Mapping[str, NamedRequest]) -> Iterator[str]:
    """Describe which requests are new or gone, and what changed in the others."""
    for names, what in ((now.keys() - then.keys(), "new"), (then.keys() - now.keys(), "gone")):
        if names:
            yield f"{listed(sorted(names))} {'is' if len(names) == 1 else 'are'} {what}"
    for name in sorted(then.keys() & now.keys()):
        before, after = then[name], now[name]
        of = f"{name}: " if name else ""
        traits = [("data", before.data or "none", after.data or "none"), ("expect", *map(_expected, (before, after)))]
        if name:
            traits.append(("request", before.target.name, after.target.name))
        # With other requests in the mix, the same weight is another share.
        if then.keys() == now.keys():
            traits.append(("weight", str(before.weight), str(after.weight)))
        yield from (of + changed(trait, old, new) for trait, old, new in traits if old != new)
        if before.target.digest != after.target.digest:
            yield f"{of}query or body changed"


def _expected(request: NamedRequest) -> str:
    return " ".join(request.expect)


def _exact(stage: Stage) -> str:
    """Write a stage with all digits: rounded text could hide a difference."""
    seconds = f"for {float(stage.seconds):.12g}s"
    if stage.start is None or stage.end is None:
        return f"max {seconds}"
    rates = dict.fromkeys((stage.start, stage.end))
    return f"{' to '.join(f'{float(rate):.12g}/s' for rate in rates)} {seconds}"
