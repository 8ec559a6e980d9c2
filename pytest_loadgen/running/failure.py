"""What a load fails its test with, and in which words."""

from __future__ import annotations

from pytest_loadgen.errors import InvalidRun, ServiceError, SLOMissed
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.figures.problems import explained
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.verdict import aligned
from pytest_loadgen.wording import counted, tally


def raise_failure(result: JudgedResult, *, strict: bool) -> None:
    """Raise what keeps a result from passing; `strict` fails unclear objectives, too.

    Raises ServiceError where no request succeeded, SLOMissed where an objective is missed or the load was
    aborted, InvalidRun where the generator was the limit.
    """
    for each in filter(None, (result, result.against)):
        if each.all_failed:
            raise ServiceError(_describe_total_failure(each))
    lines = "".join(f"\n  {line}" for line in aligned(result.verdicts))
    if result.abort_reason:
        raise SLOMissed(f"{result}, aborted: {result.abort_reason}{lines}")
    outcomes = {verdict.outcome for verdict in result.verdicts}
    if "missed" in outcomes:
        reasons = "".join(f"\n  {reason}" for reason in explained(result))
        raise SLOMissed(f"{result}{lines}{reasons}")
    if "invalid" in outcomes:
        of_baseline = result.baseline.result.problems if result.baseline.result else ()
        raise InvalidRun(f"{result}{lines}\n  {' '.join([*result.problems, *of_baseline])}")
    if "unclear" in outcomes and strict:
        raise SLOMissed(f"{result}{lines}\n  Unclear objectives fail because of --load-strict.")


def _describe_total_failure(result: Result) -> str:
    """Say how the requests failed where none succeeded, and what to look at."""
    plan = result.plan
    kinds = tally(result.outcomes) or "none was sent"
    said = f"{plan.target.name}: all {counted(result.requests, 'request')} failed: {kinds}."
    if result.abort_reason:
        said += f" The load was aborted: {result.abort_reason}."
    if any(is_answer(kind) for kind in result.outcomes):
        return f"{said} Expected {' or '.join(plan.expect)} (expect=)."
    said += "".join(f" {reason}" for reason in explained(result))
    if "timeout" in result.outcomes:
        return f"{said} No response came within {plan.timeout} (timeout=)."
    if result.outcomes.keys() & {"closed", "protocol", "tls"}:
        scheme = plan.target.scheme.upper()
        return f"{said} Does {plan.target.origin} speak {scheme}, and does it require a client certificate (cert=)?"
    return f"{said} Is {plan.target.origin} up?"
