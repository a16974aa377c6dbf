"""The command line: what it says, what it imports, how it ends."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dynbench.analysis.words import duration, short_macs
from dynbench.cli import COMMANDS
from dynbench.cli.console import SafeConsole
from dynbench.cli.progress import PlainProgress, RichProgress
from dynbench.launch.sequential import SuiteRunner
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import EpochRecord
from tests.conftest import Call, Cli
from tests.helpers.records import Fake, make_record, make_run

HEAVY = ("torch", "mlflow", "pandas", "pydantic")


def imported(arguments: list[str], modules: tuple[str, ...]) -> set[str]:
    """Which of `modules` a command has imported when it is done, in a process of its own."""
    code = f"""
import sys
from dynbench.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert not end.code, end.code
print("imported", *[name for name in {modules!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_help_imports_nothing_heavy() -> None:
    assert imported(["--help"], (*HEAVY, "dynbench.cli")) == {"dynbench.cli"}


def test_help_lists_every_command(call: Call) -> None:
    result = call("--help")
    assert result.exit_code == 0
    for name, line in COMMANDS.items():
        assert re.search(rf"{name} +{line[:40]}", result.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(call: Call, name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: dynbench {name} ")


def test_it_runs_as_a_module(cli: Cli) -> None:
    result = cli("--version")
    assert result.returncode == 0
    assert re.fullmatch(r"dynbench, version 0\.\d+\.\d+, commit (unknown|[0-9a-f]{40}(-dirty)?)\n", result.stdout)


def test_an_unknown_command_names_the_nearest(call: Call) -> None:
    result = call("rnu")
    assert result.exit_code == 2
    assert 'unknown command "rnu"; did you mean "run"?' in result.stderr


def test_a_run_says_its_plan_its_epochs_and_its_results(call: Call, tiny_suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    result = call("run", tiny_suite, "--results", results, "--methods", "dense")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert re.match(r"tiny: 1 runs, 0 finished; about [\d.]+M MACs of training on cpu; results in ", lines[0])
    assert lines[1] == "[1/1] dense (resnet8, seed 0)"
    assert re.match(r"    train 1/1 loss [\d.]+ val [\d.]+ %, [\d.]+k MACs, 0 s left", lines[2])
    assert re.match(r"    test [\d.]+ %, [\d.]+k MACs \(100% of dense\)", lines[3])
    text = f"as text and pictures: {results / 'table.md'} and {results / 'plots'}"
    assert lines[-1] == f"Everything else: {results / 'report.html'}; {text}"
    assert max(map(len, lines[4:-1])) <= 80
    (record,) = ResultsFolder(results).records()
    assert (record.status, record.run.method, record.plugin.split()[0]) == ("finished", "dense", "dynbench")


def test_a_finished_suite_trains_nothing_and_imports_little(tiny_suite: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    heavy = imported(["run", str(tiny_suite), "--results", str(finished)], ("mlflow", "fvcore", "torch"))
    assert heavy == {"torch"}
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_finished_suite_shows_its_table_again(call: Call, tiny_suite: Path, finished: Path) -> None:
    result = call("run", tiny_suite, "--results", finished)
    assert result.exit_code == 0
    assert result.stdout.startswith("tiny: all 2 runs are finished\n")
    for record in ResultsFolder(finished).records():
        assert f"{record.points[0].test_top1:.2f}" in result.stdout
    assert str(finished / "table.md") in result.stdout


def test_evaluating_a_run_s_weights_gives_its_accuracy(call: Call, finished: Path) -> None:
    (dense,) = [record for record in ResultsFolder(finished).records() if record.run.method == "dense"]
    weights = finished / "work" / dense.run_id / "model.safetensors"
    options = ("--backbone", "resnet8", "--width", "0.25", "--dataset", "digits")
    result = call("evaluate", weights, *options)
    assert result.exit_code == 0
    assert f"of 360 images wrong; top-1 {dense.points[0].test_top1:.2f} %" in result.stdout
    validation = call("evaluate", weights, *options, "--split", "validation", "--mean", "0.3057", "--std", "0.3763")
    assert f"of 180 images wrong; top-1 {dense.points[0].val_top1:.2f} %" in validation.stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--width", "0"), "expected a number above 0"),
        (("--width", "nan"), "expected a number above 0"),
        (("--std", "0"), "expected numbers above 0"),
        (("--mean", "a"), "expected comma-separated numbers"),
        (("--mean", "inf"), "expected finite numbers"),
        (("--device", "gpu"), "expected auto, cpu, cuda or cuda:N"),
    ],
)
def test_evaluate_checks_its_options(call: Call, options: tuple[str, str], expected: str) -> None:
    result = call("evaluate", "w.pth", "--backbone", "resnet8", "--dataset", "digits", *options)
    assert result.exit_code == 2
    assert expected in result.stderr


def test_an_interruption_ends_with_one_line(
    call: Call, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(SuiteRunner, "run", lambda self: os.kill(os.getpid(), signal.SIGTERM))
    result = call("run", tiny_suite, "--results", tmp_path / "results")
    assert result.exit_code == 130
    assert result.stderr == "interrupted; the same command continues from the last finished epoch\n"
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (999.6, "1.00k"), (40_551_040, "40.6M"), (556e6, "556M"), (1.5e15, "1.50P")],
)
def test_macs_have_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert short_macs(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (42.4, "42 s"), (180, "3 min"), (7500, "2 h 05 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def epoch_record(epoch: int, val_top1: float | None) -> EpochRecord:
    val_macs = None if val_top1 is None else 4e7
    return EpochRecord(
        stage="train", epoch=epoch, time=0, seconds=1, loss=0.5, lr=0.1, val_top1=val_top1, val_macs=val_macs
    )


def test_plain_progress_has_a_line_an_epoch() -> None:
    shown = io.StringIO()
    run = make_run(Fake())
    progress = PlainProgress(SafeConsole(file=shown, width=80))
    progress.suite_started([run], [])
    progress.run_started(run)
    progress.stage_started(run, "train", epochs=3, done=1, steps=5)
    progress.steps_done(1, 5, 0.5)
    progress.epoch_finished(run, [epoch_record(1, None)])
    progress.epoch_finished(run, [epoch_record(1, None), epoch_record(2, 91.5)])
    progress.run_finished(make_record(Fake(error="[/no] markup, and an error that is much longer than a line " * 2))[0])
    progress.waiting(run)
    progress.waiting(run)
    lines = shown.getvalue().splitlines()
    assert lines[:4] == [
        "[1/1] dense (resnet20, seed 0)",
        "    train: continuing after epoch 1",
        "    train 2/3 loss 0.500, 0 s left",
        "    train 3/3 loss 0.500 val 91.50 %, 40.0M MACs, 0 s left",
    ]
    assert lines[4].startswith("    failed: [/no] markup, and an error that is much longer than a line [/no]")
    assert lines[5:] == ["waiting for another process that is doing dense"]


def test_bars_leave_the_terminal_as_it_was_after_an_error() -> None:
    shown = io.StringIO()
    run = make_run(Fake())
    progress = RichProgress(SafeConsole(file=shown, force_terminal=True, width=100))
    progress.suite_started([run], [])
    progress.run_started(run)
    progress.stage_started(run, "train", epochs=2, done=0, steps=5)
    progress.steps_done(0, 5, 0.25)
    progress.epoch_finished(run, [epoch_record(0, 91.5)])
    while "0.250" not in shown.getvalue():  # a thread of rich draws it
        time.sleep(0.01)
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert shown.getvalue().count(hide) == shown.getvalue().count(show) + 1
    progress.close()
    progress.close()
    assert shown.getvalue().count(hide) == shown.getvalue().count(show)
    assert "loss 0.250 val 91.50 %, 40.0M MACs" in re.sub(r"\x1b\[[\d;?]*\w", "", shown.getvalue())
