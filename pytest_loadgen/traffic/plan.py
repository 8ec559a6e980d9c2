"""A plan: which request to send, at what rate, for how long."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from numbers import Integral
from typing import Any, Literal, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.expected import Status, is_expected, read_expected
from pytest_loadgen.traffic.journey import OK, Journey
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.target import SCHEMES, Target
from pytest_loadgen.units import NO_TIME, Duration, Rate, exactly
from pytest_loadgen.wording import did_you_mean

DEFAULT_RATE = 100
DEFAULT_DURATION = 5.0
HIGHEST_RATE = 10_000_000
FIVE_SECONDS = Duration(5)
OPEN_CONNECTIONS = 100
CLOSED_CONNECTIONS = 10
# For journeys at a set rate: each may use several at the same time.
JOURNEY_CONNECTIONS = 1000
MOST_CONNECTIONS = 65_535
# The default duration with iterations= in the closed model.
ITERATIONS_DURATION = Duration("10m")
LONGEST = Duration("24h")
"""The longest load, and the longest time in it: more is a slip, or a number that overflows further on."""

FEATURES = frozenset(
    {
        *SCHEMES,
        *("rate", "max", "stages", "poisson", "iterations", "http2", "body", "cert"),
        *("mix", "names", "data", "check", "journey"),
    }
)
"""Everything that a plan can need of a generator: a scheme, a set rate or ``rate="max"``, and so on."""


@dataclass(frozen=True)
class Stage:
    """A part of a plan in which the rate goes in a straight line from `start` to `end`, in requests per second.

    Both are exact, so that the parts of a split plan add up to the whole. Both are None for
    ``rate="max"``, where each connection sends again as soon as it has a response.
    """

    start: Fraction | None
    end: Fraction | None
    seconds: Duration

    @property
    def requests(self) -> Fraction:
        """How many requests are due; a fraction, because the next stage continues where this one ends."""
        if self.start is None or self.end is None:
            return Fraction(0)
        return (self.start + self.end) / 2 * exactly(self.seconds)

    def between(self, start: float, end: float) -> Stage:
        """Return the part between two times, in seconds from the start of the stage."""
        if self.start is None or self.end is None:
            return replace(self, seconds=Duration(end - start))
        slope = (self.end - self.start) / exactly(self.seconds)
        first, last = (self.start + slope * exactly(at) for at in (start, end))
        return Stage(first, last, Duration(float(exactly(end) - exactly(start))))

    def __truediv__(self, parts: int) -> Stage:
        return self.scaled(Fraction(1, parts))

    def scaled(self, share: Fraction) -> Stage:
        """Return the stage with this share of its rate."""
        if self.start is None or self.end is None:
            return self
        return replace(self, start=self.start * share, end=self.end * share)

    def __str__(self) -> str:
        if self.start is None or self.end is None:
            return f"max for {self.seconds}"
        start, end = Rate(float(self.start)), Rate(float(self.end))
        return f"{start} for {self.seconds}" if start == end else f"{start} to {end} in {self.seconds}"


def hold(rate: float | str, duration: float | str) -> Stage:
    """Make a stage with a constant rate: ``hold("500/s", "30s")``. Raises PlanError."""
    exact = None if _is_max(rate) else _rate(rate)
    return Stage(exact, exact, _positive("duration", duration))


def ramp(start: float | str, end: float | str, duration: float | str) -> Stage:
    """Make a stage whose rate changes linearly from `start` to `end`. Raises PlanError."""
    return Stage(_rate(start), _rate(end), _positive("duration", duration))


@dataclass(frozen=True)
class Plan:
    """What a load generator has to do. Times are in seconds, counted from the end of the warm-up."""

    target: Target
    stages: tuple[Stage, ...]
    connections: int = OPEN_CONNECTIONS
    arrivals: Literal["constant", "poisson"] = "constant"
    warmup: Duration = NO_TIME
    timeout: Duration = FIVE_SECONDS
    expect: tuple[str, ...] = ("2xx", "3xx")
    ready_timeout: Duration = FIVE_SECONDS
    seed: int = field(default=0, compare=False)
    """The seed of Poisson arrivals: the same seed gives the same schedule."""
    part: int = 0
    """The number of this part in a split plan: request n of the whole plan belongs to part n modulo `parts`."""
    parts: int = 1
    start_at: float | None = field(default=None, compare=False)
    """When all parts of a split plan start, as ``time.time()``; None means at once."""
    mix: tuple[NamedRequest, ...] = ()
    """The requests of a mix, the first of which is the target; empty where all requests are the same."""
    journey: Journey | None = None
    """The function to call, instead of a request to send; the target is the base of its relative addresses."""
    step: str = ""
    """The name of a step, if this is the plan of one step of a journey."""
    iterations: int | None = None
    """After how many requests or journeys a closed-model load ends; None if only its duration ends it."""
    first: int = field(default=0, compare=False)
    """How many requests of the mix the parts before this one send: it goes on there, with the next rows of data."""
    warmed: int = field(default=0, compare=False)
    """How many they send in their warm-ups, which take rows, too, but no part in the weights of the load."""

    @classmethod
    def of(
        cls,
        target: Target,
        *,
        rate: float | str | None = None,
        stages: Iterable[Stage] | None = None,
        duration: float | str | None = None,
        arrivals: str = "constant",
        connections: int | None = None,
        warmup: float | str = 0,
        timeout: float | str = 5,
        expect: Status | Sequence[Status] | None = None,
        ready_timeout: float | str = 5,
        users: int | None = None,
        iterations: int | None = None,
        mix: tuple[NamedRequest, ...] = (),
        journey: Journey | None = None,
    ) -> Self:
        """Build a plan from the options of ``load()``. Raises PlanError if they make no sense."""
        if users is not None:
            rate, connections = _users(users, journey, rate, stages, connections), users
        elif journey and rate is None and stages is None:
            raise PlanError(
                f"{journey.name}: say how many journeys begin each second (rate=50), or how many users make them one "
                "after another (users=20)"
            )
        if iterations is not None:
            duration = _duration_of(iterations, rate, stages, duration, arrivals)
        if stages is None:
            rate = DEFAULT_RATE if rate is None else rate
            stages = [hold(rate, DEFAULT_DURATION if duration is None else duration)]
        elif rate is not None or duration is not None:
            raise PlanError("stages= sets the rate and duration: give either stages= or rate= and duration=")
        stages = _stages(stages)
        closed = stages[0].start is None
        if journey and closed and users is None:
            raise PlanError(f"{journey.name}: rate='max' does not say how many users there are: use users=20")
        if not isinstance(arrivals, str) or arrivals not in ("constant", "poisson"):
            raise PlanError(f"arrivals={arrivals!r}: {did_you_mean(str(arrivals), ['constant', 'poisson'])}")
        if closed and arrivals == "poisson":
            raise PlanError(
                "arrivals='poisson' needs a rate: with rate='max', each connection sends again once it has a response"
            )
        if connections is None:
            connections = CLOSED_CONNECTIONS if closed else JOURNEY_CONNECTIONS if journey else OPEN_CONNECTIONS
        plan = cls(
            target=target,
            stages=stages,
            connections=_connections(connections),
            arrivals="poisson" if arrivals == "poisson" else "constant",
            warmup=_not_negative("warmup", warmup),
            timeout=_positive("timeout", timeout),
            expect=read_expected(expect, target),
            ready_timeout=_not_negative("ready_timeout", ready_timeout),
            seed=random.randrange(2**31),  # noqa: S311  # no secret
            mix=mix,
            journey=journey,
            iterations=iterations if closed else None,
        )
        if plan.duration > LONGEST:
            raise PlanError(f"duration: the stages last longer than {LONGEST} together, the longest load")
        if plan.warmup and not closed and plan.stages[0].start == 0:
            raise PlanError(
                "warmup= keeps the rate at which the first stage starts, which is 0/s: raise it, or leave warmup= out"
            )
        if not closed and not plan.requests:
            raise PlanError(f"{plan}: this plan sends no requests; raise the rate or the duration")
        return plan

    @property
    def closed(self) -> bool:
        """Whether each connection sends again once it has a response, instead of at a set rate."""
        return self.stages[0].start is None

    @property
    def steady(self) -> bool:
        """Whether the rate never changes."""
        return len({rate for stage in self.stages for rate in (stage.start, stage.end)}) == 1

    @property
    def duration(self) -> Duration:
        """How long requests are sent, without the warm-up."""
        return Duration(float(sum(exactly(stage.seconds) for stage in self.stages)))

    @property
    def rate(self) -> Rate:
        """Requests per second, averaged over the duration; infinite for ``rate="max"``."""
        if self.closed:
            return Rate(math.inf)
        due = sum(stage.requests for stage in self.stages)
        return Rate(float(due / exactly(self.duration)))

    @property
    def requests(self) -> int:
        """How many requests are due with constant arrivals; 0 for ``rate="max"``, which has no schedule."""
        due = sum((stage.requests for stage in self.stages), Fraction(0))
        return max(0, math.ceil(due - self.phase))

    @property
    def warmup_requests(self) -> int:
        """How many requests are due in the warm-up with constant arrivals; 0 for ``rate="max"``."""
        rate = self.stages[0].start
        return 0 if rate is None else max(0, math.ceil(rate * exactly(self.warmup) - self.phase))

    @property
    def phase(self) -> Fraction:
        """How long after the start the first request is due, in requests of this part."""
        return Fraction(self.part, self.parts)

    @property
    def needs(self) -> frozenset[str]:
        """The features that a generator needs for this plan."""
        needs = {"journey" if self.journey else self.target.scheme, "max" if self.closed else "rate"}
        if self.iterations is not None:
            needs.add("iterations")
        if self.target.http2:
            needs.add("http2")
        if any(target.body for target in self.targets):
            needs.add("body")
        if self.target.cert:
            needs.add("cert")
        if self.is_mix:
            needs.add("mix")
            if any(set(request.expect) != set(self.expect) for request in self.mix):
                needs.add("names")
        if any(request.rows for request in self.mix):
            needs.add("data")
        if any(request.check for request in self.mix):
            needs.add("check")
        if not self.steady:
            needs.add("stages")
        if self.arrivals != "constant":
            needs.add(self.arrivals)
        return frozenset(needs)

    @property
    def is_mix(self) -> bool:
        """Whether it sends requests of several names."""
        return len(self.mix) > 1

    @property
    def targets(self) -> tuple[Target, ...]:
        """The requests that are sent, one of each name."""
        return tuple(request.target for request in self.mix) or (self.target,)

    @property
    def name(self) -> str:
        """What is sent, in a few words: ``GET /search``, ``mix of 3 requests``, or the name of a function."""
        if self.journey:
            return self.step or self.journey.name
        if self.is_mix:
            return f"mix of {len(self.mix)} requests"
        return self.mix[0].name if self.mix else self.target.name

    @property
    def noun(self) -> str:
        """What it counts, in the singular: ``request`` or ``journey``."""
        return "journey" if self.journey and not self.step else "request"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show, of all requests."""
        return tuple(secret for target in self.targets for secret in target.secrets)

    @property
    def expects_default(self) -> bool:
        """Whether success has its default meaning: no `expect` was given."""
        return self.expect == read_expected(None, self.target)

    def expects(self, status: str, name: str = "") -> bool:
        """Whether an outcome counts as success, of the request of a name; failures (``"timeout"``) never do."""
        if self.journey and (status == OK or not (name or self.step)):
            return status == OK
        return is_expected(status, self._expected_by_name.get(name, self.expect))

    @cached_property
    def _expected_by_name(self) -> dict[str, tuple[str, ...]]:
        return {request.name: request.expect for request in self.mix}

    def only(self, name: str) -> Plan:
        """Return the plan of the requests of one name, at their share of the rate. Raises KeyError.

        The plan of a step has the rate of the journeys, because only the load shows how often a step is made.
        """
        if self.journey:
            return replace(self, step=name)
        known = {request.name: request for request in self.mix}
        if name not in known:
            raise KeyError(f"no request {name!r}: {did_you_mean(name, known)}")
        request = known[name]
        share = Fraction(request.weight, sum(each.weight for each in self.mix))
        stages = tuple(stage.scaled(share) for stage in self.stages)
        return replace(self, target=request.target, expect=request.expect, stages=stages, mix=())

    def lengthened(self, seconds: float) -> Plan:
        """Return a steady plan that lasts this many seconds longer."""
        if not seconds:
            return self
        rate = self.stages[-1].end
        return replace(self, stages=(*self.stages, Stage(rate, rate, Duration(seconds))))

    def stretched(self, factor: float) -> Plan:
        """Return the plan with the same rates and all its times multiplied, the warm-up too; and its iterations.

        What a request may take stays as it is. Raises PlanError where it lasts too long.
        """
        plan = replace(
            self,
            stages=tuple(replace(stage, seconds=stage.seconds.times(factor)) for stage in self.stages),
            warmup=self.warmup.times(factor),
            iterations=None if self.iterations is None else max(1, round(self.iterations * factor)),
        )
        if max(plan.duration, plan.warmup) > LONGEST:
            raise PlanError(f"{self}: {factor:g} times as long is more than {LONGEST}, the longest load")
        return plan

    def between(self, start: float, end: float) -> Plan:
        """Return the part between two times, in seconds; only a part that starts at 0 has the warm-up."""
        stages, begin = [], 0.0
        for stage in self.stages:
            first, last = max(start, begin), min(end, begin + stage.seconds)
            if first < last:
                stages.append(stage.between(first - begin, last - begin))
            begin += stage.seconds
        return replace(self, stages=tuple(stages), warmup=NO_TIME if start else self.warmup)

    def warmup_only(self) -> Plan:
        """Return the plan of the warm-up: the rate at which the first stage starts, for that long."""
        rate = self.stages[0].start
        stage = hold("max" if rate is None else float(rate), self.warmup)
        return replace(self, stages=(stage,), warmup=NO_TIME)

    def following(self, before: Plan) -> Plan:
        """Return the plan with the rows of data that come after those of another plan, at a set rate."""
        first = before.first + _at_most(before.requests, before)
        return replace(self, first=first, warmed=before.warmed + _at_most(before.warmup_requests, before))

    def split(self, parts: int) -> list[Plan]:
        """Divide the plan evenly: rates, connections and requests add up to exactly this plan.

        The parts' requests interleave: together they keep this plan's schedule. Raises PlanError.
        """
        if isinstance(parts, bool) or not isinstance(parts, int) or parts < 1:
            raise PlanError(f"workers={parts!r}: write a whole number, 1 or more")
        if parts > self.connections:
            raise PlanError(
                f"{self.connections} connections cannot be shared by {parts} workers: "
                f"use connections={parts} or more, or fewer workers."
            )
        if self.iterations is not None and self.iterations < parts:
            raise PlanError(f"iterations={self.iterations} cannot be shared by {parts} workers: use fewer workers")
        each, more = divmod(self.connections, parts)
        return [
            replace(
                self,
                stages=tuple(stage / parts for stage in self.stages),
                connections=each + (part < more),
                part=self.part + part * self.parts,
                parts=self.parts * parts,
                iterations=None if self.iterations is None else _share(self.iterations, part, parts),
            )
            for part in range(parts)
        ]

    def __str__(self) -> str:
        return ", ".join(str(stage) for stage in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON types, without secrets."""
        return {
            "target": self.target.as_dict(),
            "stages": [
                [None if rate is None else str(rate) for rate in (stage.start, stage.end)] + [float(stage.seconds)]
                for stage in self.stages
            ],
            "connections": self.connections,
            "arrivals": self.arrivals,
            "warmup": float(self.warmup),
            "timeout": float(self.timeout),
            "expect": list(self.expect),
            "ready_timeout": float(self.ready_timeout),
            "seed": self.seed,
            "mix": [request.as_dict() for request in self.mix],
            "journey": self.journey.as_dict() if self.journey else None,
            "iterations": self.iterations,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read the output of `as_dict`."""

        def rate(text: str | None) -> Fraction | None:
            return None if text is None else Fraction(text)

        return cls(
            target=Target.from_dict(data["target"]),
            stages=tuple(Stage(rate(a), rate(b), Duration(seconds)) for a, b, seconds in data["stages"]),
            connections=data["connections"],
            arrivals=data["arrivals"],
            warmup=Duration(data["warmup"]),
            timeout=Duration(data["timeout"]),
            expect=tuple(data["expect"]),
            ready_timeout=Duration(data["ready_timeout"]),
            seed=data["seed"],
            mix=tuple(map(NamedRequest.from_dict, data["mix"])),
            journey=Journey.from_dict(data["journey"]) if data.get("journey") else None,
            iterations=data.get("iterations"),
        )


def consecutive(parts: Sequence[Plan]) -> list[Plan]:
    """Let parts of a load that follow one another go on where the one before ends: no row of data is used again."""
    if parts and parts[0].journey:
        # How many rows a journey takes is not known in advance, so the parts take them in turn.
        journeys = [part.journey and part.journey.shared(number, len(parts)) for number, part in enumerate(parts)]
        return [replace(part, journey=journey) for part, journey in zip(parts, journeys, strict=True)]
    if not parts or not parts[0].mix:
        return list(parts)
    if parts[0].closed:
        # How many requests each will send is not known: they share the rows as workers do.
        return [
            replace(part, part=part.part + number * part.parts, parts=part.parts * len(parts))
            for number, part in enumerate(parts)
        ]
    found = [parts[0]]
    for part in parts[1:]:
        found.append(part.following(found[-1]))
    return found


def _at_most(due: int, plan: Plan) -> int:
    """Give how many requests are sent where so many are due: random arrivals are almost never more."""
    return due + (math.ceil(10 * math.sqrt(due)) + 10 if plan.arrivals == "poisson" and due else 0)


def whole_number(value: object) -> int | None:
    """Give a whole number >= 1, also of a library such as NumPy; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        return None
    try:
        number = int(value)
    except TypeError:  # NumPy's durations call themselves whole numbers
        return None
    return number if number >= 1 else None


def _users(users: Any, journey: Journey | None, rate: Any, stages: Any, connections: Any) -> str:
    """Check `users` and the options that they exclude, and return the rate. Raises PlanError."""
    if not journey:
        raise PlanError("users= is for journeys (async functions): for requests, use rate='max' and connections=…")
    if whole_number(users) is None:
        raise PlanError(f"users={users!r}: write a whole number, 1 or more")
    for option, value in (("rate", rate), ("stages", stages), ("connections", connections)):
        if value is not None and value != "max":
            raise PlanError(f"give either users= or {option}=: users make one journey after another")
    return "max"


def _duration_of(iterations: Any, rate: Any, stages: Any, duration: Any, arrivals: Any) -> Duration | str | float:
    """Return the duration of this many iterations at a set rate, or their time limit. Raises PlanError."""
    if (number := whole_number(iterations)) is None:
        raise PlanError(f"iterations={iterations!r}: write a whole number, 1 or more")
    if stages is not None:
        raise PlanError("the stages set how many requests are due: give either stages= or iterations=")
    if _is_max(rate):
        return ITERATIONS_DURATION if duration is None else duration
    if duration is not None:
        raise PlanError("iterations= and the rate set the duration: give either iterations= or duration=")
    if arrivals == "poisson":
        raise PlanError("iterations= needs arrivals='constant': with 'poisson', the number of arrivals is random")
    exact = _rate(DEFAULT_RATE if rate is None else rate)
    if not exact:
        raise PlanError("iterations= needs a rate above 0")
    seconds = float(number / exact)
    # A rounding error would add or drop one.
    while math.ceil(exact * exactly(Duration(seconds))) > number:
        seconds = math.nextafter(seconds, 0.0)
    while math.ceil(exact * exactly(Duration(seconds))) < number:
        seconds = math.nextafter(seconds, math.inf)
    return Duration(seconds)


def _share(count: int, part: int, parts: int) -> int:
    return count // parts + (part < count % parts)


def _stages(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    # The arguments of a mark are read twice, so an iterator would be empty.
    found = tuple(stages) if isinstance(stages, Sequence) else (stages,)
    if not found or not all(isinstance(stage, Stage) for stage in found):
        raise PlanError("stages takes a list of hold(rate, duration) and ramp(start, end, duration)")
    if len({stage.start is None for stage in found}) > 1:
        raise PlanError("stages with a set rate and stages with rate='max' cannot be combined")
    return found


def _connections(value: object) -> int:
    if (number := whole_number(value)) is None:
        raise PlanError(f"connections={value!r}: write a whole number, 1 or more")
    if number > MOST_CONNECTIONS:
        raise PlanError(f"connections={value!r}: write {MOST_CONNECTIONS:,} or less, as many as there are ports")
    return number


def _is_max(rate: object) -> bool:
    return isinstance(rate, str) and rate == "max"


def _rate(value: float | str) -> Fraction:
    if _is_max(value):
        raise PlanError("ramp() needs two rates: only hold() takes 'max'")
    try:
        rate = Rate.exactly(value)
    except PlanError as error:
        raise PlanError(f"rate: {error}") from None
    if not 0 <= rate <= HIGHEST_RATE:
        raise PlanError(f"rate={value!r}: write 0 to {HIGHEST_RATE:,} per second, or 'max'")
    return rate


def _positive(name: str, value: float | str) -> Duration:
    duration = _duration(name, value)
    if not 0 < duration < math.inf:
        raise PlanError(f"{name}={value!r}: must be a finite time > 0")
    return _bounded(name, value, duration)


def _not_negative(name: str, value: float | str) -> Duration:
    duration = _duration(name, value)
    if not 0 <= duration < math.inf:
        raise PlanError(f"{name}={value!r}: must be a finite time >= 0")
    return _bounded(name, value, duration)


def _bounded(name: str, value: float | str, duration: Duration) -> Duration:
    if duration > LONGEST:
        raise PlanError(f"{name}={value!r}: must be {LONGEST} or less")
    return duration


def _duration(name: str, value: float | str) -> Duration:
    try:
        return Duration(value)
    except PlanError as error:
        raise PlanError(f"{name}: {error}") from None
