"""What usage says was skipped was not read, of whatever registered method: its weights become NaN before the executor
is made, and nothing changes. Which channels a fraction leaves out, only the executor knows: found one by one."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from dynbench.backbones import build_backbone
from dynbench.cost import evaluating, static_costs
from dynbench.executors import module_by_module
from dynbench.method import LayerUsage, Method, Point
from dynbench.registry import discover, load
from dynbench.suite.schema import BackboneSpec, Recipe
from dynbench.train.edit import apply_edits

SHAPE = (3, 16, 16)
CLASSES = 10
BACKBONES = {
    "resnet8": BackboneSpec(name="resnet8", width=0.5),
    "resnet50": BackboneSpec(name="resnet50", width=0.0625),
    "torchvision resnet18": BackboneSpec(name="resnet18", width=0.0625, stem="imagenet"),
    "mobilenet_v2": BackboneSpec(name="mobilenet_v2", width=0.0625),
}
PROBED = 2
"""Layers of each image whose channels are looked at one by one: the narrowest, since each look makes an executor."""

Weights = tuple[str, tuple[slice | Tensor, ...]]
"""A layer and which of its weights (outputs, inputs, ...)."""


@dataclass(frozen=True)
class Subject:
    method: Method
    model: nn.Module
    point: Point

    def logits(self, image: Tensor, poisoned: Iterable[Weights] = ()) -> Tensor:
        """The executor's, made from a model with NaN in place of some weights."""
        model = deepcopy(self.model)
        for layer, index in poisoned:
            model.get_parameter(f"{layer}.weight").data[index] = float("nan")
        executor = self.method.executor(model, self.point)
        assert executor is not None
        logits: Tensor = executor.eval()(image)
        return logits

    def usage(self, image: Tensor) -> dict[str, LayerUsage]:
        (output,) = self.method.infer(self.model, image, [self.point])
        return dict(output.usage)


@torch.no_grad()
def undecided(model: nn.Module) -> nn.Module:
    """Control nets with random scores around zero: half of everything is skipped, on each image something else."""
    for layer in static_costs(model, SHAPE):
        module = model.get_submodule(layer.name)
        if layer.kind == "control" and isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.5)
            nn.init.zeros_(module.bias)
    return model.eval()


def subjects(name: str, backbone: str) -> list[Subject]:
    """One for each operating point that has an executor."""
    method = load(name)(load(name).Config())
    torch.manual_seed(0)
    spec = method.backbone(BACKBONES[backbone])
    model = method.build(build_backbone(spec, SHAPE, CLASSES))
    for stage in method.stages(Recipe(epochs=1)):
        apply_edits(stage, model, lambda count: torch.cat(images(min(count, 16))))
    undecided(model)
    return [Subject(method, model, point) for point in method.points(model) if method.executor(model, point)]


def images(count: int) -> Sequence[Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(count, *SHAPE, generator=generator) * torch.rand(count, 1, 1, 1, generator=generator) * 3
    return x.split(1)


def value(part: Tensor | None) -> float:
    return 1.0 if part is None else float(part)


def skipped_whole(usage: dict[str, LayerUsage]) -> list[Weights]:
    """Layers that did not run at all."""
    none = [
        layer for layer, used in usage.items() if value(used.positions) * value(used.outputs) * value(used.inputs) == 0
    ]
    return [(layer, (slice(None),)) for layer in none]


def skipped_channels(subject: Subject, image: Tensor, layer: str, before: Tensor) -> list[Weights]:
    """Those of a layer that ran in part; at least as many as its usage leaves out."""
    used, weight = subject.usage(image)[layer], subject.model.get_parameter(f"{layer}.weight")
    found: list[Weights] = []
    for axis, share in enumerate((value(used.outputs), value(used.inputs))):
        count = weight.shape[axis]
        places = [(slice(None),) * axis + (torch.tensor([channel]),) for channel in range(count)] if share < 1 else []
        unread = [(layer, at) for at in places if torch.equal(subject.logits(image, [(layer, at)]), before)]
        assert len(unread) >= round((1 - share) * count)
        found += unread
    return found


def in_part(subject: Subject, usage: dict[str, LayerUsage]) -> list[str]:
    """Layers some of whose channels ran, the narrowest first."""
    whole = {layer for layer, _ in skipped_whole(usage)}
    parts = {layer: value(used.outputs) * value(used.inputs) for layer, used in usage.items()}
    found = [layer for layer, share in parts.items() if layer not in whole and share < 1]
    return sorted(found, key=lambda layer: subject.model.get_parameter(f"{layer}.weight").numel())


def check(subject: Subject, image: Tensor) -> int:
    """Poison everything that this image skips; how many weights that is."""
    before, usage = subject.logits(image), subject.usage(image)
    poisoned = skipped_whole(usage)
    for layer in in_part(subject, usage)[:PROBED]:
        poisoned += skipped_channels(subject, image, layer, before)
    assert torch.equal(subject.logits(image, poisoned), before)
    return sum(subject.model.get_parameter(f"{layer}.weight")[index].numel() for layer, index in poisoned)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
@pytest.mark.parametrize("name", sorted(discover()))
def test_skipped_weights_are_not_read(name: str, backbone: str) -> None:
    for subject in subjects(name, backbone):
        with evaluating(subject.model):
            poisoned = [check(subject, image) for image in images(2)]
            dynamic = any(subject.usage(image) for image in images(1))
            assert all(poisoned) if dynamic else not any(poisoned)


@pytest.mark.parametrize("name", sorted(discover()))
def test_weights_that_are_read_make_a_difference(name: str) -> None:
    """Otherwise the test above would say nothing."""
    for subject in subjects(name, "resnet8"):
        layers = [layer.name for layer in static_costs(subject.model, SHAPE) if layer.kind == "backbone"]
        for image in images(1):
            before = subject.logits(image)
            assert not torch.equal(subject.logits(image, [(layers[0], (slice(None),))]), before)


def test_module_by_module_reads_the_same() -> None:
    (subject, *_) = subjects("lc_net", "resnet8")
    with module_by_module(), evaluating(subject.model):
        assert all(check(subject, image) for image in images(2))
