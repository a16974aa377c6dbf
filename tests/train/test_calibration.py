"""Thresholds that are set on held-out images, and stages that train nothing: what they see, cost and leave behind."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.build import build_model, data_for
from dynbench.context import Context
from dynbench.contract import CHECKS, make_subject
from dynbench.data.split import Data, TestSplit
from dynbench.errors import AuditFailed
from dynbench.estimate.estimate import estimate_cost
from dynbench.evaluation.trained import Trained
from dynbench.execute import execute
from dynbench.method import Output, Point
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.record.schema import Record
from dynbench.stage import Stage, recipe_stage
from dynbench.suite.recipe import Recipe
from dynbench.train.session import Session
from tests.conftest import Register
from tests.helpers.small import make_context, make_run, random_data
from tests.train.test_resume import Interrupter, assert_same_results

IMAGES = 5


class Quantile(Dense):
    """Two stages of training, one without epochs between them, and a threshold: the median confidence on held-out
    images. What is above it is answered twice as loudly."""

    name = "quantile"
    seen: tuple[Tensor, Tensor] | None = None

    def build(self, backbone: Backbone) -> nn.Module:
        backbone.register_buffer("threshold", torch.zeros(()))
        backbone.register_buffer("brightest", torch.zeros(()))
        return backbone

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        first, look, second = (recipe_stage(self, recipe, name) for name in ("train", "look", "tune"))
        return [first, replace(look, epochs=0, edit_on_images=_look, images=IMAGES), second]

    def calibrate(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        type(self).seen = images, labels
        assert not model.training
        model.threshold.copy_(_confidence(model(images)).median())  # type: ignore[operator]

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        logits = model(x)
        sure = _confidence(logits) > model.threshold
        return [Output(logits * (1 + sure.double()[:, None]).to(logits)) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> None:  # type: ignore[override]
        return None


def _confidence(logits: Tensor) -> Tensor:
    return logits.softmax(1).amax(1)


def _look(model: nn.Module, images: Tensor) -> None:
    assert model.brightest == 0  # type: ignore[comparison-overlap]
    with torch.no_grad():
        model.brightest.copy_(model.eval()(images).max())  # type: ignore[operator]


RECIPE = Recipe(epochs=2, batch_size=128)


@pytest.fixture
def run(register: Register) -> Run:
    register("quantile", Quantile)
    return make_run(Quantile, RECIPE)


def made(run: Run, folder: Path, observer: Observer | None = None) -> Record:
    record = execute(run, make_context(folder, observer))
    assert record.status == "finished", record.traceback
    return record


def test_what_they_cost_stands_in_the_budget(run: Run, tmp_path: Path) -> None:
    stages = {stage.name: stage for stage in made(run, tmp_path).budget.stages}
    assert list(stages) == ["train", "look", "tune", "calibration"]
    macs = estimate_cost(run).macs
    assert (stages["look"].epochs, stages["look"].images, stages["look"].edit_macs) == (0, IMAGES, IMAGES * macs)
    calibration = stages["calibration"]
    assert (calibration.epochs, calibration.images, calibration.edit_macs) == (0, 90, 90 * macs)
    assert stages["look"].train_macs == calibration.train_macs == 0
    assert made(run, tmp_path / "again").budget.edit_macs == (90 + IMAGES) * macs
    estimated = [stage.train_macs for stage in estimate_cost(run).stages]
    assert estimated == [stages[name].train_macs for name in ("train", "look", "tune")]


def test_the_halves_are_always_the_same_and_share_no_image() -> None:
    data = random_data(validation=11)
    halves = data.with_calibration()
    assert halves.calibration is not None
    assert torch.equal(halves.calibration.images, data.validation.images[::2])
    assert torch.equal(halves.calibration.labels, data.validation.labels[::2])
    assert torch.equal(halves.validation.images, data.validation.images[1::2])
    assert data_for(Dense(Dense.Config()), data) is data


def session(folder: Path, data: Data) -> tuple[Session, Context]:
    context, method = make_context(folder), Quantile(Quantile.Config())
    run = make_run(Quantile, Recipe(epochs=1, batch_size=8))
    halves = data_for(method, data)
    return Session(run, method, build_model(run, method, halves, context), halves, context), context


def test_it_gets_one_half_and_figures_are_of_the_other(tmp_path: Path) -> None:
    data = random_data(validation=12)
    here, context = session(tmp_path, data)
    here.train()
    assert Quantile.seen is not None
    images, labels = Quantile.seen
    torch.testing.assert_close(images, data.normalise(context.device)(data.validation.images[::2]))
    assert torch.equal(labels, data.validation.labels[::2])
    trained = Trained.of(here.method, here.model, here.data, context.device, batch_size=8)
    assert len(trained.evaluate(here.data.validation)[0].correct) == 6
    threshold = here.model.threshold
    assert threshold == _confidence(here.model.eval()(images)).median()  # type: ignore[operator]


def test_other_labels_and_the_test_split_are_out_of_reach(tmp_path: Path) -> None:
    class Peeks(Quantile):
        def calibrate(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
            held = here.data.validation.labels
            assert not torch.equal(held, true)
            assert int((held == true).sum()) == 0
            with pytest.raises(AuditFailed, match="asked for the test split"):
                here.data.test.read()

    here, _ = session(tmp_path, random_data())
    true, here.method = here.data.validation.labels.clone(), Peeks(Peeks.Config())
    with pytest.raises(AuditFailed, match="while it was calibrated, the plugin asked for the test split"):
        here.train()
    assert torch.equal(here.data.validation.labels, true)
    assert len(here.data.test.read()) == 12, "it can still be read once, by the harness"


def test_a_locked_test_split_was_not_read() -> None:
    split = TestSplit(lambda: random_data().validation)
    with split.locked("while nothing happened"):
        pass
    assert len(split.read()) == 12
    with pytest.raises(RuntimeError, match="read already"):
        split.read()


@pytest.mark.parametrize(("stage", "epochs"), [("train", 2), ("tune", 0), ("tune", 1), ("tune", 2)])
def test_it_goes_on_after_an_interruption(run: Run, tmp_path: Path, stage: str, epochs: int) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    made(run, whole)
    with pytest.raises(KeyboardInterrupt):
        execute(run, make_context(pieces, Interrupter(stage, epochs)))
    made(run, pieces)
    assert_same_results(whole, pieces)


def test_such_a_method_keeps_the_contract() -> None:
    subject = make_subject(Quantile, "resnet8", 0.25)
    outcomes = {check.name: check(subject) for check in CHECKS}
    assert [outcome.words for outcome in outcomes.values() if outcome.bad] == []
    assert outcomes["calibration"].status == "kept"
