"""NISP (Yu et al., arXiv 1711.05908): filters are ranked by how much they contribute to the final responses."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dynbench.method import Backbone, Stage, rounded_up
from dynbench_methods.pruning.config import PruningConfig
from dynbench_methods.pruning.filter_pruning import HALF, StaticPruning
from dynbench_methods.pruning.importance import final_responses, inf_fs, propagate
from dynbench_methods.pruning.mac_target import PrunedMacs, nearest_removal


class NispConfig(PruningConfig):
    """Parameters of NISP."""

    ranking: Literal["layer", "global"] = "layer"
    """layer: `ratios` of each layer's filters. global: of all filters together, by score over their layer's mean."""
    images: int = Field(1000, ge=2)
    """Training images on which the final responses are ranked; the paper does not say how many."""

    @model_validator(mode="after")
    def _one_ratio_for_all(self) -> "NispConfig":
        if self.ranking == "global" and isinstance(self.ratios, tuple):
            raise ValueError("ranking: global takes one number for ratios")
        return self


class Nisp(StaticPruning):
    """Filters of least importance, propagated back from the final responses, are removed, and the rest is retrained.

    The final responses, which enter the classifier, are ranked by infinite feature selection on training images.
    Filters are removed of the layers that L1 filter pruning prunes too; the paper gives each layer a share of its own.
    """

    name = "nisp"
    Config = NispConfig
    config: NispConfig

    def after_pruning(self, stage: Stage) -> Stage:
        return replace(stage, edit_on_images=self.prune, images=self.config.images)

    def prune(self, model: nn.Module, images: Tensor) -> None:
        """Remove the filters, in place, by the responses to `images` (n, channels, height, width)."""
        backbone = cast("Backbone", model)
        responses = final_responses(backbone, images)
        final = torch.from_numpy(inf_fs(responses.double().cpu().numpy())).to(images.device)
        self.remove(backbone, propagate(backbone, final))

    def removed(self, backbone: Backbone, scores: Mapping[str, Tensor]) -> Counter[str]:
        if self.config.ranking == "layer":
            return super().removed(backbone, scores)
        names = [layer.name for layer in self.prunable(backbone)]
        order = _least_first({name: scores[name] for name in names})
        if self.config.macs is not None:
            macs = PrunedMacs(backbone)
            return nearest_removal(order, macs, self.config.macs * macs.dense)
        ratio = HALF if self.config.ratios is None else self.config.ratios
        assert isinstance(ratio, float)
        return Counter(islice(order, rounded_up(ratio, sum(len(scores[name]) for name in names))))


def _least_first(scores: Mapping[str, Tensor]) -> Iterator[str]:
    """The layer of each filter, by score over its layer's mean; all filters but each layer's best."""
    relative = {name: (one / one.mean()).sort(stable=True).values.tolist()[:-1] for name, one in scores.items()}
    ranked = sorted((score, position, name) for position, name in enumerate(relative) for score in relative[name])
    return (name for _, _, name in ranked)
