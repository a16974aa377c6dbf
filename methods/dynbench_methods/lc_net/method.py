"""LC-Net: layer and channel skipping by salience gates (Xia et al., arXiv 2007.15151), in three cost modes."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynbench.method import Backbone, FromDense, FromFile, Method, MethodConfig, Output, Point, Progress, Recipe
from dynbench_methods.lc_net.cost_modes import COST_MODES, gated_executor, usage_in
from dynbench_methods.lc_net.gates import GatedBackbone, mean_absolute


class GateConfig(MethodConfig):
    """Parameters that L-Net, C-Net and LC-Net share."""

    l1_layer: NonNegativeFloat = 0.0
    """Weight of the mean |S_L| over blocks in the loss."""
    l1_channel: NonNegativeFloat = 0.0
    """Weight of the mean |S_C| over blocks in the loss."""
    gate_lr: PositiveFloat | None = None
    """Learning rate of the gates; None: the recipe's."""
    channel_group: int = Field(1, ge=1)
    """This many neighbouring channels share one score: smaller gates, and weights that are read in longer runs."""
    leak: float = Field(0.01, ge=0, lt=1)
    """Slope of the training activation outside [0, 1]; the paper does not give it."""
    init: str = "scratch"
    """scratch, dense (the suite's trained dense backbone), or backbone weights: a file, or a name of torchvision's."""
    init_epochs: int | None = Field(None, ge=0)
    """Epochs that a file's weights were trained for; they count in the budget."""

    @model_validator(mode="after")
    def _file_has_a_budget(self) -> "GateConfig":
        if (self.init not in {"scratch", "dense"}) != (self.init_epochs is not None):
            raise ValueError("init_epochs is only for weights from a file, and must be given for them")
        return self


class LCNet(Method):
    """Layer and channel gates at every block. L-Net and C-Net are this with one kind of gate.

    Of an inverted residual block, which the paper does not have, the expansion is "conv1" in the cost modes; the
    depthwise convolution runs the active channels in all of them. Blocks without a shortcut get no layer gate.
    """

    name = "lc_net"
    Config = GateConfig
    config: GateConfig
    layer_gates: ClassVar[bool] = True
    channel_gates: ClassVar[bool] = True

    def unsupported(self, backbone: Backbone) -> str | None:
        group = self.config.channel_group
        uneven = [name for name, block in backbone.named_blocks() if block.mid_channels % group]
        return f"{uneven[0]} has channels that do not divide into groups of {group}" if uneven else None

    def start(self) -> FromDense | FromFile | None:
        if self.config.init_epochs is not None:
            return FromFile(self.config.init, self.config.init_epochs)
        return FromDense() if self.config.init == "dense" else None

    def build(self, backbone: Backbone) -> nn.Module:
        config = self.config
        return GatedBackbone(backbone, self.layer_gates, self.channel_gates, config.leak, config.channel_group)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:  # noqa: ARG002
        """Cross-entropy + l1_layer * mean |S_L| + l1_channel * mean |S_C| (section 4.3)."""
        logits, saliences = cast("GatedBackbone", model).run(x)
        loss = cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
        if self.config.l1_layer:
            loss = loss + self.config.l1_layer * mean_absolute([s.layer for s in saliences])
        if self.config.l1_channel:
            loss = loss + self.config.l1_channel * mean_absolute([s.channel for s in saliences])
        return loss

    def learning_rates(self, model: nn.Module) -> Mapping[str, float]:  # noqa: ARG002
        return {} if self.config.gate_lr is None else {"gates": self.config.gate_lr}

    def points(self, model: nn.Module) -> Sequence[Point]:  # noqa: ARG002
        return COST_MODES

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        gated = cast("GatedBackbone", model)
        logits, saliences = gated.run(x)
        blocks = list(gated.backbone.named_blocks())
        return [Output(logits, usage_in(point.name, blocks, saliences)) for point in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return gated_executor(cast("GatedBackbone", model), point.name)


class CNetConfig(GateConfig):
    """Parameters of C-Net."""

    @model_validator(mode="after")
    def _channel_gates_only(self) -> "CNetConfig":
        if self.l1_layer:
            raise ValueError("c_net has no layer gates; use l1_channel")
        return self


class CNet(LCNet):
    """A channel gate at every block; S_C = 0 removes that channel between the first two convolutions."""

    name = "c_net"
    Config = CNetConfig
    layer_gates = False


class LNetConfig(GateConfig):
    """Parameters of L-Net."""

    @model_validator(mode="after")
    def _layer_gates_only(self) -> "LNetConfig":
        if self.l1_channel or self.channel_group > 1:
            raise ValueError("l_net has no channel gates; use l1_layer")
        return self


class LNet(LCNet):
    """A layer gate at every block; S_L = 0 skips the block's branch for that image."""

    name = "l_net"
    Config = LNetConfig
    channel_gates = False
