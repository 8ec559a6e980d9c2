"""fortio, as a program that writes down each call."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.outcomes import is_answer
from pytest_loadgen.generators.command import Command
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.generators.timeline import Timeline
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration

_LOG, _BODY = "access.log", "body"
_FEWEST = 2
# As large a part of the connections is used, for no more than this part of the requests in addition.
_LEAST = 0.5
_EXCESS = 0.02
# The last call of a thread may wait so long before the end for a busy machine, in seconds.
_GRACE = 0.05
_PING = "/fgrpc.PingServer/Ping"
# Since which version the method of any gRPC service can be called.
_METHODS = (1, 71)
# What fortio says of a failure, and how it is called here.
_SAID = {
    "deadline exceeded": "timeout",
    "timeout": "timeout",
    "connection refused": "refused",
    "connection reset": "reset",
    "no such host": "dns",
    "too many open files": "filehandles",
    "cannot assign requested address": "ports",
    "unreachable": "unreachable",
    "no route": "unreachable",
    "malformed": "protocol",
    "tls": "tls",
    "certificate": "tls",
    "eof": "closed",
    "broken pipe": "closed",
}
_RATE, _DURATION, _TIMEOUT = "rate=", "duration=", "timeout="
# What is not to be configured, and what says it instead.
_OWN = {"qps": _RATE, "t": _DURATION, "c": "connections=", "n": "rate= and duration=", "X": "method="} | {
    "timeout": _TIMEOUT, "udp-timeout": _TIMEOUT, "json": "", "access-log-file": "", "access-log-format": "",
    "uniform": "", "r": "", "nocatchup": "",
}  # fmt: skip
# How fortio calls a failure; and an answer that was cut short.
_FAILED, _CUT = frozenset({"-1", "ERROR"}), "204"


class Fortio(Command):
    """fortio, with latency from when each call was due, to the microsecond.

    By itself fortio counts from when a call was sent, in buckets of a millisecond. Its access log
    has the start and length of each call, and its schedule is known: of the n calls of thread t of
    T, call i is due at ``t / rate + (i + i / (n - 1)) * T / rate``. Its connections are open before
    the first call, by a request on each that is in no figure. The client is Go's own
    (``-stdclient``): fortio's takes an answer that was cut short for a whole one. Its timers wake by
    the millisecond. A ``tcp://`` or ``udp://`` service has to answer with the bytes that it was sent.
    """

    name = "fortio"
    features = frozenset({"http", "https", "grpc", "grpcs", "tcp", "udp", "rate", "max", "http2", "body", "cert"})
    added_latency = Duration("1ms")
    install_hint: ClassVar = "https://fortio.org"
    version_args: ClassVar = ("version",)
    reserved_args: ClassVar = {f"-{name}": instead for name, instead in _OWN.items()}

    def argv(self, plan: Plan) -> list[str]:
        """Give fortio's arguments. Raises PlanError."""
        target, shape = plan.target, Shape.of(plan)
        if b"{uuid}" in target.body + target.path:
            raise PlanError(
                "fortio writes a new UUID in place of each {uuid}: that is another request than was asked for"
            )
        timeout = "-udp-timeout" if target.scheme == "udp" else "-timeout"
        return [
            "load",
            *("-json", "-", "-labels", "pytest-loadgen", "-log-errors=false", "-allow-initial-errors"),
            *("-access-log-file", _LOG, "-access-log-format", "json"),
            *(timeout, go_duration(plan.timeout), "-t", go_duration(plan.duration)),
            *("-c", str(shape.threads), "-qps", f"{shape.rate:.9g}", f"-uniform={str(not plan.closed).lower()}"),
            *(self._grpc(target) if target.scheme.startswith("grpc") else _http(target)),
            *(("-payload-file", _BODY) if target.body else ()),
            *_tls(target),
            *self.args,
            _address(target),
        ]

    def option(self, arg: str) -> str:
        """Give the flag that an argument is; one with two dashes is the same."""
        return super().option(f"-{arg.lstrip('-')}" if arg.startswith("-") else arg)

    def files(self, plan: Plan) -> Mapping[str, bytes]:
        """Give the body, which is a file's."""
        return {_BODY: plan.target.body} if plan.target.body else {}

    def parse(self, output: CommandOutput, plan: Plan) -> list[Interval]:
        """Read the calls, and what fortio says of them all."""
        result = read(output.stdout)
        log = output.folder / _LOG
        calls = [_Call.read(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
        failures = _Failures(output.stderr)
        schedule = _Schedule.of(result, plan, output.stderr)
        if not output.interrupted and (made := schedule.calls * schedule.threads) != (wanted := Shape.of(plan).calls):
            raise GeneratorError(f"was to make {wanted:,} calls, and says {made:,}: do its args change the load?")
        timeline = Timeline(plan)
        for call, begin, due, free in schedule.placed(calls):
            end = begin + call.latency
            if kind := failures.kind(call, plan):
                timeline.add_failure(end, kind)
            else:
                timeline.add_response(end, call.details, end - due, call.latency)
            if not plan.closed:
                timeline.add_lag(due, begin - max(due, free))
        for due in schedule.missing(calls, float(plan.duration)):
            timeline.add_failure(due + plan.timeout, "timeout", sent=False)
        return timeline.intervals(output.cpu / output.seconds)

    def _grpc(self, target: Target) -> Iterator[str]:
        """Give the flags of a health check, of fortio's own ping, or of the call of a method."""
        yield "-grpc"
        path = target.path.decode()
        if path == _PING:
            yield "-ping"
        elif path.strip("/").count("/"):
            if _numbers(self.version()) < _METHODS:
                raise PlanError(
                    f"fortio {self.version()} can call no method over gRPC: {'.'.join(map(str, _METHODS))} can"
                )
            yield from ("-grpc-method", path.strip("/"))
        elif path.strip("/"):
            yield from ("-healthservice", path.strip("/"))
        yield from _headers(target)


def go_duration(seconds: float) -> str:
    """Write a time as Go reads it."""
    return f"{seconds:.6f}s"


class Shape(NamedTuple):
    """How many threads fortio is to use, each with a connection, and which rate it is given."""

    threads: int
    rate: float
    """Requests per second; 0 means as fast as it can."""
    calls: int
    """How many it makes in all; 0 in the closed model."""

    @classmethod
    def of(cls, plan: Plan) -> Shape:
        """Choose as many threads as there may be connections, or half as many at least, for few requests too many.

        fortio gives each thread as many calls, and drops what is left over. So there is a call for each
        thread instead, where it does not come out. Raises PlanError where there are too few for fortio.
        """
        if plan.closed:
            return cls(plan.connections, 0.0, 0)
        planned = round(float(plan.rate) * float(plan.duration))
        if planned < _FEWEST:
            raise PlanError(f"fortio sends {_FEWEST} requests at the least, and this load has {planned}")
        most = min(plan.connections, planned // _FEWEST)
        excess = {threads: -planned % threads for threads in range(math.ceil(_LEAST * most), most + 1)}
        threads = min(excess, key=lambda threads: (max(excess[threads], _EXCESS * planned), -threads))
        calls = planned + excess[threads]
        # A half more, as fortio rounds down.
        return cls(threads, (calls + 0.5) / float(plan.duration), calls)


def read(text: str) -> dict[str, Any]:
    """Read fortio's result. Raises GeneratorError where it says that there is none, ValueError where it is none."""
    result = json.loads(text, parse_constant=_no_number)
    if not isinstance(result, dict) or "DurationHistogram" not in result:
        raise ValueError(
            result["message"] if isinstance(result, dict) and "message" in result else "no DurationHistogram"
        )
    if result.get("error"):
        raise GeneratorError(f"could not run: {result.get('message')} {result.get('exception', '')}".strip())
    return result


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


class _Call(NamedTuple):
    """A line of the access log."""

    thread: int
    number: int
    began: int
    """In ns since the epoch."""
    latency: float
    details: str

    @classmethod
    def read(cls, line: str) -> _Call:
        data = json.loads(line)
        call = cls(data["thread"], data["iter"], data["timestamp"], data["latency"], str(data["details"]))
        if any(type(count) is not int or count < 0 for count in call[:3]) or not 0 <= call.latency < math.inf:
            raise GeneratorError(f"wrote down a call that cannot be: {line}")
        return call


@dataclass(frozen=True)
class _Schedule:
    """When each call was due, in seconds from the start; in the closed model, when it was sent."""

    start: int
    """In ns since the epoch."""
    rate: float
    threads: int
    calls: int
    """How many there are to each thread; 0 in the closed model."""

    @classmethod
    def of(cls, result: dict[str, Any], plan: Plan, said: str) -> _Schedule:
        start = round(datetime.fromisoformat(result["StartTime"]).timestamp() * 1e6) * 1000
        each = re.search(r": (\d+) calls each \(total", said)
        if not plan.closed and not each:
            raise ValueError("it does not say how many calls there are to be")
        calls = int(each[1]) if each and not plan.closed else 0
        rate = math.inf if plan.closed else float(result["RequestedQPS"])
        return cls(start, rate, result["NumThreads"], calls)

    def placed(self, calls: Iterable[_Call]) -> Iterator[tuple[_Call, float, float, float]]:
        """Give each call with when it began, when it was due, and when its thread was free for it."""
        free: defaultdict[int, float] = defaultdict(float)
        for call in calls:
            begin = (call.began - self.start) / 1e9
            # The clock that dates calls may be set while they are under way; none begins before it is due.
            due = min(begin, self.due(call.thread, call.number)) if self.calls else begin
            yield call, begin, due, free[call.thread]
            free[call.thread] = begin + call.latency

    def due(self, thread: int, number: int) -> float:
        stretched = number + number / max(1, self.calls - 1)
        return (thread + stretched * self.threads) / self.rate

    def missing(self, calls: Iterable[_Call], until: float) -> Iterator[float]:
        """Tell when those calls were due until a moment that were never made.

        A thread that is busy when its last one is due makes it no more: that one is no failure.
        """
        made: Counter[int] = Counter()
        free: defaultdict[int, float] = defaultdict(float)
        for call in calls:
            made[call.thread] += 1
            free[call.thread] = max(free[call.thread], (call.began - self.start) / 1e9 + call.latency)
        for thread in range(self.threads):
            schedule = (self.due(thread, number) for number in range(made[thread], self.calls))
            end = until + thread / self.rate  # each has its own time
            missed = list(takewhile(end.__ge__, schedule))
            busy = missed and (missed[-1] < free[thread] or missed[-1] > end - _GRACE)
            yield from missed[:-1] if busy else missed


class _Failures:
    """Why calls failed: the access log does not tell, but fortio says so of each."""

    def __init__(self, said: str) -> None:
        self._times: defaultdict[int, list[float]] = defaultdict(list)
        self._kinds: defaultdict[int, list[str]] = defaultdict(list)
        for line in said.splitlines():
            if '"err"' in line and (entry := _entry(line)) and "thread" in entry:
                self._times[entry["thread"]].append(float(entry["ts"]))
                self._kinds[entry["thread"]].append(_kind(f"{entry.get('err')} {entry.get('msg')}"))
        self._usual = Counter(kind for kinds in self._kinds.values() for kind in kinds).most_common(1)

    def kind(self, call: _Call, plan: Plan) -> str:
        """Tell how a call failed, or nothing where it did not."""
        if call.details in _FAILED:
            usual = self._usual[0][0] if self._usual else "closed"
            return self._at(call) or ("timeout" if call.latency >= 0.99 * plan.timeout else usual)
        if call.details == _CUT:
            return self._at(call)
        return "" if is_answer(call.details) else _kind(call.details)

    def _at(self, call: _Call) -> str:
        """Find what was said during a call."""
        times = self._times[call.thread]
        began = call.began / 1e9
        at = bisect_left(times, began - 1e-3)
        return self._kinds[call.thread][at] if at < len(times) and times[at] <= began + call.latency + 5e-3 else ""


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _kind(text: str) -> str:
    return next((kind for words, kind in _SAID.items() if words in text.lower()), "protocol")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))[:2]


def _http(target: Target) -> Iterator[str]:
    if not target.scheme.startswith("http"):
        return
    yield "-stdclient"
    if target.http2:
        yield "-h2"
    yield from ("-X", target.method)
    yield from _headers(target)
    if isinstance(target.address, tuple):
        # The address that was found to be allowed; by itself fortio would take IPv4 only.
        yield from ("-resolve", target.address[0])


def _headers(target: Target) -> Iterator[str]:
    for name, value in target.headers:
        if name.lower() != b"content-length":  # it counts for itself
            yield from ("-H", f"{name.decode('latin-1')}: {value.decode('latin-1')}")


def _tls(target: Target) -> Iterator[str]:
    if not target.tls:
        return
    if target.verify is False:
        yield "-k"
    elif isinstance(target.verify, str):
        if not Path(target.verify).is_file():
            raise PlanError(f"verify={target.verify!r}: fortio takes a file of CA certificates")
        yield from ("-cacert", str(Path(target.verify).absolute()))
    if target.cert:
        certificate, key, *password = (*target.cert, target.cert[0]) if len(target.cert) == 1 else target.cert
        if password:
            raise PlanError("cert: fortio takes no key with a password")
        yield from ("-cert", str(Path(certificate).absolute()), "-key", str(Path(key).absolute()))


def _address(target: Target) -> str:
    host, port = target.host.strip("[]"), target.port
    if isinstance(target.address, tuple) and target.scheme in {"tcp", "udp", "grpc"}:
        host = target.address[0]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if target.scheme == "grpc":
        return place
    if target.scheme in {"tcp", "udp"}:
        return f"{target.scheme}://{place}"
    if target.scheme == "grpcs":
        return f"https://{place}"
    return f"{target.scheme}://{place}{target.path.decode()}"
