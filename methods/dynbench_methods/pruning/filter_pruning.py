"""L1 filter pruning (Li et al., arXiv 1608.08710): the filters with the smallest weights are removed."""

from dataclasses import replace
from typing import cast

from torch import nn

from dynbench.backbones import Backbone
from dynbench.backbones.removal import l1_norms
from dynbench.stage import Stage
from dynbench_methods.pruning.base import StaticPruning
from dynbench_methods.pruning.config import PruningConfig


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
