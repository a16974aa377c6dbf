"""Trains more than it says."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynbench.stage import Progress, Stage
from dynbench.suite.recipe import Recipe


class StepsItself(Dense):
    """Its loss makes a step of its own, once."""

    name = "steps_itself"

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        if progress.fraction == 0:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            cross_entropy(model(x), y).backward()
            optimizer.step()
        return super().loss(model, x, y, progress, recipe)


class ByHand(Dense):
    """The same without an optimizer."""

    name = "by_hand"

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(cross_entropy(model(x), y), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.data.sub_(0.01 * gradient)
        return super().loss(model, x, y, progress, recipe)


class Grows(Dense):
    """Cheap while its budget is measured, and four times as expensive later."""

    name = "grows"

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        more = 3 if progress.fraction > 0 else 0
        losses = [super(Grows, self).loss(model, x, y, progress, recipe) for _ in range(1 + more)]
        return torch.stack(losses).mean()


class TrainsInAnEdit(Dense):
    """Trains before its stage, which has no epochs to report."""

    name = "trains_in_an_edit"

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        return [replace(stage, edit_on_images=self.train) for stage in super().stages(recipe)]

    def train(self, model: nn.Module, images: Tensor) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        model(images).square().mean().backward()
        optimizer.step()
