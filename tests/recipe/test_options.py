"""Options of a recipe keep what is promised of every training: exact resume, counted MACs, processes, NaN stops."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.flop_counter import FlopCounterMode

from dynbench.build import build_model
from dynbench.cost import dense_macs
from dynbench.data.split import Data
from dynbench.errors import TrainingDiverged
from dynbench.estimate.estimate import estimate_cost
from dynbench.observer import Observer
from dynbench.plan.run import Run
from dynbench.process_group import ALONE, ProcessGroup
from dynbench.recipe.initialisation import initialise
from dynbench.recipe.resizing import epoch_sides
from dynbench.record.schema import EpochRecord
from dynbench.stage import make_optimizer, make_schedule, recipe_stage
from dynbench.suite.recipe import Augmentation, Ema, Lookahead, Muon, OneCycle, Phase, Recipe, Sgd
from dynbench.train.budget import image_macs
from dynbench.train.session import Journal, Session
from dynbench.train.trainer import StageTrainer
from tests.helpers.small import CLASSES, CPU, SHAPE, make_context, make_run, random_data, small_backbone
from tests.launch.test_ddp import together

BASE = Recipe(epochs=4, batch_size=8, optimizer=Sgd(name="sgd", lr=0.05))
SMALLER = (Phase(side=4, until=0.25), Phase(side=6, until=0.5))
OPTIONS: dict[str, Recipe] = {
    "one_cycle": BASE.model_copy(update={"schedule": OneCycle(name="one_cycle")}),
    "augmentation": BASE.model_copy(
        update={"augmentation": Augmentation(padding=2, padding_mode="reflect", flip="alternating", cutout=3)}
    ),
    "progressive_resizing": BASE.model_copy(update={"progressive_resizing": SMALLER}),
    "ema": BASE.model_copy(update={"averaging": Ema(name="ema", decay=0.9, bn_images=24)}),
    "lookahead": BASE.model_copy(update={"averaging": Lookahead(name="lookahead", k=3, bn_images=24)}),
    "initialisation": BASE.model_copy(update={"zero_gamma": True, "dirac": True}),
    "parameters": BASE.model_copy(
        update={"optimizer": Sgd(name="sgd", lr=0.05, decay_norm_and_bias=False, bias_scaler=4)}
    ),
    "muon": BASE.model_copy(update={"optimizer": Muon(name="muon", bias_scaler=4)}),
}
EVERY = pytest.mark.parametrize("name", OPTIONS)
IMAGES = 40


class Interrupter(Observer):
    """Raises KeyboardInterrupt after this many epochs, or in the middle of an epoch's steps."""

    def __init__(self, epochs: int, step: int | None = None) -> None:
        self._epochs, self._step = epochs, step

    def epoch_finished(self, run: Run, history: Sequence[EpochRecord]) -> None:
        if self._step is None and len(history) == self._epochs:
            raise KeyboardInterrupt

    def steps_done(self, epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == (self._epochs, self._step):
            raise KeyboardInterrupt


def images() -> Data:
    return random_data(train=IMAGES)


def session(recipe: Recipe, folder: Path, observer: Observer | None = None) -> Session:
    """On random images, which are augmented; it looks at its loss every second step and keeps its place then."""
    run, data, context = make_run(Dense, recipe), images(), make_context(folder, observer)
    method = Dense(Dense.Config())
    return Session(run, method, build_model(run, method, data, context), data, context, look_every=2, keep_seconds=0)


def trained(recipe: Recipe, folder: Path, observer: Observer | None = None) -> tuple[Journal, dict[str, Tensor]]:
    one = session(recipe, folder, observer)
    return one.train(), one.model.state_dict()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], value) for name, value in other.items())


@EVERY
def test_it_changes_training_and_goes_on_from_anywhere_to_the_bit(name: str, tmp_path: Path) -> None:
    whole, weights = trained(OPTIONS[name], tmp_path / "whole")
    assert not same(weights, trained(BASE, tmp_path / "base")[1])
    for place in (Interrupter(1), Interrupter(2, step=2), Interrupter(3, step=4), Interrupter(4)):
        with pytest.raises(KeyboardInterrupt):
            trained(OPTIONS[name], tmp_path / "pieces", place)
    journal, again = trained(OPTIONS[name], tmp_path / "pieces")
    assert same(weights, again)
    assert [one.train_macs for one in journal.stages] == [one.train_macs for one in whole.stages]
    assert [(one.loss, one.val_top1) for one in journal.history] == [(one.loss, one.val_top1) for one in whole.history]


@EVERY
def test_the_budget_is_what_was_dispatched(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, seen = OPTIONS[name], []
    epoch = StageTrainer.epoch

    def counted(self: StageTrainer, *arguments: object) -> object:
        with FlopCounterMode(display=False) as counter:
            result = epoch(self, *arguments)  # type: ignore[arg-type]
        seen.append(int(counter.get_total_flops()) // 2)
        return result

    monkeypatch.setattr(StageTrainer, "epoch", counted)
    one = session(recipe, tmp_path)
    whole = dense_macs(one.model)
    (stage,) = one.train().stages
    recalibrated = recipe.averaging.bn_images * whole if recipe.averaging else 0
    rounding = stage.images  # a step's own MACs are whole ones an image
    assert 0 <= sum(seen) + recalibrated - stage.train_macs <= rounding
    assert len(seen) == recipe.epochs
    assert (len(set(seen)) > 1) == bool(recipe.progressive_resizing)


def test_estimates_say_what_the_budget_will_be() -> None:
    """For digits, which are small enough to be estimated for real."""
    for name in ("progressive_resizing", "ema", "muon"):
        run = make_run(Dense, OPTIONS[name])
        (stage,) = estimate_cost(run).stages
        plain = estimate_cost(make_run(Dense, BASE)).stages[0].train_macs
        assert (stage.train_macs < plain) == (name == "progressive_resizing"), name


@EVERY
def test_a_loss_that_is_no_number_stops_it(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dense, "loss", lambda *_: torch.tensor(float("nan"), requires_grad=True))
    with pytest.raises(TrainingDiverged, match="the loss became nan"):
        trained(OPTIONS[name], tmp_path)


def on_processes(processes: ProcessGroup) -> dict[str, dict[str, Tensor]]:
    """Each option's result, of a net without batch statistics: theirs are of each process's images."""
    found = {}
    for name, recipe in OPTIONS.items():
        torch.manual_seed(3)
        model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model.append(nn.Linear(6, CLASSES))
        method = Dense(Dense.Config())
        stage = recipe_stage(method, recipe)
        data = images()
        trainer = StageTrainer(stage, model, data, data.train, recipe, 5, CPU, processes)
        for epoch in range(2):
            trainer.epoch(epoch, lambda *_: None)
        trainer.finish()
        found[name] = {key: value.clone() for key, value in model.state_dict().items()}
    return found


def test_two_processes_end_as_one() -> None:
    expected = on_processes(ALONE)
    for found in together(on_processes):
        for name, weights in expected.items():
            for key, value in weights.items():
                torch.testing.assert_close(found[name][key], value, rtol=1e-3, atol=1e-5, msg=f"{name}: {key}")


# What each option does


@pytest.mark.parametrize(
    "spec", [Ema(name="ema", decay=0.8, bn_images=24), Lookahead(name="lookahead", k=2, alpha=0.3)]
)
def test_averages_are_what_their_papers_say(spec: Ema | Lookahead, tmp_path: Path) -> None:
    recipe = BASE.model_copy(update={"averaging": spec, "epochs": 1})
    one = session(recipe, tmp_path)
    data = one.data
    stage = recipe_stage(one.method, recipe)
    trainer = StageTrainer(stage, one.model, data, data.train, recipe, 0, CPU)
    name = "conv1.weight"
    weight = one.model.get_parameter(name)
    slow, average, steps = weight.detach().clone(), None, 0

    def noting(*_: object) -> None:
        nonlocal slow, average, steps
        steps += 1
        now = weight.detach().clone()
        average = now if average is None else 0.8 * average + 0.2 * now
        if steps % 2 == 0:
            slow = slow + 0.3 * (now - slow)

    trainer.optimizer.register_step_post_hook(noting)
    trainer.epoch(0, lambda *_: None)
    before = one.model.state_dict()["bn1.running_mean"].clone()
    trainer.finish()
    assert average is not None
    torch.testing.assert_close(weight.detach(), average if isinstance(spec, Ema) else slow, rtol=1e-5, atol=1e-7)
    assert not torch.equal(one.model.state_dict()["bn1.running_mean"], before)
    assert one.model.training


def test_bn_statistics_of_averaged_weights_are_those_of_training_images(tmp_path: Path) -> None:
    recipe = BASE.model_copy(update={"averaging": Ema(name="ema", decay=0.9, bn_images=IMAGES), "batch_size": IMAGES})
    one = session(recipe, tmp_path)
    one.train()
    data = one.data
    with torch.no_grad():
        stem = one.model.get_submodule("conv1")(data.normalise(CPU)(data.train.images))
    mean = one.model.state_dict()["bn1.running_mean"]
    torch.testing.assert_close(mean, stem.mean((0, 2, 3)), rtol=1e-3, atol=1e-5)


def test_sides_follow_the_phases_and_macs_the_sides() -> None:
    assert epoch_sides(SMALLER, 4, 8) == (4, 6, 8, 8)
    assert epoch_sides(SMALLER, 1, 8) == (4,)
    assert epoch_sides((), 3, 8) == (8, 8, 8)
    recipe = OPTIONS["progressive_resizing"]
    stage = recipe_stage(Dense(Dense.Config()), recipe)
    macs = image_macs(stage, small_backbone(), SHAPE, CLASSES, recipe, 8)
    assert macs.at(4) < macs.at(6) < macs.at(8) == macs.whole
    assert 3.5 < macs.at(8) / macs.at(4) < 4.5  # but for the classifier, by pixels


def test_one_cycle_is_that_of_torch() -> None:
    recipe = Recipe(epochs=5, schedule=OneCycle(name="one_cycle", pct_start=0.3, div_factor=10, final_div_factor=100))
    schedule = make_schedule(recipe, 5)
    optimizer = SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    total = 1001
    theirs = OneCycleLR(optimizer, 1.0, total, pct_start=0.3, div_factor=10, final_div_factor=100)
    for step in range(total):
        expected = optimizer.param_groups[0]["lr"]
        assert schedule(5 * step / (total - 1)) == pytest.approx(expected, abs=0.01)
        optimizer.step()
        theirs.step() if step + 1 < total else None


def test_linear_goes_straight_down_after_its_warm_up() -> None:
    schedule = make_schedule(Recipe(epochs=5, warmup_epochs=1, schedule={"name": "linear", "floor": 0.2}), 5)  # type: ignore[arg-type]
    assert [schedule(epoch) for epoch in (0.5, 1, 3, 5)] == pytest.approx([0.5, 1, 0.6, 0.2])


def test_zero_gamma_makes_blocks_their_shortcuts_and_dirac_identities() -> None:
    model = small_backbone()
    before = {name: one.clone() for name, one in model.named_parameters()}
    initialise(model, BASE)
    assert same(dict(model.named_parameters()), before)
    initialise(model, BASE.model_copy(update={"zero_gamma": True, "dirac": True}))
    for name, block in model.named_blocks():
        convs = [block.conv_and_norm(one) for one in block.branch_convs()]
        assert not convs[-1][1].weight.any()
        assert convs[0][1].weight.all()
        conv = convs[0][0]
        taken = conv.in_channels
        centre = torch.zeros_like(conv.weight[:taken])
        centre[range(taken), range(taken), conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = 1
        assert torch.equal(conv.weight[:taken], centre)
        rest = before[f"{name}.{block.branch_convs()[0]}.weight"][taken:]
        assert torch.equal(conv.weight[taken:], rest)
    assert torch.equal(model.get_parameter("conv1.weight"), before["conv1.weight"])


def test_parameters_without_decay_and_biases_at_their_own_rate() -> None:
    model = small_backbone()
    spec = Sgd(name="sgd", lr=0.1, weight_decay=0.01, decay_norm_and_bias=False, bias_scaler=64)
    rules = {
        one: (group["lr"], group["weight_decay"])
        for group in make_optimizer(spec, model, {"layer2": 0.5}).param_groups
        for one in group["params"]
    }
    assert len(rules) == len(list(model.parameters()))
    for name, one in model.named_parameters():
        rate = (0.5 if name.startswith("layer2") else 0.1) * (64 if name.endswith("bias") else 1)
        assert rules[one] == pytest.approx((rate, 0.01 if one.ndim > 1 else 0.0)), name
    plain = make_optimizer(Sgd(name="sgd"), model)
    assert [len(group["params"]) for group in plain.param_groups] == [len(rules)]


def test_history_is_of_the_weights_that_are_trained_and_its_last_of_the_average(tmp_path: Path) -> None:
    recipe = OPTIONS["ema"]
    journal, _ = trained(recipe, tmp_path / "ema")
    plain, _ = trained(BASE, tmp_path / "plain")
    assert [one.val_top1 for one in journal.history[:-1]] == [one.val_top1 for one in plain.history[:-1]]
    assert [one.loss for one in journal.history] == [one.loss for one in plain.history]


def test_a_fresh_process_with_muon_ends_sealed(tmp_path: Path) -> None:
    """In this one, an optimizer has been made before."""
    suite = tmp_path / "sealed.yaml"
    suite.write_text(
        "{name: sealed, data: digits, backbones: [{name: resnet8, width: 0.25}], methods: [dense], tracking: none,"
        " latency: none, recipe: {epochs: 1, batch_size: 256, optimizer: muon, averaging: ema}}"
    )
    command = [sys.executable, "-m", "dynbench", "run", str(suite), "--results", str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
