"""What each load of a session is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.comparison import Baseline
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.store import BaselineStore
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.plan import Plan, Stage
from pytest_loadgen.wording import changed, listed


class BaselineFinder:
    """Finds the saved result of each load of a session."""

    def __init__(self, store: BaselineStore, name: str, machine: Fingerprint, *, scaled: bool = False) -> None:
        """Read what was saved under a name on this machine, for loads that may be scaled. Raises BaselineError."""
        self._name = name
        self._scaled = scaled
        self._record = store.find(name, machine)
        self._missing = "" if self._record else self._explain(store, machine)

    def find(self, test: str, number: int, load: Result) -> Baseline:
        """Return the baseline of a test's load (counted from 0), or one that says why it is missing."""
        if self._record is None:
            return Baseline(missing=self._missing)
        results = (run.result for run in self._record.runs if (run.test, run.number) == (test, number))
        if (saved := next(results, None)) is None:
            return Baseline(missing=f"the baseline {self._name!r} has no entry for this load: {self._remedy('add')}")
        if different := differences(saved, load):
            said = f"the baseline {self._name!r} is of a different load ({listed(different)})"
            return Baseline(missing=f"{said}: {self._remedy('replace')}")
        return Baseline(saved)

    def _explain(self, store: BaselineStore, machine: Fingerprint) -> str:
        if (other := store.find_on_any_machine(self._name)) is None:
            return f"there is no baseline {self._name!r}{_others(self._name, store.names())}: {self._remedy('create')}"
        different = ", ".join(machine.differences(other.machine))
        return f"the baseline {self._name!r} is from a different machine ({different}): {self._remedy('create')}"

    def _remedy(self, verb: str) -> str:
        if self._scaled and verb == "replace":  # most likely it is right for the full load
            return "leave --load-scale out, or save loads of this scale under another name"
        return f"{verb} it with --load-save={self._name}"


def _others(name: str, names: Sequence[str]) -> str:
    """Name what could have been meant instead."""
    from difflib import get_close_matches

    if near := get_close_matches(name, names, n=1):
        return f" (did you mean {near[0]!r}?)"
    return f" (saved: {', '.join(names)})" if names else " yet"


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
