"""Generators that are programs, with programs that misbehave in every way."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.figures.histogram import Histogram
from pytest_loadgen.figures.interval import Interval
from pytest_loadgen.generators.command import Command
from pytest_loadgen.generators.process import CommandOutput, Process
from pytest_loadgen.generators.timeline import Timeline
from pytest_loadgen.testing.service import Server
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration
from tests.conftest import needs, wait_for

OK = """print('{"200": 9}')"""


class Script(Command):
    """A Python program that a test supplies; it prints outcomes as JSON."""

    name = "script"
    features = frozenset({"http", "rate"})
    install_hint = "https://script.example"

    def __init__(self, code: str = OK) -> None:
        self._code = code
        self.program = sys.executable

    def argv(self, plan: Plan) -> list[str]:
        if plan.connections == 13:
            raise PlanError("13 is unlucky")
        return ["-c", self._code, *self.args]

    def files(self, plan: Plan) -> Mapping[str, bytes]:
        return {"body": plan.target.body}

    def parse(self, output: CommandOutput, plan: Plan) -> Iterable[Interval]:
        if output.stdout == "nothing\n":
            output.seconds / 0
        if output.stdout == "never\n":
            Duration("never")
        outcomes = json.loads(output.stdout.splitlines()[-1])
        latency = Histogram()
        latency.record(0.01, sum(outcomes.values()))
        yield Interval(0, plan.duration, latency, latency, outcomes, cpu=output.cpu / output.seconds)


def plan(duration: float = 0.2, **options: Any) -> Plan:
    request = {key: options.pop(key) for key in ("headers", "content") if key in options}
    return Plan.of(Target.of("http://127.0.0.1:9/path?key=sesam-1", **request), duration=duration, **options)


def run(script: Command, asked: Plan | None = None) -> list[Interval]:
    return list(script.run(asked or plan()))


def impatient(code: str) -> Script:
    """A script that has less time to end."""
    script = Script(code)
    script.grace = 0.2
    return script


def test_its_output_is_read() -> None:
    """A program runs in a directory of its own, and finds its files there."""
    code = "import os; assert os.listdir() == ['body']; assert open('body').read() == 'tea'; " + OK
    (interval,) = run(Script(code), plan(content="tea"))
    assert interval.outcomes == {"200": 9}
    assert 0 < interval.cpu <= 1.5


def test_environment_variables_are_configured() -> None:
    script = Script("import os; print('{\"' + os.environ['STATUS'] + '\": 1}')")
    script.env = {"STATUS": "204"}
    assert run(script)[0].outcomes == {"204": 1}


def test_the_warm_up_is_a_run_of_its_own(tmp_path: Path) -> None:
    """The program runs twice, and the first run does not count."""
    log = tmp_path / "log"
    assert len(run(Script(f"open({str(log)!r}, 'a').write('run '); {OK}"), plan(warmup=0.1))) == 1
    assert log.read_text() == "run run "


FLOOD = "import sys\nfor _ in range(50_000): print('error: ' + 'x' * 99, file=sys.stderr)\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit(3)", "script: ended with exit status 3, with no output"),
        ("raise SystemExit('no such flag: -z')", "script: ended with exit status 1: no such flag: -z"),
        ("import os; os.kill(os.getpid(), 11)", "script: was killed by SIGSEGV, with no output"),
        ("print('{}')\nraise SystemExit(1)", "script: ended with exit status 1: {}"),
        ("", "script: its result cannot be read (list index out of range), with no output"),
        ("print('no result')", "script: its result cannot be read (Expecting value: *): no result"),
        ("print('{\"200\": 9')", "script: its result cannot be read (Expecting ',' delimiter: *): {\"200\": 9"),
        ("print('[]')", "script: its result cannot be read ('list' object has no attribute 'values'): []"),
        ("print('{\"200\": NaN}')", 'script: its result cannot be read (*): {"200": NaN}'),
        ("print('[' * 100_000)", "script: its result cannot be read (maximum recursion depth exceeded*"),
        ("print('nothing')", "script: its result cannot be read (float division by zero): nothing"),
        ("print('never')", "script: its result cannot be read ('never' is not a duration: *): never"),
        (FLOOD + "raise SystemExit(1)", "script: ended with exit status 1: [...]*xxx"),
    ],
)
def test_a_missing_or_malformed_result_is_an_error(code: str, message: str) -> None:
    with pytest.raises(GeneratorError) as caught:
        run(Script(code))
    assert fnmatch(str(caught.value), message.replace("[", "[[]"))
    assert len(str(caught.value)) < 1500


def test_a_flood_of_messages_does_not_stop_it() -> None:
    """Everything a program prints is read, and not all of it is kept."""
    assert run(Script(FLOOD + OK))[0].outcomes == {"200": 9}


def test_too_large_an_output_is_refused(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "while True: print('x' * 99)"]
    with (
        pytest.raises(GeneratorError, match=r"^printed more than 1 MiB, and was killed$"),
        closing(Process(argv, {}, tmp_path, max_output=1 << 20)) as program,
    ):
        program.wait(10)


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(99)",
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('wait', flush=True); time.sleep(99)",
        "import os, time\nos.close(1); os.close(2)\ntime.sleep(99)",
    ],
)
def test_a_program_that_hangs_is_killed(code: str) -> None:
    with pytest.raises(GeneratorError, match=r"^script: did not end within 900ms, and was killed"):
        run(impatient(code), plan(timeout=0.5))


def test_a_program_that_waits_for_the_service_reports_what_it_has(tmp_path: Path) -> None:
    """A program that exceeds its time is interrupted first; it is judged by the whole plan."""
    (interval,) = run(impatient(PARTIAL.replace("READY", repr(str(tmp_path / "ready")))), plan(duration=1, timeout=0.5))
    assert interval.outcomes == {"200": 5}
    assert interval.seconds == 1


def test_child_processes_are_killed(tmp_path: Path) -> None:
    """A child that outlives the program and holds its pipes open is not waited for, and not left running."""
    child = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    waiting = f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'pid')!r}).exists(): time.sleep(0.01)\n"
    code = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {child!r}])\n{waiting}{OK}"
    started = time.monotonic()
    assert run(impatient(code), plan(duration=30))[0].outcomes == {"200": 9}
    assert time.monotonic() - started < 20
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not running(pid))


def test_closing_kills_the_program(tmp_path: Path) -> None:
    """Any thread may close a load, and the program is gone when that returns."""
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    load = Script(code).run(plan(duration=60))
    thread = threading.Thread(target=lambda: list(load))
    thread.start()
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    load.close()
    thread.join(5)
    assert not thread.is_alive()
    assert not running(int((tmp_path / "pid").read_text()))


KILLED = """
import sys
import tempfile
from pytest_loadgen.generators.fortio import Fortio
from pytest_loadgen.generators.wrk2 import Wrk2
from pytest_loadgen.traffic.options import plan_of
generator = {"fortio": Fortio, "wrk2": Wrk2}[sys.argv[1]]()
list(generator.run(plan_of(sys.argv[2], {"rate": 50, "duration": 8})))
"""


@needs("setpriv")
@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in ("fortio", "wrk2")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_does_not_outlive_its_parent(name: str, number: signal.Signals, server: Server) -> None:
    """However the parent ends, the load ends with it."""
    arguments = [sys.executable, "-c", KILLED, name, server.url]
    with subprocess.Popen(arguments) as parent:
        wait_for(lambda: server.requests.total() > 5)
        (child,) = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
        parent.send_signal(number)
        parent.wait(10)
    wait_for(lambda: not running(child))


@pytest.mark.parametrize("die_with_parent", [True, False])
def test_exit_statuses_are_those_of_the_program(die_with_parent: bool, tmp_path: Path) -> None:
    """The wrapper that makes it die with its parent does not show, nor does it hide that a program is missing."""
    (tmp_path / "broken").write_text("#!/nowhere/interpreter\n")
    (tmp_path / "broken").chmod(0o755)
    for words, status in (["-c", "exit(127)"], 127), (["-c", "import os; os.kill(os.getpid(), 11)"], -11):
        with closing(Process([sys.executable, *words], {}, tmp_path, die_with_parent=die_with_parent)) as program:
            output = program.wait(10)
            assert output
            assert output.status == status
    with (
        pytest.raises(GeneratorError, match=r"^cannot start .*/broken: No such file or directory$"),
        closing(Process([str(tmp_path / "broken")], {}, tmp_path, die_with_parent=die_with_parent)) as program,
    ):
        program.wait(10)


def test_closing_before_the_start_starts_nothing(tmp_path: Path) -> None:
    load = Script(f"open({str(tmp_path / 'ran')!r}, 'w'); {OK}").run(plan())
    load.close()
    assert list(load) == []
    assert not (tmp_path / "ran").exists()


PARTIAL = """
import json, os, signal, time
def report(*_):
    print(json.dumps({"200": 5}), flush=True)
    os._exit(0)  # an exception may be raised where Python ignores it
signal.signal(signal.SIGINT, report)
print("ready", flush=True)
open(READY, "w")
time.sleep(99)
"""


def test_finishing_gives_a_partial_result(tmp_path: Path) -> None:
    """The program is interrupted, and its result covers the time that it had."""
    ready = tmp_path / "ready"
    load = Script(PARTIAL.replace("READY", repr(str(ready)))).run(plan(duration=60))
    found: list[Interval] = []
    thread = threading.Thread(target=lambda: found.extend(load))
    thread.start()
    wait_for(ready.exists)
    load.finish()
    thread.join(10)
    assert [interval.outcomes for interval in found] == [{"200": 5}]
    assert found[0].seconds < 60


def test_ctrl_c_gives_a_partial_result_and_is_not_lost(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    load = Script(PARTIAL.replace("READY", repr(str(ready)))).run(plan(duration=60))

    def press() -> None:
        wait_for(ready.exists)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    assert next(load).outcomes == {"200": 5}
    with pytest.raises(KeyboardInterrupt):
        next(load)


def test_secrets_are_redacted() -> None:
    """Messages of a program are shown without headers, body and query, and without configured values."""
    secrets = ["geheim-1", "geheim-2", "geheim-3", "sesam-1", "geheim-4", "geheim-5", "geheim-6", "geheim-7"]
    script = Script(f"raise SystemExit({' / '.join(secrets)!r} + ' tea')")
    script.env = {"TOKEN": "geheim-4"}
    script.args = ["--token=geheim-5", "-v", "geheim-6", "X-Token: geheim-7"]
    headers = {"Authorization": "Bearer geheim-1", "Cookie": "a=1; id=geheim-2"}
    with pytest.raises(GeneratorError) as caught:
        run(script, plan(headers=headers, content="geheim-3"))
    assert not any(secret in str(caught.value) for secret in secrets)
    assert str(caught.value).endswith(" tea")


def test_no_part_of_a_secret_remains_where_a_message_is_cut() -> None:
    secret = "geheim-" + "x" * 900
    script = Script(f"raise SystemExit({secret!r} + ' tea' * 100)")
    with pytest.raises(GeneratorError) as caught:
        run(script, plan(headers={"Authorization": f"Bearer {secret}"}))
    assert "xxx" not in str(caught.value)
    assert str(caught.value).endswith(" tea")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("no-such-program", "'no-such-program' is not on PATH. Install it (https://script.example), or use *"),
        ("/nowhere/script", "'/nowhere/script' does not exist. Install it (https://script.example), or use *"),
    ],
)
def test_a_missing_program_is_an_error(program: str, message: str) -> None:
    script = Script()
    script.program = program
    for missing in (script.version, lambda: run(script)):
        with pytest.raises(GeneratorError) as caught:
            missing()
        assert fnmatch(str(caught.value), f"script: {message}")


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/nowhere/interpreter\n")
    broken.chmod(0o755)
    script = Script()
    script.program = str(broken)
    with pytest.raises(GeneratorError, match=r"script: cannot start .*/broken: No such file or directory"):
        run(script)


def test_a_plan_that_it_cannot_run_is_refused_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="13 is unlucky"):
        run(Script(f"open({str(tmp_path / 'ran')!r}, 'w')"), plan(connections=13))
    assert not (tmp_path / "ran").exists()


def test_version() -> None:
    """The version is found in the output of the program."""
    assert Script().version() == ".".join(map(str, sys.version_info[:3]))


def running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# The machine.


def stopped_in_mid_load(seconds: float, tmp_path: Path) -> list[Interval]:
    """Stop a program for a while, from outside, as a debugger or a laptop's lid does."""
    ready = tmp_path / "ready"
    code = f"import os, time; open({str(ready)!r}, 'w').write(str(os.getpid())); time.sleep({2 + seconds}); {OK}"

    def stop() -> None:
        wait_for(lambda: ready.exists() and ready.read_text() != "")
        os.kill(int(ready.read_text()), signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(int(ready.read_text()), signal.SIGCONT)

    threading.Thread(target=stop).start()
    return run(Script(code), plan(duration=2 + seconds))


def test_a_program_that_was_stopped_says_so(tmp_path: Path) -> None:
    """Its figures are those of a generator that did not run, and not of the service."""
    (interval,) = stopped_in_mid_load(0.8, tmp_path)
    assert 0.5 < interval.stalled < 2
    assert run(Script())[0].stalled < 0.5


def test_frozen_time_does_not_stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-outs of a program are taken from a clock that tests do not replace."""
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with pytest.raises(GeneratorError, match=r"^script: did not end within 900ms, and was killed"):
        run(impatient("import time; time.sleep(99)"), plan(timeout=0.5))


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy"])
def test_no_load_goes_to_a_proxy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be past the check of the host: programs do not see these variables, and they are not configured."""
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    script = Script(f"import os; assert {name!r} not in os.environ; {OK}")
    assert run(script)[0].outcomes == {"200": 9}
    script.env = {name: "http://127.0.0.1:9"}
    with pytest.raises(PlanError, match=f"^script: env: {name} would send the load to another host"):
        run(script)


def test_folders_of_killed_runs_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run removes what a killed one left, whatever was secret in it, and nothing of a running one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned, running_one, other = (
        tmp_path / name for name in ("pytest-loadgen-scratch-a", "pytest-loadgen-scratch-b", "pytest-loadgen-c")
    )
    for folder in abandoned, running_one, other:
        folder.mkdir()
        (folder / "request").write_text("secret")
        os.utime(folder, (1, 1))
    lock = os.open(running_one, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    run(Script(f"import os; assert os.stat('.').st_mode & 0o777 == 0o700; {OK}"))
    os.close(lock)
    assert sorted(tmp_path.iterdir()) == [other, running_one]


def test_all_that_it_says_is_kept_for_those_that_need_it() -> None:
    """Of standard error both ends are enough for a message; a log of each request is read whole."""

    class Talkative(Script):
        keeps_messages = True

        def parse(self, output: CommandOutput, plan: Plan) -> Iterable[Interval]:
            assert output.messages
            count = output.messages.read_bytes().count(b"\n")
            latency = Histogram()
            latency.record(0.01, count)
            yield Interval(0, plan.duration, latency, latency, {"200": count})

    assert run(Talkative(FLOOD))[0].outcomes == {"200": 50_000}


def test_a_timeline_has_no_more_seconds_than_a_load() -> None:
    """A program whose clock jumped by a year does not fill the memory."""
    timeline = Timeline(plan(duration=2))
    timeline.add_failure(3e7, "closed")
    timeline.add_response(0.5, "200", 0.1, 0.1)
    intervals = timeline.intervals()
    assert len(intervals) < 100
    assert sum(each.requests for each in intervals) == 2
