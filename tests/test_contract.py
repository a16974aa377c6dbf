"""What every registered method has to keep, on each kind of block: whoever wrote it."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dynbench.audit import audit
from dynbench.backbones import Backbone, build_backbone
from dynbench.backbones.weights import load_weights, read_weights, save_weights
from dynbench.cost import CostModel, evaluating, static_costs
from dynbench.method import Method, Output, Progress, Stage
from dynbench.registry import discover, load
from dynbench.suite.schema import BackboneSpec, Recipe, Sgd
from dynbench.train.edit import apply_edits

SHAPE = (3, 16, 16)
CLASSES = 10
BACKBONES = {
    "basic": BackboneSpec(name="resnet8"),
    "bottleneck": BackboneSpec(name="resnet50", width=0.125),
    "torchvision basic": BackboneSpec(name="resnet18", width=0.125, stem="imagenet"),
    "torchvision bottleneck": BackboneSpec(name="resnet50", width=0.0625, stem="imagenet"),
    "inverted residual": BackboneSpec(name="mobilenet_v2", width=0.125),
}
RECIPE = Recipe(epochs=1, batch_size=16)
GENTLE = RECIPE.model_copy(update={"optimizer": Sgd(name="sgd", lr=0.02)})
"""Sixteen blocks that end at a single pixel diverge at the usual learning rate."""
CPU = torch.device("cpu")


def images(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images of very different contrast, so that gates have something to tell apart, and labels."""
    generator = torch.Generator().manual_seed(seed)
    contrast = torch.rand(count, 1, 1, 1, generator=generator) * 3
    x = torch.randn(count, *SHAPE, generator=generator) * contrast
    return x, torch.randint(CLASSES, (count,), generator=generator)


@dataclass(frozen=True)
class Subject:
    method: Method
    backbone: BackboneSpec
    model: nn.Module
    recipe: Recipe

    def infer(self, x: Tensor) -> list[Output]:
        with evaluating(self.model):
            return list(self.method.infer(self.model, x, self.method.points(self.model)))


def step(stage: Stage, model: nn.Module, x: Tensor, y: Tensor) -> None:
    """One optimisation step, seeded as the trainer does it."""
    torch.manual_seed(0)
    optimizer = stage.optimizer(model)
    model.train()
    stage.loss(model, x, y, Progress(0, 1, 0.0)).backward()
    optimizer.step()


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def backbone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=sorted(discover()))
def subject(request: pytest.FixtureRequest, backbone: str) -> Iterator[Subject]:
    """A method with its default parameters and a model that has been trained for a few steps."""
    kind = load(request.param)
    method = kind(kind.Config())
    torch.manual_seed(0)
    spec = method.backbone(BACKBONES[backbone])
    model = method.build(build_backbone(spec, SHAPE, CLASSES))
    recipe = GENTLE if backbone == "torchvision bottleneck" else RECIPE
    stage = method.stages(recipe)[0]
    apply_edits(stage, model, lambda count: images(min(count, 16))[0])
    for seed in range(4):
        step(stage, model, *images(16, seed))
    yield Subject(method, spec, model.eval(), recipe)


def same(one: list[Output], other: list[Output]) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.logits, b.logits)
        assert a.usage.keys() == b.usage.keys()
        for layer in a.usage:
            for part in ("inputs", "outputs", "positions"):
                left, right = getattr(a.usage[layer], part), getattr(b.usage[layer], part)
                assert (left is None and right is None) or torch.equal(left, right)


def test_executed_equals_accounted_and_executor_equals_infer(subject: Subject) -> None:
    costs = CostModel(static_costs(subject.model, SHAPE), CPU)
    points = subject.method.points(subject.model)
    results = audit(subject.method, subject.model, images(4)[0], points, costs)
    assert all(result.images == 4 and result.difference < 1e-5 for result in results)


def test_evaluating_twice_is_identical(subject: Subject) -> None:
    x, _ = images(8)
    same(subject.infer(x), subject.infer(x))


def test_an_image_does_not_depend_on_its_batch(subject: Subject) -> None:
    x, _ = images(6)
    together = subject.infer(x)
    for index in range(len(x)):
        for alone, batch in zip(subject.infer(x[index : index + 1]), together, strict=True):
            torch.testing.assert_close(alone.logits[0], batch.logits[index], rtol=1e-4, atol=1e-4)


def test_usage_is_a_fraction_of_layers_that_exist(subject: Subject) -> None:
    costs = CostModel(static_costs(subject.model, SHAPE), CPU)
    for output in subject.infer(images(8)[0]):
        assert output.logits.shape == (8, CLASSES)
        total = costs(output.usage, 8).by_kind  # raises for unknown layers, shapes and fractions
        assert int(total.sum(1).max()) <= sum(layer.macs for layer in costs.layers)
        assert int(total.min()) >= 0


def test_saved_and_loaded_it_is_the_same_and_trains_on(subject: Subject, tmp_path: Path) -> None:
    save_weights(subject.model, tmp_path / "model.safetensors")
    other = deepcopy(subject.model)
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    load_weights(other, tmp_path / "model.safetensors")
    x, y = images(8)
    same(subject.infer(x), replace(subject, model=other).infer(x))
    original = deepcopy(subject.model)
    for model in (original, other):
        step(subject.method.stages(subject.recipe)[0], model, x, y)
    for name, value in original.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_it_is_rebuilt_from_its_weights_alone(subject: Subject, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    save_weights(subject.model, weights)
    torch.manual_seed(1)
    rebuilt = subject.method.restore(build_backbone(subject.backbone, SHAPE, CLASSES), read_weights(weights))
    load_weights(rebuilt, weights)
    x, _ = images(8)
    same(subject.infer(x), replace(subject, model=rebuilt).infer(x))


def test_gradients_reach_every_trainable_parameter(subject: Subject) -> None:
    model = deepcopy(subject.model).train()
    x, y = images(16)
    subject.method.stages(subject.recipe)[0].loss(model, x, y, Progress(0, 1, 0.0)).backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not bool(parameter.grad.abs().sum() > 0))
    ]
    assert without == []


def test_the_model_holds_the_backbone_that_it_was_given(subject: Subject) -> None:
    assert any(isinstance(module, Backbone) for module in subject.model.modules())
