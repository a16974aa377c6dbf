"""What a backbone is to methods and executors.

Residual blocks that are named and take apart, between a stem and a head.
"""

from collections.abc import Iterator
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu


class ResidualBlock(nn.Module):
    """`end(branch(x) + shortcut(x))`, where `end` is the ReLU after the sum, if there is one.

    The branch is `first` (the convolutions whose output channels a channel gate switches, with BN and activation)
    followed by `rest` (the remaining convolutions, the last without activation). A block without a shortcut is its
    branch alone, and cannot be skipped.

    Attributes: `in_channels`, `mid_channels` (output channels of `first`), `out_channels`; `limit`, what the block's
    activations are cut off at (6: ReLU6; None: ReLU).
    """

    shortcut_name: ClassVar[str] = "shortcut"
    limit: ClassVar[float | None] = None
    ends_in_relu: ClassVar[bool] = True
    out_channels: int

    @property
    def in_channels(self) -> int:
        """Return the channels of the block's input."""
        return self.conv_and_norm(self.branch_convs()[0])[0].in_channels

    @property
    def mid_channels(self) -> int:
        """Return the output channels of `first`."""
        return self.conv_and_norm(self.gated_convs()[-1])[0].out_channels

    @property
    def skippable(self) -> bool:
        """Whether there is a shortcut: without one, nothing is left of a block whose branch does not run."""
        return True

    @property
    def shortcut(self) -> nn.Sequential:
        """Empty where the shape does not change. Raises ValueError where there is none."""
        found = self._modules.get(self.shortcut_name)
        if found is None:
            raise ValueError("the block has no shortcut; ask `skippable` first")
        return cast("nn.Sequential", found)

    def branch_convs(self) -> tuple[str, ...]:
        """Return names of the branch's convolutions, in order."""
        raise NotImplementedError

    def gated_convs(self) -> tuple[str, ...]:
        """Return those of `first`: one, or an expansion and the depthwise convolution of its channels."""
        return self.branch_convs()[:1]

    def conv_and_norm(self, conv: str) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """Return the convolution of that name, and the BN after it."""
        return conv_and_norm(self, conv, conv.replace("conv", "bn"))

    def first(self, x: Tensor) -> Tensor:
        """Map (batch, in, h, w) -> (batch, mid, h', w')."""
        raise NotImplementedError

    def rest(self, h: Tensor) -> Tensor:
        """Map (batch, mid, h', w') -> (batch, out, h'', w'')."""
        raise NotImplementedError

    def end(self, total: Tensor) -> Tensor:
        """Apply the ReLU after the sum, if the block has one; may overwrite `total`."""
        return relu(total, inplace=True) if self.ends_in_relu else total

    def join(self, residual: Tensor, x: Tensor) -> Tensor:
        """Return `end(residual + shortcut(x))`, overwriting `residual`.

        On a CPU, fresh memory costs more than the sum.
        """
        return self.end(residual.add_(self.shortcut(x)) if self.skippable else residual)

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.rest(self.first(x)), x)


class Backbone(nn.Module):
    """Stem, residual blocks, head: a convolution in some nets, global average pooling, a linear classifier.

    `stem_conv`, `last_conv` (None: no convolution after the blocks) and `linear_name` name layers in the backbone.
    `limit` is that of the activations in stem and head, as in `ResidualBlock`.
    """

    stem_conv: ClassVar[str]
    last_conv: ClassVar[str | None] = None
    linear_name: ClassVar[str]
    limit: ClassVar[float | None] = None

    def __init__(self, input_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.num_classes = num_classes

    def named_blocks(self) -> Iterator[tuple[str, ResidualBlock]]:
        """Yield every residual block with its name in this module, in the order of execution."""
        for name, module in self.named_modules():
            if isinstance(module, ResidualBlock):
                yield name, module

    def stage_of(self, block: str) -> str:
        """Return the stage that the block of that name belongs to."""
        return block.partition(".")[0]

    def conv_and_norm(self, conv: str) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """Return the convolution of that name in stem or head, and the BN after it."""
        return conv_and_norm(self, conv, conv.replace("conv", "bn"))

    @property
    def linear(self) -> nn.Linear:
        """The classifier."""
        return cast("nn.Linear", self._modules[self.linear_name])

    @property
    def pool(self) -> nn.MaxPool2d | None:
        """What ends the stem."""
        return None

    def stem(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) -> features of the first block."""
        raise NotImplementedError

    def head(self, x: Tensor) -> Tensor:
        """Map features of the last block -> logits (batch, num_classes)."""
        return cast("Tensor", self.linear(torch.flatten(adaptive_avg_pool2d(x, 1), 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) -> logits (batch, num_classes)."""
        x = self.stem(x)
        for _, block in self.named_blocks():
            x = block(x)
        return self.head(x)


def conv_and_norm(module: nn.Module, conv: str, norm: str) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Return a convolution and a BN by their names in `module`."""
    return cast("nn.Conv2d", module.get_submodule(conv)), cast("nn.BatchNorm2d", module.get_submodule(norm))
