"""The requests with data of a load, in the order in which they are sent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.data import RowsExhausted
from pytest_loadgen.traffic.mix import LONGEST_PERIOD, NamedRequest, period, sequence
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.units import exactly


def order(plan: Plan) -> Iterator[int]:
    """Yield the number in the mix of the first, second, … request that this part of the plan sends."""
    if plan.closed:
        # Without a schedule a part is as fast as it can be, and keeps the weights by itself. Each begins elsewhere:
        # parts that are short, or slow, would otherwise all send the first few requests of the mix only.
        begin = plan.part * min(_period(plan), LONGEST_PERIOD) // plan.parts
        return islice(_sequence(plan), begin, None)
    # Weights are those of the load: what the warm-up sends is counted by itself.
    return chain(
        islice(_sequence(plan), plan.warmed + plan.part, plan.warmed + _warmup_of_all(plan), plan.parts),
        islice(_sequence(plan), plan.first + plan.part, None, plan.parts),
    )


def _warmup_of_all(plan: Plan) -> int:
    """Return the number of warm-up requests of all parts; the requests after them are divided again."""
    rate = plan.stages[0].start or Fraction(0)
    return math.ceil(rate * plan.parts * exactly(plan.warmup))


def _load_of_all(plan: Plan) -> int | None:
    """Give how many requests all parts of a split plan send after the warm-up; None where that is not known."""
    if plan.arrivals == "poisson":
        return None
    return math.ceil(sum((stage.requests for stage in plan.stages), Fraction(0)) * plan.parts)


def _period(plan: Plan) -> int:
    return period([request.weight for request in plan.mix])


def _sequence(plan: Plan) -> Iterator[int]:
    seed = plan.seed if plan.arrivals == "poisson" else None
    return sequence([request.weight for request in plan.mix], seed=seed)


def _rows(plan: Plan) -> Iterator[tuple[int, int]]:
    """Yield each request that this part of the plan sends, as its number in the mix and that of its row.

    No two parts use the same row, and none is taken that no request is due for. Where the rows of a name run out in
    one part, that is the end of all.
    """
    sent = [0] * len(plan.mix)
    if plan.closed:
        for number in order(plan):
            yield number, sent[number] * plan.parts + plan.part
            sent[number] += 1
        return
    for number in chain(islice(_sequence(plan), plan.first), islice(_sequence(plan), plan.warmed)):
        sent[number] += 1
    ends = [request.rows.end if request.rows else math.inf for request in plan.mix]
    for first, count in ((plan.warmed, _warmup_of_all(plan)), (plan.first, _load_of_all(plan))):
        end = None if count is None else first + count
        for place, number in enumerate(islice(_sequence(plan), first, end)):
            if place % plan.parts == plan.part or sent[number] >= ends[number]:
                yield number, sent[number]
            sent[number] += 1


def filled_requests(plan: Plan) -> Iterator[bytes]:
    """Yield each request that this part of the plan sends, filled from its data; empty for a request without data.

    Ends where rows run out and the load is to stop. Raises PlanError where a row cannot be sent, with its number.
    """
    mix = plan.mix
    for number, row in _rows(plan):
        request = mix[number]
        if request.rows is None:
            yield b""
            continue
        try:
            yield _filled(request, row)
        except RowsExhausted:
            if request.rows.exhausted == "stop":
                return
            raise PlanError(_ran_out(request, row)) from None


def _filled(request: NamedRequest, row: int) -> bytes:
    assert request.rows
    assert request.template
    values = request.rows.row(row)
    try:
        return request.template.render(values)
    except PlanError as error:
        raise PlanError(f"{request.name}: row {row:,}: {error}") from error


def _ran_out(request: NamedRequest, row: int) -> str:
    assert request.rows
    remedy = "exhausted='stop' ends the load there"
    if request.rows.exhausted == "again":
        remedy += ", and a list can be used again"
    return f"{request.name}: its data has only {row:,} rows: {remedy}"
