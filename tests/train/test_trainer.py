from collections.abc import Callable
from dataclasses import replace

import cpuinfo
import pytest
import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from dynbench import device as precision
from dynbench.cost import static_costs
from dynbench.data.augment import augmented, draw_changes
from dynbench.data.epoch import STANDARD
from dynbench.data.split import Data
from dynbench.device import usable_precision
from dynbench.errors import TrainingDiverged
from dynbench.plan.run import derived_seed
from dynbench.stage import Progress, Stage, recipe_stage
from dynbench.suite.recipe import Cosine, Recipe, Sgd
from dynbench.train.budget import training_macs
from dynbench.train.trainer import LOOK_EVERY, EpochResult, StageTrainer
from tests.helpers.small import CLASSES, CPU, SHAPE, random_data, random_images, small_backbone

RECIPE = Recipe(
    epochs=3,
    batch_size=8,
    optimizer=Sgd(name="sgd", lr=0.1),
    schedule=Cosine(name="cosine"),
    warmup_epochs=1,
    label_smoothing=0.1,
    channels_last=False,
)
SEED = 5


def silent(step: int, loss: float) -> None:
    pass


def dense_stage(recipe: Recipe = RECIPE) -> Stage:
    return recipe_stage(Dense(Dense.Config()), recipe)


def make_trainer(
    model: nn.Module, stage: Stage, recipe: Recipe = RECIPE, data: Data | None = None, look_every: int = LOOK_EVERY
) -> StageTrainer:
    data = data or random_data()
    return StageTrainer(stage, model, data, data.train, recipe, SEED, CPU, look_every=look_every)


def with_loss(loss: Callable[[nn.Module, Tensor, Tensor, Progress], Tensor], recipe: Recipe = RECIPE) -> Stage:
    return replace(dense_stage(recipe), loss=loss)


def same_state(one: nn.Module, other: nn.Module) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in mine.items())


# One epoch is what a plain loop does


def plain_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, recipe: Recipe) -> list[float]:
    """An epoch by hand, in the order and with the crops that the trainer draws."""
    data = random_data()
    images, labels = data.train.images, data.train.labels
    generator = torch.Generator().manual_seed(derived_seed(SEED, "train", epoch, "data"))
    order = torch.randperm(len(images), generator=generator)
    losses = []
    model.train()
    for step in range(len(images) // recipe.batch_size):
        batch = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
        changes = draw_changes(len(batch), generator, STANDARD, (8, 8))
        x = data.normalise(CPU)(augmented(images[batch], changes, STANDARD))
        fraction = epoch + (step + 1) / (len(images) // recipe.batch_size)
        optimizer.param_groups[0]["lr"] = 0.1 * dense_stage().schedule(fraction)
        loss = cross_entropy(model(x), labels[batch], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_epochs_equal_a_plain_loop_bit_for_bit() -> None:
    model, plain = small_backbone(), small_backbone()
    trainer = make_trainer(model, dense_stage())
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for epoch in range(3):
        result = trainer.epoch(epoch, silent)
        losses = plain_epoch(plain, optimizer, epoch, RECIPE)
        assert same_state(model, plain)
        assert result.loss == pytest.approx(sum(losses) / len(losses), rel=1e-6)
        assert result.images == 40
        for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
            assert torch.equal(
                trainer.optimizer.state[mine]["momentum_buffer"], optimizer.state[theirs]["momentum_buffer"]
            )


def test_every_image_is_seen_once_and_a_rest_is_left_out() -> None:
    data = random_data(train=27, augment=False)
    batches: list[Tensor] = []

    def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        batches.append(x.detach().clone())
        return cross_entropy(model(x), y)

    trainer = make_trainer(small_backbone(), with_loss(loss), data=data)
    result = trainer.epoch(0, silent)
    assert result.images == 24
    assert [len(batch) for batch in batches] == [8, 8, 8]
    seen = torch.cat(batches).flatten(1)
    all_images = data.normalise(CPU)(data.train.images).flatten(1)
    matches = (seen[:, None] == all_images[None]).all(2)
    assert matches.sum(1).tolist() == [1] * 24
    assert matches.sum(0).max() == 1


def test_a_small_training_split_is_one_batch() -> None:
    trainer = make_trainer(small_backbone(), dense_stage(), data=random_data(train=5))
    assert trainer.epoch(0, silent).images == 5


def test_epochs_differ_and_depend_on_the_seed_alone() -> None:
    def first_batch(epoch: int) -> Tensor:
        seen: list[Tensor] = []

        def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
            seen.append(x.detach().clone())
            return cross_entropy(model(x), y)

        make_trainer(small_backbone(), with_loss(loss)).epoch(epoch, silent)
        return seen[0]

    assert torch.equal(first_batch(0), first_batch(0))
    assert not torch.equal(first_batch(0), first_batch(1))
    seeds = {derived_seed(0, "init"), derived_seed(1, "init"), derived_seed(0, "data"), derived_seed(0, "i", "nit")}
    assert len(seeds) == 4
    assert derived_seed(0, "init") == 11867732879391089  # or every committed result would change


def test_progress_and_callback() -> None:
    seen: list[Progress] = []
    steps: list[int] = []

    def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        seen.append(progress)
        return cross_entropy(model(x), y)

    make_trainer(small_backbone(), with_loss(loss), look_every=2).epoch(1, lambda step, mean: steps.append(step))
    assert steps == [2, 4, 5]
    assert [(p.epoch, p.epochs) for p in seen] == [(1, 3)] * 5
    assert [p.fraction for p in seen] == pytest.approx([(1 + step / 5) / 3 for step in range(5)])


def test_learning_rates_of_all_groups_follow_the_schedule() -> None:
    model = small_backbone()
    rates: list[list[float]] = []
    groups = [{"params": model.linear.parameters(), "lr": 0.01}]
    rest = [p for name, p in model.named_parameters() if not name.startswith("linear")]
    optimizer = torch.optim.SGD([{"params": rest}, *groups], lr=1.0)

    def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        rates.append([group["lr"] for group in optimizer.param_groups])
        return cross_entropy(model(x), y)  # type: ignore[no-any-return]

    stage = Stage("s", 4, loss, lambda model: optimizer, schedule=lambda epoch: 1 / (1 + epoch))
    trainer = make_trainer(model, stage)
    for epoch in (0, 1):
        trainer.epoch(epoch, silent)
    expected = [1 / (1 + (step + 1) / 5) for step in range(10)]
    assert [rate[0] for rate in rates] == pytest.approx(expected)
    assert [rate[1] for rate in rates] == pytest.approx([0.01 * factor for factor in expected])


# Clipping, divergence, precision


@pytest.mark.parametrize("clip_norm", [1e-3, 0.5])
def test_clip_norm_bounds_the_update(clip_norm: float) -> None:
    recipe = RECIPE.model_copy(
        update={"clip_norm": clip_norm, "optimizer": Sgd(name="sgd", lr=1, momentum=0, nesterov=False, weight_decay=0)}
    )
    model = small_backbone()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    trainer = make_trainer(model, dense_stage(recipe), recipe)
    trainer.step(random_images(8) * 10, torch.arange(8) % CLASSES, Progress(0, 1, 0.0))
    moved = torch.stack([(p.detach() - b).norm() for p, b in zip(model.parameters(), before, strict=True)]).norm()
    gradient = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert float(gradient) == pytest.approx(clip_norm, rel=1e-3)
    assert float(moved) == pytest.approx(clip_norm, rel=1e-2)


def test_without_clip_norm_gradients_are_left_alone() -> None:
    model, plain = small_backbone().train(), small_backbone().train()
    x, y = random_images(8) * 10, torch.arange(8) % CLASSES
    make_trainer(model, dense_stage()).step(x, y, Progress(0, 1, 0.0))
    cross_entropy(plain(x), y, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.equal(mine.grad, theirs.grad)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_divergence_names_the_place(value: str) -> None:
    calls = iter(range(100))

    def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        return cross_entropy(model(x), y) * (float(value) if next(calls) == 9 else 1.0)

    trainer = make_trainer(small_backbone(), with_loss(loss))
    trainer.epoch(0, silent)
    with pytest.raises(TrainingDiverged) as raised:
        trainer.epoch(1, silent)
    assert f"the loss became {value} in stage train, epoch 2, within step 5 of 5" in str(raised.value)
    assert "lower learning rate" in str(raised.value)


def test_bf16_is_used_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(flags: list[str]) -> str:
        precision._cpu_has_bf16.cache_clear()
        monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: {"flags": flags})
        return usable_precision("bf16", CPU)

    assert chosen(["avx512f", "avx512_bf16"]) == chosen(["amx_bf16"]) == chosen(["bf16"]) == "bf16"
    assert chosen(["avx2", "avx512f"]) == chosen([]) == "fp32"
    assert usable_precision("fp32", CPU) == "fp32"
    precision._cpu_has_bf16.cache_clear()


@pytest.mark.parametrize("has", [False, True])
def test_bf16_falls_back_to_fp32(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: has)
    seen: list[torch.dtype] = []

    def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        logits = model(x)
        seen.append(logits.dtype)
        return cross_entropy(logits, y)

    recipe = RECIPE.model_copy(update={"precision": "bf16"})
    model = small_backbone()
    result = make_trainer(model, with_loss(loss, recipe), recipe).epoch(0, silent)
    assert set(seen) == {torch.bfloat16 if has else torch.float32}
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert result.loss > 0


def test_channels_last_reaches_the_images() -> None:
    seen: list[bool] = []

    def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return cross_entropy(model(x), y)

    recipe = RECIPE.model_copy(update={"channels_last": True})
    make_trainer(small_backbone(), with_loss(loss, recipe), recipe).epoch(0, silent)
    assert all(seen)


def test_result_of_an_epoch() -> None:
    stage = dense_stage()
    result = make_trainer(small_backbone(), stage).epoch(0, silent)
    assert isinstance(result, EpochResult)
    assert result.seconds > 0
    assert result.lr == pytest.approx(RECIPE.optimizer.lr * stage.schedule(1.0))


# What training costs


def forward_macs(model: nn.Module) -> int:
    return sum(cost.macs for cost in static_costs(model, SHAPE))


def test_training_costs_three_forwards_less_the_gradient_of_the_images() -> None:
    model = small_backbone(option="B")
    first = 9 * 3 * 4 * 64
    assert training_macs(dense_stage(), model, SHAPE, CLASSES) == 3 * forward_macs(model) - first


def test_frozen_parameters_cost_less() -> None:
    model = small_backbone()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(("layer2.1", "linear")))
    macs = {cost.name: cost.macs for cost in static_costs(model, SHAPE)}
    weights = macs["layer2.1.conv1"] + macs["layer2.1.conv2"] + macs["linear"]
    inputs = macs["layer2.1.conv2"] + macs["linear"]
    assert training_macs(dense_stage(), model, SHAPE, CLASSES) == forward_macs(model) + weights + inputs


def test_counting_leaves_no_trace() -> None:
    model, untouched = small_backbone(), small_backbone()
    generator = torch.get_rng_state()
    training_macs(dense_stage(), model.eval(), SHAPE, CLASSES)
    assert same_state(model, untouched)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def test_training_costs_are_those_of_a_step() -> None:
    model = small_backbone()
    trainer = make_trainer(model, dense_stage())
    with FlopCounterMode(display=False) as counter:
        trainer.step(random_images(8), torch.arange(8) % CLASSES, Progress(0, 1, 0.0))
    assert counter.get_total_flops() == 2 * 8 * training_macs(dense_stage(), model, SHAPE, CLASSES)
