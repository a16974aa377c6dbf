"""What training costs.

MACs of an image's forward and backward pass, as they are dispatched; assumed, for training that was done elsewhere.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from random import SystemRandom

import torch
from torch import nn

from dynbench.counter.training import TrainingCounter
from dynbench.data.catalogue import Shape
from dynbench.errors import AuditFailed
from dynbench.recipe.resizing import at_side, epoch_sides
from dynbench.stage import Progress, Stage
from dynbench.suite.recipe import Recipe

IMAGES = 2  # BN needs more than one
GROWTH = 2
"""What a policy skips changes while it trains; more than this many times the measured MACs, it does not become."""


def training_macs(
    stage: Stage, model: nn.Module, shape: tuple[int, int, int], classes: int, fraction: float = 0.0
) -> int:
    """Return MACs of one training image of `shape` (channels, height, width) after a `fraction` of `stage`.

    Of the loss and its gradients, frozen parts not counted. Measured on a copy of the model.
    """
    copy = deepcopy(model).train()
    device = next(copy.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(IMAGES, *shape, generator=generator).to(device)
    y = torch.randint(classes, (IMAGES,), generator=generator).to(device)
    with torch.random.fork_rng(), TrainingCounter() as counter:
        torch.manual_seed(0)  # a loss may sample what it runs
        stage.loss(copy, x, y, Progress(int(fraction * stage.epochs), stage.epochs, fraction)).backward()  # type: ignore[no-untyped-call]
    return counter.macs // IMAGES


def step_macs(stage: Stage, model: nn.Module) -> int:
    """Return MACs of one step of the stage's optimizer on `model`, whatever the number of images.

    None of SGD or Adam, the iterations of one that orthogonalises. Measured on a copy, with gradients of zero.
    """
    copy = deepcopy(model)
    for parameter in copy.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer = stage.optimizer(copy)
    with TrainingCounter() as counter:
        optimizer.step()
    return counter.macs


@dataclass(frozen=True)
class ImageMacs:
    """Training MACs of one image: whole, and scaled to this many pixels a side."""

    whole: int
    by_side: Mapping[int, int] = field(default_factory=dict)

    def at(self, side: int) -> int:
        """Return those of an image of that side, in pixels."""
        return self.by_side.get(side, self.whole)


def image_macs(stage: Stage, model: nn.Module, shape: Shape, classes: int, recipe: Recipe, batch: int) -> ImageMacs:
    """Return MACs of a training image of `shape`, and at each size that the recipe scales it to.

    Each with its part of a step of `batch` images.
    """
    of_step = step_macs(stage, model) // batch
    smaller = {side for side in epoch_sides(recipe.progressive_resizing, stage.epochs, shape[1]) if side != shape[1]}
    by_side = {side: training_macs(stage, model, at_side(shape, side), classes) + of_step for side in sorted(smaller)}
    return ImageMacs(training_macs(stage, model, shape, classes) + of_step, by_side)


def check_training_macs(
    stage: Stage, model: nn.Module, shape: tuple[int, int, int], classes: int, measured: int
) -> None:
    """Measure again, after a fraction of `stage` that nobody can foresee.

    Raises AuditFailed when that is far more than the `measured` MACs of its start.
    """
    now = training_macs(stage, model, shape, classes, SystemRandom().random())
    if now > GROWTH * measured:
        raise AuditFailed(
            f"in stage {stage.name}, training takes {now} MACs an image at its end, {measured} when its budget was "
            "measured"
        )


def assumed_training_macs(images: int, macs: int) -> int:
    """Return MACs of a training that was not seen, on `images` images of `macs` each.

    A forward pass, and a backward pass of twice its cost.
    """
    return 3 * images * macs
