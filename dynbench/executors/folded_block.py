"""Residual blocks for executors: BN folded into convolutions, in parts that methods can leave out."""

from typing import cast

from torch import Tensor, nn

from dynbench.backbones.residual import ResidualBlock
from dynbench.executors.convolution import FoldedConv


class FoldedBlock(nn.Module):
    """A residual block in parts. `name` is the block's in the model, e.g. `backbone.layer1.0`."""

    def __init__(self, block: ResidualBlock, name: str, kernels: bool = True) -> None:
        super().__init__()
        self.in_channels, self.mid_channels = block.in_channels, block.mid_channels
        first, *rest = block.branch_convs()
        self.first = _fold(block, first, name, kernels)
        self.rest = nn.ModuleList(_fold(block, conv, name, kernels) for conv in rest)
        self.shortcut = _fold_shortcut(block.shortcut, f"{name}.shortcut", kernels)
        self.identity = len(block.shortcut) == 0

    def join(self, hidden: Tensor, x: Tensor, inputs: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
        """`relu(scale * rest(hidden) + shortcut(x))`: hidden (batch, active mid, h', w'), x (batch, in, h, w) ->
        (batch, out, h'', w''); `inputs` are the active channels of `hidden`, `scale` is (batch or 1, 1)."""
        *middle, last = cast("list[FoldedConv]", list(self.rest))
        for conv in middle:
            hidden, inputs = conv(hidden, None, inputs, relu=True), None
        out: Tensor = last(hidden, None, inputs, scale=scale, residual=self.shortcut(x), relu=True)
        return out

    def skip(self, x: Tensor) -> Tensor:
        """`relu(shortcut(x))` of features x (batch, in, h, w), which are not negative: every block ends in a ReLU."""
        return x if self.identity else cast("Tensor", self.shortcut(x)).relu()

    def forward(self, x: Tensor) -> Tensor:
        """The whole block: (batch, in, h, w) -> (batch, out, h'', w'')."""
        return self.join(self.first(x, relu=True), x)


def _fold(block: ResidualBlock, conv: str, name: str, kernels: bool) -> FoldedConv:
    """`conv2` of a block with its `bn2`."""
    norm = block.get_submodule(conv.replace("conv", "bn"))
    source = block.get_submodule(conv)
    assert isinstance(source, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return FoldedConv(source, norm, f"{name}.{conv}", kernels)


def _fold_shortcut(shortcut: nn.Sequential, name: str, kernels: bool) -> nn.Module:
    parts = list(shortcut)
    if len(parts) == 2 and isinstance(parts[0], nn.Conv2d) and isinstance(parts[1], nn.BatchNorm2d):  # noqa: PLR2004
        return FoldedConv(parts[0], parts[1], f"{name}.0", kernels)
    return shortcut
