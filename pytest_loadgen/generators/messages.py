"""Convert plans, intervals and descriptions to messages of loadgen.proto and back."""

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import FIGURES, NAMED_FIGURES, Interval, NamedFigures
from pytest_loadgen.figures.outcomes import FAILURES
from pytest_loadgen.figures.result import LatencyFrom
from pytest_loadgen.generators import loadgen_pb2 as pb
from pytest_loadgen.generators.base import LoadGenerator
from pytest_loadgen.redaction import redact
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.plan import FEATURES, HIGHEST_RATE, Plan, Stage
from pytest_loadgen.traffic.target import SCHEMES, Target
from pytest_loadgen.units import Duration
from pytest_loadgen.wording import printable

VERSION = 1
"""The version of the interface."""

_LATENCY_FROM: dict[LatencyFrom, pb.LatencyFrom] = {
    "scheduled": pb.LATENCY_FROM_SCHEDULED,
    "sent": pb.LATENCY_FROM_SENT,
    "corrected": pb.LATENCY_FROM_CORRECTED,
}
_SENT = [name for name, figure in FIGURES.items() if figure.of_generator]
_CA_FILE = "ca.pem"
# Longer numbers would take long to parse; no plan has any.
_RATE = re.compile(r"\d{1,100}(/0*[1-9]\d{0,99})?", re.ASCII)
# Limits that no load needs to exceed: a day in seconds, a time in the year 2286, stages, and connections to one port.
_DAY = 86_400.0
_MAX_START_AT = 1e10
_MAX_STAGES = 1000
_MAX_HEADERS = 10_000
_MAX_CONNECTIONS = 65_535
_MAX_REQUESTS = 10_000
_MAX_REQUEST_NAME = 1000
_MAX_WEIGHT = 1 << 31
# Names and outcomes of other programs are printed: only these are accepted.
_MAX_NAME = 100
_OUTCOME = re.compile(r"[1-9]\d\d|[1-5]xx|[A-Z][A-Z_]{0,31}", re.ASCII)
_MAX_OUTCOMES = 100
_MAX_REASON = 2000
_MIN_MAX_DURATION = 1.0
_MAX_RANGES = 10_000
# JSON's numbers are floats, exact up to here.
_MAX_COUNT = 1 << 53
_TOKEN = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


@dataclass(frozen=True)
class Description:
    """A generator, and the names of all generators on its server."""

    name: str
    version: str
    features: frozenset[str]
    latency_from: LatencyFrom
    added_latency: Duration
    streams_intervals: bool
    max_duration: float
    generators: tuple[str, ...]
    interface_version: int = VERSION

    @classmethod
    def of(cls, generator: LoadGenerator, names: Iterable[str]) -> Self:
        """Describe a generator of a server with these generators. Raises GeneratorError if it is not installed."""
        return cls(
            name=generator.name,
            version=generator.version(),
            features=frozenset(generator.features),
            latency_from=generator.latency_from,
            added_latency=generator.added_latency,
            streams_intervals=generator.streams_intervals,
            max_duration=generator.max_duration,
            generators=tuple(names),
        )

    def message(self) -> pb.Description:
        """Convert it to a message."""
        return pb.Description(
            interface_version=self.interface_version,
            name=self.name,
            version=self.version,
            features=sorted(self.features),
            latency_from=_LATENCY_FROM[self.latency_from],
            added_latency=self.added_latency,
            streams_intervals=self.streams_intervals,
            max_duration=None if math.isinf(self.max_duration) else self.max_duration,
            generators=self.generators,
        )

    @classmethod
    def read(cls, message: pb.Description) -> Self:
        """Convert a message. Raises ValueError if it is invalid."""
        latency_from = next(
            (latency_from for latency_from, number in _LATENCY_FROM.items() if number == message.latency_from), None
        )
        max_duration = message.max_duration if message.HasField("max_duration") else math.inf
        if latency_from is None or not 0 <= message.added_latency < math.inf or not max_duration >= _MIN_MAX_DURATION:
            raise ValueError("invalid description: bad latency_from, added_latency or max_duration")
        names = message.name, message.version, *message.generators
        if not all(name.isprintable() and len(name) <= _MAX_NAME for name in names):
            raise ValueError(
                f"invalid description: a name or version is not printable or longer than {_MAX_NAME} characters"
            )
        return cls(
            name=message.name,
            version=message.version,
            features=FEATURES.intersection(message.features),
            latency_from=latency_from,
            added_latency=Duration(message.added_latency),
            streams_intervals=message.streams_intervals,
            max_duration=max_duration,
            generators=tuple(message.generators),
            interface_version=message.interface_version,
        )


def write_plan(plan: Plan, generator: str) -> pb.Plan:
    """Convert a plan for a generator. Raises PlanError if its CA certificates cannot be read."""
    return pb.Plan(
        generator=generator,
        target=_write_target(plan.target),
        stages=[_write_stage(stage) for stage in plan.stages],
        connections=plan.connections,
        arrivals=pb.ARRIVALS_POISSON if plan.arrivals == "poisson" else pb.ARRIVALS_CONSTANT,
        warmup=plan.warmup,
        timeout=plan.timeout,
        expect=plan.expect,
        ready_timeout=plan.ready_timeout,
        seed=plan.seed,
        part=plan.part,
        parts=plan.parts,
        start_at=plan.start_at,
        mix=[_write_request(request) for request in plan.mix],
        first=plan.first,
    )


def read_plan(message: pb.Plan, folder: Path) -> Plan:
    """Convert an untrusted message; CA certificates are written to a file in the folder. Raises PlanError."""
    _require(len(message.stages) <= _MAX_STAGES, f"more than {_MAX_STAGES:,} stages")
    _require(len(message.expect) <= _MAX_OUTCOMES, f"more than {_MAX_OUTCOMES:,} statuses in expect")
    _require(len(message.mix) <= _MAX_REQUESTS, f"more than {_MAX_REQUESTS:,} requests")
    target = _read_target(message.target, folder)
    plan = Plan(
        target=target,
        stages=tuple(_read_stage(stage) for stage in message.stages),
        connections=message.connections,
        arrivals="poisson" if message.arrivals == pb.ARRIVALS_POISSON else "constant",
        warmup=Duration(message.warmup),
        timeout=Duration(message.timeout),
        expect=tuple(message.expect),
        ready_timeout=Duration(message.ready_timeout),
        seed=message.seed,
        part=message.part,
        parts=message.parts,
        start_at=message.start_at if message.HasField("start_at") else None,
        mix=tuple(_read_request(request, target) for request in message.mix),
        first=message.first,
    )
    _check_mix(plan)
    _require(bool(plan.stages), "no stages")
    _require(len({stage.start is None for stage in plan.stages}) == 1, "some stages have a rate, others have none")
    _require(not (plan.closed and plan.arrivals == "poisson"), "Poisson arrivals need a rate")
    _require(plan.duration <= _DAY, "longer than a day")
    _require(not plan.warmup or plan.stages[0].start != 0, "the warm-up has the rate 0/s")
    _require(plan.connections > 0, "no connections")
    _require(plan.connections <= _MAX_CONNECTIONS, f"more than {_MAX_CONNECTIONS:,} connections")
    _require(0 <= plan.part < plan.parts, f"invalid part {plan.part} of {plan.parts}")
    _require(0 < plan.timeout <= _DAY, f"invalid timeout {float(plan.timeout)} s")
    for name, seconds in ("warmup", plan.warmup), ("ready_timeout", plan.ready_timeout):
        _require(0 <= seconds <= _DAY, f"invalid {name} {float(seconds)} s")
    _require(0 <= (plan.start_at or 0) <= _MAX_START_AT, f"invalid start_at {plan.start_at} s")
    return plan


def _write_request(request: NamedRequest) -> pb.NamedRequest:
    target = _write_target(request.target)
    target.ClearField("ca_certificates")
    return pb.NamedRequest(name=request.name, target=target, weight=request.weight, expect=request.expect)


def _read_request(message: pb.NamedRequest, first: Target) -> NamedRequest:
    _require(0 < len(message.name) <= _MAX_REQUEST_NAME and message.name.isprintable(), "invalid name of a request")
    _require(len(message.expect) <= _MAX_OUTCOMES, f"more than {_MAX_OUTCOMES:,} statuses in expect")
    _require(0 < message.weight <= _MAX_WEIGHT, f"invalid weight {message.weight} of a request")
    _require(not message.target.ca_certificates, "CA certificates in a request of the mix")
    target = _read_target(message.target)
    if target.verify:
        target = replace(target, verify=first.verify)
    return NamedRequest(message.name, target, message.weight, tuple(message.expect))


def _check_mix(plan: Plan) -> None:
    """Refuse a mix that would be sent to more than the service that was checked. Raises PlanError."""
    _require(plan.first < _MAX_COUNT, f"invalid first {plan.first}")
    if not plan.mix:
        return
    names = {request.name for request in plan.mix}
    _require(len(names) == len(plan.mix), "two requests have the same name")
    _require(plan.mix[0].target == plan.target, "the first request of the mix is not the target")
    services = {(each.scheme, each.host, each.port, each.verify, each.http2) for each in plan.targets}
    _require(len(services) == 1, "the requests of the mix go to different services")


def write_interval(interval: Interval) -> pb.Interval:
    """Convert an interval."""
    figures = {name: _write_figure(getattr(interval, name)) for name in _SENT}
    return pb.Interval(start=interval.start, seconds=interval.seconds, **figures, reasons=interval.reasons)


def read_interval(message: pb.Interval, secrets: Iterable[str] = ()) -> Interval:
    """Convert an untrusted message, without secrets and control characters. Raises ValueError if it is invalid."""
    figures = {name: _read_figure(getattr(message, name)) for name in _SENT if _is_given(message, name)}
    reasons = {kind: _read_reason(text, secrets, figures["names"]) for kind, text in message.reasons.items()}
    interval = Interval(message.start, message.seconds, **figures, reasons=reasons)
    if error := next(_errors(interval), ""):
        raise ValueError(error)
    return interval


def _is_given(message: pb.Interval, name: str) -> bool:
    return not message.DESCRIPTOR.fields_by_name[name].has_presence or message.HasField(name)


def _errors(interval: Interval) -> Iterator[str]:
    """Find what is wrong, whatever the plan was."""
    numbers = {name: value for name, value in vars(interval).items() if isinstance(value, (int, float))}
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            yield f"invalid {name}: {value}"
    outcomes = interval.outcomes
    for each in (outcomes, interval.reasons, *(named.outcomes for named in interval.names.values())):
        if len(each) > _MAX_OUTCOMES or not all(name in FAILURES or _OUTCOME.fullmatch(name) for name in each):
            yield "too many or unknown outcomes"
    yield from _errors_of_names(interval)
    if max(interval.requests, interval.lag.count, *numbers.values()) >= _MAX_COUNT:
        yield "counts are too large"
    responses = interval.requests - interval.unanswered
    latencies, service_times = interval.latency.count, interval.service_time.count
    # A generator need not know when it sent a request.
    if latencies != responses or service_times not in {0, responses}:
        yield f"responses: {responses:,}, latencies: {latencies:,}, service times: {service_times:,}"
    timeouts = outcomes.get("timeout", 0)
    if interval.never_sent > timeouts:
        yield f"never sent: {interval.never_sent:,}, timeouts: {timeouts:,}"


def _errors_of_names(interval: Interval) -> Iterator[str]:
    """Find what does not add up: the figures of all names are those of the interval."""
    names = interval.names.values()
    if not names:
        return
    if sum((Counter(named.outcomes) for named in names), Counter()) != Counter(interval.outcomes):
        yield "the outcomes by name do not add up to the total"
    if sum(named.latency.count for named in names) != interval.latency.count:
        yield "the latencies by name do not add up to the total"
    if sum(named.never_sent for named in names) != interval.never_sent:
        yield "the requests by name that were never sent do not add up to the total"


def _write_target(target: Target) -> pb.Target:
    return pb.Target(
        url=target.url,
        scheme=target.scheme,
        host=target.host,
        port=target.port,
        method=target.method,
        path=target.path,
        headers=[pb.Header(name=name, value=value) for name, value in target.headers],
        body=target.body,
        verify=bool(target.verify),
        ca_certificates=_pem(target.verify) if isinstance(target.verify, str) else b"",
        http2=target.http2,
    )


def _pem(path: str) -> bytes:
    """Read the certificates in a file, or in a folder as OpenSSL uses it."""
    given = Path(path)
    try:
        files = sorted(given.iterdir()) if given.is_dir() else [given]
        return b"\n".join(file.read_bytes() for file in files if file.is_file() or file == given)
    except OSError as error:
        raise PlanError(f"verify={path!r}: not a file of CA certificates ({error.strerror})") from None


def _read_target(message: pb.Target, folder: Path | None = None) -> Target:
    _require(message.scheme in SCHEMES, f"unknown scheme {message.scheme!r}")
    _require(message.host.isprintable() and message.host != "", "invalid host")
    _require(0 < message.port < 1 << 16 or message.scheme.endswith("+unix"), f"invalid port {message.port}")
    # A line break would end the request line, or the line of a log.
    _require(re.fullmatch(r"\S+", message.url) is not None and message.url.isprintable(), "invalid URL")
    _require(_TOKEN.fullmatch(message.method.encode()) is not None, "invalid method")
    # After "host:port", anything but a path could become part of another host's name.
    _require(_path(message.scheme, message.method).fullmatch(message.path) is not None, "invalid path")
    _require(len(message.headers) <= _MAX_HEADERS, f"more than {_MAX_HEADERS:,} headers")
    headers = tuple((header.name, header.value) for header in message.headers)
    for name, value in headers:
        _require(_TOKEN.fullmatch(name) is not None and not re.search(rb"[\r\n\0]", value), "invalid header")
    found = _of_url(message.url)
    same = (found.scheme, found.host, found.port) == (message.scheme, message.host, message.port)
    _require(same, "the URL does not match scheme, host and port")
    verify: bool | str = message.verify
    if folder and verify and message.ca_certificates:
        ca_file = folder / _CA_FILE
        ca_file.write_bytes(message.ca_certificates)
        verify = str(ca_file)
    return Target(
        url=message.url,
        method=message.method,
        scheme=message.scheme,
        host=message.host,
        port=message.port,
        path=message.path,
        headers=headers,
        body=message.body,
        verify=verify,
        http2=message.http2,
    )


def _of_url(url: str) -> Target:
    """Parse the URL, which is shown to users and used by some programs."""
    try:
        return Target.of(url)
    except PlanError:
        raise PlanError("invalid plan: invalid URL") from None


def _path(scheme: str, method: str) -> re.Pattern[bytes]:
    """Return what the path has to match."""
    if scheme.startswith("http"):
        return re.compile(rb"/[!-~]*|\*" if method == "OPTIONS" else rb"/[!-~]*")
    return re.compile(rb"(/[!-~]*)?" if scheme.startswith("grpc") else rb"/?")


def _write_stage(stage: Stage) -> pb.Stage:
    start, end = (None if rate is None else str(rate) for rate in (stage.start, stage.end))
    return pb.Stage(start=start, end=end, seconds=stage.seconds)


def _read_stage(message: pb.Stage) -> Stage:
    start = _read_rate(message.start) if message.HasField("start") else None
    end = _read_rate(message.end) if message.HasField("end") else None
    _require((start is None) == (end is None), "a stage has a rate at one end only")
    _require(0 < message.seconds <= _DAY, f"a stage has an invalid duration of {message.seconds} s")
    return Stage(start, end, Duration(message.seconds))


def _read_rate(text: str) -> Fraction:
    _require(_RATE.fullmatch(text) is not None, "a rate is not a number or a fraction such as '1000/3'")
    rate = Fraction(text)
    _require(rate <= HIGHEST_RATE, f"a rate is above {HIGHEST_RATE:,}/s")
    return rate


def _write_figure(figure: Any) -> Any:
    if isinstance(figure, Histogram):
        return _write_histogram(figure)
    if isinstance(figure, NamedFigures):
        return pb.NamedFigures(**{name: _write_figure(getattr(figure, name)) for name in NAMED_FIGURES})
    if isinstance(figure, Mapping):
        return {name: _write_figure(each) for name, each in figure.items()}
    return figure


def _read_figure(figure: Any) -> Any:
    if isinstance(figure, pb.Histogram):
        return _read_histogram(figure)
    if isinstance(figure, pb.NamedFigures):
        return NamedFigures(**{name: _read_figure(getattr(figure, name)) for name in NAMED_FIGURES})
    if isinstance(figure, (int, float)):
        return figure
    return {name: _read_figure(each) for name, each in figure.items()}


def _read_reason(text: str, secrets: Iterable[str], names: Iterable[str]) -> str:
    """Remove what must not be shown, but not the name of the request at the end."""
    end = next((end for name in names if text.endswith(end := f" ({name})")), "")
    said = text.removesuffix(end)
    return printable(redact(said[:_MAX_REASON], secrets, is_cut=len(said) > _MAX_REASON) + end)


def _write_histogram(histogram: Histogram) -> pb.Histogram | None:
    if not histogram:
        return None
    hdr = base64.b64decode(histogram.encode().partition(";")[0])
    ranges = [pb.Range(low=low, high=high, count=count) for (low, high), count in histogram.wide.items()]
    return pb.Histogram(hdr=hdr, ranges=ranges)


def _read_histogram(message: pb.Histogram) -> Histogram:
    if not message.hdr:
        return Histogram()
    if len(message.ranges) > _MAX_RANGES:
        raise ValueError(f"a histogram with more than {_MAX_RANGES:,} ranges")
    wide = ",".join(f"{each.low}-{each.high}x{each.count}" for each in message.ranges)
    try:
        return Histogram.decode(f"{base64.b64encode(message.hdr).decode()};{wide}")
    except (OverflowError, LookupError) as error:  # what the library raises for corrupt data
        raise ValueError(f"not an HdrHistogram: {error}") from None


def _require(condition: bool, error: str) -> None:
    if not condition:
        raise PlanError(f"invalid plan: {error}")
