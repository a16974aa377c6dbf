"""LAUDNet: blocks, channels inside them and places of their maps are skipped by image.

From Han et al., arXiv 2308.15949.
"""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

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
    recipe_stage,
)
from dynbench_methods.laudnet.config import LaudNetConfig
from dynbench_methods.laudnet.executor import laudnet_executor
from dynbench_methods.laudnet.losses import laudnet_loss
from dynbench_methods.laudnet.net import LaudNet


class LaudNetMethod(Method):
    """Layer, channel and spatial skipping, a mode a stage, trained towards a share of the MACs."""

    name = "laudnet"
    Config = LaudNetConfig
    config: LaudNetConfig

    def unsupported(self, backbone: Backbone) -> str | None:
        names = [name for name, _ in backbone.named_blocks()]
        stages = list(dict.fromkeys(backbone.stage_of(name) for name in names))
        for key, length in self.config.lengths().items():
            if length < len(stages):
                return f"{key} has {length} entries for {len(stages)} stages"
        for name, block in backbone.named_blocks():
            mode, _, group = self.config.of_stage(stages.index(backbone.stage_of(name)))
            inverted = not (block.skippable and block.ends_in_relu) or len(block.gated_convs()) > 1
            if inverted and mode not in {"layer", "none"}:
                return f"{name} is not a block of a ResNet: only mode layer is defined for it"
            if mode in {"channel", "both"} and block.mid_channels % group:
                return f"{name} has channels that do not divide into groups of {group}"
        return None

    def start(self) -> FromDense | FromFile | None:
        return self.config.start()

    def build(self, backbone: Backbone) -> nn.Module:
        return LaudNet(backbone, self.config)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        return laudnet_loss(self.config, cast("LaudNet", model), x, y, progress, recipe)

    def stages(self, recipe: Recipe) -> Sequence[Stage]:
        return [recipe_stage(self, self.config.own_recipe(recipe), "laudnet")]

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        net = cast("LaudNet", model)
        logits, chosen = net.run(x)
        usage = net.usage(chosen)
        return [Output(logits, usage) for _ in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:  # noqa: ARG002
        return laudnet_executor(cast("LaudNet", model))
