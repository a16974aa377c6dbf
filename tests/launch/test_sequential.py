"""A suite's runs: failures cost their own run only, and processes share the work."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from dynbench_methods.dense import Dense
from filelock import FileLock
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.cli.options import read_suite
from dynbench.context import Context
from dynbench.errors import UserError
from dynbench.launch import sequential as suite_run
from dynbench.launch.sequential import SuiteRunner
from dynbench.observer import Observer
from dynbench.plan.expand import expand_suite
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.stage import Progress
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import Evaluation
from tests.conftest import Call, Register


class Breaks(Dense):
    """Raises in training for as long as `broken`."""

    broken = True

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        if self.broken:
            raise ZeroDivisionError("as planned")
        return super().loss(model, x, y, progress, recipe)


class BreaksInBuild(Dense):
    def build(self, backbone: Backbone) -> nn.Module:
        raise ZeroDivisionError("not built")


class Started(Observer):
    """Notes which runs start, and which are waited for."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.waited: list[str] = []

    def run_started(self, run: Run) -> None:
        self.methods.append(run.method)

    def waiting(self, run: Run) -> None:
        self.waited.append(run.method)


def context_of(results: Path, observer: Observer) -> Context:
    return Context(ResultsFolder(results), torch.device("cpu"), None, Evaluation(), observer, "a test", "unknown")


def runs_of(suite: Path, *settings: str) -> tuple[Run, ...]:
    return expand_suite(read_suite(suite, settings=settings))


def state_of(run: Run, results: Path) -> str | None:
    record = ResultsFolder(results).read(run.run_id)
    return record.status if record else None


def test_a_plugin_that_raises_costs_its_own_run_only(
    call: Call, tiny_suite: Path, tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("breaks", Breaks)
    results = tmp_path / "results"
    arguments = ("run", tiny_suite, "--results", results, "--set", "methods=[breaks, dense]")
    result = call(*arguments)
    assert result.exit_code == 1
    assert "    failed: ZeroDivisionError: as planned\n" in result.stdout
    breaks, dense = runs_of(tiny_suite, "methods=[breaks, dense]")
    record = ResultsFolder(results).read(breaks.run_id)
    assert record is not None
    assert (record.status, record.error, record.points) == ("failed", "ZeroDivisionError: as planned", ())
    assert 'raise ZeroDivisionError("as planned")' in (record.traceback or "")
    assert state_of(dense, results) == "finished"

    monkeypatch.setattr(Breaks, "broken", False)
    again = call(*arguments)
    assert again.exit_code == 0
    assert re.findall(r"^\[\d/\d\] (\w+)", again.stdout, re.MULTILINE) == ["breaks"]
    assert state_of(breaks, results) == "finished"


def test_a_plugin_that_cannot_be_built_costs_its_own_run_only(
    call: Call, tiny_suite: Path, tmp_path: Path, register: Register
) -> None:
    register("breaks", BreaksInBuild)
    results = tmp_path / "results"
    result = call("run", tiny_suite, "--results", results, "--set", "methods=[breaks, dense]")
    assert result.exit_code == 1
    assert {record.run.method: record.error for record in ResultsFolder(results).records()} == {
        "breaks": "ZeroDivisionError: not built",
        "dense": None,
    }


def test_a_loss_that_is_no_number_fails_its_run_with_the_reason(tiny_suite: Path, tmp_path: Path) -> None:
    runs = runs_of(tiny_suite, "recipe.optimizer={name: sgd, lr: 1e30}", "methods=[dense]")
    (record,) = SuiteRunner(runs, context_of(tmp_path, Observer())).run()
    assert record.status == "failed"
    assert re.match(r"the loss became (nan|inf) in stage train, epoch 1, within step \d+ of \d+; try a ", record.error)
    assert record.traceback is None


def test_a_run_that_starts_from_a_failed_one_is_left_out_and_said_so(
    call: Call, tiny_suite: Path, tmp_path: Path, register: Register
) -> None:
    register("dense", Breaks)
    results = tmp_path / "results"
    settings = "methods=[{name: lc_net, params: {init: dense}}, l_net]"
    result = call("run", tiny_suite, "--results", results, "--set", settings)
    dense, l_net, lc_net = runs_of(tiny_suite, settings)
    assert result.exit_code == 1
    assert result.stderr == (
        f"left out: lc_net init=dense (resnet8, seed 0) starts from {dense.run_id}, which failed\n"
    )
    assert [state_of(run, results) for run in (dense, l_net, lc_net)] == ["failed", "finished", None]


def test_what_the_user_has_to_fix_is_raised_after_the_other_runs(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_of(tiny_suite)
    ResultsFolder(tmp_path).work(runs[0].run_id).parent.mkdir(parents=True)
    ResultsFolder(tmp_path).work(runs[0].run_id).write_text("a file where a folder should be")
    with pytest.raises(UserError, match=f"cannot write to .*{runs[0].run_id}: File exists"):
        SuiteRunner(runs, context_of(tmp_path, Observer())).run()
    assert [state_of(run, tmp_path) for run in runs] == [None, "finished"]


def test_runs_of_another_process_are_waited_for(
    tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process dies: its run is done here then."""
    monkeypatch.setattr(suite_run, "WAIT_SECONDS", 0)
    dense, lc_net = runs_of(tiny_suite)
    folder = ResultsFolder(tmp_path).work(dense.run_id)
    folder.mkdir(parents=True)
    lock = FileLock(folder / "lock")

    class Releasing(Started):
        def waiting(self, run: Run) -> None:
            super().waiting(run)
            lock.release()

    observer = Releasing()
    with lock:
        records = SuiteRunner((dense, lc_net), context_of(tmp_path, observer)).run()
    assert observer.methods == ["lc_net", "dense"]
    assert observer.waited == ["dense"]
    assert [record.run.method for record in records] == ["dense", "lc_net"]


def test_what_another_process_finished_meanwhile_is_not_done_again(
    tiny_suite: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = runs_of(tiny_suite)
    observer = Started()
    known: list[Sequence[Run]] = [runs]
    monkeypatch.setattr(ResultsFolder, "unfinished", lambda results, runs: known.pop() if known else [])
    assert len(SuiteRunner(runs, context_of(finished, observer)).run()) == 2
    assert observer.methods == []


def test_what_is_unfinished(tiny_suite: Path, finished: Path) -> None:
    dense, lc_net = runs_of(tiny_suite)
    (other,) = runs_of(tiny_suite, "methods=[dense]", "seeds=[1]")
    assert ResultsFolder(finished).unfinished((dense, lc_net, other)) == [other]


def test_two_processes_share_one_results_folder(tiny_suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    command = [sys.executable, "-m", "dynbench", "run", tiny_suite, "--results", results, "--seeds", "0,1"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ends = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert [stderr for _, stderr in ends] == ["", ""]
    started = Counter(
        line.partition("] ")[2] for stdout, _ in ends for line in stdout.splitlines() if re.match(r"\[\d/\d\] ", line)
    )
    assert started == {
        "dense (resnet8, seed 0)": 1,
        "dense (resnet8, seed 1)": 1,
        "lc_net l1_layer=0.1 (resnet8, seed 0)": 1,
        "lc_net l1_layer=0.1 (resnet8, seed 1)": 1,
    }
    for record in ResultsFolder(results).records():
        assert record.status == "finished"
        assert set(ResultsFolder(results).arrays(record.run_id)) >= {f"{record.points[0].name}/macs"}
    left = [path.name for path in results.rglob("*") if path.name.startswith(".")]
    assert left == []
