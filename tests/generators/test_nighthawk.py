"""Nighthawk: its arguments, its result, and programs that behave like it."""

import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.nighthawk import Nighthawk
from pytest_loadgen.generators.nighthawk_result import NighthawkResult, Statistic
from pytest_loadgen.generators.process import CommandOutput
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.plan import Plan
from tests.builders.nighthawk import URL, at, output, plan, second, statistic
from tests.conftest import RECORDINGS, recording, wait_for

PUBLISHED = RECORDINGS / "nighthawk"


def configured(*args: str) -> Nighthawk:
    generator = Nighthawk().configured("nighthawk", {"secrets_in_arguments": True})
    generator.args = args
    return generator


# Arguments.


def test_arguments() -> None:
    """Nighthawk runs the plan in its open loop, and writes its result as JSON."""
    asked = at(plan(headers={"X-Tea": "green: yes"}), "127.0.0.1", 8000)
    assert configured("--label", "mine").argv(asked) == [
        *("--output-format", "json", "--open-loop", "--no-default-failure-predicates"),
        *("--rps", "100", "--duration", "5", "--timeout", "2", "--connections", "100"),
        *("--max-pending-requests", "500", "--max-active-requests", "500"),
        *("--protocol", "http1", "--address-family", "v4", "--request-method", "GET"),
        *("--request-header", "Host: 127.0.0.1:8000", "--request-header", "X-Tea: green: yes"),
        *("--request-header", "User-Agent: pytest-loadgen", "--request-header", "Accept: */*"),
        *("--concurrency", "1", "--verbosity", "warn", "--sequencer-idle-strategy", "sleep"),
        *(URL, "--label", "mine"),
    ]


@pytest.mark.parametrize(
    ("options", "args", "wanted"),
    [
        ({"rate": "60/m", "duration": 60}, (), "--rps 1 --duration 60"),
        ({"rate": 300}, ("--concurrency", "3"), "--rps 100 --duration 5 --timeout 2 --connections 33"),
        ({"rate": 300}, ("--concurrency=2",), "--rps 150 --duration 5 --timeout 2 --connections 50"),
        ({"rate": 300}, ("--concurrency", "3"), "--max-pending-requests 500"),
        ({"duration": "1m", "timeout": "1.2s", "connections": 7}, (), "--duration 60 --timeout 2 --connections 7"),
        ({"http2": True}, (), "--protocol http2"),
        ({"method": "DELETE"}, (), "--request-method DELETE"),
        ({}, ("-v", "debug"), "--concurrency 1 --sequencer-idle-strategy sleep"),
        ({}, ("--verbosity=debug",), "--concurrency 1 --sequencer-idle-strategy sleep"),
        ({}, ("--sequencer-idle-strategy", "poll"), "--concurrency 1 --verbosity warn http"),
    ],
)
def test_configured_arguments(options: dict[str, Any], args: Sequence[str], wanted: str) -> None:
    """Rates and connections are per worker; no flag is given twice."""
    assert wanted in " ".join(configured(*args).argv(plan(**options)))


@pytest.mark.parametrize("args", [["--rps", "9"], ["--rps=9"], ["-v", "debug", "--rps=9"]])
def test_reserved_arguments_are_refused(args: list[str]) -> None:
    """Even if Nighthawk is not installed; the message names the option to use instead."""
    with pytest.raises(PlanError, match=r"^nighthawk: args: --rps is reserved; use rate= of load\(\)$"):
        list(configured(*args).run(plan()))


@pytest.mark.parametrize(
    ("url", "address", "options", "wanted"),
    [
        # The address that was checked, with the name in the Host header.
        ("http://tea.test/x", ("10.0.0.1", 80), {}, ["v4", "Host: tea.test", "http://10.0.0.1:80/x"]),
        ("http://tea.test/x", ("::1", 80), {}, ["v6", "Host: tea.test", "http://[::1]:80/x"]),
        ("http://[::1]:8000/", ("::1", 8000), {}, ["v6", "Host: [::1]:8000", "http://[::1]:8000/"]),
        ("http://a/", ("10.0.0.1", 80), {"headers": {"Host": "b"}}, ["v4", "Host: b", "http://10.0.0.1:80/"]),
        # The name is part of TLS; Nighthawk would also use a Host header, with its port, as server name.
        ("https://tea.test:8443/x", ("10.0.0.1", 8443), {}, ["v4", "https://tea.test:8443/x"]),
        ("https://TEA.test/x", ("10.0.0.1", 443), {}, ["v4", "https://tea.test:443/x"]),
        ("https://a/", ("::1", 443), {"headers": {"Host": "b"}}, ["v6", "Host: b", "https://a:443/"]),
    ],
)
def test_address(url: str, address: tuple[str, int], options: dict[str, Any], wanted: list[str]) -> None:
    """The load goes to the address that was checked."""
    argv = configured().argv(at(plan(url, **options), *address))
    assert [word for word in argv if word in {"v4", "v6"} or "://" in word or word.startswith("Host")] == wanted


@pytest.mark.parametrize(
    ("http2", "given", "sent"), [(False, "keep-alive", 0), (False, "close", 1), (True, "close", 0)]
)
def test_connection(http2: bool, given: str, sent: int) -> None:
    """HTTP/2 has no such header, and HTTP/1 keeps connections open by default."""
    argv = configured().argv(plan(http2=http2, headers={"Connection": given}))
    assert argv.count(f"Connection: {given}") == sent


@pytest.mark.parametrize(
    ("options", "args", "message"),
    [
        ({"rate": "30/m"}, (), "Nighthawk supports whole numbers of requests per second only (got 0.5/s)"),
        (
            {"rate": 100},
            ("--concurrency", "3"),
            "Nighthawk supports whole numbers of requests per second only from each of 3 workers (--concurrency) "
            "(got 100/s)",
        ),
        ({"rate": 2_000_000}, (), "Nighthawk sends at most 1,000,000/s (got 2,000,000/s)"),
        ({"duration": 2.5}, (), "Nighthawk supports whole seconds only (got 2.5s)"),
        ({"warmup": "500ms", "duration": "500ms"}, (), "Nighthawk supports whole seconds only (got 500ms)"),
        ({"method": "PATCH"}, (), "Nighthawk does not support PATCH; it supports CONNECT, DELETE, GET, *"),
        (
            {"expect": [200, 404]},
            (),
            "Nighthawk cannot tell 200 from other 2xx statuses: use expect='2xx'",
        ),
        ({"headers": [("X-A", "1"), ("x-a", "2")]}, (), "Nighthawk cannot repeat a header, and 'X-A' occurs 2 times"),
        (
            {"connections": 1},
            ("--concurrency", "2"),
            "Nighthawk's 2 workers (--concurrency) need at least 2 connections",
        ),
        ({}, ("--concurrency", "auto"), "nighthawk: args: --concurrency must be a number of workers (got 'auto')"),
        ({}, ("--concurrency",), "nighthawk: args: --concurrency must be a number of workers (got '')"),
    ],
)
def test_a_plan_that_it_cannot_run_is_refused(options: dict[str, Any], args: Sequence[str], message: str) -> None:
    """It is not turned into another plan."""
    with pytest.raises(PlanError) as caught:
        configured(*args).argv(plan(**options))
    assert fnmatch(str(caught.value), message.replace("[", "[[]"))


def test_a_status_of_an_expected_class_may_be_expected_too() -> None:
    assert configured().argv(plan(expect=["2xx", 204]))


# What it tells.


def read(told: Mapping[str, Any], asked: Plan | None = None, took: float = 5.6) -> Interval:
    left = CommandOutput(json.dumps(told), "", 0, took, 0.28, Path())
    (interval,) = Nighthawk().parse(left, asked or plan())
    return interval


NAMES = {
    "refused": "benchmark.pool_connection_failure",
    "reset": "benchmark.stream_resets",
    "overflow": "benchmark.pool_overflow",
    "sent": "upstream_rq_total",
}


@pytest.mark.parametrize(
    ("answers", "failed", "more", "took", "found"),
    [
        ({"2xx": 500}, 0, {}, 5.6, ({"2xx": 500}, 0)),
        (
            {"2xx": 400, "3xx": 60, "4xx": 30, "5xx": 9, "1xx": 1},
            0,
            {},
            5.6,
            ({"2xx": 400, "3xx": 60, "4xx": 30, "5xx": 9, "1xx": 1}, 0),
        ),
        ({"5xx": 500}, 0, {}, 5.6, ({"5xx": 500}, 0)),
        # Failures.
        ({"2xx": 490}, 10, {"refused": 10}, 5.6, ({"2xx": 490, "refused": 10}, 0)),
        ({"2xx": 490}, 10, {"reset": 10, "sent": 500}, 5.6, ({"2xx": 490, "reset": 10}, 0)),
        ({"2xx": 490, "xxx": 10}, 0, {}, 5.6, ({"2xx": 490, "protocol": 10}, 0)),
        ({}, 500, {"refused": 500}, 5.6, ({"refused": 500}, 0)),
        # No connection was free, or none was established: such timeouts have no counter.
        ({"2xx": 490}, 10, {"overflow": 10}, 5.6, ({"2xx": 490, "timeout": 10}, 10)),
        ({"2xx": 490}, 10, {"overflow": 3, "refused": 4}, 5.6, ({"2xx": 490, "refused": 4, "timeout": 6}, 6)),
        # Requests open at the end do not count if they ended soon after; if one hung, all are timeouts.
        ({"2xx": 490}, 0, {"sent": 500}, 5.6, ({"2xx": 490}, 0)),
        ({"2xx": 490}, 0, {"sent": 500}, 7.6, ({"2xx": 490, "timeout": 10}, 0)),
        ({}, 0, {"sent": 100}, 7.6, ({"timeout": 500}, 400)),
        # Requests that were never sent.
        ({"2xx": 400}, 0, {}, 5.6, ({"2xx": 400, "timeout": 100}, 100)),
        ({"2xx": 498}, 0, {}, 5.6, ({"2xx": 498, "timeout": 2}, 2)),
        ({"2xx": 499}, 0, {}, 5.6, ({"2xx": 499}, 0)),  # due within the last 10 ms
        ({}, 0, {}, 5.6, ({"timeout": 500}, 500)),
    ],
)
def test_outcomes(
    answers: dict[str, int],
    failed: int,
    more: dict[str, int],
    took: float,
    found: tuple[dict[str, int], int],
) -> None:
    """Each request that was due is counted once, by its outcome."""
    counters = {NAMES[name]: count for name, count in more.items()}
    interval = read(output(answers, failed=[0.00001] * failed, more=counters), took=took)
    assert (interval.outcomes, interval.never_sent) == found
    assert interval.latency.count == interval.service_time.count == interval.requests - interval.unanswered
    assert (interval.start, interval.seconds) == (0, 5)
    assert interval.cpu == pytest.approx(0.28 / took)


def test_failures_of_tls_have_no_reason() -> None:
    """Nighthawk reports only that there was no connection."""
    told = output({"2xx": 490}, failed=[0.001] * 10, more={NAMES["refused"]: 10})
    assert read(told, plan("https://127.0.0.1:8000/")).outcomes == {"2xx": 490, "failed": 10}


def test_latency_counts_the_wait_for_a_connection() -> None:
    """Latency is measured from the release, and service time from when the request was sent."""
    interval = read(output({"2xx": 500}, [0.1] * 500, service=[0.02] * 500, more={"upstream_cx_rx_bytes_total": 7}))
    assert [str(interval.latency.percentile(50)), str(interval.service_time.percentile(50))] == ["100ms", "20ms"]
    assert interval.received == 7


def test_failures_make_no_response_faster() -> None:
    """The near-zero times of requests without a connection are not among the latencies."""
    told = output({"2xx": 490}, [0.05] * 490, failed=[0.00002] * 10, more={"benchmark.pool_overflow": 10})
    assert str(read(told).latency.percentile(0)) == "50ms"


def test_percentiles_are_exact_where_there_is_a_row() -> None:
    """Other percentiles are between the two nearest rows."""
    interval = read(output({"2xx": 500}, [number / 1000 for number in range(1, 501)]))
    best, worst = interval.latency.best_and_worst()
    for percent in (10, 50, 55, 75, 80, 90, 100):
        assert worst.percentile(percent) == pytest.approx(percent * 0.005, rel=0.01)
        assert best.percentile(percent) < worst.percentile(percent)
    assert best.percentile(99) <= 0.495 <= worst.percentile(99)
    assert interval.latency.percentile(0) <= 0.01


@pytest.mark.parametrize(
    ("slow", "outcomes"),
    [
        ([2.5] * 5, {"2xx": 475, "5xx": 20, "timeout": 5}),
        # These may be anywhere down to the row before, and so within the limit.
        ([1.5] * 5, {"2xx": 480, "5xx": 20}),
    ],
)
def test_a_response_that_comes_too_late_is_a_timeout(slow: list[float], outcomes: dict[str, int]) -> None:
    interval = read(output({"2xx": 480, "5xx": 20}, [0.01] * 490 + [2.0] * 5 + slow, more={}))
    assert interval.outcomes == outcomes
    assert interval.latency.percentile(100) <= 2.01
    assert interval.latency.count == interval.service_time.count == 500 - outcomes.get("timeout", 0)


TIMES = st.lists(st.integers(1, 3_000).map(lambda ms: ms / 1000), min_size=1, max_size=300)


@given(TIMES, st.lists(st.integers(0, 3_000).map(lambda ms: ms / 1000), max_size=30), st.integers(1, 2500))
def test_no_response_looks_faster_than_it_was(times: list[float], failed: list[float], limit: int) -> None:
    """Whatever failed, the latencies are at worst no better than the truth, up to the timeout."""
    told = output({"2xx": len(times)}, times, failed=failed, seconds=1, more={"benchmark.stream_resets": len(failed)})
    asked = plan(rate=len(times) + len(failed), duration=1, timeout=3)
    interval = read(told, asked)
    assert interval.latency.count == len(times)
    slower = sum(each > limit / 1000 for each in times)
    # A bucket of the histogram is 0.1 % wide.
    assert interval.latency.over(0.999 * limit / 1000) >= slower


@pytest.mark.parametrize(
    ("told", "asked", "message"),
    [
        (output({"2xx": 440}, seconds=4.4), plan(), "ran for 4.4s instead of 5s: a termination predicate ended it"),
        (
            output({"2xx": 480}, seconds=4.8, more={"graceful_stop_requested": 1}),
            plan(),
            "ran for 4.8s instead of 5s: a signal ended it",
        ),
        # A request of --simple-warmup is in the counters but not in the statistics.
        (
            output({"2xx": 501}, [0.01] * 500),
            plan(),
            "its counters do not match its statistics",
        ),
        (output({"2xx": 500}, more={NAMES["refused"]: 1}), plan(), "its counters do not match its statistics"),
    ],
)
def test_a_result_of_another_load_is_an_error(told: dict[str, Any], asked: Plan, message: str) -> None:
    with pytest.raises(GeneratorError) as caught:
        read(told, asked)
    assert fnmatch(str(caught.value), message)


def test_an_interrupted_load_is_reported_for_the_time_that_it_had() -> None:
    told = output({"2xx": 200}, seconds=2.0, more={"graceful_stop_requested": 1})
    interval = read(told, plan().between(0, 2.7), took=2.7)
    assert (interval.outcomes, interval.seconds) == ({"2xx": 200}, 2)


def test_the_result_of_all_workers_is_read() -> None:
    """Each worker has a result, too; the one named global is their sum."""
    told = output({"2xx": 500})
    worker = {**output({"2xx": 250})["results"][0], "name": "worker_0"}
    told["results"] = [worker, {**worker, "name": "worker_1"}, *told["results"]]
    assert read(told).outcomes == {"2xx": 500}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": "5"}, "do not match"),
        ({"min": "0.5s"}, "do not match"),
        ({"max": "0.5s"}, "do not match"),
        ({"percentiles": []}, "do not match"),
        ({"max": "10"}, "'10' is not a duration"),
    ],
)
def test_an_inconsistent_statistic_is_an_error(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Statistic.read({**statistic("x", [0.01, 0.02]), **change})


# Published results.


def published() -> list[Any]:
    found = sorted(PUBLISHED.iterdir()) if PUBLISHED.is_dir() else []
    missing = pytest.mark.skip(f"the published recordings are not in {PUBLISHED}")
    return [pytest.param(path, id=path.name) for path in found] or [pytest.param(PUBLISHED, marks=missing)]


@pytest.mark.parametrize("path", published())
def test_other_formats_are_refused(path: Path) -> None:
    """None of the published results is the JSON of a run that sent requests."""
    with pytest.raises((ValueError, LookupError)):
        NighthawkResult.read(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("hdr_proto_json.gold", dict.fromkeys(range(1, 11), 1)),
        ("circllhist_proto_json.gold", dict.fromkeys(range(1, 11), 1)),
        ("output_formatter.json.gold", {180_007: 1, 190_007: 1, 200_007: 1, 210_007: 1}),
    ],
)
def test_published_statistics_are_read(name: str, found: dict[int, int]) -> None:
    data = json.loads(recording(f"nighthawk/{name}").read_text(encoding="utf-8"))
    if "results" in data:
        data = next(each for each in data["results"][-1]["statistics"] if each["id"] == "foo_latency")
    rows = Statistic.read(data).rows
    counts = {round(value * 1e9): count for value, count in rows}
    before = [0, *counts.values()]
    assert {value: count - less for (value, count), less in zip(counts.items(), before, strict=False)} == found


# Programs that behave like Nighthawk.

OPTIONS = """
import json, os, signal, sys, time
flags = {flag: value for flag, value in zip(sys.argv, sys.argv[1:]) if flag.startswith("--")}
"""
OK = "print(open(RESULT).read(), end='')"

Program = Callable[[str], Nighthawk]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Write a Python program in place of Nighthawk; RESULT is a file with the result of one second."""
    (tmp_path / "result").write_text(json.dumps(output({"2xx": 100}, seconds=1)))

    def write(code: str = OK) -> Nighthawk:
        path = tmp_path / "nighthawk_client"
        path.write_text(f"#!{sys.executable}\n{OPTIONS}RESULT = {str(tmp_path / 'result')!r}\n{code}\n")
        path.chmod(0o755)
        generator = configured()
        generator.program = str(path)
        return generator

    return write


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs have less time to end."""
    monkeypatch.setattr("pytest_loadgen.generators.command._GRACE", 0.2)


def test_a_load(program: Program) -> None:
    """One run is one interval."""
    (interval,) = program(f"assert flags['--rps'] == '100' and flags['--duration'] == '1'\n{OK}").run(second())
    assert interval.outcomes == {"2xx": 100}
    assert interval.cpu > 0


def test_the_warm_up_is_a_run_of_its_own(program: Program, tmp_path: Path) -> None:
    """The first run is as long as the warm-up, and does not count."""
    log = tmp_path / "log"
    asked = second(duration=1, warmup="1s")
    assert len(list(program(f"open({str(log)!r}, 'a').write(flags['--duration'] + ' ')\n{OK}").run(asked))) == 1
    assert log.read_text() == "1 1 "


@pytest.mark.parametrize("impossible", [{"duration": "1.5s"}, {"warmup": "1.5s"}])
def test_no_warm_up_is_sent_for_a_refused_plan(program: Program, tmp_path: Path, impossible: dict[str, str]) -> None:
    with pytest.raises(PlanError, match="whole seconds"):
        list(program(f"open({str(tmp_path / 'ran')!r}, 'w')").run(second(**{"warmup": "1s", **impossible})))
    assert not (tmp_path / "ran").exists()


def test_a_run_with_error_responses_has_a_result(program: Program, tmp_path: Path) -> None:
    """Nighthawk may exit with status 1 because of error responses, and write its result nevertheless."""
    (tmp_path / "result").write_text(json.dumps(output({"2xx": 99, "4xx": 1}, seconds=1)))
    (interval,) = program(f"{OK}\nsys.exit('An error occurred.')").run(second())
    assert interval.outcomes == {"2xx": 99, "4xx": 1}


FLOOD = "for _ in range(20_000): print('[W] connection failed ' + 'x' * 99, file=sys.stderr)\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("sys.exit('PARSE ERROR: Argument: --rps')", "ended with exit status 1: PARSE ERROR: Argument: --rps"),
        ("sys.exit(1)", "ended with exit status 1, with no output"),
        ("os.kill(os.getpid(), 11)", "was killed by SIGSEGV, with no output"),
        (FLOOD + "sys.exit(1)", "ended with exit status 1: [...]*xxx"),
        ("", "its result cannot be read (Expecting value: *), with no output"),
        ("print('Nighthawk - A layer 7 tool')", "its result cannot be read (*): Nighthawk - A layer 7 tool"),
        ("print('[]')", "its result cannot be read (*): []"),
        ("print('{}')", "its result cannot be read (not a Nighthawk result): {}"),
        ("print('{}'); sys.exit(1)", "its result cannot be read (not a Nighthawk result): {}"),
        ("print(open(RESULT).read()[:400])", "its result cannot be read (*): {*"),
        (
            "print(open(RESULT).read().replace('1.000', '0.500'))",
            "ran for 500ms instead of 1s: *",
        ),
    ],
)
def test_a_missing_or_malformed_result_is_an_error(program: Program, code: str, message: str) -> None:
    with pytest.raises(GeneratorError) as caught:
        list(program(code).run(second(headers={"Authorization": "Bearer geheim-1"})))
    assert fnmatch(str(caught.value), f"nighthawk: {message}".replace("[", "[[]"))
    assert len(str(caught.value)) < 1500
    assert "geheim" not in str(caught.value)


def test_a_flood_of_messages_does_not_stop_it(program: Program) -> None:
    (interval,) = program(FLOOD + OK).run(second())
    assert interval.outcomes == {"2xx": 100}


@pytest.mark.parametrize("code", ["time.sleep(99)", "signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(99)"])
def test_a_program_that_hangs_is_killed(program: Program, tmp_path: Path, code: str) -> None:
    """Its limit is the duration, and the time that it may wait for responses."""
    pid = tmp_path / "pid"
    generator = program(f"open({str(pid)!r}, 'w').write(str(os.getpid())); {code}")
    generator.grace = 0.2
    with pytest.raises(GeneratorError, match=r"^nighthawk: did not end within 2\.2s, and was killed"):
        list(generator.run(second()))
    assert not Path(f"/proc/{pid.read_text()}").exists()


def test_workers_of_older_builds_wait_one_after_the_other() -> None:
    assert configured("--concurrency", "3").shutdown_time(plan(timeout="1.5s")) == 6


PARTIAL = """
def report(*_):
    print(open(RESULT).read().replace("1.000000000s", "0.500000000s").replace("100", "50"))
    sys.exit()
signal.signal(signal.SIGINT, report)
open(READY, "w")
time.sleep(99)
"""


def test_finishing_gives_a_partial_result(program: Program, tmp_path: Path) -> None:
    """A load that ends early is reported for the time that it had."""
    ready = tmp_path / "ready"
    told = output({"2xx": 50}, seconds=0.5, more={"graceful_stop_requested": 1})
    running = program(PARTIAL.replace("READY", repr(str(ready)))).run(second(duration=60))
    (tmp_path / "result").write_text(json.dumps(told))
    found: list[Interval] = []
    thread = threading.Thread(target=lambda: found.extend(running))
    thread.start()
    wait_for(ready.exists)
    running.finish()
    thread.join(10)
    assert [(each.outcomes, each.seconds) for each in found] == [({"2xx": 50}, 0.5)]


def test_a_missing_program_is_an_error() -> None:
    generator = Nighthawk().configured("nighthawk", {"secrets_in_arguments": True})
    generator.program = "no-such-program"
    with pytest.raises(GeneratorError, match=r"Install it \(https://github.com/envoyproxy/nighthawk\)"):
        generator.version()


def test_version(program: Program) -> None:
    assert program("print('nighthawk_client  version: 0.5.0')").version() == "0.5.0"


@pytest.fixture
def suite(pytester: pytest.Pytester, server: Server, program: Program, tmp_path: Path) -> Callable[..., str]:
    """Run a test that loads with the program, which reports these responses; returns what pytest prints."""

    def run(answers: Mapping[str, int], options: str) -> str:
        written = program(OK)
        (tmp_path / "result").write_text(json.dumps(output(answers, seconds=1)))
        pytester.makeconftest(
            f"""
            from pytest_loadgen.generators.nighthawk import Nighthawk

            def pytest_loadgen_generators():
                hawk = Nighthawk()
                hawk.name, hawk.program = "hawk", {written.program!r}
                return [hawk]
            """
        )
        address = f"{server.url}/tea"
        pytester.makepyfile(f"def test_load(load): load({address!r}, generator='hawk', duration=1, {options})")
        return str(pytester.runpytest_inprocess("-p", "no:cacheprovider").stdout)

    return run


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("answers", "options", "message"),
    [
        ({"2xx": 99, "5xx": 1}, "slo='status 5xx < 2'", "*test_load *GET /tea *100 *100/s *10ms *1%: 1 × 5xx *1 met*"),
        ({"5xx": 100}, "", "*GET /tea: all 100 requests failed: 100 × 5xx. Expected 2xx or 3xx (expect=).*"),
        ({"2xx": 100}, "expect=200", "*PlanError: Nighthawk cannot tell 200 from other 2xx statuses: *"),
    ],
)
def test_in_a_suite(suite: Callable[..., str], answers: dict[str, int], options: str, message: str) -> None:
    """Classes of statuses are outcomes like others; a single status cannot be expected."""
    assert fnmatch(suite(answers, options), message)
