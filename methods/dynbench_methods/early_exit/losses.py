"""How exits are trained: with the trunk, or on top of it, frozen."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from dynbench.method import Adam, Constant, OptimizerSpec, Progress, Recipe, StepDecay, lasting
from dynbench_methods.early_exit.config import EarlyExitConfig
from dynbench_methods.early_exit.net import ExitNet

SDN_LR, SDN_DROP = 1e-3, 0.6
"""Of SDN's internal classifiers on a frozen trunk: Adam, and a tenth after 15 of 25 epochs."""
FLOOR = 0.01
"""Of SDN's weights, at the start."""


def hinge(scores: Tensor, y: Tensor) -> Tensor:
    """Return the loss of one class against the rest.

    The mean over images of `sum_c max(0, 1 - y_c s_c) / C`, y_c = 1 or -1; scores (batch, classes), labels (batch,).
    """
    signs = 2 * one_hot(y, scores.shape[1]) - 1
    return (1 - signs * scores).relu().mean()


def rising_weights(costs: Sequence[float], progress: Progress) -> list[float]:
    """SDN's: an exit at share c of the cost weighs `min(c, 0.01 + epoch / epochs * c)`."""
    return [min(cost, FLOOR + progress.epoch / progress.epochs * cost) for cost in costs]


def exit_loss(
    config: EarlyExitConfig, net: ExitNet, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe
) -> Tensor:
    """Return the preset's loss of images x (batch, channels, height, width) and labels y (batch,)."""
    if config.trunk_is == "frozen":
        found, _ = net.exits(x)
        if config.preset == "dg":
            return torch.stack([hinge(scores, y) for scores in found]).sum()
        return torch.stack([cross_entropy(one, y, label_smoothing=recipe.label_smoothing) for one in found]).sum()
    found, final = net.run(x)
    weights = [1.0] * (len(found) + 1) if config.weights is None else list(config.weights)
    if config.preset == "sdn":
        weights = [*rising_weights(net.costs[:-1].tolist(), progress), 1.0]
    losses = [cross_entropy(one, y, label_smoothing=recipe.label_smoothing) for one in (*found, final)]
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum()


def exit_recipe(config: EarlyExitConfig, recipe: Recipe) -> Recipe:
    """Return how the exits are trained: the suite's recipe over `epochs`, at the preset's learning rate.

    SDN's classifiers on a frozen trunk, and those that a policy is fitted to, have Adam as published.
    """
    longer = lasting(recipe, config.epochs)
    rate = config.lr or config.chosen.lr
    if config.trunk_is == "frozen" and config.preset != "dg":
        drop = StepDecay(name="step", milestones=(max(1, round(SDN_DROP * longer.epochs)),))
        schedule = drop if longer.epochs > 1 else Constant(name="constant")
        adam = Adam(name="adam", lr=rate or SDN_LR)
        return longer.model_copy(update={"optimizer": adam, "schedule": schedule, "warmup_epochs": 0.0})
    return longer if rate is None else longer.model_copy(update={"optimizer": at_rate(longer.optimizer, rate)})


def at_rate(optimizer: OptimizerSpec, rate: float) -> OptimizerSpec:
    """Return the optimizer at another learning rate; of Muon that of its SGD, and the other in proportion."""
    of_sgd = getattr(optimizer, "sgd_lr", None)
    if of_sgd is None:
        return optimizer.model_copy(update={"lr": rate})
    return optimizer.model_copy(update={"lr": optimizer.lr * rate / of_sgd, "sgd_lr": rate})
