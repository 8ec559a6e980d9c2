"""The requests with data of a load, in the order in which they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.data import RowsExhausted
from pytest_loadgen.traffic.mix import NamedRequest, sequence
from pytest_loadgen.traffic.plan import Plan


def order(plan: Plan) -> Iterator[int]:
    """Yield the number in the mix of the first, second, … request that this part of the plan sends."""
    # Without a schedule a part is as fast as it can be, and keeps the weights by itself.
    return _sequence(plan) if plan.closed else islice(_sequence(plan), plan.part, None, plan.parts)


def _sequence(plan: Plan) -> Iterator[int]:
    seed = plan.seed if plan.arrivals == "poisson" else None
    return sequence([request.weight for request in plan.mix], seed=seed)


def _rows(plan: Plan) -> Iterator[tuple[int, int]]:
    """Yield each request that this part of the plan sends, as its number in the mix and that of its row.

    No two parts use the same row.
    """
    sent = [0] * len(plan.mix)
    parts, part = plan.parts, plan.part
    if plan.closed:
        for number in _sequence(plan):
            yield number, sent[number] * parts + part
            sent[number] += 1
    for place, number in enumerate(_sequence(plan)):
        if place % parts == part:
            yield number, sent[number]
        sent[number] += 1


def filled_requests(plan: Plan) -> Iterator[bytes | None]:
    """Yield each request that this part of the plan sends, filled from its data; None for one without data.

    Ends where rows run out and the load is to stop. Raises PlanError where a row cannot be sent, with its number.
    """
    for number, row in _rows(plan):
        request = plan.mix[number]
        if request.rows is None:
            yield None
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
