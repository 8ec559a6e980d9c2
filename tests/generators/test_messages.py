"""Plans, intervals and descriptions survive the way to another machine; invalid messages are refused."""

import math
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_loadgen.errors import PlanError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval, NamedFigures
from pytest_loadgen.figures.outcomes import FAILURES
from pytest_loadgen.traffic.mix import NamedRequest
from pytest_loadgen.traffic.plan import FEATURES, Plan, Stage, hold, ramp
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration

pytest.importorskip("google.protobuf", reason="protobuf is not installed")
from pytest_loadgen.generators import loadgen_pb2 as pb
from pytest_loadgen.generators import messages

ROOT = Path(__file__).parents[2]
PROTO = "pytest_loadgen/generators/loadgen.proto"

seconds = st.floats(0.001, 4_000)
rates = st.fractions(0, 10_000_000)
stages = st.builds(lambda start, end, time: Stage(start, end, Duration(time)), rates, rates, seconds)
maximal = st.builds(lambda time: Stage(None, None, Duration(time)), seconds)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
names = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=100)
targets = st.builds(
    lambda scheme, host, port, path, **given: Target(
        f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/",
        scheme=scheme,
        host=host,
        port=port,
        path=f"/{path}".encode(),
        **given,
    ),
    scheme=st.sampled_from(["http", "https", "grpc"]),
    host=st.sampled_from(["localhost", "api.test.example", "10.0.0.1", "::1"]),
    port=st.integers(1, 65535),
    path=words | st.just(""),
    method=st.sampled_from(["GET", "M-SEARCH", "GRPC"]),
    headers=st.lists(st.tuples(st.just(b"X-A"), st.binary().filter(lambda v: not {*b"\r\n\0"} & {*v}))).map(tuple),
    body=st.binary(),
    verify=st.booleans(),
    http2=st.booleans(),
)
plans = st.builds(
    Plan,
    target=targets,
    stages=(st.lists(stages, min_size=1, max_size=20) | st.lists(maximal, min_size=1, max_size=20)).map(tuple),
    connections=st.integers(1, 65_535),
    warmup=seconds.map(Duration),
    timeout=seconds.map(Duration),
    expect=st.lists(words).map(tuple),
    ready_timeout=seconds.map(Duration),
    seed=st.integers(0, 2**31),
    part=st.integers(0, 3),
    parts=st.integers(4, 9),
    start_at=st.none() | st.floats(0, 1e10),
).filter(lambda plan: plan.stages[0].start != 0)
counts = st.dictionaries(st.integers(0, 3_600_000_000_000), st.integers(1, 1000))
wide = st.dictionaries(st.tuples(st.integers(0, 10**9), st.integers(10**9, 10**12)), st.integers(1, 1000))


def histogram(fine: dict[int, int], ranges: dict[tuple[int, int], int]) -> Histogram:
    found = Histogram(wide=ranges)
    for ns, count in fine.items():
        found.record(ns / 1e9, count)
    return found


histograms = st.builds(histogram, counts, wide)
shares = st.floats(0, 1e6)
large = st.integers(0, 2**53 - 1)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    """Draw an interval with a latency, and maybe a service time, for each response."""
    latency, few = draw(histograms), st.integers(0, 2**40)
    failures = draw(st.dictionaries(st.sampled_from(sorted(FAILURES)), few, max_size=4))
    kind = draw(st.sampled_from(["200", "999", "2xx", "SERVING", "NOT_SERVING", "OK"]))
    return Interval(
        start=draw(shares),
        seconds=draw(shares),
        latency=latency,
        service_time=draw(st.sampled_from([latency, Histogram()])),
        outcomes={**failures, kind: latency.count},
        lag=draw(histograms),
        cpu=draw(shares),
        throttled=draw(shares),
        stalled=draw(shares),
        received=draw(large),
        connections=draw(st.none() | large),
        retried=draw(large),
        never_sent=draw(st.integers(0, failures.get("timeout", 0))),
        unseen=draw(large),
    )


descriptions = st.builds(
    messages.Description,
    name=names,
    version=names | st.just(""),
    features=st.frozensets(st.sampled_from(sorted(FEATURES))),
    latency_from=st.sampled_from(["scheduled", "sent", "corrected"]),
    added_latency=st.floats(0, 10).map(Duration),
    streams_intervals=st.booleans(),
    max_duration=st.floats(1, 1e6) | st.just(math.inf),
    generators=st.lists(names).map(tuple),
)
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(plan=plans)
def test_a_plan_survives(plan: Plan, tmp_path: Path) -> None:
    """With exact rates, however long their fractions are."""
    message = pb.Plan.FromString(messages.write_plan(plan, "fortio").SerializeToString())
    read = messages.read_plan(message, tmp_path)
    assert message.generator == "fortio"
    assert vars(read) == vars(plan)


@quick
@given(
    plan=plans,
    others=st.lists(st.tuples(words, st.integers(1, 10**9), st.lists(words, max_size=3)), min_size=1, max_size=4),
    first=st.integers(0, 2**53 - 1),
)
def test_a_mix_survives(plan: Plan, others: list[tuple[str, int, list[str]]], first: int, tmp_path: Path) -> None:
    """All goes to the service of the first request."""
    mix = [NamedRequest("GET /", plan.target)]
    for number, (path, weight, expect) in enumerate(others):
        target = replace(plan.target, path=f"/{path}".encode(), body=b"x")
        mix.append(NamedRequest(f"{number} ♥", target, weight, tuple(expect)))
    plan = replace(plan, mix=tuple(mix), first=first)
    read = messages.read_plan(pb.Plan.FromString(messages.write_plan(plan, "").SerializeToString()), tmp_path)
    assert vars(read) == vars(plan)


def test_a_mix_has_its_ca_certificates_once(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("certificate")
    target = Target("https://x/", "GET", "https", "x", 443, b"/", verify=str(tmp_path / "ca"))
    plan = Plan(target, (hold(1, 1),), mix=(NamedRequest("a", target), NamedRequest("b", target)))
    (there := tmp_path / "there").mkdir()
    message = messages.write_plan(plan, "")
    assert not any(request.target.ca_certificates for request in message.mix)
    assert {each.verify for each in messages.read_plan(message, there).targets} == {str(there / "ca.pem")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mix: mix[1].target.MergeFrom(pb.Target(host="other", url="http://other/")), "to different services"),
        (lambda mix: mix[1].target.MergeFrom(pb.Target(port=81, url="http://localhost:81/")), "to different services"),
        (lambda mix: mix[1].target.MergeFrom(pb.Target(host="other")), "the URL does not match scheme, host and port"),
        (lambda mix: mix[1].target.MergeFrom(pb.Target(path=b"@other/")), "invalid path"),
        (lambda mix: mix[1].target.MergeFrom(pb.Target(headers=[{"name": b"a b"}])), "invalid header"),
        (lambda mix: mix[1].target.MergeFrom(pb.Target(http2=True)), "to different services"),
        (lambda mix: mix[1].target.MergeFrom(pb.Target(ca_certificates=b"x")), "CA certificates in a request"),
        (lambda mix: mix[1].MergeFrom(pb.NamedRequest(name="a")), "two requests have the same name"),
        (lambda mix: mix[1].MergeFrom(pb.NamedRequest(name="a\nb")), "invalid name"),
        (lambda mix: mix[1].ClearField("name"), "invalid name"),
        (lambda mix: mix[1].ClearField("weight"), "invalid weight 0"),
        (lambda mix: mix.reverse(), "the first request of the mix is not the target"),
        (lambda mix: mix.extend([mix[1]] * 10_000), "more than 10,000 requests"),
    ],
)
def test_an_invalid_mix_is_refused(change: Callable[[Any], object], message: str, tmp_path: Path) -> None:
    """Only the host of the target is checked before the load."""
    target = Target("http://localhost/", "GET", "http", "localhost", 80, b"/")
    mix = NamedRequest("a", target), NamedRequest("b", replace(target, method="PUT"))
    plan = messages.write_plan(Plan(target, (hold(1, 1),), mix=mix), "")
    change(plan.mix)
    with pytest.raises(PlanError, match=f"^invalid plan: .*{message}"):
        messages.read_plan(plan, tmp_path)


def test_figures_by_name_that_do_not_add_up_are_refused() -> None:
    """One by one; those that do are read."""
    latency = histogram({1000: 3}, {})
    a = NamedFigures(latency=histogram({1000: 2}, {}), outcomes={"200": 2})
    b = NamedFigures(latency=histogram({1000: 1}, {}), outcomes={"200": 1, "timeout": 1}, never_sent=1)
    sound = Interval(0, 1, latency=latency, outcomes={"200": 3, "timeout": 1}, never_sent=1, names={"a": a, "b": b})
    assert messages.read_interval(messages.write_interval(sound)).names == sound.names
    for wrong in (
        {"a": a},
        {"a": a, "b": replace(b, never_sent=0)},
        {"a": a, "b": replace(b, outcomes={"200": 1, "refused": 1})},
        {"a": a, "b": replace(b, latency=Histogram())},
    ):
        with pytest.raises(ValueError, match=r"by name .*do not add up to the total$"):
            messages.read_interval(messages.write_interval(replace(sound, names=wrong)))


def failed(**reasons: str) -> Interval:
    return Interval(
        0, 1, outcomes={"timeout": 1}, names={"order": NamedFigures(outcomes={"timeout": 1})}, reasons=reasons
    )


def test_reasons_survive() -> None:
    """What was wrong, by kind, with the name of the request at its end."""
    sent = failed(**{"503": "its body is 'no capacity' (order)", "check": "the body lacks 'id'"})
    message = pb.Interval.FromString(messages.write_interval(sent).SerializeToString())
    assert messages.read_interval(message).reasons == sent.reasons
    assert messages.read_interval(pb.Interval(seconds=1)).reasons == {}


@pytest.mark.parametrize(
    ("reason", "read"),
    [
        ("\x1b[2J\n", r"\x1b[2J\n"),
        ("its body is 'geheim-1 order' (order)", "its body is '[...] [...]' (order)"),
        ("x" * 5000, "x" * 2000),
        (f"{'x' * 1998}geheim-1 (order)", f"{'x' * 1998}ge (order)"),
        (f"{'x' * 1995}geheim-1 (order)", f"{'x' * 1995}[...] (order)"),
    ],
)
def test_reasons_are_bounded_and_without_secrets(reason: str, read: str) -> None:
    """They are printed: whatever the server did, control characters and what the request has are left out."""
    message = messages.write_interval(failed(timeout=reason))
    assert messages.read_interval(message, ["geheim-1", "order"]).reasons == {"timeout": read}


def test_the_parts_of_a_plan_survive(tmp_path: Path) -> None:
    """Even if its rates and times are fractions of many digits."""
    target = Target("http://localhost/", "GET", "http", "localhost", 80, b"/")
    whole = Plan(target, (ramp(1 / 3, 333.33, 7.77), hold(333.33, 1.1))).between(0.12345678901, 6.54321)
    for part in whole.split(7):
        assert vars(messages.read_plan(messages.write_plan(part, ""), tmp_path)) == vars(part)


def test_ca_certificates_are_sent(tmp_path: Path) -> None:
    """From a file or from a folder."""
    (tmp_path / "there").mkdir()
    folder = tmp_path / "here"
    folder.mkdir()
    for name in "ab":
        (folder / name).write_text(f"certificate {name}")
    for verify, content in (folder / "a", "certificate a"), (folder, "certificate a\ncertificate b"):
        plan = Plan(Target("https://x/", "GET", "https", "x", 443, b"/", verify=str(verify)), (hold(1, 1),))
        read = messages.read_plan(messages.write_plan(plan, ""), tmp_path / "there")
        assert isinstance(read.target.verify, str)
        assert Path(read.target.verify).parent == tmp_path / "there"
        assert Path(read.target.verify).read_text() == content
    missing = replace(plan, target=replace(plan.target, verify=str(tmp_path / "none")))
    with pytest.raises(PlanError, match="none': not a file of CA certificates"):
        messages.write_plan(missing, "")


@quick
@given(interval=intervals())
def test_an_interval_survives(interval: Interval) -> None:
    """With every count in its bucket or range."""
    read = messages.read_interval(pb.Interval.FromString(messages.write_interval(interval).SerializeToString()))
    assert vars(read) == vars(interval)


@quick
@given(description=descriptions)
def test_a_description_survives(description: messages.Description) -> None:
    assert (
        messages.Description.read(pb.Description.FromString(description.message().SerializeToString())) == description
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": []}, "no stages"),
        ({"stages": [{"start": "1", "seconds": 1}]}, "a stage has a rate at one end only"),
        ({"stages": [{"start": "1", "end": "1", "seconds": 1}, {"seconds": 1}]}, "some stages have a rate"),
        ({"stages": [{"start": "-1", "end": "1", "seconds": 1}]}, "a rate is not a number or a fraction"),
        ({"stages": [{"start": "1", "end": "1/0", "seconds": 1}]}, "a rate is not a number or a fraction"),
        ({"stages": [{"start": "1", "end": "1e9", "seconds": 1}]}, "a rate is not a number or a fraction"),
        ({"stages": [{"start": "1", "end": "9" * 401, "seconds": 1}]}, "a rate is not a number or a fraction"),
        ({"stages": [{"start": "1", "end": "10000001", "seconds": 1}]}, "a rate is above 10,000,000/s"),
        ({"stages": [{"start": "1", "end": "1", "seconds": 0}]}, "a stage has an invalid duration of 0.0 s"),
        ({"stages": [{"start": "1", "end": "1", "seconds": math.nan}]}, "a stage has an invalid duration of nan s"),
        ({"stages": [{"seconds": 1}], "arrivals": pb.ARRIVALS_POISSON}, "Poisson arrivals need a rate"),
        ({"connections": 0}, "no connections"),
        ({"part": 2, "parts": 2}, "invalid part 2 of 2"),
        ({"parts": 0}, "invalid part 0 of 0"),
        ({"timeout": 0}, "invalid timeout 0.0 s"),
        ({"timeout": math.inf}, "invalid timeout inf s"),
        ({"warmup": -1}, "invalid warmup -1.0 s"),
        ({"ready_timeout": -2}, "invalid ready_timeout -2.0 s"),
        ({"start_at": math.inf}, "invalid start_at inf s"),
        ({"start_at": 1e300}, r"invalid start_at 1e\+300 s"),
        ({"stages": [{"start": "1", "end": "1", "seconds": 1}] * 1001}, "more than 1,000 stages"),
        ({"stages": [{"start": "1", "end": "1", "seconds": 1e300}]}, r"a stage has an invalid duration of 1e\+300 s"),
        ({"stages": [{"start": "1", "end": "1", "seconds": 50_000}] * 2}, "longer than a day"),
        ({"stages": [{"start": "0", "end": "1", "seconds": 1}], "warmup": 1}, "the warm-up has the rate 0/s"),
        ({"connections": 65_536}, "more than 65,535 connections"),
        ({"timeout": 1e5}, "invalid timeout 100000.0 s"),
        ({"warmup": 1e5}, "invalid warmup 100000.0 s"),
        ({"ready_timeout": 1e300}, r"invalid ready_timeout 1e\+300 s"),
    ],
)
def test_an_invalid_plan_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    written = messages.write_plan(Plan(Target("http://x/", "GET", "http", "x", 80, b"/"), (hold(1, 1),)), "")
    for name in change:
        written.ClearField(name)
    written.MergeFrom(pb.Plan(**change))
    with pytest.raises(PlanError, match=f"invalid plan: {message}"):
        messages.read_plan(written, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheme": "ftp"}, "unknown scheme 'ftp'"),
        ({"host": ""}, "invalid host"),
        ({"host": "a\nb"}, "invalid host"),
        ({"port": 0}, "invalid port 0"),
        ({"port": 70_000}, "invalid port 70000"),
        ({"url": ""}, "invalid URL"),
        ({"url": "http://x/\nforged line"}, "invalid URL"),
        ({"url": "http://"}, "invalid URL"),
        ({"url": "http://innocent/"}, "the URL does not match scheme, host and port"),
        ({"url": "https://x:80/"}, "the URL does not match scheme, host and port"),
        ({"url": "http://x:81/"}, "the URL does not match scheme, host and port"),
        ({"method": "GET / HTTP/1.1\r\n"}, "invalid method"),
        ({"path": b"/ HTTP/1.1\r\nX: y"}, "invalid path"),
        ({"path": b"@127.0.0.2:80/x"}, "invalid path"),
        ({"path": b""}, "invalid path"),
        ({"path": b"*"}, "invalid path"),
        ({"scheme": "grpc", "path": b"@127.0.0.2:80/x"}, "invalid path"),
        ({"scheme": "tcp", "path": b"/x"}, "invalid path"),
        ({"headers": [{"name": b"A b", "value": b""}]}, "invalid header"),
        ({"headers": [{"name": b"A", "value": b"b\r\nC: d"}]}, "invalid header"),
    ],
)
def test_an_invalid_target_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    written = messages.write_plan(Plan(Target("http://x/", "GET", "http", "x", 80, b"/"), (hold(1, 1),)), "")
    for name in change:
        written.target.ClearField(name)
    written.target.MergeFrom(pb.Target(**change))
    with pytest.raises(PlanError, match=f"invalid plan: {message}"):
        messages.read_plan(written, tmp_path)


@pytest.mark.parametrize(
    ("scheme", "method", "path"),
    [("http", "GET", b"/a?b"), ("http", "OPTIONS", b"*"), ("grpc", "GRPC", b""), ("grpc", "GRPC", b"/a.B/C")]
    + [(scheme, scheme.upper(), path) for scheme in ("tcp", "udp") for path in (b"", b"/")],
)
def test_valid_paths(scheme: str, method: str, path: bytes, tmp_path: Path) -> None:
    """They depend on the protocol."""
    target = Target(f"{scheme}://x:80/", method, scheme, "x", 80, path)
    assert messages.read_plan(messages.write_plan(Plan(target, (hold(1, 1),)), ""), tmp_path).target == target


def test_corrupt_intervals_are_value_errors() -> None:
    """Whatever another program sends, the result is an interval or a ValueError."""
    latency = Histogram({1 << 20: 1000}, {(5, 10**9): 3})
    whole = messages.write_interval(Interval(0, 1, latency, latency, {"200": 1003}))
    draw = random.Random(1)
    for _ in range(60):
        message = pb.Interval.FromString(whole.SerializeToString())
        hdr = bytearray(message.latency.hdr)
        for _ in range(draw.randrange(1, 5)):
            hdr[draw.randrange(len(hdr))] = draw.randrange(256)
        message.latency.hdr = bytes(hdr[: draw.randrange(len(hdr) + 1)])
        with suppress(ValueError):
            messages.read_interval(message)
    for broken in (
        pb.Interval(start=math.nan),
        pb.Interval(seconds=-1),
        pb.Interval(latency={"hdr": whole.latency.hdr, "ranges": [{"low": 2, "high": 1, "count": 1}]}),
        pb.Interval(latency={"hdr": whole.latency.hdr, "ranges": [{"low": 1, "high": 2**63 + 5, "count": 1}]}),
        pb.Interval(latency={"hdr": whole.latency.hdr, "ranges": [{"low": 5, "high": 10**9, "count": 9999}]}),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            messages.read_interval(broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcomes": {"200": 2}}, "responses: 2, latencies: 1, service times: 1"),
        ({"outcomes": {"200": 1, "503": 1}}, "responses: 2, latencies: 1, service times: 1"),
        ({"outcomes": {"timeout": 1}}, "responses: 0, latencies: 1, service times: 1"),
        ({"service_time": Histogram({64: 2})}, "responses: 1, latencies: 1, service times: 2"),
        ({"latency": Histogram(wide={(5, 10**9): 2})}, "responses: 1, latencies: 2, service times: 1"),
        ({"never_sent": 1}, "never sent: 1, timeouts: 0"),
        ({"received": 1 << 53}, "counts are too large"),
        ({"retried": 1 << 53}, "counts are too large"),
        ({"outcomes": {"200": 1, "refused": 1 << 53}}, "counts are too large"),
        *(
            ({"outcomes": {"200": 1, name: 0}}, "too many or unknown outcomes")
            for name in ("", "20", "2000", "2x", "6xx", "ok", "O K", "_", "A" * 33, "200\n", "\x1b[2J", "²00", "slow")
        ),
        ({"outcomes": {"200": 1, **{str(n): 0 for n in range(400, 500)}}}, "too many or unknown outcomes"),
        ({"reasons": {"\x1b[2J": ""}}, "too many or unknown outcomes"),
        ({"reasons": {str(n): "" for n in range(400, 501)}}, "too many or unknown outcomes"),
    ],
)
def test_an_inconsistent_interval_is_refused(change: dict[str, Any], message: str) -> None:
    """Each response has one latency, and outcomes have names that may be printed."""
    latency = Histogram({64: 1})
    interval = messages.write_interval(replace(Interval(0, 1, latency, latency, {"200": 1}), **change))
    with pytest.raises(ValueError, match=f"^{message}"):
        messages.read_interval(interval)


@pytest.mark.parametrize(
    "change",
    [
        {"latency_from": pb.LATENCY_FROM_UNSPECIFIED},
        {"added_latency": -1},
        {"added_latency": math.inf},
        {"max_duration": 1e-9},
        {"max_duration": math.nan},
        {"name": "two\nlines"},
        {"name": "x" * 101},
        {"version": "\x1b[2J"},
        {"generators": ["a", "\n"]},
    ],
)
def test_an_invalid_description_is_refused(change: dict[str, Any]) -> None:
    """It is printed, and decides how a load is run."""
    with pytest.raises(ValueError, match=r"^invalid description: "):
        messages.Description.read(pb.Description(**{"name": "x", "latency_from": pb.LATENCY_FROM_SCHEDULED, **change}))


def test_unknown_features_are_ignored() -> None:
    """A server may be newer than this client."""
    description = pb.Description(name="x", latency_from=pb.LATENCY_FROM_SCHEDULED, features=["http", "http3", "\n"])
    assert messages.Description.read(description).features == {"http"}


@pytest.mark.parametrize("proto", sorted(path.name for path in (ROOT / PROTO).parent.glob("*.proto")))
def test_generated_code_matches_its_proto(proto: str, tmp_path: Path) -> None:
    """Whichever version of protoc is installed."""
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools is not installed")
    from importlib import import_module

    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

    path = f"pytest_loadgen/generators/{proto}"
    include = Path(protoc.__file__).parent / "_proto"
    argv = [
        "protoc",
        f"-I{ROOT}",
        f"-I{include}",
        f"--descriptor_set_out={tmp_path}/set",
        f"--pyi_out={tmp_path}",
        path,
    ]
    assert protoc.main(argv) == 0
    (made,) = FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file
    module = import_module(f"pytest_loadgen.generators.{proto.replace('.proto', '_pb2')}")
    committed = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    for message in made.message_type:
        _without_json_names(message)
    assert made == committed
    types = Path(path).with_name(f"{module.__name__.rpartition('.')[2]}.pyi")
    assert _declared(ROOT / types) == _declared(tmp_path / types)


def _without_json_names(message: Any) -> None:
    """Remove what only descriptor sets contain."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        _without_json_names(nested)


def _declared(path: Path) -> list[str]:
    """Return the lines that declare something, without imports and formatting."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.lstrip().startswith(("class ", "__slots__"))]
