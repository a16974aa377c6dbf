"""FBS: each image runs a fixed share of the channels, those of the highest salience.

From Gao et al., arXiv 1810.05331.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynbench.method import (
    Backbone,
    FromDense,
    FromFile,
    Method,
    Output,
    Point,
    Progress,
    Recipe,
    Stage,
    lasting,
    make_schedule,
    recipe_stage,
)
from dynbench_methods.fbs.executor import FbsExecutor
from dynbench_methods.fbs.net import FbsNet, usage_of
from dynbench_methods.from_dense import FromDenseConfig

STEP = 2 / 11
"""Share of the epochs at each density before the last."""


class FbsConfig(FromDenseConfig):
    """Parameters of FBS."""

    density: float = Field(0.5, gt=0, le=1)
    """d, the share of a convolution's output channels that run."""
    steps: tuple[float, ...] = (1.0, 0.8, 0.65)
    """Densities that training goes through first, falling; those that are not above `density` are left out."""
    l1: NonNegativeFloat = 1e-8
    """Weight of the sum of the winners' saliences, over the batch as well."""
    lr: PositiveFloat | None = 0.05
    """Learning rate of an SGD recipe. None: the recipe's."""

    @model_validator(mode="after")
    def _steps_fall(self) -> "FbsConfig":
        if list(self.steps) != sorted(set(self.steps), reverse=True) or not all(0 < step <= 1 for step in self.steps):
            raise ValueError("steps: densities up to 1, each lower than the one before it")
        return self


class Fbs(Method):
    """Channels of every convolution in the blocks, boosted by their saliences, and the rest suppressed."""

    name = "fbs"
    Config = FbsConfig
    config: FbsConfig

    def unsupported(self, backbone: Backbone) -> str | None:
        for name, block in backbone.named_blocks():
            if not (block.skippable and block.ends_in_relu) or len(block.gated_convs()) > 1:
                return f"{name} is not a block of a ResNet"
        return None

    def start(self) -> FromDense | FromFile | None:
        return self.config.start()

    def build(self, backbone: Backbone) -> nn.Module:
        return FbsNet(backbone)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:  # noqa: ARG002
        """Cross-entropy, and l1 times the winners' saliences."""
        logits, seen = cast("FbsNet", model).run(x)
        winning = [(gated.saliences * gated.runs).sum() for block in seen for gated in block]
        loss = cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
        return loss + self.config.l1 * torch.stack(winning).sum()

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        """Return one stage for each density, from 1 down, under one schedule."""
        recipe, density = self.config.own_recipe(recipe), self.config.density
        densities = [*(step for step in self.config.steps if step > density), density]
        each = int(recipe.epochs * STEP)
        epochs = [each] * (len(densities) - 1)
        epochs.append(recipe.epochs - sum(epochs))
        schedule, before, stages = make_schedule(recipe, recipe.epochs), 0, []
        for one, length in zip(densities, epochs, strict=True):
            stage = recipe_stage(self, lasting(recipe, max(length, 1)), f"density {one:g}")
            stages.append(replace(stage, epochs=length, edit=_set(one), schedule=_from(schedule, before)))
            before += length
        return stages

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        logits, seen = cast("FbsNet", model).run(x)
        usage = usage_of(seen)
        return [Output(logits, usage) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:  # noqa: ARG002
        return FbsExecutor(cast("FbsNet", model))


def _set(density: float) -> Callable[[nn.Module], None]:
    def edit(model: nn.Module) -> None:
        cast("FbsNet", model).density.fill_(density)

    return edit


def _from(schedule: Callable[[float], float], epochs: int) -> Callable[[float], float]:
    """The schedule as it continues after this many epochs."""
    return lambda epoch: schedule(epochs + epoch)
