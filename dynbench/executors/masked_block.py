"""Residual blocks of which each image runs its own positions, its own channels inside, or both."""

from typing import cast

import torch
from torch import Tensor, nn

from dynbench.executors.convolution import FoldedConv
from dynbench.executors.folded_backbone import FoldedBackbone
from dynbench.executors.folded_block import FoldedBlock
from dynbench.executors.gate import Decision, PooledGate, active_channels
from dynbench.executors.positions import PatchScores, positions_read, spread, write_positions


class MaskedBlock(nn.Module):
    """A residual block of which some patches and channels run.

    `where` lets the output's patches of `side` pixels run whose score is above 0 (None: all run; `side` None: the map
    is one patch, which is a layer gate). `channels` does the same for the output channels of every convolution of the
    branch but the last one.

    A position that does not run is the shortcut's. The convolutions before the last one run where later ones read.
    """

    def __init__(
        self, block: FoldedBlock, where: PatchScores | None, side: int | None, channels: PooledGate | None
    ) -> None:
        super().__init__()
        self.block, self.where, self.side, self.channels = block, where, side, channels
        self._convs = [block.first, *cast("list[FoldedConv]", list(block.rest))]

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in, h, w) -> (batch, out, h', w'), image by image."""
        return self._one(x) if len(x) == 1 else torch.cat([self._one(image) for image in torch.split(x, 1)])

    def _one(self, x: Tensor) -> Tensor:
        if self.where is None:
            return self._whole(x, self._active(x))
        size = self._size(x)
        patches = patches_of(size, self.side)
        runs = self.where(x, patches) > 0
        active = self._active(x)
        if patches == (1, 1):
            return self._whole(x, active) if bool(runs) else self.block.skip(x)
        mask = spread(runs, size)
        where = mask.flatten().nonzero()[:, 0]
        if not len(where):
            return self.block.skip(x)
        if len(where) == mask.numel():
            return self._whole(x, active)
        return self._some(x, mask, where, active)

    def _active(self, x: Tensor) -> Tensor | None:
        gate = self.channels
        if gate is None:
            return None
        assert gate.channels is not None
        return active_channels(gate(x), gate.start, gate.group, gate.channels)[0]

    def _size(self, x: Tensor) -> tuple[int, int]:
        height, width = x.shape[2:]
        for conv in self._convs:
            height, width = -(-height // conv.stride[0]), -(-width // conv.stride[1])
        return height, width

    def _whole(self, x: Tensor, active: Tensor | None) -> Tensor:
        *inner, last = self._convs
        h, inputs = x, None
        for conv in inner:
            h, inputs = conv(h, active, inputs, relu=True), active
        return cast("Tensor", last(h, None, inputs, residual=self.block.shortcut(x), relu=True))

    def _some(self, x: Tensor, mask: Tensor, where: Tensor, active: Tensor | None) -> Tensor:
        """Of one image, at the positions in `mask` (1, h', w'), which are `where`."""
        *inner, last = self._convs
        h, inputs = x, None
        for conv, place in zip(inner, self._places(x, mask), strict=True):
            channels = len(conv.weight) if active is None else len(active)
            out = x.new_empty(1, channels, *place.shape[1:])
            h, inputs = write_positions(conv, h, place.flatten().nonzero()[:, 0], out, active, inputs), active
        beside = x.clone() if self.block.identity else self.block.shortcut(x)
        out = write_positions(last, h, where, beside, None, inputs, add=True)
        return out if self.block.identity else out.relu_()

    def _places(self, x: Tensor, mask: Tensor) -> list[Tensor]:
        """Where each convolution but the last one runs, (1, h, w) each: what the one after it reads."""
        sizes = [(int(x.shape[2]), int(x.shape[3]))]
        for conv in self._convs[:-1]:
            sizes.append((-(-sizes[-1][0] // conv.stride[0]), -(-sizes[-1][1] // conv.stride[1])))
        places = []
        for conv, size in zip(reversed(self._convs[1:]), reversed(sizes[1:]), strict=True):
            mask = positions_read(mask, conv, size)
            places.append(mask)
        return places[::-1]


def patches_of(size: tuple[int, int], side: int | None) -> tuple[int, int]:
    """Return how many rows and columns of patches of `side` pixels a map has; None: it is one patch."""
    return (1, 1) if side is None else (-(-size[0] // side), -(-size[1] // side))


def hard_gate() -> Decision:
    """Return a decision that lets run what scores above 0, and scales nothing."""
    return Decision("identity", above=0.0)


class MaskedExecutor(nn.Module):
    """Maps images (batch, channels, h, w) to logits (batch, classes) of a backbone with masked blocks.

    `masked` has one entry for each block of the backbone; None: that block runs whole.
    """

    def __init__(self, backbone: FoldedBackbone, masked: list[MaskedBlock | None]) -> None:
        super().__init__()
        self.backbone = backbone
        pairs = zip(masked, backbone.blocks, strict=True)
        self.masked = nn.ModuleList(block if one is None else one for one, block in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, h, w) -> (batch, classes)."""
        x = self.backbone.stem(x)
        for block in self.masked:
            x = block(x)
        return self.backbone.head(x)
