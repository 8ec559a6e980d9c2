"""What each load of a session is compared with."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.baseline import Baseline, KeptRun
from pytest_loadgen.records.differences import differences
from pytest_loadgen.records.fingerprint import Fingerprint
from pytest_loadgen.records.store import BaselineStore
from pytest_loadgen.wording import listed


class BaselineFinder:
    """Finds the kept runs of each load of a session."""

    def __init__(self, store: BaselineStore, name: str, machine: Fingerprint, *, scaled: bool = False) -> None:
        """Read what was saved under a name on this machine, for loads that may be scaled. Raises BaselineError."""
        self._name = name
        self._scaled = scaled
        # Read once, so that it never contains the runs that this session saves.
        self._history = store.find(name, machine)
        self._missing = "" if self._history else self._explain(store, machine)

    def find(self, test: str, number: int, load: Result) -> Baseline:
        """Return the baseline of a test's load (counted from 0), or one that says why it is missing."""
        if self._history is None:
            return Baseline(missing=self._missing)
        if not (kept := self._history.runs(test, number)):
            return Baseline(missing=f"the baseline {self._name!r} has no entry for this load: {self._remedy('add')}")
        if not (comparable := [run for run in kept if not differences(run.result, load)]):
            different = listed(differences(kept[-1].result, load))
            said = f"the baseline {self._name!r} is of a different load ({different})"
            return Baseline(missing=f"{said}: {self._remedy('replace')}")
        return Baseline(tuple(KeptRun(run.result, run.revision.commit, run.date) for run in comparable))

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
