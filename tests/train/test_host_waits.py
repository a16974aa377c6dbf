"""A training step never waits for the device: it reads no number back, and copies nothing from the host."""

from typing import Any

import pytest
import torch
from dynbench_methods.blockdrop.method import BlockDrop
from dynbench_methods.dense import Dense
from dynbench_methods.lc_net.method import CNet, LCNet, LNet
from dynbench_methods.pruning.filter_pruning import FilterPruning
from dynbench_methods.pruning.nisp import Nisp
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from dynbench.data.epoch import Augment, epoch_batches
from dynbench.data.split import Split
from dynbench.method import Method
from dynbench.recipe.averaging import make_averaging
from dynbench.recipe.resizing import resized
from dynbench.stage import Progress, Stage
from dynbench.suite.recipe import Ema, Lookahead, Recipe
from dynbench.train.trainer import StageTrainer
from tests.helpers.small import CLASSES, SHAPE, random_data, random_split, small_backbone

RECIPE = Recipe(epochs=1, clip_norm=1.0)
READS = (DataDependentOutputException, DynamicOutputShapeException)
METHODS = (
    Dense(Dense.Config()),
    LNet(LNet.Config(l1_layer=0.1)),
    CNet(CNet.Config(l1_channel=0.1, channel_group=2)),
    LCNet(LCNet.Config(l1_layer=0.1, l1_channel=0.1)),
    FilterPruning(FilterPruning.Config(macs=0.5)),
    Nisp(Nisp.Config(macs=0.5)),
    BlockDrop(BlockDrop.Config()),
)


class Reads(Dense):
    """Looks at its loss at every step."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        found = super().loss(model, x, y, progress, recipe)
        return found if float(found) > 0 else 0 * found


class Selects(Dense):
    """Chooses images by what is in them."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        bright = x.mean((1, 2, 3)) > 0
        return cross_entropy(model(x[bright]), y[bright])


def stages() -> list[Any]:
    return [
        pytest.param(method, stage, id=f"{method.name}-{stage.name}")
        for method in METHODS
        for stage in method.stages(RECIPE)
    ]


def step(method: Method, stage: Stage) -> None:
    """Loss, gradients and clipping of a step on tensors without values, of which none can be read."""
    with FakeTensorMode():
        model = method.build(small_backbone()).train()
        loss = stage.loss(model, torch.randn(4, *SHAPE), torch.randint(CLASSES, (4,)), Progress(0, 1, 0.0))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)


@pytest.mark.parametrize(("method", "stage"), stages())
def test_a_training_step_never_reads_a_number_back(method: Method, stage: Stage) -> None:
    if stage.name == "curriculum":
        # BlockDrop's frozen backbone leaves out dropped branches, and has to know how many images are left.
        with pytest.raises(READS):
            step(method, stage)
    else:
        step(method, stage)


@pytest.mark.parametrize("kind", [Reads, Selects])
def test_a_step_that_reads_is_noticed(kind: type[Method]) -> None:
    method = kind(kind.Config())
    with pytest.raises(READS):
        step(method, method.stages(RECIPE)[0])


@pytest.mark.parametrize("spec", [Ema(name="ema"), Lookahead(name="lookahead", k=1)])
def test_averages_and_smaller_images_never_read_a_number_back(spec: Ema | Lookahead) -> None:
    with FakeTensorMode():
        model = small_backbone()
        averaging = make_averaging(spec, model)
        assert averaging is not None
        for _ in range(3):
            averaging.step()
        assert resized(torch.randn(4, *SHAPE), 4).shape == (4, 3, 4, 4)


class Copies(TorchDispatchMode):
    """Counts tensors that go to another device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and args[0].device != out.device:
            self.count += 1
        return out


@pytest.mark.parametrize("steps", [1, 7])
def test_an_epochs_random_numbers_go_to_the_device_once(steps: int) -> None:
    whole = random_split(8 * steps)
    there = Split(whole.images.to("meta"), whole.labels.to("meta"))
    with Copies() as copies:
        batches = list(epoch_batches(there, 8, 0, Augment()))
    assert len(batches) == steps
    assert {(images.device.type, labels.device.type) for images, labels in batches} == {("meta", "meta")}
    assert copies.count == 3  # the order, the crops, the flips


@pytest.mark.parametrize("mode", [True, "reduce-overhead"])
def test_a_compiled_loss_is_compiled_once_and_learns_the_same(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`progress`, which changes at every step, must not make it compile again."""
    compilations: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compilations.append(len(inputs))
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda loss, mode=None: real(loss, backend=backend))
    losses = []
    for chosen in (mode, False):
        recipe = Recipe(epochs=2, batch_size=8, channels_last=False, compile=chosen)
        (stage,) = LCNet(LCNet.Config(l1_layer=0.1)).stages(recipe)
        data = random_data()
        model = LCNet(LCNet.Config(l1_layer=0.1)).build(small_backbone())
        trainer = StageTrainer(stage, model, data, data.train, recipe, 0, torch.device("cpu"))
        losses.append([trainer.epoch(epoch, lambda step, loss: None).loss for epoch in (0, 1)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(compilations) == 1
