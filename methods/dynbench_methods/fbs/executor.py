"""FBS's executor: the winning channels of each convolution, from the winning ones of the one before it."""

import math
from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from dynbench.method import Backbone, FoldedBackbone, FoldedBlock, FoldedConv, PooledLinear, ResidualBlock
from dynbench_methods.fbs.net import LIMIT, BlockSaliences, ChannelSalience, FbsNet


class BoostedConv(nn.Module):
    """One convolution of a block: its saliences decide which outputs run and scale them, but not their shift."""

    beta: Tensor

    def __init__(
        self, block: ResidualBlock, conv: str, name: str, salience: ChannelSalience, gate: str, density: float
    ) -> None:
        super().__init__()
        layer, norm = block.conv_and_norm(conv)
        self.register_buffer("beta", norm.bias.detach().clone())
        unshifted = deepcopy(norm)
        nn.init.zeros_(unshifted.bias)
        self.conv = FoldedConv(layer, unshifted, f"{name}.{conv}")
        self.gate = PooledLinear([salience.scores], (f"{gate}.{conv}.scores",), relu=True)
        self.count = math.ceil(density * layer.out_channels)

    def winners(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Features (1, in, h, w) or their means (1, in) -> the channels that run, int64, and their factors (1, n)."""
        values = self.gate(pooled)
        if self.count >= values.shape[1]:
            return torch.arange(values.shape[1], device=values.device), values.clamp(max=LIMIT)
        active = (values > values.topk(self.count + 1, dim=1).values[:, -1:])[0].nonzero()[:, 0]
        return active, values[:, active].clamp(max=LIMIT)

    def forward(
        self,
        x: Tensor,
        size: tuple[int, int],
        active: Tensor,
        scale: Tensor,
        inputs: Tensor | None,
        beside: Tensor | None,
    ) -> Tensor:
        """Return `relu(m (g conv + beta) + beside)` at the `active` channels.

        Of these there are `beside` (1, n, *size).
        """
        shift = self.beta[active][None, :, None, None].expand(1, -1, *size)
        residual = shift if beside is None else beside + shift
        return cast("Tensor", self.conv(x, active, inputs, scale=scale, residual=residual, relu=True))


class BoostedBlock(nn.Module):
    """A block of them. Channels that do not win are the shortcut's."""

    def __init__(
        self, block: ResidualBlock, folded: FoldedBlock, name: str, saliences: BlockSaliences, gate: str, density: float
    ) -> None:
        super().__init__()
        self.folded = folded
        self.convs = nn.ModuleList(
            BoostedConv(block, conv, name, cast("ChannelSalience", saliences[conv]), gate, density)
            for conv in block.branch_convs()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, in, h, w) -> (1, out, h', w')."""
        *inner, last = cast("list[BoostedConv]", list(self.convs))
        h, inputs, pooled = x, None, x
        for conv in inner:
            active, scale = conv.winners(pooled)
            h = conv(h, _size(conv.conv, h), active, scale, inputs, None)
            inputs, pooled = active, _scattered(h.mean((2, 3)), active, len(conv.beta))
        active, scale = last.winners(pooled)
        beside = x if self.folded.identity else self.folded.shortcut(x)
        out = relu(beside)
        out[:, active] = last(h, _size(last.conv, h), active, scale, inputs, beside[:, active])
        return out


def _size(conv: FoldedConv, x: Tensor) -> tuple[int, int]:
    return -(-x.shape[2] // conv.stride[0]), -(-x.shape[3] // conv.stride[1])


def _scattered(pooled: Tensor, active: Tensor, channels: int) -> Tensor:
    """Means of the active channels (1, n), zeros for the others: (1, channels)."""
    return pooled.new_zeros(1, channels).index_copy_(1, active, pooled)


class FbsExecutor(nn.Module):
    """Images (batch, channels, h, w) -> logits (batch, classes), image by image."""

    def __init__(self, net: FbsNet) -> None:
        super().__init__()
        backbone: Backbone = net.backbone
        self.backbone = FoldedBackbone(backbone, "backbone")
        density = float(net.density)
        self.boosted = nn.ModuleList(
            BoostedBlock(
                block,
                cast("FoldedBlock", self.backbone.blocks[index]),
                f"backbone.{name}",
                cast("BlockSaliences", net.saliences[index]),
                f"saliences.{index}",
                density,
            )
            for index, (name, block) in enumerate(backbone.named_blocks())
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, h, w) -> (batch, classes)."""
        return self._one(x) if len(x) == 1 else torch.cat([self._one(image) for image in torch.split(x, 1)])

    def _one(self, x: Tensor) -> Tensor:
        x = self.backbone.stem(x)
        for block in self.boosted:
            x = block(x)
        return self.backbone.head(x)
