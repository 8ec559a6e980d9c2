"""fortio, as a program that logs each call."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.command import VISIBLE_SETTING, Command
from pytest_loadgen.generators.fortio_log import Messages, Schedule, on_one_clock, read_calls
from pytest_loadgen.generators.fortio_options import Shape, duration, headers
from pytest_loadgen.generators.fortio_result import more_connections, read
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.generators.timeline import Timeline
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration

_LOG, _BODY = "access.log", "body"
_PING = "/fgrpc.PingServer/Ping"
# The first version that can call the methods of any gRPC service.
_GRPC_METHODS = (1, 71)
# Go's client sends requests with these methods again.
_REPEATED = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_MAX_LINE = 1 << 16
# Options that args may not contain, and what to use instead.
_TIMEOUT = "timeout="
_RESERVED = {
    "qps": "rate=", "t": "duration=", "c": "connections=", "n": "rate= and duration=", "X": "method=",
    "timeout": _TIMEOUT, "udp-timeout": _TIMEOUT, "json": "", "access-log-file": "", "access-log-format": "",
    "uniform": "", "r": "", "nocatchup": "",
}  # fmt: skip


class Fortio(Command):
    """fortio, with latency from when each call was due, to the microsecond.

    By itself fortio measures from when a call was sent, in buckets of a millisecond. Its access log
    has the start and duration of each call, and its schedule is known: of the n calls of thread t of
    T, call i is due at ``t / rate + (i + i / (n - 1)) * T / rate``. Its connections are opened before
    the first call, by a request on each that does not count. The client is Go's own (``-stdclient``):
    fortio's accepts a response that was cut short. Its timers have a resolution of a millisecond.
    That client sends a request again whose connection was closed without a response, as if it had been
    idle. So connections that it opened for no other reason may stand for failures: they are `unseen`.
    A ``tcp://`` or ``udp://`` service has to echo the bytes that it receives.
    """

    name = "fortio"
    features = frozenset({"http", "https", "grpc", "grpcs", "tcp", "udp", "rate", "max", "http2", "body", "cert"})
    added_latency = Duration("1ms")
    install_hint: ClassVar = "https://fortio.org"
    version_args: ClassVar = ("version",)
    keeps_messages = True
    settings: Mapping[str, type] = {**Command.settings, **VISIBLE_SETTING}
    reserved_args: ClassVar = {f"-{name}": instead for name, instead in _RESERVED.items()}

    def argv(self, plan: Plan) -> list[str]:
        """Return fortio's arguments. Raises PlanError."""
        target, shape = plan.target, Shape.of(plan)
        if b"{uuid}" in target.body + target.path:
            raise PlanError("fortio would replace {uuid} in the URL or body by a new UUID for each request")
        self.check_visible(target)
        timeout = "-udp-timeout" if target.scheme == "udp" else "-timeout"
        return [
            "load",
            *("-json", "-", "-labels", "pytest-loadgen", "-log-errors=false", "-allow-initial-errors"),
            *("-access-log-file", _LOG, "-access-log-format", "json"),
            *(timeout, duration(plan.timeout), "-t", duration(plan.duration)),
            *("-c", str(shape.threads), "-qps", f"{shape.rate:.9g}", f"-uniform={str(not plan.closed).lower()}"),
            *(self._grpc_flags(target) if target.scheme.startswith("grpc") else _http_flags(target)),
            *(("-payload-file", _BODY) if target.body else ()),
            *_tls_flags(target),
            *self.args,
            _address(target),
        ]

    def option(self, arg: str) -> str:
        """Return the flag that an argument sets; two dashes mean the same as one."""
        return super().option(f"-{arg.lstrip('-')}" if arg.startswith("-") else arg)

    def files(self, plan: Plan) -> Mapping[str, bytes]:
        """Return the file of the body."""
        return {_BODY: plan.target.body} if plan.target.body else {}

    def parse(self, output: CommandOutput, plan: Plan) -> list[Interval]:
        """Read the access log, and the result for the whole load."""
        log = output.folder / _LOG
        logged = read_calls(log) if log.exists() else []
        messages = _messages(output)
        if output.hung:
            # It has no result. It called as planned, unless it still waits for the first responses.
            shape = Shape.of(plan)
            result: dict[str, Any] = {}
            schedule = Schedule.as_planned(logged, shape.rate, shape.threads, shape.calls // shape.threads)
        else:
            result = read(output.stdout)
            schedule = Schedule.of(result, plan, messages.calls)
        if not output.interrupted and (made := schedule.calls * schedule.threads) != (wanted := Shape.of(plan).calls):
            raise GeneratorError(
                f"planned {made:,} calls instead of {wanted:,}: check that its args do not change the load"
            )
        timeline = Timeline(plan)
        kinds = [messages.kind(call, plan) for call in logged]
        calls = on_one_clock(logged, schedule, output.seconds)
        for kind, (call, begin, due, free) in zip(kinds, schedule.placed(calls), strict=True):
            end = begin + call.latency
            if kind:
                timeline.add_failure(end, kind)
            else:
                timeline.add_response(end, call.status, end - due, call.latency)
            if not plan.closed:
                timeline.add_lag(due, begin - max(due, free))
        for due in schedule.missing(calls, float(plan.duration)):
            timeline.add_failure(due + plan.timeout, "timeout", sent=False)
        if output.hung and plan.closed:
            timeline.add_failure(float(plan.duration), "timeout", schedule.threads)
        unseen = more_connections(result, failures_of=messages.of_thread) if _sends_again(plan.target) else 0
        return timeline.intervals(output.cpu / output.seconds, min(unseen, len(calls)))

    def waits_forever(self, plan: Plan) -> bool:
        """Return whether it has no timeout: fortio waits for gRPC's responses as long as it takes."""
        return plan.target.scheme.startswith("grpc")

    def _grpc_flags(self, target: Target) -> Iterator[str]:
        """Return the flags of a health check, of fortio's own ping, or of a call to a method."""
        yield "-grpc"
        path = target.path.decode()
        if path == _PING:
            yield "-ping"
        elif path.strip("/").count("/"):
            if _numbers(self.version()) < _GRPC_METHODS:
                needed = ".".join(map(str, _GRPC_METHODS))
                raise PlanError(f"fortio {self.version()} cannot call gRPC methods: that needs {needed} or newer")
            yield from ("-grpc-method", path.strip("/"))
        elif path.strip("/"):
            yield from ("-healthservice", path.strip("/"))
        yield from _header_flags(target)
        if target.tls and isinstance(target.address, tuple) and b"host" not in {k.lower() for k, _ in target.headers}:
            # It connects to the address that was checked; this is the name that TLS verifies.
            host = target.host.strip("[]")
            yield from ("-H", f"host: [{host}]:{target.port}" if ":" in host else f"host: {host}:{target.port}")


def _messages(output: CommandOutput) -> Messages:
    if output.messages is None:
        return Messages(output.stderr.splitlines())
    with output.messages.open(encoding="utf-8", errors="replace") as lines:
        return Messages(iter(lambda: lines.readline(_MAX_LINE), ""))


def _sends_again(target: Target) -> bool:
    """Whether Go's client sends a request again if its connection is closed without a response, and says nothing."""
    names = {name.lower() for name, _ in target.headers}
    return target.scheme.startswith("http") and (
        target.method in _REPEATED or not names.isdisjoint({b"idempotency-key", b"x-idempotency-key"})
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))[:2]


def _http_flags(target: Target) -> Iterator[str]:
    if not target.scheme.startswith("http"):
        return
    yield "-stdclient"
    if target.http2:
        yield "-h2"
    yield from ("-X", target.method)
    yield from _header_flags(target)
    if isinstance(target.address, tuple):
        # The address that was checked; by itself fortio would look up IPv4 addresses only.
        yield from ("-resolve", target.address[0])


def _header_flags(target: Target) -> Iterator[str]:
    for header in headers(target):
        yield from ("-H", header)


def _tls_flags(target: Target) -> Iterator[str]:
    if not target.tls:
        return
    if target.verify is False:
        yield "-k"
    elif isinstance(target.verify, str):
        if not Path(target.verify).is_file():
            raise PlanError(f"verify={target.verify!r}: fortio needs a file of CA certificates")
        yield from ("-cacert", str(Path(target.verify).absolute()))
    if target.cert:
        certificate, key, *password = (*target.cert, target.cert[0]) if len(target.cert) == 1 else target.cert
        if password:
            raise PlanError("cert: fortio does not support a key with a password")
        yield from ("-cert", str(Path(certificate).absolute()), "-key", str(Path(key).absolute()))


def _address(target: Target) -> str:
    host, port = target.host.strip("[]"), target.port
    if isinstance(target.address, tuple) and target.scheme in {"tcp", "udp", "grpc", "grpcs"}:
        host = target.address[0]
    host_and_port = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if target.scheme == "grpc":
        return host_and_port
    if target.scheme in {"tcp", "udp"}:
        return f"{target.scheme}://{host_and_port}"
    if target.scheme == "grpcs":
        return f"https://{host_and_port}"
    return f"{target.scheme}://{host_and_port}{target.path.decode()}"
