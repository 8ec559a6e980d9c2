"""What a load fails its test with, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from pytest_loadgen.errors import BaselineError, InvalidRun, PlanError, ServiceError, SLOMissed
from pytest_loadgen.figures.outcomes import FAILURES, is_answer
from pytest_loadgen.figures.problems import explained
from pytest_loadgen.figures.result import Result
from pytest_loadgen.objectives import stats
from pytest_loadgen.objectives.caveats import BROKEN
from pytest_loadgen.objectives.judged import JudgedResult
from pytest_loadgen.objectives.judgement import ALPHA
from pytest_loadgen.objectives.metric import Errors
from pytest_loadgen.objectives.slo import SLO
from pytest_loadgen.objectives.verdict import aligned
from pytest_loadgen.wording import counted, did_you_mean, listed, tally

# Failures that a service may have that is not up, or speaks another protocol.
_OF_CONNECTIONS = FAILURES.keys() - {"check"}


def raise_failure(result: JudgedResult, *, strict: bool) -> None:
    """Raise what keeps a result from passing; `strict` fails unclear objectives, too.

    Raises ServiceError where no request succeeded, or most failed and nobody said that they may; SLOMissed where
    an objective is missed or the load was aborted; InvalidRun where the generator was the limit.
    """
    services = list(filter(None, (result, result.against)))
    lines = "".join(f"\n  {line}" for line in aligned(result.verdicts))
    if result.went_on:
        lines += f"\n  The load {result.went_on}."
    for each in services:
        if each.all_failed:
            _blame(each, result)
    if result.plan.journey:
        _check_steps(result)
    reasons = "".join(f"\n  {reason}" for reason in [*explained(result), *_limit(result)])
    if result.abort_reason:
        raise SLOMissed(f"{result}, aborted: {result.abort_reason}{lines}{reasons}")
    outcomes = {verdict.outcome for verdict in result.verdicts}
    if "missed" in outcomes:
        raise SLOMissed(f"{result}{lines}{reasons}")
    if "invalid" in outcomes:
        of_baseline = result.baseline.result.problems if result.baseline.result else ()
        raise InvalidRun(f"{result}{lines}\n  {' '.join([*result.problems, *of_baseline])}")
    for each in services:
        if each.error_rate >= BROKEN and not _may_fail(result):
            _blame(each, result)
        for name in each.names:
            part = each[name]
            if part.requests and part.error_rate >= BROKEN and not _name_may_fail(part, result, name):
                # Whether the generator was the limit is known of the whole load only.
                _blame(part, result, name, each.problems)
    if "unclear" in outcomes and strict:
        raise SLOMissed(f"{result}{lines}\n  Unclear objectives fail because of --load-strict.")


def _limit(result: Result) -> list[str]:
    """Say which limit the service was at, where it is known and was at one."""
    total = result.total
    limit = total.service.limit(total.seconds) if total.service else ""
    return [f"{limit[0].upper()}{limit[1:]}"] if limit else []


def require_baseline(result: JudgedResult, objectives: Sequence[SLO], *, compared: bool) -> None:
    """Refuse a load without the baseline of an objective or, where all loads are compared, without any.

    Raises BaselineError.
    """
    of_objectives = {slo.text: slo.view(result).baseline for slo in objectives if slo.is_relative}
    wanted = of_objectives or ({"--load-compare": result.baseline} if compared else {})
    for what, baseline in wanted.items():
        if baseline.result is None:
            raise BaselineError(
                f"{result.plan.name}: {what} needs a baseline (--load-require-baseline): {baseline.missing}"
            )


def _check_steps(result: JudgedResult) -> None:
    """Refuse objectives of steps that no journey made; only the load shows this. Raises PlanError."""
    known = [result.plan.name, *result.names]
    for verdict in result.verdicts:
        if (name := verdict.slo.name) and name not in known:
            raise PlanError(f"{verdict.slo}: no journey made a step named {name!r}: {did_you_mean(name, known)}")


def _may_fail(result: JudgedResult) -> bool:
    """Return whether a load may pass in which most requests failed.

    Not where expect= says what success is. Otherwise an objective on errors decides, and without any objective
    the test itself.
    """
    objectives = [verdict.slo for verdict in result.verdicts]
    of_errors = {slo.name for slo in objectives if isinstance(slo.metric, Errors)}
    decided = "" in of_errors or of_errors.issuperset(result.names or [""])
    return result.plan.expects_default and (not (objectives or result.not_judged) or decided)


def _name_may_fail(part: Result, result: JudgedResult, name: str) -> bool:
    """Return whether a load may pass although most requests of a name failed: they may be too few to tell."""
    if not part.plan.expects_default:
        return False
    objectives = [verdict.slo for verdict in result.verdicts]
    decided = any(isinstance(slo.metric, Errors) and slo.name in {"", name} for slo in objectives)
    decided |= not (objectives or result.not_judged)
    return decided or stats.proportion(part.errors, part.requests, ALPHA).low < BROKEN


def _blame(failed: Result, result: JudgedResult, name: str = "", problems: tuple[str, ...] | None = None) -> NoReturn:
    """Raise what is at fault where most requests failed: the service, or the generator where that may be."""
    others, problems = failed.without_own_failures, failed.problems if problems is None else problems
    if problems and (not others.requests or others.error_rate < BROKEN):
        raise InvalidRun(f"{failed}\n  {' '.join(problems)}")
    raise ServiceError(_describe_failures(failed, result, name or failed.plan.name))


def _by_name(failed: Result) -> str:
    """Say which requests of a mix failed most."""
    named = [(name, failed[name]) for name in failed.names]
    named = sorted((each for each in named if each[1].errors), key=lambda each: -each[1].errors)
    shown = listed([f"{name} ({each.errors:,} of {each.requests:,})" for name, each in named])
    return f" By name: {shown}." if named else ""


def _describe_failures(failed: Result, result: JudgedResult, name: str) -> str:
    """Say how most or all requests failed, and what to look at."""
    plan, errors = failed.plan, failed.errors
    kinds = tally(failed.failures) or "none was sent"
    noun = plan.noun
    what = f"all {counted(errors, noun)}" if failed.all_failed else f"{errors:,} of {counted(failed.requests, noun)}"
    # Of two services that are loaded with the same request, the address says which.
    where = "" if result.against is None else f" of {plan.target.origin}"
    where += " (against=)" if failed is result.against else ""
    said = f"{name}{where}: {what} failed: {kinds}."
    if result.abort_reason:
        said += f" The load was aborted: {result.abort_reason}."
    reasons = "".join(f"\n  {reason}" for reason in [*explained(failed), *_limit(failed)])
    answered = any(map(is_answer, failed.failures))
    if failed.names:
        said += _by_name(failed)
    elif answered:
        said += f" Expected {' or '.join(plan.expect)} (expect=)."
    if answered or not failed.failures.keys() <= _OF_CONNECTIONS:
        return f"{said}{reasons}"
    said += reasons.replace("\n  ", " ")
    if "timeout" in failed.outcomes:
        what = f"No {noun} ended" if plan.journey else "No response came"
        return f"{said} {what} within {plan.timeout} (timeout=)."
    if failed.outcomes.keys() & {"closed", "protocol", "tls"}:
        scheme = plan.target.scheme.upper()
        return f"{said} Does {plan.target.origin} speak {scheme}, and does it require a client certificate (cert=)?"
    return f"{said} Is {plan.target.origin} up?"
