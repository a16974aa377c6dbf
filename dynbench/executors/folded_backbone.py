"""Residual backbones for executors, block by block or, of one image, in a single call."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from dynbench.backbones.backbone import Backbone
from dynbench.executors.convolution import FoldedConv
from dynbench.executors.folded_block import FoldedBlock
from dynbench.executors.gate import PooledGate, PooledLinear
from dynbench.executors.one_image import OneImageNet


class FoldedBackbone(nn.Module):
    """A whole backbone, nothing left out; `prefix` is its name in the model. Methods go through its parts.

    `kernels=False` keeps to plain PyTorch where our own kernels could be used: the reference of latencies.
    """

    def __init__(self, backbone: Backbone, prefix: str = "", kernels: bool = True) -> None:
        super().__init__()
        dot = f"{prefix}." if prefix else ""
        stem, last = backbone.stem_conv, backbone.last_conv
        self.stem_conv = FoldedConv(*backbone.conv_and_norm(stem), f"{dot}{stem}", kernels, backbone.limit)
        self.pool = backbone.pool
        self.blocks = nn.ModuleList(
            FoldedBlock(block, f"{dot}{name}", kernels) for name, block in backbone.named_blocks()
        )
        self.last_conv: FoldedConv | None = None
        if last is not None:
            self.last_conv = FoldedConv(*backbone.conv_and_norm(last), f"{dot}{last}", kernels, backbone.limit)
        self.classifier = PooledLinear([backbone.linear], (f"{dot}{backbone.linear_name}",), kernels)
        self._one_image = self.for_one_image()

    def for_one_image(self, gates: Sequence[PooledGate | None] = ()) -> OneImageNet:
        """Return the same in a single call of single images; `gates`: one a block or None, or none at all."""
        blocks = cast("Sequence[FoldedBlock]", self.blocks)
        plain = self.pool is None and self.last_conv is None and self.stem_conv.limit is None
        return OneImageNet(self.stem_conv, blocks, self.classifier, gates, plain)

    def stem(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, h, w) -> features of the first block."""
        x = self.stem_conv(x, relu=True)
        return x if self.pool is None else cast("Tensor", self.pool(x))

    def head(self, x: Tensor) -> Tensor:
        """Map features of the last block -> logits (batch, classes)."""
        x = x if self.last_conv is None else self.last_conv(x, relu=True)
        return cast("Tensor", self.classifier(x))

    def forward(self, x: Tensor) -> Tensor:
        if self._one_image.fits(x):
            return self._one_image(x)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)
