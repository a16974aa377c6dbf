"""Methods that cheat fail their run, whose record says in plain words what was found and where."""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.execute import execute
from dynbench.latency import timing_process
from dynbench.latency.dense_apart import dense_apart
from dynbench.latency.timer import Asks, Timer
from dynbench.method import Method, Output, Point
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.suite.recipe import Recipe
from dynbench.suite.schema import LatencyProtocol, Limits
from tests.conftest import Register
from tests.helpers.liars import (
    elsewhere,
    hides_work,
    labels,
    masks,
    noise,
    other_logits,
    patches,
    remembers,
    training,
    under_reports,
    weights,
)
from tests.helpers.liars.neighbours import Neighbours
from tests.helpers.small import make_context, make_run

RECIPE = Recipe(epochs=1, batch_size=200)
SHORT = LatencyProtocol(images=16, rounds=1, batches=(1,))


def ask_here(
    module: str, request: Any, kind: type[Any], doing: str, limits: Limits, /
) -> tuple[Any, dict[str, np.ndarray]]:
    """What is timed is timed here: a process of its own would not know methods that are registered for a test."""
    return timing_process.answer(request)


def ask_beside_another(
    module: str, request: Any, kind: type[Any], doing: str, limits: Limits, /
) -> tuple[Any, dict[str, np.ndarray]]:
    """The same, with the dense net in a process that never imports the method."""
    with dense_apart(request.device, request.protocol.threads, "spawn") as apart:
        return timing_process.answer(request, apart)


@pytest.fixture(autouse=True)
def undo_patches() -> Iterator[None]:
    yield
    while patches.UNDO:
        patches.UNDO.pop()()


def recorded(
    method: type[Method], results: Path, register: Register, timed: bool = False, ask: Asks = ask_here, **params: Any
) -> Record:
    """The record of a whole run of the method on the digits."""
    register(method.name, method)
    run = make_run(method, RECIPE, **params)
    ResultsFolder(results).work(run.run_id).mkdir(parents=True)
    timer = Timer(ResultsFolder(results), SHORT, "cpu", None, "a test", ask=ask) if timed else None
    execute(run, make_context(results), timer)
    record = ResultsFolder(results).read(run.run_id)
    assert record is not None
    return record


@pytest.mark.parametrize("method", [Dense, masks.Skips])
def test_the_honest_originals_pass(method: type[Method], tmp_path: Path, register: Register) -> None:
    record = recorded(method, tmp_path, register, timed=True)
    assert (record.status, record.error) == ("finished", None)
    assert record.own_formulas == ()
    assert all(point.audited and point.latency is not None for point in record.points)


class Spy(Dense):
    """Honest; notes in which mode it is asked."""

    name = "spy"
    modes: set[tuple[bool, bool, bool]] = set()

    class Executor(masks.Whole):
        def forward(self, x: Tensor) -> Tensor:
            Spy.modes.add(mode_of(self))
            return super().forward(x)

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        Spy.modes.add(mode_of(model))
        return super().infer(model, x, points)

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return self.Executor(model)


def mode_of(module: nn.Module) -> tuple[bool, bool, bool]:
    return torch.is_inference_mode_enabled(), torch.is_grad_enabled(), module.training


def test_evaluation_audit_and_clock_have_one_mode(tmp_path: Path, register: Register) -> None:
    Spy.modes.clear()
    assert recorded(Spy, tmp_path, register, timed=True).status == "finished"
    assert Spy.modes == {(True, False, False)}


AGAIN = r"never-seen image 0: 0 MACs were executed where the counter sees them, \d+ on all threads"
CAUGHT = {
    masks.Masks: r'point "sequential", never-seen image 0: \d+ MACs were executed and \d+ accounted',
    under_reports.UnderReports: "accounted; layer layer2.0.conv2: .* executed, .* accounted",
    other_logits.OtherLogits: "the executor's logits differ from infer's",
    noise.Noise: "evaluating point .* twice gave two answers: .* is there noise left on",
    Neighbours: "in another order and batch size, .* infer looks at the batch",
    labels.LooksUp: "wrong answers are labels that the harness had made up; infer looks at labels",
    labels.Searches: "while it was evaluated, the plugin searched the interpreter's memory",
    labels.ReadsTheTest: r"in stage train, epoch 1, the plugin read the data set's file digits.csv.gz by itself",
    labels.ReadsTheFile: r"while it was made, the plugin read the data set's file digits.csv.gz",
    remembers.Remembers: AGAIN,
    remembers.WarmUpOnly: AGAIN,
    remembers.Table: r"never-seen image \d: \d+ MACs were executed and 0 accounted",
    hides_work.InAThread: "while it was audited, the plugin started a thread; .* MACs were executed",
    hides_work.InAProcess: "while it was audited, the plugin started a process",
    hides_work.WithoutModes: "MACs were executed where the counter sees them, .* with no counter on",
    hides_work.InNumpy: r"takes numbers out of torch, where nothing is counted: Tensor.numpy of \(1, 16\)",
    hides_work.InNumpyUnseen: r"takes numbers out of torch, where nothing is counted: Tensor.numpy of \(1, 16\)",
    hides_work.InOneDnn: "computes with aten::to_mkldnn, of which it is not known what it multiplies",
    hides_work.Frozen: r"never-seen image \d: \d+ MACs were executed and \d+ accounted",
    hides_work.InBags: r"never-seen image \d: \d+ MACs were executed and \d+ accounted",
    hides_work.Dilated: r"never-seen image \d: \d+ MACs were executed and \d+ accounted",
    hides_work.WithoutAFormula: r"never-seen image \d: \d+ MACs were executed and \d+ accounted",
    hides_work.Unlisted: "computes with aten::_foreach_mul.*, of which it is not known what it multiplies",
    hides_work.InProducts: "element-wise operators multiplied .* numbers, which are no MACs to the counter",
    elsewhere.ZerosForBatches: "a batch of 16: the executor's logits differ from infer's on 16 images",
    elsewhere.ClaimsLessInBatches: "get another class or other MACs alone than where they were evaluated",
    elsewhere.ClaimsLessOnTheTest: "get another class or other MACs alone|MACs were executed and .* accounted",
    elsewhere.KnowsTheFirst: "MACs were executed and .* accounted|infer looks at the batch",
    elsewhere.AdaptsToTheBatch: "infer looks at the batch|weights changed",
    elsewhere.Moody: "the method is declared static, and spends .* MACs on one image and .* on another",
    elsewhere.WorksElsewhere: "as many MACs were executed as accounted, elsewhere; layer .*gate: 16 executed, 0",
    weights.ChangesWeights: "while it was audited, the model's weights changed: linear.weight",
    training.StepsItself: "epoch 1, (optimizers made 7 steps where the trainer made 6|the loss changed parameters)",
    training.ByHand: "in stage train, epoch 1, the loss changed parameters itself",
    training.Grows: r"in stage train, training takes \d+ MACs an image at its end, \d+ when its budget was measured",
    training.TrainsInAnEdit: "in the edit before stage train, optimizers made 1 steps where the trainer made 0",
    patches.PatchesTheCounter: "after training, .*get_total_flops is not what it was before the plugin was loaded",
    patches.PatchesAFormula: "after training, the FLOP formula of aten.convolution is not what it was",
    patches.PatchesTheCode: "after training, the code of .*dense_macs is not what it was",
    patches.PatchesTheClock: "after training, time.perf_counter is not what it was",
}


@pytest.mark.parametrize("method", CAUGHT, ids=lambda method: method.name)
def test_a_liar_fails_its_run(method: type[Method], tmp_path: Path, register: Register) -> None:
    record = recorded(method, tmp_path, register)
    assert record.status == "failed"
    assert record.points == ()
    assert record.error is not None
    assert re.search(CAUGHT[method], record.error), record.error


def test_an_executor_that_remembers_only_where_no_counter_is_on_is_not_timed(
    tmp_path: Path, register: Register
) -> None:
    record = recorded(remembers.RemembersUnwatched, tmp_path, register, timed=True)
    assert record.status == "failed"
    assert "while it was timed: " in str(record.error)
    assert "times faster than others; the executor keeps answers" in str(record.error)


def test_a_plugin_that_knows_where_it_is_timed_is_caught_by_its_answers(
    tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [timing_process.__file__])
    record = recorded(weights.KnowsTheWorker, tmp_path, register, timed=True)
    assert record.status == "failed"
    assert "while it was timed: " in str(record.error)
    assert "where it is timed, infer gives other logits than where it was evaluated" in str(record.error)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (elsewhere.KnowsTheClock, "calls that were timed gave other logits than infer"),
        (
            elsewhere.SlowsTheReference,
            "while it was timed, torch.backends.mkldnn.enabled is False, and was True before",
        ),
    ],
)
def test_a_liar_is_not_timed(method: type[Method], words: str, tmp_path: Path, register: Register) -> None:
    record = recorded(method, tmp_path, register, timed=True)
    assert record.status == "failed"
    assert words in str(record.error)


@pytest.mark.parametrize("method", [Dense, elsewhere.SlowsTheDense])
def test_the_reference_is_as_fast_without_the_plugin(method: type[Method], tmp_path: Path, register: Register) -> None:
    record = recorded(method, tmp_path, register, timed=True, ask=ask_beside_another)
    if method is Dense:
        assert (record.status, record.error) == ("finished", None)
        (point,) = record.points
        assert point.latency is not None
        assert point.latency.timings[0].dense_apart_p50_ms is not None
        return
    assert re.search(
        r"batch size 1: the dense net takes [\d.]+ times as long beside the plugin as in a process that",
        str(record.error),
    )
