"""Static pruning: filters are removed once, then the small net is retrained.

What L1 filter pruning (Li et al., arXiv 1608.08710) and NISP share, and the former, which removes the filters with the
smallest weights.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from dynbench.method import (
    Backbone,
    FoldedBackbone,
    FromDense,
    FromFile,
    InnerConv,
    Method,
    Output,
    Point,
    Recipe,
    Stage,
    fit_filters,
    inner_convs,
    l1_norms,
    largest,
    recipe_stage,
    rounded_up,
)
from dynbench_methods.pruning.config import PruningConfig, retraining_recipe
from dynbench_methods.pruning.mac_target import PrunedMacs, nearest_removal, uniform_order

HALF = 0.5


class StaticPruning(Method):
    """A backbone that is pruned, in one go, before its only stage of training: the same small net for every image."""

    static = True
    config: PruningConfig

    def unsupported(self, backbone: Backbone) -> str | None:
        layers = list(inner_convs(backbone))
        known = {layer.number: layer for layer in layers}
        unknown = [number for number in self.config.skip if number not in known]
        if unknown:
            return f"skip: layer {unknown[0]} is none of which filters are removed ({', '.join(map(str, known))})"
        stages, ratios = _stages(backbone), self.config.ratios
        if isinstance(ratios, tuple) and len(ratios) != len(stages):
            return f"ratios: {len(ratios)} were given for {len(stages)} stages"
        if any(layer.conv.groups > 1 or layer.reader.groups > 1 for layer in layers):
            return "filters of grouped convolutions cannot be removed one by one"
        return None if self.config.macs is None else self._out_of_reach(backbone, self.config.macs)

    def _out_of_reach(self, backbone: Backbone, share: float) -> str | None:
        macs = PrunedMacs(backbone)
        least = macs.least(layer.name for layer in self.prunable(backbone)) / macs.dense
        if share >= least:
            return None
        return f"macs: {least:.3g} of the dense MACs is the least, with a filter left in each layer"

    def prunable(self, backbone: Backbone) -> list[InnerConv]:
        """Return the layers of which filters are removed, in order."""
        return [layer for layer in inner_convs(backbone) if layer.number not in self.config.skip]

    def start(self) -> FromDense | FromFile:
        return self.config.start()

    def build(self, backbone: Backbone) -> nn.Module:
        return backbone

    def restore(self, backbone: Backbone, weights: Mapping[str, Tensor]) -> nn.Module:
        fit_filters(backbone, weights)
        return backbone

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        return [self.after_pruning(recipe_stage(self, retraining_recipe(recipe, self.config), "retrain"))]

    @abstractmethod
    def after_pruning(self, stage: Stage) -> Stage:
        """Return the stage of retraining, with an edit before it that calls `remove`."""

    def remove(self, backbone: Backbone, scores: Mapping[str, Tensor]) -> None:
        """Remove the filters with the lowest `scores`, (filters,) by the layer's name, in place."""
        removed = self.removed(backbone, scores)
        for layer in self.prunable(backbone):
            layer.keep(largest(scores[layer.name], layer.filters - removed[layer.name]))

    def removed(self, backbone: Backbone, scores: Mapping[str, Tensor]) -> Counter[str]:  # noqa: ARG002
        """Return how many filters of which layer. Default: shares, whatever the scores."""
        layers = self.prunable(backbone)
        if self.config.macs is not None:
            macs = PrunedMacs(backbone)
            order = uniform_order({layer.name: layer.filters for layer in layers})
            return nearest_removal(order, macs, self.config.macs * macs.dense)
        stages, ratios = _stages(backbone), HALF if self.config.ratios is None else self.config.ratios
        each = ratios if isinstance(ratios, tuple) else [ratios] * len(stages)
        by_stage = dict(zip(stages, each, strict=True))
        return Counter({layer.name: rounded_up(by_stage[layer.stage], layer.filters) for layer in layers})

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        logits = model(x)
        return [Output(logits) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:  # noqa: ARG002
        return FoldedBackbone(cast("Backbone", model))


class FilterPruning(StaticPruning):
    """Filters with the smallest L1 norms are removed from the blocks, a share in each stage, and the rest is retrained.

    Section 3.3: of a basic block the first convolution is pruned; of a bottleneck, which the paper does not have, the
    first two. The paper does not say how shares are rounded to filters: rounded up, they give the MACs of table 1 for
    ResNet-56-A and -B and ResNet-110-A and -B, to its three digits.
    """

    name = "filter_pruning"
    Config = PruningConfig

    def after_pruning(self, stage: Stage) -> Stage:
        return replace(stage, edit=self.prune)

    def prune(self, model: nn.Module) -> None:
        """Remove the filters, in place."""
        backbone = cast("Backbone", model)
        self.remove(backbone, {layer.name: l1_norms(layer.conv) for layer in self.prunable(backbone)})


def _stages(backbone: Backbone) -> list[str]:
    return list(dict.fromkeys(layer.stage for layer in inner_convs(backbone)))
