"""wrk and wrk2: their arguments, their output, and the real programs."""

import copy
import json
import math
import os
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as some

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.figures.result import Result
from pytest_loadgen.generators.base import LoadGenerator, check
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.generators.wrk import Wrk
from pytest_loadgen.generators.wrk2 import Wrk2
from pytest_loadgen.running import runner
from pytest_loadgen.running.rounds import Rounds
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.options import Options, plan_of
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.request import get, head, post
from tests.conftest import needs

ESTABLISHED, CLOSE_WAIT = 1, 8
RECORDED = Path(__file__).parent / "recorded"


def plan(url: str = "http://127.0.0.1:8000/", **options: Any) -> Plan:
    return plan_of(url, cast(Options, {"duration": 5, **options}))


# Arguments.


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        # The last four are for the hook: connections per thread, the period of each, when all of
        # them are open, and when the run is nearly over.
        ({"rate": 100}, "-t 1 -c 100 -d 5s -s wrk.lua -R 100 -U URL 100 1000000 1050000 4990000"),
        # At least one request per second on each connection.
        ({"rate": 7}, "-t 1 -c 7 -d 5s -s wrk.lua -R 7 -U URL 7 1000000 120000 4990000"),
        ({"rate": 1, "duration": 8}, "-t 1 -c 1 -d 8s -s wrk.lua -R 1 -U URL 1 1000000 60000 7990000"),
        # No more connections than requested, or than can be opened in a tenth of the time.
        ({"rate": 500, "connections": 20}, "-t 1 -c 20 -d 5s -s wrk.lua -R 500 -U URL 20 40000 250000 4990000"),
        ({"rate": 500, "duration": 1}, "-t 1 -c 20 -d 1s -s wrk.lua -R 500 -U URL 20 40000 250000 990000"),
        # Two threads have the same number of connections.
        ({"rate": 50_000, "connections": 7}, "-t 2 -c 6 -d 5s -s wrk.lua -R 50000 -U URL 3 120 80000 4990000"),
        ({"rate": 50_000, "connections": 1}, "-t 1 -c 1 -d 5s -s wrk.lua -R 50000 -U URL 1 20 60000 4990000"),
    ],
)
def test_arguments_of_wrk2(options: dict[str, Any], arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert " ".join(Wrk2().argv(plan(**options))) == arguments.replace("URL", "http://127.0.0.1:8000")


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, "-t 1 -c 10 -d 5s -s wrk.lua --timeout 5s"),
        ({"connections": 3, "timeout": 1.2}, "-t 1 -c 3 -d 5s -s wrk.lua --timeout 2s"),
        ({"timeout": "1h"}, "-t 1 -c 10 -d 5s -s wrk.lua --timeout 6s"),
    ],
)
def test_arguments_of_wrk(options: dict[str, Any], arguments: str) -> None:
    assert " ".join(Wrk().argv(plan(rate="max", **options))) == f"{arguments} http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://shop.example/", "https://shop.example:443"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("http://user:pass@localhost:8000/secret?key=secret", "http://localhost:8000"),
    ],
)
def test_arguments_show_only_the_host_and_port(url: str, shown: str) -> None:
    """Everybody on the machine can read them."""
    for generator in Wrk(), Wrk2():
        argv = generator.argv(plan(url, headers={"Authorization": "Bearer secret"}, content="secret"))
        assert shown in argv
        assert not any("secret" in argument or "pass" in argument for argument in argv)


def test_configured_arguments_precede_the_url() -> None:
    wrk = Wrk()
    wrk.args = ["-v", "x"]
    assert Wrk().argv(plan(rate="max"))[:-1] == wrk.argv(plan(rate="max"))[:-3]
    assert wrk.argv(plan(rate="max"))[-3:-1] == ["-v", "x"]


@pytest.mark.parametrize(
    ("generator", "options", "message"),
    [
        (Wrk2(), {"rate": "30/m"}, "wrk2 supports whole numbers of requests per second only (got 0.5/s)"),
        (Wrk2(), {"duration": 2.5}, "wrk2 supports whole seconds only (got 2.5s);"),
        (Wrk2(), {"duration": 9}, "wrk2 runs for at most 8s at a time (got 9s)"),
        (Wrk2(), {"method": "HEAD"}, "wrk2 does not support HEAD:"),
        (Wrk(), {"rate": "max", "duration": "500ms"}, "wrk supports whole seconds only (got 500ms); choose"),
        (Wrk(), {"rate": "max", "method": "HEAD"}, "wrk does not support HEAD:"),
    ],
)
def test_a_plan_that_they_cannot_run_is_refused(generator: Wrk | Wrk2, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        generator.argv(plan(**options))
    assert str(caught.value).startswith(message)


LARGE = "x" * 16_384


@pytest.mark.parametrize(
    ("traffic", "message"),
    [
        (["/", head("/")], "{} does not support HEAD:"),
        (
            [get("/a", weight=1_000_000), "/b"],
            "{} supports weights that repeat within 65,536 requests, and these repeat",
        ),
        (["/", post("/b", content=LARGE)], "{} cannot send a mix over TLS in which a request is larger than 16,384 "),
    ],
)
@pytest.mark.parametrize("generator", [Wrk(), Wrk2()])
def test_a_mix_that_they_cannot_send_is_refused(generator: Wrk | Wrk2, traffic: Any, message: str) -> None:
    rate = 100 if generator.kind == "wrk2" else "max"
    with pytest.raises(PlanError) as caught:
        generator.argv(plan_of(traffic, {"rate": rate}, lambda: "https://localhost"))
    assert str(caught.value).startswith(message.format(generator.name))
    generator.argv(plan_of(["/", post("/b", content=LARGE)], {"rate": rate}, lambda: "http://localhost"))
    generator.argv(plan_of(post("/b", content=LARGE), {"rate": rate}, lambda: "https://localhost"))


@pytest.mark.parametrize(
    ("weights", "changed", "order"),
    [
        ([1], {}, "0"),
        ([3, 1], {}, "0 0 1 0"),
        ([6, 2], {}, "0 0 1 0"),
        # Where the round before ended, and the share of each of two workers.
        ([3, 1], {"first": 6}, "1 0 0 0"),
        ([3, 1], {"part": 0, "parts": 2}, "0 1 0 1"),
        ([2, 1], {"part": 1, "parts": 2}, "1 0 0"),
    ],
)
def test_the_order_of_a_mix(weights: list[int], changed: dict[str, int], order: str) -> None:
    """That of the embedded generator, until it repeats."""
    mix = [get(f"/{number}", weight=weight) for number, weight in enumerate(weights)]
    load = replace(plan_of(mix, {}, lambda: "http://localhost"), **cast(Any, changed))
    files = Wrk2().files(load)
    assert files["order"].decode() == order
    assert [files[f"request{number}"][:6] for number in range(len(weights))] == [
        f"GET /{number}".encode() for number in range(len(weights))
    ]


@pytest.mark.parametrize("generator", [Wrk(), Wrk2()])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-t", "4"], "args: -t is reserved; use workers= of load()"),
        (["-v", "-c9"], "args: -c is reserved; use connections= of load()"),
        (["-d1s"], "args: -d is reserved; use duration= of load()"),
        (["--duration=1s"], "args: --duration is reserved; *"),
        (["--dur", "1s"], "args: --duration is reserved; *"),
        (["-R", "9"], "args: -R is reserved; use rate= of load()"),
        (["-HToken: geheim"], "args: -H is reserved; use headers= of load()"),
        (["--header=Token: geheim"], "args: --header is reserved; *"),
        *([[option], f"args: {option} is reserved; *"] for option in ("-s", "-U", "-L", "-B", "--latency", "--script")),
    ],
)
def test_reserved_arguments_are_refused(generator: Wrk | Wrk2, args: list[str], message: str) -> None:
    """Even if the program is not installed; the message names the option to use instead."""
    configured = copy.copy(generator)
    configured.args, configured.program = args, "/nowhere"
    with pytest.raises(PlanError) as caught:
        list(configured.run(plan()))
    assert fnmatch(str(caught.value), f"{generator.name}: {message}")


def test_more_connections_than_file_handles_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections without a file handle would count as refused."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert "-c 900 " in " ".join(Wrk().argv(plan(rate="max", connections=900)))
    with pytest.raises(
        PlanError, match=r"^wrk needs a file handle for each of 1,024 connections, and the limit is 1,024:"
    ):
        Wrk().argv(plan(rate="max", connections=1024))


# Finding the program.

USAGE = {
    "wrk": "Usage: wrk <options> <url>\n    -c, --connections <N>  Connections to keep open",
    "wrk2": "Usage: wrk <options> <url>\n    -c, --connections <N>  Connections\n    -R, --rate        <T>  work rate",
    "other": "usage: other [--help]",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put programs on PATH, each with one of these usage messages."""

    def put(**kinds: str) -> Path:
        for name, kind in kinds.items():
            program = tmp_path / name
            program.write_text(f"#!/bin/sh\necho '{kind} 4.1.0-3 [epoll] Copyright'\necho '{USAGE[kind]}'\nexit 1\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        return tmp_path

    return put


@pytest.mark.parametrize(
    ("generator", "installed", "found"),
    [
        (Wrk(), {"wrk": "wrk"}, "wrk"),
        (Wrk(), {"wrk": "wrk", "wrk2": "wrk2"}, "wrk"),
        (Wrk2(), {"wrk": "wrk", "wrk2": "wrk2"}, "wrk2"),
        (Wrk2(), {"wrk": "wrk2"}, "wrk"),
    ],
)
def test_the_right_one_is_found(
    generator: Wrk | Wrk2, installed: dict[str, str], found: str, programs: Callable[..., Path]
) -> None:
    """Both may be called wrk; the usage message distinguishes them."""
    folder = programs(**installed)
    assert generator.path() == str(folder / found)
    assert generator.version() == "4.1.0"


@pytest.mark.parametrize(
    ("generator", "installed", "message"),
    [
        (Wrk2(), {"wrk": "wrk"}, "wrk2: FOLDER/wrk is wrk, which cannot keep a rate. Install wrk2 (https://github.com"),
        (Wrk2(), {"wrk2": "wrk"}, "wrk2: FOLDER/wrk2 is wrk, which cannot keep a rate. Install wrk2 (https://"),
        (Wrk2(), {"wrk2": "other"}, "wrk2: FOLDER/wrk2 is not wrk2. Install wrk2 (https://"),
        (Wrk2(), {}, "wrk2: 'wrk2' is not on PATH. Install it (https://github.com/giltene/wrk2), or use"),
        (Wrk(), {"wrk": "wrk2"}, "wrk: FOLDER/wrk is wrk2, which only sends at a set rate. Install wrk (https://"),
        (Wrk(), {"wrk": "other"}, "wrk: FOLDER/wrk is not wrk. Install wrk (https://"),
        (Wrk(), {}, "wrk: 'wrk' is not on PATH. Install it (https://github.com/wg/wrk), or use"),
    ],
)
def test_the_wrong_one_is_an_error(
    generator: Wrk | Wrk2, installed: dict[str, str], message: str, programs: Callable[..., Path]
) -> None:
    folder = programs(**installed)
    with pytest.raises(GeneratorError) as caught:
        generator.version()
    assert str(caught.value).startswith(message.replace("FOLDER", str(folder)))


# Their output.

NO_ERRORS = {"connect": 0, "read": 0, "write": 0, "timeout": 0}


def printed(
    latencies: dict[int, int],
    service: dict[int, int] | None = None,
    *,
    statuses: dict[str, int] | None = None,
    threads: int = 1,
    connections: int = 1,
    seconds: float = 5,
    cpu: float = 0.1,
    sent: int = 0,
    silent: float = 0,
    errors: dict[str, int] | None = None,
    late: dict[int, int] | None = None,
    peers: Sequence[tuple[int, int, int]] = (),
) -> CommandOutput:
    """The output of the programs, for latencies in us; service times are the same unless given."""
    seen, rows = 0, []
    for value, count in sorted((service or latencies or {0: 0}).items()):
        seen += count
        rows.append(f"  {value / 1000:10.3f}     0.900000 {seen:10d}        10.00")
    answers = sum(latencies.values())
    report = {
        "microseconds": round(seconds * 1e6),
        "requests": sum(statuses.values()) if statuses else answers,
        "sent": sent,
        "under_way": max(0, sent - answers),
        "silent": round(silent * 1e6),
        "received": 10 * answers,
        "cpu": cpu * seconds * threads,
        "errors": NO_ERRORS | (errors or {}),
        "statuses": statuses or ({"200": answers} if answers else {}),
        "late": list((late or {}).items()),
        "latencies": list(latencies.items()),
        "peers": peers or [(ESTABLISHED, 500, 499)] * connections,
    }
    stdout = (
        f"Running 5s test @ http://localhost\n  {threads} threads and {connections} connections\n"
        "  Latency Distribution (HdrHistogram - Uncorrected Latency (measured without ...))\n"
        "       Value   Percentile   TotalCount 1/(1-Percentile)\n\n"
        + "\n".join(rows)
        + f"\n  {answers} requests in 5.00s\npytest-loadgen: {json.dumps(report)}\n"
    )
    return CommandOutput(stdout, "", 0, seconds, cpu * seconds, Path())


def parsed(generator: Wrk | Wrk2, output: CommandOutput, **options: Any) -> Interval:
    """Read an output, and check that the counts add up."""
    rate = "max" if isinstance(generator, Wrk) else 100
    (interval,) = generator.parse(output, plan(**{"rate": rate, **options}))
    answers = sum(count for outcome, count in interval.outcomes.items() if outcome.isdigit())
    assert interval.latency.count == interval.service_time.count == answers
    return interval


def result_of(interval: Interval, **options: Any) -> Result:
    return Result(plan(**options), "wrk2", (interval,))


@pytest.mark.parametrize(
    ("rate", "threads", "connections", "seconds", "due"),
    [
        (100, 1, 1, 5, 500),
        (100, 1, 100, 5, 500),  # all in the first half of each second
        (500, 1, 50, 5, 2460),  # each 10/s; those that start 0, 100 and 200 ms late or more lose 0, 1 and 2
        (300, 3, 7, 2, 600),  # one connection is left out; two in each thread
        (10, 1, 10, 0.02, 4),  # four have started
    ],
)
def test_a_run_without_delays_has_the_requested_rate(
    rate: int, threads: int, connections: int, seconds: float, due: int
) -> None:
    """Connections start one after another; the time lost by that does not count."""
    interval = parsed(
        Wrk2(),
        printed({50: due}, threads=threads, connections=connections, seconds=seconds),
        rate=rate,
        duration=seconds,
    )
    assert interval.outcomes == {"200": due}
    assert result_of(interval).rate == pytest.approx(rate)


@pytest.mark.parametrize(
    ("latency", "missing", "open_at_the_end", "failures", "never_sent"),
    [
        # Ten connections, each with a period of 100 ms: a request each 5 ms for 50 ms, then none for 50 ms.
        (1_000, 0, 0, 0, 0),
        (1_000, 1, 1, 1, 0),  # nothing was due in the last 50 ms
        (1_000, 5, 0, 0, 5),  # all requests sent have a response: wrk2 did not send the others
        (30_000, 2, 2, 0, 0),  # in twice that time, 60 ms, two were due
        (30_000, 3, 3, 3, 0),
        (90_000, 10, 10, 0, 0),  # each may have one open
        (90_000, 11, 6, 11, 0),
        (90_000, 11, 5, 0, 11),  # but half of them are free
    ],
)
def test_requests_in_flight_at_the_end_do_not_count(
    latency: int, missing: int, open_at_the_end: int, failures: int, never_sent: int
) -> None:
    """As many as schedule and service time explain; if there are more, all are failures, or never sent."""
    answers = 500 - missing
    output = printed({latency: answers}, connections=10, sent=answers + open_at_the_end)
    interval = parsed(Wrk2(), output)
    assert interval.outcomes == Counter({"200": answers, "timeout": failures})
    assert interval.seconds == (answers + failures + never_sent) / 100
    assert interval.never_sent == max(0, failures - open_at_the_end)
    assert interval.lag.over(0.04) == never_sent


def test_requests_just_due_may_wait_unless_a_connection_hangs() -> None:
    """wrk2 reports a connection that waits for two seconds."""
    for hangs, failures in (0, 0), (3, 4):
        interval = parsed(Wrk2(), printed({1000: 496}, errors={"timeout": hangs}))
        assert interval.outcomes == Counter({"200": 496, "timeout": failures})


@pytest.mark.parametrize(
    ("answers", "sent", "errors", "outcomes"),
    [
        # No responses at all: nothing counts as in flight.
        (0, 10, {}, {"timeout": 500}),
        (0, 10, {"timeout": 6}, {"timeout": 500}),
        # The service died; attempts to connect are not requests.
        (250, 275_760, {"read": 1, "write": 275_500}, {"200": 250, "refused": 250}),
        # Some were lost, and got a response when they were sent again.
        (500, 508, {"read": 7}, {"200": 500, "failed": 7}),
        # The service was down for a while; most failed reads were not requests.
        (500, 99_510, {"read": 900, "write": 99_000}, {"200": 500, "refused": 10}),
        # Some were lost, and one connection hangs.
        (400, 408, {"read": 7, "timeout": 2}, {"200": 400, "failed": 7, "timeout": 93}),
        (0, 0, {"connect": 9_000}, {"tls": 500}),
    ],
)
def test_failures_are_counted_by_the_schedule(
    answers: int, sent: int, errors: dict[str, int], outcomes: dict[str, int]
) -> None:
    latencies = {100: answers} if answers else {}
    assert parsed(Wrk2(), printed(latencies, connections=10, sent=sent, errors=errors)).outcomes == outcomes


def test_a_retried_request_is_a_failure_and_a_slow_response() -> None:
    interval = parsed(Wrk2(), printed({100: 495, 9_000: 5}, connections=10, sent=505, errors={"read": 5}))
    assert interval.outcomes == {"200": 500, "failed": 5}
    assert interval.latency.over(0.008) == 5
    assert interval.seconds == 5  # as many were due


@pytest.mark.parametrize(
    ("answers", "sent", "read"),
    [
        (500, 750, 248),  # one in three was reset
        (251, 90_000, 89_740),  # all were, from the middle of the run on
    ],
)
def test_too_many_retries_are_an_error(answers: int, sent: int, read: int) -> None:
    """wrk2 sends a lost request again at once, without keeping the rate."""
    with pytest.raises(
        GeneratorError, match=r"^sent [\d,]+ requests again in a loop .* in addition to 500 that were due"
    ):
        parsed(Wrk2(), printed({100: answers}, connections=10, sent=sent, errors={"read": read}))


def test_responses_that_come_too_late_are_timeouts() -> None:
    """Latency counts from when they were due; a request sent too late to be in time is never_sent."""
    # For a second there were no responses; ten requests, one per connection, took that long.
    output = printed({900: 400, 800_000: 50, 1_100_000: 50}, {900: 490, 1_050_000: 10}, connections=10)
    interval = parsed(Wrk2(), output, timeout=1)
    assert interval.outcomes == {"200": 450, "timeout": 50}
    assert interval.never_sent == 40
    served = result_of(interval, timeout=1).by_service_time
    assert served.outcomes == {"200": 450, "timeout": 10}
    assert served.p50 < "1ms"
    assert served.percentile(99) == math.inf


def test_service_times_come_from_the_spectrum() -> None:
    """Its rows are exact; a value between two rows may be anywhere between them."""
    interval = parsed(Wrk2(), printed({5_000: 500}, {100: 1, 900: 250, 2_000: 249}))
    assert interval.service_time.percentile(50) == pytest.approx(0.0009, rel=1e-3)
    best, worst = interval.service_time.best_and_worst()
    assert best.percentile(25) < "200us"
    assert worst.percentile(25) > "800us"
    assert interval.latency.best_and_worst() == (interval.latency, interval.latency)


@pytest.mark.parametrize(
    ("statuses", "count", "shared"),
    [
        # The last response is not in the histogram; its status is unknown.
        ({"200": 251, "404": 125, "503": 125}, 500, {"200": 250, "404": 125, "503": 125}),
        ({"200": 500, "503": 1}, 500, {"200": 499, "503": 1}),
        ({"500": 503}, 500, {"500": 500}),
    ],
)
def test_statuses_add_up_to_the_latencies(statuses: dict[str, int], count: int, shared: dict[str, int]) -> None:
    """And no rare status is lost by that."""
    assert parsed(Wrk2(), printed({100: count}, statuses=statuses)).outcomes == shared


def test_lag_of_wrk2_is_reported() -> None:
    """Where it is certain: no request was in flight, and one was due."""
    interval = parsed(Wrk2(), printed({50_000: 500}, sent=501, late={1: 20, 30: 8}))
    assert interval.lag.count == 501
    assert (interval.lag.over(0.0005), interval.lag.over(0.002)) == (28, 8)
    (sentence,) = result_of(interval).problems
    assert "the wrk2 generator was late: it sent 1 request in 100 30ms or more after it was due" in sentence


def test_without_cpu_left_all_latency_may_be_lag() -> None:
    late, busy = (printed({900_000: 500}, sent=500, cpu=cpu) for cpu in (0.5, 0.97))
    assert not result_of(parsed(Wrk2(), late)).problems
    (sentence,) = result_of(parsed(Wrk2(), busy)).problems
    assert "the wrk2 generator fell behind" in sentence
    assert parsed(Wrk2(), busy).cpu == pytest.approx(0.97)


# The latencies that wrk adds.


def corrected(original: Counter[int], expected: int) -> Counter[int]:
    """Correct as wrk does: for a latency of n, add n - expected, n - 2 expected, … above expected."""
    counts = Counter(original)
    for value in range(2 * expected, max(original, default=0) + 1):
        for added in range(value - expected, expected, -expected):
            counts[added] += original[value]
    return counts


@settings(max_examples=50)
@given(
    some.dictionaries(some.integers(0, 3000), some.integers(1, 50), min_size=1),
    some.integers(1, 5),
    some.integers(30, 900),
)
def test_the_latencies_that_wrk_adds_are_removed(original: dict[int, int], connections: int, expected: int) -> None:
    """All of them, and no others, whatever the latencies."""
    count = sum(original.values())
    seconds = (count // connections or 1) * expected / 1e6
    made = corrected(Counter(original), expected) if count >= connections else original
    output = printed(dict(made), statuses={"200": count}, connections=connections, seconds=seconds)
    assert parsed(Wrk(), output).latency.counts == parsed(Wrk(), printed(original, seconds=count)).latency.counts


def test_latencies_that_do_not_match_the_formula_are_an_error() -> None:
    """Another version may add others."""
    output = printed({1_000: 1, 2_001: 9}, statuses={"200": 10}, seconds=0.01)
    with pytest.raises(GeneratorError, match="latency correction cannot be undone"):
        list(Wrk().parse(output, plan(rate="max")))


@pytest.mark.parametrize(
    ("answers", "sent", "errors", "outcomes"),
    [
        # At the end each of ten connections has an open request.
        (1000, 1010, {}, {"200": 1000}),
        (1000, 1013, {"read": 3}, {"200": 1000, "failed": 3}),
        # Fewer than failed reads, because some connections were closed without a request.
        (1000, 1210, {"read": 300}, {"200": 1000, "failed": 210}),
        (1000, 3010, {"read": 10, "write": 1990}, {"200": 1000, "refused": 1990, "failed": 10}),
        # No responses at all.
        (0, 10, {}, {"timeout": 10}),
        (0, 0, {"connect": 500}, {"tls": 500}),
    ],
)
def test_failures_of_wrk_are_requests_without_response(
    answers: int, sent: int, errors: dict[str, int], outcomes: dict[str, int]
) -> None:
    output = printed({100: answers} if answers else {}, connections=10, sent=sent, errors=errors)
    assert parsed(Wrk(), output).outcomes == outcomes


@pytest.mark.parametrize(
    ("silent", "sent", "outcomes"),
    [
        (1.9, 1010, {"200": 1000}),
        (2.1, 1010, {"200": 1000, "timeout": 10}),
        (2.1, 1013, {"200": 1000, "failed": 3, "timeout": 10}),
    ],
)
def test_requests_of_wrk_that_hang_at_the_end_are_timeouts(silent: float, sent: int, outcomes: dict[str, int]) -> None:
    """If there was no response for longer than the timeout."""
    output = printed({100: 1000}, connections=10, sent=sent, silent=silent, errors={"read": sent - 1010})
    assert parsed(Wrk(), output, timeout=2).outcomes == outcomes


def test_responses_that_wrk_does_not_measure_are_timeouts() -> None:
    """It omits latencies above its own timeout, which is in whole seconds."""
    made = {100: 90, 800_000: 4, 1_300_000: 4}  # ten connections, each with a request each half a second
    output = printed(made, statuses={"200": 100}, connections=10, sent=110, errors={"timeout": 6})
    assert parsed(Wrk(), output, timeout=1.2).outcomes == {"200": 90, "timeout": 10}


# What is open at the end.


@pytest.mark.parametrize(
    ("peer", "failed", "unseen"),
    [
        ((ESTABLISHED, 400, 399), 0, 0),  # answered, and the last request was just due
        ((ESTABLISHED, 3, 12), 0, 0),  # just sent
        ((CLOSE_WAIT, 700, 720), 10, 0),  # closed without a response: it sends nothing more
        ((CLOSE_WAIT, 700, 699), 10, 0),  # closed after a response
        ((CLOSE_WAIT, 4, 0), 0, 0),  # closed with a response that came too late
        ((ESTABLISHED, 700, 720), 0, 10),  # nobody knows what would have come
        ((ESTABLISHED, 1500, 1520), 10, 0),  # longer than the timeout
    ],
)
def test_what_wrk2_waits_for_at_the_end(peer: tuple[int, int, int], failed: int, unseen: int) -> None:
    """Of few missing requests, the connections show whether they were in flight, lost or waiting for too long."""
    due = 2_500 - 8  # the connections start one after the other
    peers = [peer, *[(ESTABLISHED, 40, 39)] * 9]
    output = printed({1000: due - 10}, connections=10, sent=due - 9, peers=peers)
    found = parsed(Wrk2(), output, timeout=1, rate=500)
    assert found.outcomes.get("timeout", 0) == failed
    assert found.unseen == unseen


@pytest.mark.parametrize(
    ("ages", "hung", "unseen"),
    [([2] * 10, 0, 0), ([2] * 9 + [400], 0, 1), ([2] * 9 + [3000], 1, 0), ([400] * 10, 0, 10)],
)
def test_what_wrk_waits_for_at_the_end(ages: list[int], hung: int, unseen: int) -> None:
    """A service that dies shortly before the end answers none of the open requests."""
    peers = [(ESTABLISHED, age, age) for age in ages]
    found = parsed(Wrk(), printed({100: 1000}, connections=10, sent=1010, peers=peers), timeout=2)
    assert found.outcomes.get("timeout", 0) == hung
    assert found.unseen == unseen


# Invalid results.


@pytest.mark.parametrize("generator", [Wrk(), Wrk2()])
def test_interim_responses_are_an_error(generator: Wrk | Wrk2) -> None:
    output = printed({100: 20}, statuses={"103": 10, "200": 10}, sent=21)
    with pytest.raises(GeneratorError, match=r"^counts 1xx responses as final, and this service sends them \(103\)"):
        list(generator.parse(output, plan(rate=4)))


@pytest.mark.parametrize(
    ("truth", "lie", "message"),
    [
        ('"microseconds": 5000000', '"microseconds": 0', "invalid run time or CPU time: 0.0s"),
        ('"microseconds": 5000000', '"microseconds": -1', "invalid count: -1$"),
        ('"sent": 21', f'"sent": {10**30}', "invalid count: 1000"),
        ('"sent": 21', '"sent": NaN', "invalid count: nan"),
        ('"requests": 20', '"requests": 20.5', "invalid count: 20.5"),
        ('"cpu": 0.5', '"cpu": NaN', "CPU time: 5.0s, nans"),
        ('{"200": 20}', '{"20": 20}', "invalid status: '20'"),
        ("[[100, 20]]", "[[-100, 20]]", "invalid count: -100"),
        ("[[100, 20]]", "[[100, 20.0]]", "invalid count: 20.0"),
    ],
)
@pytest.mark.parametrize("generator", [Wrk(), Wrk2()])
def test_an_invalid_report_is_an_error(generator: Wrk | Wrk2, truth: str, lie: str, message: str) -> None:
    output = printed({100: 20}, sent=21)
    assert truth in output.stdout
    with pytest.raises(GeneratorError, match=message):
        list(generator.parse(replace(output, stdout=output.stdout.replace(truth, lie)), plan(rate=4)))


def test_a_run_that_was_too_short_is_an_error() -> None:
    """Configured arguments may have shortened it."""
    with pytest.raises(GeneratorError, match=r"^ran for 2s instead of 5s: check that its args"):
        list(Wrk2().parse(printed({100: 200}, seconds=2), plan(rate=100)))


def test_more_responses_than_latencies_are_an_error() -> None:
    output = printed({100: 20}, statuses={"200": 30}, sent=31)
    with pytest.raises(GeneratorError, match="the number of latencies differs from the number of responses, 30"):
        list(Wrk().parse(output, plan(rate="max")))


def test_responses_without_headers_are_an_error() -> None:
    output = printed({100: 20}, sent=21)
    output = replace(output, stdout=output.stdout.replace('"statuses": {"200": 20}', '"statuses": {"200": 19}'))
    with pytest.raises(GeneratorError, match="the Lua hook saw the status of 19 of 20 responses: it does not"):
        list(Wrk().parse(output, plan(rate="max")))


# Recorded outputs of the real programs, each with a service that behaves as described.


@pytest.mark.parametrize(
    ("name", "options", "outcomes", "slow"),
    [
        # 200, 200, 404, 503 in turn.
        ("wrk2/statuses", {"rate": 50, "duration": 2}, {"200": 50, "404": 25, "503": 25}, 0),
        # The service stalled for a second, in which a hundred requests were due.
        ("wrk2/stall", {"duration": 3}, {"200": 300}, 80),
        # The service died at the sixtieth request.
        ("wrk2/dies", {"duration": 2}, {"200": 61, "refused": 139}, 0),
        ("wrk2/never-answers", {"rate": 50, "duration": 2}, {"timeout": 100}, 0),
        # Each response took 1.3 s; the last four requests were in flight.
        ("wrk2/too-slow", {"rate": 4, "duration": 3, "timeout": 1}, {"timeout": 8}, 0),
        # One response in ten was cut short.
        ("wrk2/loses-one-in-ten", {"duration": 2}, {"200": 200, "failed": 22}, 0),
        # The sixtieth request got no response, and its connection sent no more.
        ("wrk2/one-hangs", {"duration": 5}, {"200": 390, "timeout": 110}, 0),
        ("wrk2/two-threads", {"duration": 2}, {"200": 204}, 0),
        ("wrk/statuses", {"duration": 2}, {"200": 732, "404": 367, "503": 367}, 0),
        ("wrk/stall", {"duration": 2}, {"200": 192}, 4),
        ("wrk/dies", {"duration": 2}, {"200": 60, "refused": 97_875, "failed": 4}, 0),
        ("wrk/never-answers", {"duration": 2}, {"timeout": 4}, 0),
        ("wrk/too-slow", {"duration": 4, "timeout": 1}, {"timeout": 12}, 0),
        ("wrk/loses-one-in-ten", {"duration": 2}, {"200": 736, "failed": 82}, 0),
    ],
)
def test_recordings(name: str, options: dict[str, Any], outcomes: dict[str, int], slow: int) -> None:
    """Where some were lost, the service had counted the same number."""
    generator = Wrk() if name.startswith("wrk/") else Wrk2()
    output = CommandOutput((RECORDED / f"{name}.txt").read_text(), "", 0, 2.0, 0.1, Path())
    interval = parsed(generator, output, **options)
    assert interval.outcomes == outcomes
    assert interval.latency.over(0.1) == pytest.approx(slow, abs=15 if slow > 4 else 0)
    if isinstance(generator, Wrk2):
        again = outcomes["failed"] if name == "wrk2/loses-one-in-ten" else 0
        assert interval.seconds == (interval.requests - again) / options.get("rate", 100)


@pytest.mark.parametrize("name", ["wrk/missing-script", "wrk/other-script", "wrk2/other-script"])
def test_a_run_without_the_hook_is_an_error(name: str) -> None:
    """Both programs ignore a script that they cannot load, and exit with status 0."""
    output = CommandOutput((RECORDED / f"{name}.txt").read_text(), "cannot open wrk.lua", 0, 2, 0.1, Path())
    for generator in Wrk(), Wrk2():
        with pytest.raises(GeneratorError, match=r"^the Lua hook printed nothing: cannot open wrk\.lua$"):
            list(generator.parse(output, plan()))


# The real programs.


@pytest.fixture
def run(server: Server) -> Callable[..., Result]:
    """Load a path of the server, for a second by default."""

    def run(generator: LoadGenerator, url: str = "/", /, **options: Any) -> Result:
        rate = 200 if "rate" in generator.features else "max"
        chosen = cast(Options, {"rate": rate, "duration": 1, "connections": 4, **options})
        asked = plan_of(url if "://" in url else server.url + url, chosen)
        check(generator, asked.needs)
        return runner.run(asked, Rounds(generator, asked))

    return run


def loading(server: Server) -> list[int]:
    """The processes that load a server, by the URL in their arguments."""
    arguments = {path.parent.name: path.read_bytes().split(b"\0") for path in Path("/proc").glob("[0-9]*/cmdline")}
    return [int(number) for number, found in arguments.items() if server.url.encode() in found]


both = pytest.mark.parametrize(
    "generator", [pytest.param(Wrk(), marks=needs("wrk")), pytest.param(Wrk2(), marks=needs("wrk2"))]
)


@both
def test_each_status_is_counted(generator: LoadGenerator, run: Callable[..., Result], server: Server) -> None:
    """The last responses may come too late to count."""
    paths = ["/", "/", "/404", "/503"]
    server.choose = lambda path, before: paths[before % 4]
    result = run(generator)
    seen = Counter({status: server.requests[path] for status, path in (("200", "/"), ("404", "/404"), ("503", "/503"))})
    assert result.outcomes.keys() == seen.keys()
    assert 0 <= seen.total() - result.requests <= 10
    for status, count in seen.items():
        assert result.outcomes[status] == pytest.approx(count, abs=10)


@needs("wrk2")
def test_wrk2_keeps_its_rate(run: Callable[..., Result], server: Server) -> None:
    """In rounds that are not too long: the requests arrive, and are reported, at this rate."""
    wrk2 = Wrk2()
    wrk2.max_duration = 1
    result = run(wrk2, rate=50, duration=2)
    assert [round(interval.start) for interval in result.intervals] == [0, 1]
    assert result.outcomes.keys() == {"200"}
    assert result.requests == pytest.approx(100, abs=6)
    assert server.requests.total() == pytest.approx(100, abs=6)
    for interval in result.intervals:
        assert interval.requests / interval.seconds == pytest.approx(50)


@needs("wrk2")
def test_a_stall_is_in_the_latencies_of_wrk2(run: Callable[..., Result], server: Server) -> None:
    """Of the service times, it is only in those of requests in flight."""

    def choose(path: str, before: int) -> str:
        if before == 100:
            time.sleep(1)
        return path

    server.choose = choose
    result = run(Wrk2(), rate=100, duration=3)
    assert result.p99 > "900ms"
    assert result.total.latency.over(0.1) >= 80  # a hundred are due in that second
    assert 1 <= result.total.service_time.over(0.9) <= 4
    assert not result.problems  # wrk2 itself did not stall


@needs("wrk2")
def test_a_stall_of_wrk2_itself_is_lag(server: Server) -> None:
    """It is the generator that is reported as the problem, not the service."""
    running = Wrk2().run(plan(server.url, rate=40, duration=2, connections=2))
    found: list[Interval] = []
    thread = threading.Thread(target=lambda: found.extend(running))
    thread.start()
    # Twice, because lag is not certain if it is stopped with a request in flight.
    for requests in 20, 40:
        while server.requests.total() < requests:
            time.sleep(0.01)
        (program,) = loading(server)
        os.kill(program, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(program, signal.SIGCONT)
    thread.join(10)
    assert not loading(server)
    (interval,) = found
    assert interval.lag.over(0.1) >= 5
    assert "200ms" < interval.lag.percentile(100) <= interval.latency.percentile(100)
    (sentence,) = result_of(interval).problems
    assert sentence.startswith("the wrk2 generator ")


@needs("wrk")
def test_a_stall_adds_no_latencies_to_wrk(run: Callable[..., Result], server: Server) -> None:
    """Each latency is one of a request that was sent; only those of requests in flight are long."""

    def choose(path: str, before: int) -> str:
        if before == 100:
            time.sleep(1)
        return path

    server.choose = choose
    result = run(Wrk(), duration=2)
    assert result.outcomes == {"200": result.requests}
    assert server.requests.total() - result.requests <= 4
    assert 1 <= result.total.latency.over(0.9) <= 4


@both
@pytest.mark.parametrize(
    ("call", "instead"),
    [(b"pcall(", b"assert(pcall("), (b'require("ffi")', b'require("none")')],
    ids=["works", "is-not-needed"],
)
def test_the_hook_with_and_without_luajit(
    generator: Wrk | Wrk2, call: bytes, instead: bytes, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it does with LuaJIT works with the real programs; and it works without LuaJIT, too."""
    whole = type(generator).files

    def changed(self: Wrk | Wrk2, asked: Plan) -> dict[str, bytes]:
        files = dict(whole(self, asked))
        lines = files["wrk.lua"].splitlines()
        assert any(call in line for line in lines)
        ending = b")" if b"assert" in instead else b""
        changed = [line.replace(call, instead) + ending if call in line else line for line in lines]
        return files | {"wrk.lua": b"\n".join(changed)}

    monkeypatch.setattr(type(generator), "files", changed)
    result = run(generator)
    assert result.outcomes == {"200": result.requests}


@needs("wrk")
def test_a_service_that_hangs_causes_timeouts(run: Callable[..., Result], server: Server) -> None:
    """If no more responses come, the open request of each connection is a timeout."""
    server.choose = lambda path, before: "/silent" if before >= 100 else path
    result = run(Wrk(), duration=2, timeout=1, connections=10)
    assert result.outcomes == {"200": 100, "timeout": 10}


@needs("wrk")
def test_a_service_that_hangs_shortly_before_the_end(run: Callable[..., Result], server: Server) -> None:
    """What is open then is neither a failure nor forgotten."""
    started: list[float] = []

    def choose(path: str, before: int) -> str:
        started.append(time.monotonic())
        return "/silent" if started[-1] > started[0] + 1.5 else path

    server.choose = choose
    result = run(Wrk(), duration=2, timeout=5, connections=10)
    assert result.errors == 0
    assert result.total.unseen == 10


@needs("wrk2")
def test_few_requests_that_are_dropped_are_failures(run: Callable[..., Result], server: Server) -> None:
    """wrk2 does not notice that a connection was closed without a response."""
    server.choose = lambda path, before: "/hang-up" if before in {500, 700} else path
    result = run(Wrk2(), rate=500, duration=2)
    assert result.errors >= 2


@both
def test_a_service_that_dies_causes_failures(
    generator: LoadGenerator, run: Callable[..., Result], server: Server
) -> None:
    """Refused connections are failures, and the responses before are not lost."""

    def choose(path: str, before: int) -> str:
        if before == 50:
            threading.Thread(target=server.die).start()
        return path

    server.choose = choose
    result = run(generator)
    assert result.outcomes["200"] >= 45
    assert result.outcomes["refused"] >= 50
    assert result.total.unanswered == result.requests - result.outcomes["200"]


@both
def test_responses_slower_than_the_timeout(generator: LoadGenerator, run: Callable[..., Result]) -> None:
    """wrk omits their latencies, and wrk2 counts them as responses."""
    result = run(generator, "/delay/1.3", rate=4 if "rate" in generator.features else "max", duration=2, timeout=1)
    assert result.outcomes.keys() == {"timeout"}
    assert result.requests >= 4
    assert str(result.p50) == ">1s"


@both
def test_connections_that_are_not_kept(generator: LoadGenerator, run: Callable[..., Result]) -> None:
    """A service may announce that it closes each connection after its response."""
    result = run(generator, "/close")
    assert result.outcomes == {"200": result.requests}


@needs("wrk")
def test_connections_closed_silently_are_an_error_of_wrk(run: Callable[..., Result]) -> None:
    with pytest.raises(GeneratorError, match="closes each connection after a response without announcing it"):
        run(Wrk(), "/silent-close")


@needs("wrk2")
def test_connections_closed_silently_are_timeouts_of_wrk2(run: Callable[..., Result]) -> None:
    """It does not notice, and waits for responses."""
    assert run(Wrk2(), "/silent-close").outcomes["timeout"] > 100


@both
@pytest.mark.parametrize(
    ("headers", "content"),
    [
        (
            {"X-Quoted": "\"]] .. os.exit() --[[ \\' ]]", "X-Percent": "%s%d%%", "x-lower": "a", "X": "grün".encode()},
            b'{"name": "]]\\"}' + bytes(range(256)) * 3 + "\r\n\r\n€\n".encode(),
        ),
        (
            [("X-Twice", "1"), ("X-Twice", "2"), ("Host", "shop.example"), ("content-length", "70000")],
            os.urandom(70_000),
        ),
    ],
)
def test_a_request_is_sent_byte_for_byte(
    generator: LoadGenerator,
    headers: Any,
    content: bytes,
    run: Callable[..., Result],
    server: Server,
) -> None:
    """Whatever its headers and body contain."""
    given: dict[str, Any] = {"headers": headers, **({"content": content} if content else {})}
    target = plan(f"{server.url}/?q=%20%00'\"", **given).target
    result = run(generator, "/?q=%20%00'\"", rate=10 if "rate" in generator.features else "max", **given)
    assert result.outcomes == {"200": result.requests}
    head, _, body = server.last_request.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    assert line == target.method.encode() + b" " + target.path + b" HTTP/1.1"
    assert lines == [name + b": " + value for name, value in target.headers]
    assert body == content


@both
def test_tls_connects_to_the_checked_address_with_the_name(
    generator: LoadGenerator, run: Callable[..., Result], authority: trustme.CA, authority_file: Path
) -> None:
    """The name is in the handshake, although it is not looked up again."""
    names: list[str] = []
    context = tls(authority, names)
    with Server(tls=context) as server:
        result = run(generator, server.url.replace("127.0.0.1", "localhost"), verify=authority_file)
    assert result.outcomes == {"200": result.requests}
    assert set(names) == {"localhost"}


def tls(authority: trustme.CA, names: list[str]) -> Any:
    """The TLS of a server, which records the names in handshakes."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.sni_callback = lambda _, name, __: names.append(name)
    return context


@needs("wrk")
def test_ipv6(run: Callable[..., Result]) -> None:
    with Server(host="::1") as server:
        assert run(Wrk(), server.url).outcomes.keys() == {"200"}


@both
def test_finishing_gives_a_partial_result(generator: Wrk | Wrk2, server: Server) -> None:
    """A load that ends early is reported for the time that it had."""
    asked = plan(server.url, rate=100 if isinstance(generator, Wrk2) else "max", duration=8, connections=4)
    running = generator.run(asked)
    found: list[Interval] = []
    thread = threading.Thread(target=lambda: found.extend(running))
    thread.start()
    while server.requests.total() < 50:
        time.sleep(0.01)
    running.finish()
    thread.join(10)
    (interval,) = found
    assert interval.seconds < 4
    assert interval.outcomes == {"200": interval.requests}
