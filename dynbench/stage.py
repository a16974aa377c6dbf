"""From the suite's recipe to a stage: optimizer, learning-rate schedule, loss."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dynbench.recipe.muon import MuonWithSgd
from dynbench.suite.recipe import Adam, Cosine, Linear, Muon, OneCycle, OptimizerSpec, Recipe, Sgd, StepDecay


@dataclass(frozen=True)
class Progress:
    """Where a stage stands: `epoch` of `epochs`, counted from 0, and the `fraction` of the stage done."""

    epoch: int
    epochs: int
    fraction: float


@dataclass(frozen=True)
class Stage:
    """A part of the training.

    `loss(model, x, y, progress)` is minimised for `epochs` with `optimizer(model)`, whose learning rates are multiplied
    by `schedule(epoch)` (a real number of epochs). `edit` changes the model before the stage starts: prune, freeze,
    lower a density. `edit_on_images` does so after it and is also given `images` training images (images, channels,
    height, width), drawn at random, normalised, not augmented.

    A stage of 0 epochs is its edits: nothing is trained in it, and their MACs are its cost.
    """

    name: str
    epochs: int
    loss: Callable[[nn.Module, Tensor, Tensor, Progress], Tensor]
    optimizer: Callable[[nn.Module], Optimizer]
    schedule: Callable[[float], float]
    edit: Callable[[nn.Module], None] | None = None
    edit_on_images: Callable[[nn.Module, Tensor], None] | None = None
    images: int = 1000


def apply_edits(stage: Stage, model: nn.Module, images: Callable[[int], Tensor]) -> None:
    """Make the stage's edits in place.

    `images(n)` gives n normalised training images and is only asked when needed.
    """
    if stage.edit is not None:
        stage.edit(model)
    if stage.edit_on_images is not None:
        stage.edit_on_images(model, images(stage.images))


def parameter_groups(model: nn.Module, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Trainable parameters, those under each prefix of `rates` in a group with that learning rate."""
    groups: dict[str | None, list[nn.Parameter]] = {None: [], **{prefix: [] for prefix in rates}}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            prefix = next((p for p in rates if name == p or name.startswith(f"{p}.")), None)
            groups[prefix].append(parameter)
    return [
        {"params": parameters} if prefix is None else {"params": parameters, "lr": rates[prefix]}
        for prefix, parameters in groups.items()
        if parameters
    ]


def make_optimizer(spec: OptimizerSpec, model: nn.Module, rates: Mapping[str, float] | None = None) -> Optimizer:
    """Return the recipe's optimizer over the model's trainable parameters."""
    groups = parameter_groups(model, rates or {})
    if isinstance(spec, Muon):
        return _muon(spec, groups, _biases(model))
    fused = _fused(model)
    if not spec.decay_norm_and_bias or spec.bias_scaler != 1:
        groups = _by_kind(spec, groups, _biases(model))
    if isinstance(spec, Sgd):
        return torch.optim.SGD(
            groups,
            lr=spec.lr,
            momentum=spec.momentum,
            nesterov=spec.nesterov,
            weight_decay=spec.weight_decay,
            fused=fused,
        )
    return torch.optim.Adam(groups, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay, fused=fused)


def _biases(model: nn.Module) -> set[nn.Parameter]:
    """BN's and all others."""
    return {parameter for name, parameter in model.named_parameters() if name.rpartition(".")[2] == "bias"}


def _by_kind(spec: Sgd | Adam, groups: Iterable[dict[str, Any]], biases: set[nn.Parameter]) -> list[dict[str, Any]]:
    """The groups divided into what decays at the whole rate and what does not."""
    parts: dict[tuple[float, float], list[nn.Parameter]] = {}
    for group in groups:
        for one in group["params"]:
            rate = group.get("lr", spec.lr) * (spec.bias_scaler if one in biases else 1.0)
            decay = spec.weight_decay if one.ndim > 1 or spec.decay_norm_and_bias else 0.0
            parts.setdefault((rate, decay), []).append(one)
    return [{"params": each, "lr": rate, "weight_decay": decay} for (rate, decay), each in parts.items()]


def _muon(spec: Muon, groups: Iterable[dict[str, Any]], biases: set[nn.Parameter]) -> Optimizer:
    """Convolutions orthogonally, the rest by SGD. A group that has a learning rate of its own is SGD's as a whole."""
    parts: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    for group in groups:
        for one in group["params"]:
            orthogonal = one.ndim == 4 and "lr" not in group  # noqa: PLR2004  (a convolution)
            decays = one.ndim > 1 and not orthogonal
            rate = spec.lr if orthogonal else group.get("lr", spec.sgd_lr)
            rate *= spec.bias_scaler if one in biases else 1.0
            parts.setdefault((orthogonal, decays, rate), []).append(one)
    made = [
        {"params": parameters, "muon": orthogonal, "lr": rate, "weight_decay": spec.weight_decay if decays else 0.0}
        for (orthogonal, decays, rate), parameters in parts.items()
    ]
    return MuonWithSgd(made, spec.sgd_lr, spec.momentum, True, 0.0, spec.ns_steps, spec.unit_norm)


def _fused(model: nn.Module) -> bool | None:
    """A step in one kernel on CUDA; elsewhere as PyTorch chooses, or the committed results would change."""
    return True if all(parameter.is_cuda for parameter in model.parameters()) else None


def make_schedule(recipe: Recipe, epochs: int) -> Callable[[float], float]:
    """Factor of the learning rate at a real number of epochs, over a stage of `epochs`."""
    shape, warmup = recipe.schedule, recipe.warmup_epochs
    if isinstance(shape, OneCycle):
        return lambda epoch: _one_cycle(shape, min(1.0, epoch / epochs))

    def decay(epoch: float) -> float:
        if isinstance(shape, StepDecay):
            return math.prod(shape.gamma for milestone in shape.milestones if epoch >= milestone)
        done = min(1.0, max(0.0, epoch - warmup) / max(epochs - warmup, 1e-9))
        if isinstance(shape, Cosine):
            return shape.floor + (1 - shape.floor) * (1 + math.cos(math.pi * done)) / 2
        if isinstance(shape, Linear):
            return shape.floor + (1 - shape.floor) * (1 - done)
        return 1.0

    return lambda epoch: decay(epoch) * (min(1.0, epoch / warmup) if warmup else 1.0)


def _one_cycle(shape: OneCycle, done: float) -> float:
    """The factor after the fraction `done` of a stage."""
    first, last = 1 / shape.div_factor, 1 / (shape.div_factor * shape.final_div_factor)
    if done < shape.pct_start:
        return _cosine(first, 1.0, done / shape.pct_start)
    return _cosine(1.0, last, (done - shape.pct_start) / (1 - shape.pct_start))


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def lasting(recipe: Recipe, epochs: int | None) -> Recipe:
    """Return the recipe over another number of epochs, with milestones that move along; None: as it is."""
    if epochs is None:
        return recipe
    schedule = recipe.schedule
    if isinstance(schedule, StepDecay):
        moved = (max(1, round(milestone * epochs / recipe.epochs)) for milestone in schedule.milestones)
        schedule = schedule.model_copy(update={"milestones": tuple(moved)})
    return recipe.model_copy(update={"epochs": epochs, "schedule": schedule})


class Learner(Protocol):
    """What a stage needs to know of a method."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        """Compute the loss as `Method.loss` does."""

    def learning_rates(self, model: nn.Module) -> Mapping[str, float]:
        """Return learning rates as `Method.learning_rates` does."""


def recipe_stage(method: Learner, recipe: Recipe, name: str = "train") -> Stage:
    """Return one stage of the recipe's epochs that minimises the method's loss."""

    def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
        return method.loss(model, x, y, progress, recipe)

    return Stage(
        name=name,
        epochs=recipe.epochs,
        loss=loss,
        optimizer=lambda model: make_optimizer(recipe.optimizer, model, method.learning_rates(model)),
        schedule=make_schedule(recipe, recipe.epochs),
    )
