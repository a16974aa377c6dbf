"""Residual blocks for executors: BN folded into convolutions, in parts that methods can leave out."""

from typing import cast

from torch import Tensor, nn

from dynbench.backbones.backbone import ResidualBlock
from dynbench.executors.convolution import FoldedConv


class FoldedBlock(nn.Module):
    """A residual block in parts. `name` is the block's in the model, e.g. `backbone.layer1.0`.

    `first` is the first convolution that a channel gate switches; `depthwise` the one of its channels after it, if the
    block has one; `rest` the remaining ones.
    """

    def __init__(self, block: ResidualBlock, name: str, kernels: bool = True) -> None:
        super().__init__()
        self.in_channels, self.mid_channels = block.in_channels, block.mid_channels
        self.skippable, self.ends_in_relu = block.skippable, block.ends_in_relu
        gated = block.gated_convs()
        self.first, *deeper = (_fold(block, conv, name, kernels) for conv in gated)
        self.depthwise = deeper[0] if deeper else None
        self.rest = nn.ModuleList(_fold(block, conv, name, kernels) for conv in block.branch_convs()[len(gated) :])
        self.shortcut, self.identity = _shortcut(block, f"{name}.{block.shortcut_name}", kernels)

    @property
    def plain(self) -> bool:
        """Whether it is a ResNet's block."""
        return self.skippable and self.ends_in_relu and self.depthwise is None and self.first.limit is None

    def open(self, x: Tensor, active: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        """Return what a channel gate switches.

        X (batch, in, h, w) -> (batch, active mid, h', w'), times `scale` (batch or 1, active mid). `active` are the
        indices of the channels that run, None for all.
        """
        if self.depthwise is None:
            return cast("Tensor", self.first(x, active, scale=scale, relu=True))
        return cast("Tensor", self.depthwise(self.first(x, active, relu=True), active, active, scale=scale, relu=True))

    def narrow(self, whole: Tensor, active: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        """Return the same from the output of `first`, which was computed whole, with its ReLU."""
        if self.depthwise is not None:
            return cast("Tensor", self.depthwise(whole, active, scale=scale, relu=True))
        some = whole if active is None else whole[:, active]
        return some if scale is None else some * scale[:, :, None, None]

    def join(self, hidden: Tensor, x: Tensor, inputs: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        """Return `relu(scale * rest(hidden) + shortcut(x))`.

        hidden (batch, active mid, h', w'), x (batch, in, h, w) -> (batch, out, h'', w''); `inputs` are the active
        channels of `hidden`, `scale` is (batch or 1, 1). Without the ReLU where the block has none, without the
        shortcut where there is none.
        """
        *middle, last = cast("list[FoldedConv]", list(self.rest))
        for conv in middle:
            hidden, inputs = conv(hidden, None, inputs, relu=True), None
        residual = self.shortcut(x) if self.skippable else None
        out: Tensor = last(hidden, None, inputs, scale=scale, residual=residual, relu=self.ends_in_relu)
        return out

    def skip(self, x: Tensor) -> Tensor:
        """Return `relu(shortcut(x))` of features x (batch, in, h, w).

        These are not negative where blocks end in a ReLU; for skippable blocks.
        """
        if self.identity:
            return x
        beside: Tensor = self.shortcut(x)
        return beside.relu() if self.ends_in_relu else beside

    def forward(self, x: Tensor) -> Tensor:
        """Return the whole block: (batch, in, h, w) -> (batch, out, h'', w'')."""
        return self.join(self.open(x), x)


def _fold(block: ResidualBlock, conv: str, name: str, kernels: bool) -> FoldedConv:
    """`conv2` of a block with its `bn2`."""
    return FoldedConv(*block.conv_and_norm(conv), f"{name}.{conv}", kernels, block.limit)


def _shortcut(block: ResidualBlock, name: str, kernels: bool) -> tuple[nn.Module, bool]:
    """The shortcut, folded, and whether it is the identity. An empty one where there is none."""
    if not block.skippable:
        return nn.Sequential(), False
    parts = list(block.shortcut)
    if len(parts) == 2 and isinstance(parts[0], nn.Conv2d) and isinstance(parts[1], nn.BatchNorm2d):  # noqa: PLR2004
        return FoldedConv(parts[0], parts[1], f"{name}.0", kernels), False
    return block.shortcut, not parts
