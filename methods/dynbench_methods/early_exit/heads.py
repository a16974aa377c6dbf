"""Classifiers at exits, and what runs of them in an executor. All but pooling and the linear layer have BN folded."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, max_pool2d, relu

from dynbench.method import FoldedConv, PooledLinear
from dynbench_methods.early_exit.config import Head

Size = tuple[int, int, int]
"""(channels, height, width) of features."""
SIDE = 4
"""Pixels to which SDN pools."""


class ConvHead(nn.Module):
    """Strided 3x3 convolutions with BN and ReLU, global average pooling, a linear layer.

    One for BranchyNet, whose heads have one to three, two for MSDNet.
    """

    def __init__(self, channels: int, width: int, classes: int, depth: int) -> None:
        super().__init__()
        inputs = (channels, *[width] * (depth - 1))
        self.convs = nn.ModuleList(nn.Conv2d(c, width, 3, stride=2, padding=1, bias=False) for c in inputs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in inputs)
        self.linear = nn.Linear(width, classes)
        for conv in self.convs:
            nn.init.kaiming_normal_(cast("nn.Conv2d", conv).weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channels, h, w) -> logits (batch, classes)."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = relu(norm(conv(x)), inplace=True)
        return cast("Tensor", self.linear(x.mean((2, 3))))


class MixedPoolHead(nn.Module):
    """SDN's internal classifier.

    `alpha * max_pool + (1 - alpha) * avg_pool` to about 4x4, alpha learnt, and a linear layer. Features under 8 pixels
    are not pooled. Those of smaller images, in training, are brought to size.
    """

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        channels, *sides = size
        self.kernel = tuple(max(1, side // SIDE) for side in sides)
        height, width = (side // kernel for side, kernel in zip(sides, self.kernel, strict=True))
        self.size = (height, width)
        pools = max(self.kernel) > 1
        self.alpha = nn.Parameter(torch.rand(())) if pools else None
        self.linear = nn.Linear(channels * height * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channels, h, w) -> logits (batch, classes)."""
        if self.alpha is not None:
            kernel = tuple(min(one, side) for one, side in zip(self.kernel, x.shape[2:], strict=True))
            x = torch.lerp(avg_pool2d(x, kernel), max_pool2d(x, kernel), self.alpha)
        return cast("Tensor", self.linear(brought_to(x, self.size).flatten(1)))


class LinearHead(nn.Module):
    """Global average pooling and a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channels, h, w) -> logits (batch, classes)."""
        return cast("Tensor", self.linear(x.mean((2, 3))))


def brought_to(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Features (batch, channels, *size), as they are where they have that size: they are of whole images then."""
    return x if tuple(x.shape[2:]) == size else adaptive_avg_pool2d(x, size)


class PublishedStemHead(nn.Module):
    """BranchyNet's first exit of ResNet-110, behind the stem.

    5x5 to 64 channels, local response normalisation, 3x3 to 32 channels twice, and a linear layer on all pixels. The
    convolutions have biases and no BN.
    """

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        channels, self.size = size[0], size[1:]
        self.convs = nn.Sequential(
            nn.Conv2d(channels, 64, 5, padding=2),
            nn.ReLU(),
            nn.LocalResponseNorm(3, alpha=5e-5, beta=0.75),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
        )
        self.linear = nn.Linear(32 * size[1] * size[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channels, h, w) -> logits (batch, classes)."""
        return cast("Tensor", self.linear(brought_to(self.convs(x), self.size).flatten(1)))


class PublishedStageHead(nn.Module):
    """BranchyNet's second exit of ResNet-110, behind the first stage.

    A residual block and a linear layer on all pixels.
    """

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        channels, self.size = size[0], size[1:]
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.linear = nn.Linear(channels * size[1] * size[2], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, channels, h, w) -> logits (batch, classes)."""
        hidden = relu(self.bn1(self.conv1(x)), inplace=True)
        x = relu(self.bn2(self.conv2(hidden)) + x, inplace=True)
        return cast("Tensor", self.linear(brought_to(x, self.size).flatten(1)))


def make_head(kind: Head, size: Size, classes: int, width: int, first: bool) -> nn.Module:
    """Return the classifier of an exit on features of `size`.

    `width`: channels of its convolutions; `first`: whether it is the first exit.
    """
    if kind == "pool":
        return MixedPoolHead(size, classes)
    if kind == "linear":
        return LinearHead(size[0], classes)
    if kind == "published":
        return PublishedStemHead(size, classes) if first else PublishedStageHead(size, classes)
    return ConvHead(size[0], width, classes, 1 if kind == "conv" else 2)


class FoldedConvHead(nn.Module):
    """A `ConvHead` in an executor; `name` is its name in the model."""

    def __init__(self, head: ConvHead, name: str) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            FoldedConv(cast("nn.Conv2d", conv), cast("nn.BatchNorm2d", norm), f"{name}.convs.{index}")
            for index, (conv, norm) in enumerate(zip(head.convs, head.norms, strict=True))
        )
        self.linear = PooledLinear([head.linear], (f"{name}.linear",))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, relu=True)
        return cast("Tensor", self.linear(x))


def folded_head(head: nn.Module, name: str) -> nn.Module:
    """Return what runs of a head in an executor."""
    if isinstance(head, ConvHead):
        return FoldedConvHead(head, name)
    return PooledLinear([head.linear], (f"{name}.linear",)) if isinstance(head, LinearHead) else head
