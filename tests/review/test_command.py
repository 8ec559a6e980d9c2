"""``python -m pytest_loadgen judge`` and ``compare``: what they print, and their exit status."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_loadgen.__main__ import main
from pytest_loadgen.objectives.baseline import Baseline, KeptRun
from pytest_loadgen.records.record import Record
from tests.builders.figures import means, seconds
from tests.builders.records import FAST, HERE, SLOW, THERE, record
from tests.reports.examples import MIX, ODD, RECORD, SECRET

GOOD, BAD = seconds(*[0] * 8), seconds(*[30] * 8)
Write = Callable[[str, Record], None]


@pytest.fixture(autouse=True)
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a report into the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, kept: Record) -> None:
        (tmp_path / name).write_text(kept.dumps(), encoding="utf-8")

    return write


def carried_out(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """Give the exit status and the printed lines, or those of the error."""
    status = main(arguments)
    out, err = capsys.readouterr()
    assert not (out and err)
    return status, (out or err).splitlines()


def test_judge(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Each run has its test, its load and its verdicts; the last line counts the verdicts."""
    write("r.json", record(("shop.py::test_a", GOOD), ("shop.py::test_b", BAD)))
    assert carried_out(capsys, "judge", "r.json", "p99 < 150ms", "errors < 2%", "p50 < baseline + 10%") == (
        1,
        [
            "r.json, pytest-loadgen 0.1.0, 2026-01-01 00:00 UTC, commit abc on main; "
            "Quick 9000, 2 cores, Linux 6 x86_64.",
            "",
            "shop.py::test_a: GET / (mine)",
            "  800 requests, 100/s, p50 10ms, p99 10ms, errors 0",
            "  met      p99 < 150ms              10ms  (95% sure of 10ms or less)",
            "  met      errors < 2%              0 of 800  (95% sure of 1.85% or less)",
            "  unclear  p50 < baseline + 10%     -  "
            "(r.json has no baseline of this load: use 'compare' with an earlier report)",
            "",
            "shop.py::test_b: GET / (mine)",
            "  800 requests, 100/s, p50 10ms, p99 500ms, errors 0",
            "  missed   p99 < 150ms              500ms  (95% sure of 500ms or more)",
            "  met      errors < 2%              0 of 800  (95% sure of 1.85% or less)",
            "  unclear  p50 < baseline + 10%     -  "
            "(r.json has no baseline of this load: use 'compare' with an earlier report)",
            "",
            "1 of 2 loads failed; verdicts: 3 met, 1 missed, 2 unclear",
        ],
    )


@pytest.mark.parametrize(
    ("arguments", "status", "end"),
    [
        (["p99 < 150ms"], 1, "1 of 2 loads failed; verdicts: 1 met, 1 missed"),
        (["p99 < 150ms", "--test", "test_a"], 0, "0 of 1 load failed; verdicts: 1 met"),
        (["--test=test_b", "p50 < 150ms"], 0, "0 of 1 load failed; verdicts: 1 met"),
        (["p50 < 150ms", "errors < 0.1%"], 0, "0 of 2 loads failed; verdicts: 2 met, 2 unclear"),
        (
            ["errors < 0.1%", "--strict"],
            1,
            "2 of 2 loads failed; verdicts: 2 unclear (unclear objectives fail because of --strict)",
        ),
    ],
)
def test_exit_status(
    write: Write, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, end: str
) -> None:
    """The exit status is that of pytest: 1 if a test would fail."""
    write("r.json", record(("test_a", GOOD), ("test_b", BAD)))
    found, lines = carried_out(capsys, "judge", "r.json", *arguments)
    assert (found, lines[-1]) == (status, end)


def test_the_baseline_of_the_report(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A change is judged against the baseline that the load had."""
    kept = record(("t", SLOW))
    run = kept.runs[0]
    write("r.json", replace(kept, runs=(replace(run, result=replace(run.result, baseline=Baseline.single(FAST))),)))
    _, lines = carried_out(capsys, "judge", "r.json", "p50 < baseline + 10%")
    assert lines[4] == (
        "  missed   p50 < baseline + 10%     10ms → 20ms, +100%  (95% sure of +82.7% or more; p50 +100%, p99 +100%; "
        "1 kept run, so runs are assumed to differ by 3%: save 4 more)"
    )


def test_the_kept_runs_of_the_report(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A report has the figures of all kept runs, so that a change is judged as it was."""
    kept = record(("t", means(*[12] * 8)))
    baseline = Baseline(tuple(KeptRun(means(*[ms] * 8)) for ms in (100, 103, 97, 101, 99)))
    result = replace(kept.runs[0].result, intervals=means(*[104] * 8).intervals, baseline=baseline)
    write("r.json", replace(kept, runs=(replace(kept.runs[0], result=result),)))
    _, lines = carried_out(capsys, "judge", "r.json", "p50 < baseline + 10%")
    assert lines[4].split() == str(result.judge("p50 < baseline + 10%")).split()
    assert " met " in f" {lines[4]}"


def test_side_by_side(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """The other service has a line, too."""
    kept = record(("t", SLOW))
    run = kept.runs[0]
    paired = replace(run, result=replace(run.result, baseline=Baseline.single(FAST, paired=True)))
    write("r.json", replace(kept, runs=(paired,)))
    _, lines = carried_out(capsys, "judge", "r.json", "p50 < 1s")
    assert lines[4] == "  against: 500 requests, 100/s, p50 10ms, p99 10ms, errors 0"


def test_compare(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Each load has a line that says what changed, and a table; loads of one report only are listed."""
    write("a.json", record(("test_a", FAST), ("test_a", SLOW), ("test_old", FAST), day=1))
    write("b.json", record(("test_a", FAST), ("test_new", FAST), ("test_a", FAST), day=2, machine=THERE))
    status, lines = carried_out(capsys, "compare", "a.json", "b.json")
    assert status == 0
    assert [line for line in lines if not line.startswith("  ") or "p50" in line or "not" in line] == [
        "before: a.json, pytest-loadgen 0.1.0, 2026-01-01 00:00 UTC, commit abc on main; "
        "Quick 9000, 2 cores, Linux 6 x86_64.",
        "after:  b.json, pytest-loadgen 0.1.0, 2026-01-02 00:00 UTC, commit abc on main; "
        "Slow 100, 4 cores, Linux 6 x86_64.",
        "different machines (processor was Quick 9000, now Slow 100, cores were 2, now 4): "
        "changes may be due to the machine.",
        "",
        "test_a: GET / (mine)",
        "  p50 same, p99 same",
        "  p50         10ms     10ms       +0%  -8.65% to +9.47%",
        "",
        "test_new: GET / (mine)",
        "  not compared: a.json has no such load",
        "",
        "test_a: GET / (mine, 2)",
        "  p50 -50%, p99 -50%",
        "  p50         20ms     10ms      -50%  -54.3% to -45.3%",
        "",
        "only in a.json: test_old: GET / (mine)",
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "verdict"),
    [
        (["p50 < baseline + 10%"], 1, "missed   p50 < baseline + 10%     10ms → 20ms, +100%  (95% sure of +82.7%"),
        (["p50 > baseline + 10%"], 0, "met      p50 > baseline + 10%     10ms → 20ms, +100%  (95% sure of +82.7%"),
        (["p99 < 1s"], 0, "met      p99 < 1s                 20ms  (95% sure of 20ms or less)"),
    ],
)
def test_compare_with_objectives(
    write: Write, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, verdict: str
) -> None:
    """Objectives are about the second report, with the first as the baseline; also after an option."""
    write("a.json", record(("t", FAST)))
    write("b.json", record(("t", SLOW)))
    for more in [], ["--test", "t"]:
        found, lines = carried_out(capsys, "compare", "a.json", "b.json", *more, *arguments)
        assert found == status
        assert any(line.startswith(f"  {verdict}") for line in lines)


@pytest.mark.parametrize("strict", [False, True])
def test_a_load_that_cannot_be_compared_is_unclear(
    write: Write, capsys: pytest.CaptureFixture[str], strict: bool
) -> None:
    """A load that cannot be compared is unclear, as with --load-compare."""
    write("a.json", record(("t", replace(FAST, generator="wrk")), ("u", FAST)))
    write("b.json", record(("t", FAST), ("u", FAST), ("v", FAST)))
    status, lines = carried_out(capsys, "compare", "a.json", "b.json", "p50 < baseline + 15%", *["--strict"] * strict)
    assert status == int(strict)
    assert [line for line in lines if "unclear  " in line] == [
        "  unclear  p50 < baseline + 15%     -  (the loads differ: generator was wrk, now mine)",
        "  unclear  p50 < baseline + 15%     -  (a.json has no such load)",
    ]


def test_an_objective_of_one_of_the_loads(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Loads that have no such request are not judged, even in the same test."""
    kept = record(("t", FAST))
    write("r.json", replace(kept, runs=(replace(MIX, test="t"), *kept.runs)))
    _, lines = carried_out(capsys, "judge", "r.json", "p99 of order < 1s")
    assert lines[4].startswith("  unclear  p99 of order < 1s        no answer")
    assert lines[-3:] == [
        "  not judged: p99 of order < 1s: this load has one request, without a name: leave out 'of order'",
        "",
        "0 of 2 loads failed; verdicts: 1 unclear",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["judge", "r.json", "p99 < 150"], ["'p99 < 150': 150 needs a unit: did you mean p99 < 150ms?"]),
        (["judge", "r.json", "p99", "<", "150ms"], ['write the objective in quotes: "p99 < 150ms"']),
        (
            ["judge", "r.json", "p99", "q99 < 1s"],
            [
                "'p99': a comparison operator (<, <=, >, >=) is missing",
                "'q99 < 1s': 'q99' is not a metric: did you mean 'p99'?",
            ],
        ),
        (
            ["judge", "r.json", "p99 of ordr < 1s"],
            [
                "'p99 of ordr < 1s' does not apply to any of these loads:",
                "  test_a: GET / (mine): this load has one request, without a name: leave out 'of ordr'",
                "  test_mix: mix of 3 requests (embedded): this load has no request 'ordr': did you mean 'order'?",
            ],
        ),
        (
            ["judge", "r.json", "p99 < 1s", "--test", "b"],
            ["--test b: r.json has no such test; its tests: test_a, test_mix"],
        ),
        (
            ["compare", "r.json", "s.json"],
            [
                "r.json and s.json have no load in common, so there is nothing to compare: "
                "in the first, test_a, test_mix; in the second, test_b"
            ],
        ),
        (
            ["compare", "r.json", "none.json"],
            ["none.json: no such file; write one with pytest --load-report=NAME.json"],
        ),
    ],
)
def test_bad_input(write: Write, capsys: pytest.CaptureFixture[str], arguments: list[str], message: list[str]) -> None:
    """Bad input has another exit status than a verdict."""
    kept = record(("test_a", FAST))
    write("r.json", replace(kept, runs=(*kept.runs, replace(MIX, test="test_mix"))))
    write("s.json", record(("test_b", FAST)))
    assert carried_out(capsys, *arguments) == (2, message)


@pytest.mark.parametrize(
    "arguments", [["judge", "r.json"], ["judge", "r.json", "p99 < 1s", "--wrong"], ["generators", "x"]]
)
def test_wrong_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: " in capsys.readouterr().err


def test_a_terminal_with_few_characters(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that the terminal cannot show are escaped."""
    write("r.json", record(("t", FAST)))
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    main(["compare", "r.json", "r.json", "p50 < baseline + 10%"])
    assert b"10ms \\u2192 10ms, +0%" in terminal.buffer.getvalue()


def test_a_closed_pipe(write: Write, tmp_path: Path) -> None:
    """``judge … | head -1`` ends with the same exit status, and without a traceback."""
    write("r.json", record(*(("t", BAD) for _ in range(3))))
    argv = [sys.executable, "-m", "pytest_loadgen", "judge", "r.json", "p99 < 150ms"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        done = subprocess.run(argv, cwd=tmp_path, stdout=output, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("kept", [RECORD, ODD], ids=["usual", "odd"])
def test_no_secrets_and_no_control_characters(write: Write, capsys: pytest.CaptureFixture[str], kept: Record) -> None:
    """Output has no secrets and no control characters, whatever the names in a report."""
    coloured = replace(kept, runs=(*kept.runs, replace(kept.runs[0], test="::error::\x1b[31mx\n")))
    write("r.json", replace(coloured, machine=HERE))
    for arguments in (
        *(["judge", "r.json"], ["compare", "r.json", "r.json"]),
        *(["judge", "r.json", "p9 of x < 1s"], ["judge", "r.json", "--test", "nowhere"]),
    ):
        main([*arguments, "p99 < 100ms", "p50 < baseline"])
        shown = "".join(capsys.readouterr())
        assert SECRET not in shown
        assert "\x1b" not in shown
        assert not any(line.lstrip().startswith("::") for line in shown.splitlines())
