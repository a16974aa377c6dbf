"""Residual backbones whose blocks are named and take apart, so that methods can gate, skip and prune them.

A block computes `relu(branch(x) + shortcut(x))`. Its branch is `first` (convolution, BN, ReLU: the part whose
output channels a channel gate switches) followed by `rest` (the remaining convolutions, the last without ReLU).
Parameter names are those of the public CIFAR ResNets (`conv1`, `layer1.0.bn2`, `linear`), so their weights load.
"""

from collections.abc import Iterator
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad, relu


class SubsampleAndPad(nn.Module):
    """Option-A shortcut (He et al. 2015, section 4.2): every `stride`-th pixel, new channels zero; no MACs."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        before = (out_channels - in_channels) // 2
        self.padding = (0, 0, 0, 0, before, out_channels - in_channels - before)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, h, w) -> (batch, out_channels, ceil(h / stride), ceil(w / stride))."""
        return pad(x[:, :, :: self.stride, :: self.stride], self.padding)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Option-B shortcut (He et al. 2015, section 4.2): 1x1 convolution and BN."""
    conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def make_shortcut(option: str, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """The shortcut of a block: empty where the shape does not change."""
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    if option == "A":
        return nn.Sequential(SubsampleAndPad(in_channels, out_channels, stride))
    return projection(in_channels, out_channels, stride)


class ResidualBlock(nn.Module):
    """`relu(branch(x) + shortcut(x))`; the base of basic and bottleneck blocks.

    Attributes: `conv1`, `bn1` (the branch's first layer), `shortcut`, `in_channels`, `mid_channels` (output channels
    of `conv1`), `out_channels`.
    """

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d
    shortcut: nn.Sequential

    @property
    def in_channels(self) -> int:
        return self.conv1.in_channels

    @property
    def mid_channels(self) -> int:
        return self.conv1.out_channels

    def branch_convs(self) -> tuple[str, ...]:
        """Names of the branch's convolutions, in order; `conv1` comes first."""
        return tuple(name for name, child in self.named_children() if isinstance(child, nn.Conv2d))

    def first(self, x: Tensor) -> Tensor:
        """First convolution, BN and ReLU: (batch, in, h, w) -> (batch, mid, h', w')."""
        return relu(self.bn1(self.conv1(x)), inplace=True)

    def rest(self, h: Tensor) -> Tensor:
        """The remaining convolutions: (batch, mid, h', w') -> (batch, out, h'', w'')."""
        raise NotImplementedError

    def join(self, residual: Tensor, x: Tensor) -> Tensor:
        """`relu(residual + shortcut(x))`, overwriting `residual`: on a CPU, fresh memory costs more than the sum."""
        return relu(residual.add_(self.shortcut(x)), inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.rest(self.first(x)), x)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = make_shortcut(option, in_channels, planes, stride)
        self.out_channels = planes

    def rest(self, h: Tensor) -> Tensor:
        return cast("Tensor", self.bn2(self.conv2(h)))


class Bottleneck(ResidualBlock):
    """1x1, 3x3 (strided) and 1x1 convolutions; four times as wide outside as inside."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, option: str) -> None:
        super().__init__()
        self.out_channels = self.expansion * planes
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, self.out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.out_channels)
        self.shortcut = make_shortcut(option, in_channels, self.out_channels, stride)

    def rest(self, h: Tensor) -> Tensor:
        return cast("Tensor", self.bn3(self.conv3(relu(self.bn2(self.conv2(h)), inplace=True))))


class BlockType(Protocol):
    """A constructor of residual blocks."""

    expansion: int

    def __call__(self, in_channels: int, planes: int, stride: int, option: str) -> ResidualBlock: ...


class Backbone(nn.Module):
    """Stem, stages of residual blocks, global average pooling, linear classifier.

    `stages` gives (channels, blocks) of each stage; every stage but the first halves the image. Stages are
    `layer1`, `layer2`, ...; `named_blocks` yields `("layer1.0", block)` and so on, in order.
    """

    def __init__(
        self,
        block: BlockType,
        stages: tuple[tuple[int, int], ...],
        input_shape: tuple[int, int, int],
        num_classes: int,
        option: str,
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.num_classes = num_classes
        channels = stages[0][0]
        self.conv1 = nn.Conv2d(input_shape[0], channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        for index, (planes, depth) in enumerate(stages):
            layers = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                layers.append(block(channels, planes, stride, option))
                channels = planes * block.expansion
            self.add_module(f"layer{index + 1}", nn.Sequential(*layers))
        self._depth = len(stages)
        self.linear = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def named_blocks(self) -> Iterator[tuple[str, ResidualBlock]]:
        """Every residual block with its name in this module, in the order of execution."""
        for name, module in self.named_modules():
            if isinstance(module, ResidualBlock):
                yield name, module

    def stem(self, x: Tensor) -> Tensor:
        """Images (batch, channels, height, width) -> features of the first block."""
        return relu(self.bn1(self.conv1(x)), inplace=True)

    def head(self, x: Tensor) -> Tensor:
        """Features of the last block -> logits (batch, num_classes)."""
        return cast("Tensor", self.linear(torch.flatten(adaptive_avg_pool2d(x, 1), 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Images (batch, channels, height, width) -> logits (batch, num_classes)."""
        x = self.stem(x)
        for index in range(self._depth):
            x = self.get_submodule(f"layer{index + 1}")(x)
        return self.head(x)
