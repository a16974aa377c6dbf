"""Plugins that are hard to continue: one with two stages (train; prune, draw a new classifier, freeze the stem and
train on), and one with noise in its loss."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.stage import Progress, Stage, recipe_stage
from dynbench.suite.recipe import Recipe


def prune(model: nn.Module) -> None:
    """Remove the last block's hidden channels of less than average weight: how many depends on the training."""
    backbone = cast("Backbone", model)
    *_, (_, block) = backbone.named_blocks()
    conv2 = cast("nn.Conv2d", block.get_submodule("conv2"))
    weight = block.conv1.weight.detach()
    strength = weight.abs().sum((1, 2, 3))
    keep = (strength >= strength.mean()).nonzero()[:, 0]
    block.conv1.weight = nn.Parameter(weight[keep])
    conv2.weight = nn.Parameter(conv2.weight.detach()[:, keep])
    block.conv1.out_channels = conv2.in_channels = len(keep)
    fresh = nn.BatchNorm2d(len(keep))
    fresh.load_state_dict({k: v[keep] if v.ndim else v for k, v in block.bn1.state_dict().items()})
    block.bn1 = fresh
    nn.init.normal_(backbone.linear.weight, std=0.1 * float(torch.rand(())))
    backbone.conv1.requires_grad_(False)


class TwoStages(Dense):
    name = "two_stages"

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        first, second = (recipe_stage(self, recipe, name) for name in ("train", "tune"))
        return [first, replace(second, edit=prune)]


class Noisy(Dense):
    """Whose loss draws random numbers, and goes by the step."""

    name = "noisy"

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        x = x + 0.1 * torch.randn_like(x)
        return super().loss(model, x, y, progress, recipe) * (1 + progress.fraction)
