"""torchvision's MobileNetV2 (Sandler et al., arXiv 1801.04381): inverted residuals with linear bottlenecks.

Parameter names are torchvision's (`features.2.conv.0.0`, `classifier.1`), so its weights load. A spec's width scales
every channel count and rounds it to whole channels, where torchvision's `width_mult` rounds to multiples of 8 and never
narrows the last layer.
"""

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from dynbench.backbones.backbone import Backbone, ResidualBlock, conv_and_norm

SIX = 6.0
DROPOUT = 0.2
STEM, LAST = 32, 1280
ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Table 2 of the paper: expansion, channels, blocks, stride of the first block."""


def _layer(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, BN, ReLU6."""
    padding = (kernel - 1) // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


def _norm(conv: str) -> str:
    """`0.1` follows `0.0`."""
    parent, _, index = conv.rpartition(".")
    return f"{parent}.{int(index) + 1}"


class InvertedResidual(ResidualBlock):
    """1x1 expansion and 3x3 depthwise convolution (`first`), 1x1 projection (`rest`), no ReLU after the sum.

    A channel gate scales the depthwise convolution's output: after BN and ReLU6 of the expansion alone, a channel at
    zero would come out of the depthwise BN as a constant, and could not be removed. A block that changes the shape has
    no shortcut. An `expansion` of 1 is left out.
    """

    limit = SIX
    ends_in_relu = False

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers = [_layer(in_channels, hidden, 1)] if expansion != 1 else []
        layers.append(_layer(hidden, hidden, 3, stride, groups=hidden))
        projection = nn.Conv2d(hidden, out_channels, 1, bias=False)
        self.conv = nn.Sequential(*layers, projection, nn.BatchNorm2d(out_channels))
        self.out_channels = out_channels
        self._same_shape = stride == 1 and in_channels == out_channels

    @property
    def skippable(self) -> bool:
        return self._same_shape

    @property
    def shortcut(self) -> nn.Sequential:
        """Empty. Raises ValueError where there is none."""
        return nn.Sequential() if self._same_shape else super().shortcut

    def branch_convs(self) -> tuple[str, ...]:
        return *self.gated_convs(), f"conv.{len(self.conv) - 2}"

    def gated_convs(self) -> tuple[str, ...]:
        return tuple(f"conv.{index}.0" for index in range(len(self.conv) - 2))

    def conv_and_norm(self, conv: str) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        return conv_and_norm(self, conv, _norm(conv))

    def first(self, x: Tensor) -> Tensor:
        for index in range(len(self.conv) - 2):
            x = self.conv[index](x)
        return x

    def rest(self, h: Tensor) -> Tensor:
        return cast("Tensor", self.conv[-1](self.conv[-2](h)))


class MobileNetV2(Backbone):
    """`channels`: those of the stem, of each row of the paper's table 2 and of the last convolution."""

    stem_conv = "features.0.0"
    last_conv = "features.18.0"
    linear_name = "classifier.1"
    limit = SIX

    def __init__(self, channels: tuple[int, ...], input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__(input_shape, num_classes)
        before, *rows, last = channels
        features: list[nn.Module] = [_layer(input_shape[0], before, 3, stride=2)]
        self._stages: list[str] = []
        for row, (width, (expansion, _, depth, first_stride)) in enumerate(zip(rows, ROWS, strict=True)):
            for position in range(depth):
                stride = first_stride if position == 0 else 1
                features.append(InvertedResidual(before, width, stride, expansion))
                self._stages.append(f"row{row + 1}")
                before = width
        self.features = nn.Sequential(*features, _layer(before, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(last, num_classes))
        self._initialise()

    def _initialise(self) -> None:
        """As torchvision does."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    @property
    def linear(self) -> nn.Linear:
        return cast("nn.Linear", self.classifier[1])

    def conv_and_norm(self, conv: str) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        return conv_and_norm(self, conv, _norm(conv))

    def stage_of(self, block: str) -> str:
        """Return `row1` to `row7` of the paper's table 2."""
        return self._stages[int(block.rpartition(".")[2]) - 1]

    def stem(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.features[0](x))

    def head(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.classifier(adaptive_avg_pool2d(self.features[-1](x), 1).flatten(1)))
