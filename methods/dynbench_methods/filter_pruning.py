"""L1 filter pruning (Li et al., arXiv 1608.08710): the filters with the smallest weights are removed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import cast

from pydantic import model_validator
from torch import Tensor, nn

from dynbench.backbones import Backbone
from dynbench.backbones.removal import InnerConv, inner_convs
from dynbench.method import Stage
from dynbench_methods.mac_target import PrunedMacs, nearest_removal, uniform_order
from dynbench_methods.pruned import PruningConfig, Share, StaticPruning

HALF = 0.5


class FilterPruningConfig(PruningConfig):
    ratios: Share | tuple[Share, ...] | None = None
    """Share of each layer's filters that is removed, one for each of the backbone's stages or one for all; rounded up
    to whole filters, but one is left. None, without `macs`: a half."""

    @model_validator(mode="after")
    def _ratios_or_macs(self) -> "FilterPruningConfig":
        if self.ratios is not None and self.macs is not None:
            raise ValueError("give ratios or macs, not both")
        return self


class FilterPruning(StaticPruning):
    """Filters with the smallest L1 norms are removed from the blocks, a share in each stage, and the rest is retrained.

    Section 3.3: of a basic block the first convolution is pruned; of a bottleneck, which the paper does not have, the
    first two. The paper does not say how shares are rounded to filters: rounded up, they give the MACs of table 1 for
    ResNet-56-A and -B and ResNet-110-A and -B, to its three digits.
    """

    name = "filter_pruning"
    Config = FilterPruningConfig
    config: FilterPruningConfig

    def unsupported(self, backbone: Backbone) -> str | None:
        stages = len({layer.stage for layer in inner_convs(backbone)})
        ratios = self.config.ratios
        if isinstance(ratios, tuple) and len(ratios) != stages:
            return f"ratios: {len(ratios)} were given for {stages} stages"
        return super().unsupported(backbone)

    def retraining(self, stage: Stage) -> Stage:
        return replace(stage, edit=self.prune)

    def prune(self, model: nn.Module) -> None:
        """Remove the filters, in place."""
        backbone = cast("Backbone", model)
        removed = self.removed(backbone)
        for layer in self.prunable(backbone):
            layer.keep(largest(l1_norms(layer.conv), layer.filters - removed[layer.name]))

    def removed(self, backbone: Backbone) -> Counter[str]:
        """How many filters of which layer."""
        layers = self.prunable(backbone)
        if self.config.macs is not None:
            macs = PrunedMacs(backbone)
            order = uniform_order({layer.name: layer.filters for layer in layers})
            return nearest_removal(order, macs, self.config.macs * macs.dense)
        ratios = dict(zip(_stages(backbone), self._ratios(backbone), strict=True))
        return Counter({layer.name: _removed(layer, ratios[layer.stage]) for layer in layers})

    def _ratios(self, backbone: Backbone) -> Sequence[float]:
        ratios = HALF if self.config.ratios is None else self.config.ratios
        return ratios if isinstance(ratios, tuple) else [ratios] * len(_stages(backbone))


def l1_norms(conv: nn.Conv2d) -> Tensor:
    """Sum of a filter's absolute weights, (filters,) in float64: section 3.1."""
    return conv.weight.detach().double().abs().sum((1, 2, 3))


def largest(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest of `scores` (n,), ascending; of equals, the first."""
    return scores.sort(descending=True, stable=True).indices[:count].sort().values


def _stages(backbone: Backbone) -> list[str]:
    return list(dict.fromkeys(layer.stage for layer in inner_convs(backbone)))


def _removed(layer: InnerConv, ratio: float) -> int:
    # As it was written: 0.1 of 30 is 3, and a float's 0.1 is a little more.
    return min(ceil(Fraction(str(ratio)) * layer.filters), layer.filters - 1)
