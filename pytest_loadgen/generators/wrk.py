"""wrk, which goes as fast as it can, and wrk2, which keeps a rate."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.command import Command, asked
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration

_HOOK = "wrk.lua"
_MARK = "pytest-loadgen: "
_BANNER = re.compile(r"^ *(\d+) threads and (\d+) connections$", re.MULTILINE)
_SPECTRUM = re.compile(r"^ *(\d+\.\d{3}) +[01]\.\d{6} +(\d+) ", re.MULTILINE)
_UNCORRECTED = "Uncorrected Latency"
# wrk2 opens the connections of a thread so far apart.
_STAGGER = 0.005
# What was due just before the end may wait for wrk2 to wake up, even on a busy machine.
_GRACE = 0.05
# So long before the end it is looked what is under way.
_NEARLY = 0.01
# No more than this part of a run may go by until all its connections are open.
_OPENING = 0.1
# One thread of wrk2 keeps so high a rate.
_PER_THREAD = 20_000
_FULL = 0.95
# It ends with its duration, and not before so large a part of it.
_WHOLE = 0.9
# So large a part of what was due may be sent again.
_AGAIN = 0.2
# A count that no machine comes to in a load.
_ABSURD = 10**15
_OTHER_FILES = 30


# What is not to be configured, and what says it instead; -R, -U and others are wrk2's only.
_HEADERS = "headers="
_OWN = {
    "--threads": "workers=", "--connections": "connections=", "--duration": "duration=", "--script": "",
    "--rate": "rate=", "--header": _HEADERS, "--latency": "", "--u_latency": "", "--batch_latency": "",
    "-t": "workers=", "-c": "connections=", "-d": "duration=", "-s": "", "-R": "rate=", "-H": _HEADERS,
    "-U": "", "-L": "", "-B": "",
}  # fmt: skip


class _Hooked(Command):
    """What wrk and wrk2 have in common: a hook in Lua tells them what to send, and us what came of it.

    Headers and body are in a file, and the path, too: a process list shows arguments to everybody.
    Neither verifies certificates: the one look at the service before each load does it for them.
    """

    version_args = ("-v",)
    kind: ClassVar[str]
    """Which of the two it is."""
    cannot: ClassVar[str]
    """What the other one is no good for."""
    reserved_args: ClassVar = _OWN

    def option(self, arg: str) -> str:
        """Give the option that an argument is: of one letter, with its value behind it; or the beginning of one."""
        if not arg.startswith("--"):
            return arg[:2]
        begin = super().option(arg)
        return next((option for option in self.reserved_args if len(begin) > 2 and option.startswith(begin)), begin)

    def path(self) -> str:
        """Find the program, whatever it is called. Raises GeneratorError where it is the other one."""
        return self._checked(super().path())

    def _checked(self, path: str) -> str:
        found = _kind(path)
        if found == self.kind:
            return path
        what = f"is {found}, which {self.cannot}" if found else f"is not {self.kind}"
        raise GeneratorError(
            f"{self.name}: {path} {what}. Install {self.kind} ({self.install_hint}), or use --load-generator=embedded."
        )

    def files(self, plan: Plan) -> Mapping[str, bytes]:
        """Give the hook, and what it reads."""
        target = plan.target
        address = target.address[0] if isinstance(target.address, tuple) else target.host.strip("[]")
        hook = resources.files(__package__).joinpath(_HOOK).read_bytes()
        return {_HOOK: hook, "request": _request(target), "address": address.encode()}

    def _arguments(self, plan: Plan, *special: str, threads: int, connections: int) -> Sequence[str]:
        """Give the arguments for what both can do, and refuse what neither can."""
        seconds, target = plan.duration, plan.target
        if not seconds.is_integer():
            raise PlanError(
                f"{self.name} runs for whole seconds only, and not for {seconds}: use such durations and rounds"
            )
        if target.method == "HEAD":
            raise PlanError(f"{self.name} cannot do HEAD: it waits for the bodies that answers to HEAD do not have")
        handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if connections + _OTHER_FILES > handles:
            raise PlanError(
                f"{self.name} needs a file handle for each of {connections:,} connections, and there are {handles:,}: "
                "raise the limit (ulimit -n), or use fewer connections"
            )
        host = target.host.strip("[]")
        url = f"{target.scheme}://{f'[{host}]' if ':' in host else host}:{target.port}"
        common = ["-t", str(threads), "-c", str(connections), "-d", f"{seconds:.0f}s", "-s", _HOOK]
        return [*common, *special, *self.args, url]

    def _told(self, output: CommandOutput) -> _Told:
        """Read what the hook told. Raises GeneratorError."""
        printed, mark, line = output.stdout.rpartition(_MARK)
        banner = _BANNER.search(printed)
        if not mark or not banner:
            raise GeneratorError(f"its hook told nothing: {output.stderr.strip() or 'was it loaded?'}")
        told = _Told.of(line, threads=int(banner[1]), connections=int(banner[2]))
        if interim := [status for status in told.statuses if status < "200"]:
            raise GeneratorError(
                f"it takes each interim answer ({interim[0]}) for an answer, and this service gives such. "
                "Use another generator (--load-generator=embedded)."
            )
        if told.statuses.total() != told.requests:
            raise GeneratorError(
                f"it told the status of {told.statuses.total():,} of {told.requests:,} answers: "
                "it does not where an answer has no headers"
            )
        return told


class Wrk(_Hooked):
    """wrk: each connection sends again once it is answered.

    After a run it makes up latencies of requests that were not sent while it waited for slow
    answers. What it makes up is known exactly, and taken out again: each latency is of a request
    that was sent. A request that is lost is sent again, and is a failure each time that it is lost.
    What is open at the end is a time-out where no connection got an answer for so long. Not seen
    is a connection that waits for ever for its answer while others get theirs.
    """

    name = "wrk"
    features = frozenset({"http", "https", "max", "body"})
    reserved_args: ClassVar = _OWN | {"--timeout": "timeout=", "-T": "timeout="}
    program = kind = "wrk"
    install_hint = "https://github.com/wg/wrk"
    cannot = "only sends at a set rate"

    def argv(self, plan: Plan) -> Sequence[str]:
        """Give the arguments. Raises PlanError for what is not whole seconds."""
        # It has memory for each microsecond until the time-out, and no use for more than the run.
        timeout = math.ceil(min(plan.timeout, plan.duration + 1))
        return self._arguments(plan, "--timeout", f"{timeout}s", threads=1, connections=plan.connections)

    def overrun(self, plan: Plan) -> float:
        """Tell how long it goes on after its duration: its threads look ten times a second."""
        return 0.1

    def parse(self, output: CommandOutput, plan: Plan) -> Iterable[Interval]:
        """Read what became of it, as one interval."""
        told = self._told(output)
        if told.closed_unawares:
            raise GeneratorError(
                "this service closes each connection after an answer and does not say so (Connection: close): what it "
                "did not read for that cannot be told from failures. Use another generator (--load-generator=embedded)."
            )
        latencies, errors = _undone(told), told.errors
        if latencies.total() + errors["timeout"] != told.requests:
            raise GeneratorError(f"its {told.requests:,} answers do not have as many latencies")
        # What could not be connected was not asked for; and what is open at the end is no failure.
        lost = min(told.sent - told.requests, errors["read"] + errors["write"]) + errors["connect"]
        lost = lost if told.requests else max(lost, told.connections)
        hung = min(max(0, told.sent - told.requests - lost), told.connections) if told.silent > plan.timeout else 0
        answered = _within(latencies, plan.timeout)
        latency = _fastest(latencies, answered)
        outcomes = _shared(told.statuses, answered) + _failures(lost, told)
        yield Interval(
            start=0.0,
            seconds=told.seconds,
            latency=latency,
            service_time=latency,
            outcomes=outcomes + Counter(timeout=told.requests - answered + hung),
            cpu=told.cpu,
            received=told.received,
        )


class Wrk2(_Hooked):
    """wrk2: keeps a rate, and counts latency from when each request was due.

    Ten seconds after its start it forgets all latencies until then; so it runs for 8 s at the most,
    and longer loads are done in rounds (see `Rounds`). Its rates and durations are whole numbers.
    It wakes up each millisecond, which is in the latencies. Its connections start 5 ms apart, and
    each keeps time for itself: below 200/s requests come in bursts, of one from each connection. So
    there are no more connections than requests a second, and an answer may take a second before
    another request waits for it.

    What was due by its schedule and has no answer at the end was in flight, if it is as few as may
    be, and does not count; nor does the time it was due in. If it is more, all of it is failures,
    unless wrk2 did not send it though nothing kept it from that: then it was late. A request that
    is lost is sent again: it is a failure all the same, beside what comes of it then. Where so many
    are lost that this is another load than was asked for, there is no result. Where a service closes
    connections without saying so (``Connection: close``), wrk2 waits for answers in vain.
    """

    name = "wrk2"
    features = frozenset({"http", "https", "rate", "body"})
    added_latency = Duration("2ms")
    max_duration = 8.0
    program = kind = "wrk2"
    install_hint = "https://github.com/giltene/wrk2"
    cannot = "cannot keep a rate"

    def path(self) -> str:
        """Find the program; it may be called wrk, as its own makefile has it. Raises GeneratorError."""
        if self.program == "wrk2" and not shutil.which("wrk2") and (path := shutil.which("wrk")):
            return self._checked(path)
        return super().path()

    def argv(self, plan: Plan) -> Sequence[str]:
        """Give the arguments. Raises PlanError for what is no whole number, and for more than 8 s."""
        rate = plan.stages[0].start
        assert rate is not None
        if rate.denominator != 1:
            raise PlanError(
                f"{self.name} keeps whole rates only, and not {plan.rate}: ask for whole requests per second"
            )
        if plan.duration > self.max_duration:
            raise PlanError(
                f"{self.name} runs for {Duration(self.max_duration)} at a time, and not for {plan.duration}"
            )
        threads = min(2 if rate > _PER_THREAD else 1, os.cpu_count() or 1, plan.connections)
        # Each sends once a second at least, or wrk2 would take it for one that hangs.
        most = min(plan.connections, int(rate), int(plan.duration * _OPENING / _STAGGER) * threads)
        connections = max(threads, most - most % threads)
        each = connections // threads
        arguments = self._arguments(plan, "-R", str(rate), "-U", threads=threads, connections=connections)
        # For the hook: how far apart the requests of a connection are, when all are open, when it is nearly over.
        moments = float(connections / rate), 2 * each * _STAGGER + _GRACE, plan.duration - _NEARLY
        return [*arguments, str(each), *(f"{seconds * 1e6:.0f}" for seconds in moments)]

    def overrun(self, plan: Plan) -> float:
        """Tell how long it goes on after its duration: without an answer it looks every two seconds."""
        return 2.0

    def parse(self, output: CommandOutput, plan: Plan) -> Iterable[Interval]:
        """Read what became of it, as one interval."""
        told, rate = self._told(output), float(plan.rate)
        if told.seconds < _WHOLE * plan.duration:
            ran = Duration(told.seconds)
            raise GeneratorError(f"was to run for {plan.duration}, and says {ran}: do its args change the load?")
        rows = _spectrum(output.stdout, told)
        service_time = Histogram.from_spectrum(rows)
        missing, never_sent = _missing(told, rate, min(plan.duration, told.seconds), service_time.mean)
        # What was sent again, and answered then: a request more than was due.
        again = max(0, _lost(told) - missing) if told.requests else 0
        due = missing + never_sent + told.latencies.total()
        if again > _AGAIN * due:
            raise GeneratorError(
                f"it sent {again:,} requests again in a loop, as their connections were lost, beside {due:,} that "
                "were due: its figures are not of this load. Use another generator (--load-generator=embedded)."
            )
        failures, answered = _failures(missing + again, told), _within(told.latencies, plan.timeout)
        # Some of those that came too late took that long; the others waited, and should not have been sent.
        late = told.latencies.total() - answered
        waited = late - min(late, service_time.over(plan.timeout))
        latency = _fastest(told.latencies, answered)
        outcomes = _shared(told.statuses, answered) + failures + Counter(timeout=late)
        yield Interval(
            start=0.0,
            seconds=due / rate,
            latency=latency,
            # Which of them waited is not known: the fastest, so that nothing looks better for it.
            service_time=Histogram.from_spectrum((value, min(rank - waited, answered)) for value, rank in rows),
            outcomes=outcomes,
            # Without CPU left, it may itself be why an answer was late, and nothing tells how much.
            lag=latency if told.cpu >= _FULL else _lag(told, never_sent),
            cpu=told.cpu,
            received=told.received,
            never_sent=waited + max(0, failures["timeout"] - told.unanswered),
        )


@dataclass(frozen=True)
class _Told:
    """What the hook told of a run, and the program of its connections."""

    threads: int
    connections: int
    seconds: float
    requests: int
    """How many answers there were."""
    sent: int
    """How often a request was asked for, to be written."""
    under_way: int
    """How many of them were not answered shortly before the end."""
    silent: float
    """How long before the end the last answer came, in seconds."""
    received: int
    cpu: float
    """Share of a core for each thread."""
    errors: Mapping[str, int]
    """How often the program connected, read, wrote in vain; and, by each one's own idea, time-outs."""
    statuses: Counter[str]
    late: Counter[int]
    """How many requests wrk2 surely sent so late, in whole milliseconds."""
    latencies: Counter[int]
    """How many there are of each, in microseconds."""

    @property
    def unanswered(self) -> int:
        """How many requests were sent and not answered: lost, or open at the end."""
        # What could not be written was not sent, though it was asked for.
        return max(0, self.sent - self.errors["write"] - self.requests)

    @property
    def closed_unawares(self) -> bool:
        """Whether each answer was the last on its connection, and wrk found that when it went on reading."""
        closed = self.errors["read"]
        return self.connections < closed and self.requests - self.connections <= closed <= self.requests

    @classmethod
    def of(cls, line: str, threads: int, connections: int) -> _Told:
        """Read the line. Raises ValueError or LookupError where it is none."""
        said = json.loads(line)
        seconds = _count(said["microseconds"]) / 1e6
        if not seconds or not 0 <= said["cpu"] < math.inf:
            raise GeneratorError(f"its hook told that it ran for {seconds}s, and {said['cpu']}s of CPU")
        if odd := [status for status in said["statuses"] if not re.fullmatch("[0-9]{3}", status)]:
            raise GeneratorError(f"its hook told {odd[0]!r} for a status")
        return cls(
            threads=threads,
            connections=connections,
            seconds=seconds,
            requests=_count(said["requests"]),
            sent=_count(said["sent"]),
            under_way=_count(said["under_way"]),
            silent=_count(said.get("silent", 0)) / 1e6,
            received=_count(said["received"]),
            cpu=said["cpu"] / seconds / threads,
            errors={kind: _count(count) for kind, count in said["errors"].items()},
            statuses=Counter({status: _count(count) for status, count in said["statuses"].items()}),
            late=_counts(said["late"]),
            latencies=_counts(said["latencies"]),
        )


def _counts(rows: Iterable[tuple[object, object]]) -> Counter[int]:
    return Counter({_count(value): _count(count) for value, count in rows})


def _count(value: object) -> int:
    """Refuse what is no count. Raises GeneratorError."""
    if type(value) is not int or not 0 <= value < _ABSURD:
        raise GeneratorError(f"its hook told {value!r} for a count")
    return value


def _kind(path: str) -> str:
    """Tell which of the two a program is, by how it says it is used; or nothing."""
    usage = asked(path, "--help")
    if "--connections" not in usage:
        return ""
    return "wrk2" if "--rate" in usage else "wrk"


def _request(target: Target) -> bytes:
    """Write the request as it goes over the wire."""
    head = [target.method.encode() + b" " + target.path + b" HTTP/1.1"]
    head += [name + b": " + value for name, value in target.headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + target.body


# What wrk made up, and where wrk2's schedule is at the end.


def _undone(told: _Told) -> Counter[int]:
    """Take out what wrk's `stats_correct` put in. Raises GeneratorError where that does not come out.

    Where a connection made a request each `expected` microseconds, each latency n puts in others:
    n - expected, n - 2 expected, and so on, while they are above expected. So what a latency above
    expected has in common with the one that is longer by expected was put in.
    """
    each = told.requests // told.connections
    expected = round(told.seconds * 1e6) // each if each else 0
    original = Counter(told.latencies)
    for value, count in told.latencies.items():
        if expected and value > 2 * expected:
            original[value - expected] -= count
    if any(count < 0 for count in original.values()):
        raise GeneratorError("its latencies are not what it is known to make of those it measured")
    return original


def _missing(told: _Told, rate: float, seconds: float, service_time: float) -> tuple[int, int]:
    """Count what was due and has no answer: where the service is to blame, and where wrk2 did not send it.

    Neither counts where it is as little as may have been in flight: one on each connection, as far
    as it was due within the time that answers usually take, twice; and what was due just now.
    """
    due = _due(told, rate, seconds)
    missing = max(0, due - told.latencies.total())
    in_flight = min(told.connections, due - _due(told, rate, seconds - 2 * service_time - Wrk2.added_latency))
    # Where wrk2 saw a connection wait for two seconds, there is another reason.
    just_due = 0 if told.errors["timeout"] else due - _due(told, rate, seconds - _GRACE)
    if missing <= in_flight + just_due:
        return 0, 0
    # The service holds wrk2 up where more than usual is under way, or as good as all connections are in use.
    held_up = any(told.errors.values()) or told.under_way > min(in_flight, told.connections / 2)
    return (missing, 0) if held_up else (0, missing)


def _due(told: _Told, rate: float, seconds: float) -> int:
    """Count what was due until a moment by wrk2's schedule: each connection keeps time from its start."""
    each = told.connections // told.threads
    period = each * told.threads / rate
    running = (seconds - number * _STAGGER for number in range(each))
    return told.threads * sum(math.ceil(round(time / period, 9)) for time in running if time > 0)


def _lag(told: _Told, never_sent: int) -> Histogram:
    """Tell how late wrk2 sent its requests, at the least; what it did not send was due before the last moment."""
    sent = told.sent - told.errors["write"]
    late = told.late + Counter({0: max(0, sent - told.late.total()), round(_GRACE * 1000): never_sent})
    return Histogram.from_buckets((ms / 1000, ms / 1000, count) for ms, count in late.items())


def _lost(told: _Told) -> int:
    """Count the requests that wrk2 lost, and sent again.

    Not each error is one: while a service is away, each connection tries again all the time.
    """
    tried = told.errors["write"] + told.errors["connect"]
    return max(min(told.unanswered, told.errors["read"] + tried), min(tried, told.connections))


# What becomes of counts.


def _spectrum(printed: str, told: _Told) -> list[tuple[float, int]]:
    """Read how many service times in seconds are up to a value, from what wrk2 prints. Raises GeneratorError."""
    rows = _SPECTRUM.findall(printed.partition(_UNCORRECTED)[2])
    if not rows or int(rows[-1][1]) != told.latencies.total():
        raise GeneratorError("it does not have as many service times as latencies")
    return [(float(value) / 1000, int(count)) for value, count in rows]


def _within(latencies: Counter[int], seconds: float) -> int:
    return sum(count for value, count in latencies.items() if value <= seconds * 1e6)


def _fastest(latencies: Counter[int], count: int) -> Histogram:
    """Give so many of the latencies."""
    buckets = []
    for value, number in sorted(latencies.items()):
        taken = min(number, count)
        buckets.append((value / 1e6, value / 1e6, taken))
        count -= taken
    return Histogram.from_buckets(buckets)


def _shared(statuses: Counter[str], count: int) -> Counter[str]:
    """Share out a count in the proportion of statuses; no seldom one gets lost for it."""
    total = statuses.total() or 1
    shares = Counter({status: number * count // total for status, number in statuses.items()})
    for status, number in sorted(statuses.items(), key=lambda item: item[1]):
        if shares[status] < number and shares.total() < count:
            shares[status] += 1
    return +shares


def _failures(count: int, told: _Told) -> Counter[str]:
    """Name failures by what the program ran into, as far as it did; the others waited in vain."""
    errors = told.errors
    met = Counter(refused=errors["write"], failed=errors["read"])
    # Where there were answers, TLS itself is in order.
    met["refused" if told.requests else "tls"] += errors["connect"]
    failures: Counter[str] = Counter()
    for kind, number in met.most_common():
        failures[kind] = min(number, count - failures.total())
    failures["timeout"] = count - failures.total()
    return +failures
