"""The model: what it holds, its operating points, and that it stays as it was trained."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import nn

from dynbench.backbones import build_backbone
from dynbench.backbones.weights import load_weights, read_weights, save_weights
from dynbench.contract.same_results import not_the_same
from dynbench.contract.short_training import changed_tensors, state_of
from dynbench.cost import evaluating, static_costs
from dynbench.method import Point

if TYPE_CHECKING:
    from dynbench.contract.subject import Subject


def holds_the_backbone(subject: "Subject") -> str | None:
    """`build` gives a model that holds the backbone it was given, and spends its MACs in layers that have names."""
    method = subject.kind(subject.config)
    backbone = build_backbone(method.backbone(subject.spec), subject.data.shape, subject.data.num_classes)
    model = method.build(backbone)
    if not isinstance(model, nn.Module):
        return f"`build` gives {type(model).__name__}, not a module"
    if not any(module is backbone for module in model.modules()):
        return "the model does not hold the backbone that `build` was given"
    try:
        static_costs(model, subject.data.shape)
    except ValueError as error:
        return str(error)
    return None


def points(subject: "Subject") -> str | None:
    """It has operating points, each with a name of its own, and names the same ones whenever it is asked."""
    trained = subject.ask(subject.trained.model)
    found = list(trained.points)
    names = [point.name if isinstance(point, Point) else repr(point) for point in found]
    if not names:
        return "`points` gives none; at least one is needed"
    if not all(isinstance(point, Point) for point in found):
        return f"`points` gives {names[0]}, which is not a dynbench.method.Point"
    if len(set(names)) < len(names):
        return f"`points` gives one name twice: {', '.join(names)}"
    again = [point.name for point in trained.points]
    return None if again == names else f"`points` gives {', '.join(names)}, and then {', '.join(again)}"


def unchanged(subject: "Subject") -> str | None:
    """Evaluating it, and making and running executors, leaves every weight as it was."""
    for label, trained in subject.models.items():
        before = state_of(trained.model)
        trained.infer(subject.images(8))
        changed = changed_tensors(before, state_of(trained.model))
        if changed:
            return f"{label}: `infer` changes {changed[0]}"
        for point in trained.points:
            executor = trained.executor(point)
            if executor is not None:
                with torch.no_grad():
                    executor(subject.images(1))
            changed = changed_tensors(before, state_of(trained.model))
            if changed:
                return f'{label}: making or running the executor of point "{point.name}" changes {changed[0]}'
    return None


def _lay_out_as(model: nn.Module, rebuilt: nn.Module) -> None:
    """Give the parameters of `rebuilt` the strides that they have in `model`.

    Another order of sums rounds otherwise. A memory format does not say them: of a single channel, every format is
    the same.
    """
    strides = {name: one.stride() for name, one in model.named_parameters()}
    for name, one in rebuilt.named_parameters():
        if name in strides:
            one.data = torch.empty_strided(one.shape, strides[name]).copy_(one.data)


def restores(subject: "Subject") -> str | None:
    """From its weights alone, in a new model of a new method, it gives the same results."""
    model = subject.trained.model.eval()
    method = subject.kind(subject.config)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "model.safetensors"
        save_weights(model, weights)
        backbone = build_backbone(method.backbone(subject.spec), subject.data.shape, subject.data.num_classes)
        rebuilt = method.restore(backbone, read_weights(weights))
        load_weights(rebuilt, weights)
    _lay_out_as(model, rebuilt)
    x = subject.images(16)
    with evaluating(rebuilt):
        found = list(method.infer(rebuilt, x, method.points(rebuilt)))
    trained = subject.ask(model)
    problem = not_the_same(trained.infer(x), found, trained.points)
    return f"rebuilt from its weights alone: {problem}" if problem else None
