"""Group norm pruning.

DepGraph's criterion (Fang et al., arXiv 2301.12900; code VainF/Torch-Pruning), on the channels that lie inside a
block's branch.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator
from torch import Tensor, nn

from dynbench.method import Backbone, InnerConv, Progress, Recipe, Stage, lasting, recipe_stage, rounded_up
from dynbench_methods.pruning.config import PruningConfig, retraining_recipe
from dynbench_methods.pruning.filter_pruning import HALF, StaticPruning
from dynbench_methods.pruning.mac_target import PrunedMacs, nearest_removal

POWER = 4.0
"""The least important channel is drawn to zero 2^4 times as strongly as the most important one."""


class GroupNormConfig(PruningConfig):
    """Parameters of group norm pruning."""

    sparse_epochs: NonNegativeInt = 0
    """Of sparse learning before removal. Published: 100."""
    sparse_lr: PositiveFloat = 0.01
    sparse: NonNegativeFloat = 5e-4
    """Strength of sparse learning's regulariser, which stands in place of weight decay."""

    @model_validator(mode="after")
    def _one_ratio_for_all(self) -> "GroupNormConfig":
        if isinstance(self.ratios, tuple):
            raise ValueError("group_norm ranks all filters together: one number for ratios")  # noqa: TRY004  (pydantic's)
        return self


class GroupNorm(StaticPruning):
    """Removes the filters of the smallest group norm over their layer's mean, and retrains the rest.

    The filters are chosen from all layers together; after sparse learning, by the norm over their layer's largest.

    A group is what goes together: a filter, its BN's scale, the weights that read it. The residual stream stays whole.
    """

    name = "group_norm"
    Config = GroupNormConfig
    config: GroupNormConfig

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        pruned = self.after_pruning(recipe_stage(self, retraining_recipe(recipe, self.config), "retrain"))
        return [self._sparse_stage(recipe), pruned] if self.config.sparse_epochs else [pruned]

    def after_pruning(self, stage: Stage) -> Stage:
        return replace(stage, edit=self.prune)

    def prune(self, model: nn.Module) -> None:
        """Remove the filters, in place."""
        backbone = cast("Backbone", model)
        self.remove(backbone, {layer.name: group_norms(layer).detach().double() for layer in self.prunable(backbone)})

    def _sparse_stage(self, recipe: Recipe) -> Stage:
        """Training in which unimportant channels are drawn to zero; no weight decay."""
        update = {"lr": self.config.sparse_lr, "weight_decay": 0.0}
        own = lasting(recipe, self.config.sparse_epochs)
        own = own.model_copy(update={"optimizer": own.optimizer.model_copy(update=update)})
        stage = recipe_stage(self, own, "sparse")

        def loss(model: nn.Module, x: Tensor, y: Tensor, progress: Progress) -> Tensor:
            layers = self.prunable(cast("Backbone", model))
            return stage.loss(model, x, y, progress) + self.config.sparse * group_penalty(layers)

        return replace(stage, loss=loss)

    def removed(self, backbone: Backbone, scores: Mapping[str, Tensor]) -> Counter[str]:
        order = rescored_order(scores, by_largest=self.config.sparse_epochs > 0)
        if self.config.macs is not None:
            macs = PrunedMacs(backbone)
            return nearest_removal(order, macs, self.config.macs * macs.dense)
        ratio = HALF if self.config.ratios is None else self.config.ratios
        assert isinstance(ratio, float)
        return Counter(islice(order, rounded_up(ratio, sum(map(len, scores.values())))))


def slices(layer: InnerConv) -> list[Tensor]:
    """Return what goes with each filter of a layer: tensors (filters, weights), its own, its BN's, its readers'."""
    own = [(layer.conv, layer.norm), *layer.between.values()]
    parts = [one for conv, norm in own for one in (conv.weight.flatten(1), norm.weight[:, None])]
    return [*parts, layer.reader.weight.transpose(0, 1).flatten(1)]


def group_norms(layer: InnerConv) -> Tensor:
    """Return mean over a group's members of the squared L2 norm, (filters,)."""
    return torch.stack([part.square().sum(1) for part in slices(layer)]).mean(0)


def group_penalty(layers: Sequence[InnerConv]) -> Tensor:
    """Return half the sum of `gamma_c * w^2`, so that each gradient grows by `gamma_c * w`.

    `gamma_c` is 1 for the most important channel of a layer and 2^POWER for the least; importance is the root of the
    group norm.
    """
    total = layers[0].conv.weight.new_zeros(())
    for layer in layers:
        importance = group_norms(layer).detach().sqrt()
        low, high = importance.min(), importance.max()
        gamma = 2 ** (POWER * (high - importance) / (high - low).clamp(min=1e-12))
        total = total + sum((gamma * part.square().sum(1)).sum() for part in slices(layer)) / 2
    return total


def rescored_order(scores: Mapping[str, Tensor], by_largest: bool = False) -> Iterator[str]:
    """Yield the layer of each filter in the order of removal.

    Always the one of the smallest score over the mean, or the largest, of what its layer has left then; of all but each
    layer's best. `scores` (filters,) by the layer's name.
    """
    rest = {name: one.sort(descending=True).values.tolist() for name, one in scores.items() if len(one) > 1}
    sums = {name: sum(one) for name, one in rest.items()}

    def relative(name: str) -> float:
        left = rest[name]
        return float(left[-1] / max(left[0] if by_largest else sums[name] / len(left), 1e-30))

    while rest:
        name = min(rest, key=relative)
        sums[name] -= rest[name].pop()
        if len(rest[name]) == 1:
            del rest[name]
        yield name
