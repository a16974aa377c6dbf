"""Early exit: a classifier after the first stage, where the images leave that it is sure of."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dynbench.method import Backbone, LayerUsage, Method, MethodConfig, Output, Point, Progress, Recipe


class EarlyExitConfig(MethodConfig):
    thresholds: list[Annotated[float, Field(ge=0, le=1)]] = [0.5, 0.7, 0.9]
    """An image leaves when the exit's softmax confidence is above this: an operating point each."""
    exit_weight: float = Field(0.3, ge=0)
    """Weight of the exit's loss beside the final classifier's."""


class ExitNet(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.last, block = [item for item in backbone.named_blocks() if item[0].startswith("layer1.")][-1]
        self.exit = nn.Linear(block.out_channels, backbone.num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (batch, channels, height, width) -> logits of the exit and of the whole net."""
        x = self.backbone.stem(x)
        for name, block in self.backbone.named_blocks():
            x = block(x)
            if name == self.last:
                early = self.exit(x.mean((2, 3)))
        return early, self.backbone.head(x)

    def layers_after(self) -> list[str]:
        """Names of the layers that an image does not reach when it leaves."""
        layers = [name for name, module in self.backbone.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        return [f"backbone.{name}" for name in layers if name != "conv1" and not name.startswith("layer1.")]


class EarlyExit(Method):
    """Leaves after the first stage when a linear classifier there is confident."""

    name = "first_exit"
    Config = EarlyExitConfig
    config: EarlyExitConfig

    def build(self, backbone: Backbone) -> nn.Module:
        return ExitNet(backbone)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, progress: Progress, recipe: Recipe) -> Tensor:
        early, final = (cross_entropy(logits, y, label_smoothing=recipe.label_smoothing) for logits in model(x))
        return final + self.config.exit_weight * early

    def points(self, model: nn.Module) -> Sequence[Point]:
        return [Point(f"threshold={threshold}") for threshold in self.config.thresholds]

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        early, final = model(x)
        confidence = early.softmax(1).amax(1)
        outputs = []
        for point in points:
            leaves = confidence > float(point.name.removeprefix("threshold="))
            logits = early.where(leaves[:, None], final)
            stays = LayerUsage(positions=(~leaves).double())
            outputs.append(Output(logits, dict.fromkeys(model.layers_after(), stays)))
        return outputs
