"""An interrupted run ends with the numbers of an uninterrupted one, to the last bit."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dynbench import registry
from dynbench.build import build_model
from dynbench.data import load_data
from dynbench.errors import UserError
from dynbench.execute import execute
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import EpochRecord, Record
from dynbench.suite.recipe import Recipe
from dynbench.train.session import Journal, Session
from tests.conftest import Call
from tests.helpers.small import make_context, make_run
from tests.helpers.two_stages import Noisy, TwoStages

EPOCHS = 4
SUITE = """
name: resume
data: digits
backbones: [{name: resnet8, width: 0.25}]
recipe: {epochs: 4, batch_size: 64, warmup_epochs: 1}
methods: [{name: lc_net, params: {l1_layer: 0.2, l1_channel: 2.0}}]
tracking: none
latency: none
"""


def assert_same_results(one: Path, other: Path) -> None:
    """Histories, results, per-image arrays and weights of two results folders, times apart."""
    (mine,), (theirs,) = ResultsFolder(one).records(), ResultsFolder(other).records()
    assert mine.status == theirs.status == "finished"
    assert mine.points == theirs.points
    assert timeless(mine) == timeless(theirs)
    arrays, expected = ResultsFolder(one).arrays(mine.run_id), ResultsFolder(other).arrays(mine.run_id)
    assert arrays.keys() == expected.keys()
    assert all(np.array_equal(array, expected[name]) for name, array in arrays.items())
    weights = f"work/{mine.run_id}/model.safetensors"
    assert (one / weights).read_bytes() == (other / weights).read_bytes()
    assert left_over(one) == left_over(other) == []


def timeless(record: Record) -> tuple[list[EpochRecord], list[tuple[str, int, int, int]]]:
    history = [epoch.model_copy(update={"time": 0.0, "seconds": 0.0}) for epoch in record.history]
    return history, [(s.name, s.epochs, s.images, s.train_macs) for s in record.budget.stages]


def left_over(results: Path) -> list[str]:
    """Files of an interrupted run that a finished one does not need."""
    kept = {"model.safetensors", "lock"}
    return sorted(path.name for path in (results / "work").glob("*/*") if path.name not in kept)


# The command line, really killed


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`dynbench run` on results folder `folder`, its output to be read as it comes."""
    suite = folder.parent / "resume.yaml"
    suite.write_text(SUITE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "dynbench", "run", str(suite), "--results", str(folder), "--device", "cpu"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder.parent
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def interrupt_after(folder: Path, epochs: int, number: signal.Signals) -> tuple[int, str]:
    """Send the signal once `epochs` epochs are reported; (exit code, standard error)."""
    with running(folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().startswith(f"train {epochs}/{EPOCHS} "):
                process.send_signal(number)
                _, errors = process.communicate()
                return process.returncode, errors
        raise AssertionError(f"it ended before epoch {epochs}: {process.communicate()[1]}")


def finish(folder: Path) -> str:
    """Run to the end; what it printed."""
    with running(folder) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "results"
    assert "continuing" not in finish(folder)
    (record,) = ResultsFolder(folder).records()
    macs = ResultsFolder(folder).arrays(record.run_id)["sequential/macs"]
    assert len(set(macs.tolist())) > 1, "comparing what every image costs would show nothing"
    return folder


def test_kill(tmp_path: Path, uninterrupted: Path) -> None:
    folder = tmp_path / "results"
    code, _ = interrupt_after(folder, 2, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (folder / "records").exists()
    # What a write leaves behind that was cut off in the middle.
    (work,) = (folder / "work").iterdir()
    (work / ".checkpoint.pt.cut-off").write_bytes(b"half")
    assert "train: continuing after epoch" in finish(folder)
    assert_same_results(folder, uninterrupted)


def test_sigterm_and_sigint(tmp_path: Path, uninterrupted: Path) -> None:
    folder = tmp_path / "results"
    for epochs, number in ((1, signal.SIGTERM), (2, signal.SIGINT)):
        code, errors = interrupt_after(folder, epochs, number)
        assert code == 130
        assert errors == "interrupted; the same command continues from the last finished epoch\n"
    assert "train: continuing after epoch" in finish(folder)
    assert_same_results(folder, uninterrupted)


# Several stages, in this process


class Interrupter(Observer):
    """Raises KeyboardInterrupt at one place: (stage, epochs done); 0 is before the first."""

    def __init__(self, stage: str, epochs: int) -> None:
        self._at = stage, epochs

    def stage_started(self, run: Run, stage: str, epochs: int, done: int, steps: int) -> None:
        self._interrupt(stage, done)

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        self._interrupt(history[-1].stage, history[-1].epoch + 1)

    def _interrupt(self, *here: object) -> None:
        if here == self._at:
            raise KeyboardInterrupt


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plugin `two_stages`, as if it had been installed."""
    info = tmp_path / "plugins" / "two_stages-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: two-stages\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dynbench.methods]\ntwo_stages = tests.helpers.two_stages:TwoStages\n")
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    clear_registry()
    yield
    clear_registry()


def clear_registry() -> None:
    registry.discover.cache_clear()
    registry.load_method.cache_clear()


@pytest.mark.usefixtures("registered")
def test_stages_with_an_edit_are_resumed_anywhere(tmp_path: Path) -> None:
    run = make_run(TwoStages, Recipe(epochs=2, batch_size=128))
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    record = execute(run, make_context(whole))
    assert record.status == "finished", record.traceback
    assert record.plugin == "two-stages 1.0"
    assert [(epoch.stage, epoch.epoch) for epoch in record.history] == [
        ("train", 0),
        ("train", 1),
        ("tune", 0),
        ("tune", 1),
    ]
    train, tune = record.budget.stages
    assert tune.train_macs < train.train_macs
    for place in (("train", 1), ("train", 2), ("tune", 0), ("tune", 1), ("tune", 2)):
        with pytest.raises(KeyboardInterrupt):
            execute(run, make_context(pieces, Interrupter(*place)))
    execute(run, make_context(pieces))
    assert_same_results(pieces, whole)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("damage", ["truncated", "other run"])
def test_a_damaged_checkpoint_says_what_to_do(tmp_path: Path, damage: str) -> None:
    run = make_run(TwoStages, Recipe(epochs=1, batch_size=512))
    with pytest.raises(KeyboardInterrupt):
        execute(run, make_context(tmp_path, Interrupter("train", 1)))
    (path,) = (tmp_path / "work").glob("*/checkpoint.pt")
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        other = run.model_copy(update={"seed": 1})
        path = path.rename(tmp_path / "checkpoint.pt")
        run, folder = other, tmp_path / "work" / other.run_id
        folder.mkdir()
        path = path.rename(folder / "checkpoint.pt")
    with pytest.raises(UserError, match="delete it to train") as raised:
        execute(run, make_context(tmp_path))
    assert str(path) in str(raised.value)
    assert not (tmp_path / "records").exists()


def test_pieces_of_some_minutes_end_with_the_numbers_of_one_go(tmp_path: Path, call: Call) -> None:
    suite = tmp_path / "resume.yaml"
    suite.write_text(SUITE)
    assert call("run", suite, "--epochs", 2, "--results", tmp_path / "whole").exit_code == 0
    codes: list[int] = []
    while not codes or codes[-1] == 3:
        result = call("run", suite, "--epochs", 2, "--results", tmp_path / "pieces", "--minutes", 1e-6)
        codes.append(result.exit_code)
        assert ("time is up" in result.output) == (codes[-1] == 3)
    assert codes == [3, 3, 0]  # one epoch each; the last piece evaluates
    assert_same_results(tmp_path / "pieces", tmp_path / "whole")


# In the middle of an epoch, in this process


LOOK_EVERY = 2


class InTheMiddle(Observer):
    """Raises KeyboardInterrupt at one step of an epoch; notes after which step of each epoch training began."""

    def __init__(self, at: tuple[int, int] | None, begun: list[int]) -> None:
        self._at, self._begun, self._epoch = at, begun, -1

    def steps_done(self, epoch: int, step: int, loss: float) -> None:
        if epoch != self._epoch:
            self._epoch = epoch
            self._begun.append(step - LOOK_EVERY)
        if (epoch, step) == self._at:
            raise KeyboardInterrupt


def trained(run: Run, folder: Path, observer: Observer, keep_seconds: float) -> tuple[Journal, dict[str, Tensor]]:
    """By the trainer alone, which looks at its loss every `LOOK_EVERY` steps."""
    context, data, method = make_context(folder, observer), load_data(run.data), Noisy(Noisy.Config())
    model = build_model(run, method, data, context)
    return Session(run, method, model, data, context, LOOK_EVERY, keep_seconds).train(), model.state_dict()


def test_an_epoch_goes_on_in_its_middle(tmp_path: Path) -> None:
    run = make_run(Noisy, Recipe(epochs=2, batch_size=128, warmup_epochs=1))
    whole, expected = trained(run, tmp_path / "whole", Observer(), keep_seconds=600)
    starts: list[int] = []
    for place in ((0, 4), (0, 8), (1, 6)):
        with pytest.raises(KeyboardInterrupt):
            trained(run, tmp_path / "pieces", InTheMiddle(place, starts), keep_seconds=0)
    journal, state = trained(run, tmp_path / "pieces", InTheMiddle(None, starts), keep_seconds=0)
    assert starts == [0, 2, 6, 0, 4]
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    for mine, theirs in zip(journal.history, whole.history, strict=True):
        assert mine.model_copy(update={"time": 0, "seconds": 0}) == theirs.model_copy(update={"time": 0, "seconds": 0})
    assert [(one.images, one.train_macs) for one in journal.stages] == [(2304, whole.stages[0].train_macs)]
