"""The requests with data of a load, in the order in which they are sent."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.data import RowsExhausted
from pytest_loadgen.traffic.mix import NamedRequest, sequence
from pytest_loadgen.traffic.plan import Plan


def order(plan: Plan, *, whole: bool = False) -> Iterator[int]:
    """Yield the number in the mix of the first, second, … request that this part of the plan sends.

    With `whole`, of all parts together.
    """
    return sequence(
        [request.weight for request in plan.mix],
        seed=plan.seed if plan.arrivals == "poisson" else None,
        part=0 if whole else plan.part,
        parts=1 if whole else plan.parts,
    )


def filled_requests(plan: Plan) -> Iterator[bytes]:
    """Yield the requests that are filled from data, as this part of the plan sends them.

    Which row a request gets depends on its number in the whole plan alone, so that no two parts use the same row.
    Ends where rows run out and the load is to stop. Raises PlanError where a row cannot be sent, with its number.
    """
    sent = [0] * len(plan.mix)
    part = plan.part
    for place, number in enumerate(order(plan, whole=True)):
        row, request = sent[number], plan.mix[number]
        sent[number] += 1
        if place == part:
            part += plan.parts
            if request.rows is None:
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
