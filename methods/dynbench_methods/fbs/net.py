"""FBS's model, and what each image runs of it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from dynbench.method import Backbone, LayerUsage, ResidualBlock

LIMIT = 4.0
"""Largest factor of a channel: saliences are unbounded, and multiply what the next ones are computed from."""


def winners(saliences: Tensor, density: float) -> Tensor:
    """Return which channels are among the ceil(density * n) largest of saliences (batch, n), bool.

    Strictly above the next one, as published: of equals at the edge, zeros of the ReLU say, none wins, so that fewer
    may run.
    """
    count = math.ceil(density * saliences.shape[1])
    if count >= saliences.shape[1]:
        return torch.ones_like(saliences, dtype=torch.bool)
    return saliences > saliences.topk(count + 1, dim=1).values[:, -1:]


class ChannelSalience(nn.Module):
    """The saliences of a convolution's output channels, from the mean of its input; they start at about 1."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.scores = nn.Linear(conv.in_channels, conv.out_channels)
        nn.init.normal_(self.scores.weight, std=0.01)
        nn.init.ones_(self.scores.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, in, h, w) -> (batch, out), not negative."""
        return relu(self.scores(x.mean((2, 3)))).float()


class BlockSaliences(nn.ModuleDict):
    """Those of a block's convolutions, by their names."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__({name: ChannelSalience(block.conv_and_norm(name)[0]) for name in block.branch_convs()})


@dataclass(frozen=True)
class Gated:
    """Of one convolution on a batch: the layer's name, saliences (batch, out), and which channels run, bool."""

    layer: str
    saliences: Tensor
    runs: Tensor


class FbsNet(nn.Module):
    """A backbone in whose blocks each convolution has saliences, at a density that stages lower.

    Everything is computed and then masked.
    """

    density: Tensor

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.saliences = nn.ModuleList(BlockSaliences(block) for _, block in backbone.named_blocks())
        self.register_buffer("density", torch.ones((), dtype=torch.float64))
        for _, block in backbone.named_blocks():
            for name in block.branch_convs():
                block.conv_and_norm(name)[1].weight.requires_grad_(False)  # saliences take its place

    def run(self, x: Tensor) -> tuple[Tensor, list[list[Gated]]]:
        """Map images (batch, channels, h, w) -> logits (batch, classes) and, by block, what each convolution ran."""
        density = float(self.density)
        x = self.backbone.stem(x)
        seen = []
        for (name, block), saliences in zip(self.backbone.named_blocks(), self.saliences, strict=True):
            assert isinstance(saliences, BlockSaliences)
            x, gated = boosted_block(block, f"backbone.{name}", x, saliences, density)
            seen.append(gated)
        return self.backbone.head(x), seen

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]


def boosted_block(
    block: ResidualBlock, name: str, x: Tensor, saliences: BlockSaliences, density: float
) -> tuple[Tensor, list[Gated]]:
    """Compute all of a block (batch, in, h, w) -> (batch, out, h', w').

    Each convolution gives `m (g gamma norm(conv) + beta)`, where g are its saliences and m the winners; ReLU follows,
    for the last one after the sum.
    """
    h, seen = x, []
    convs = block.branch_convs()
    for conv in convs:
        layer, norm = block.conv_and_norm(conv)
        values = saliences[conv](h)
        runs = winners(values, density)
        seen.append(Gated(f"{name}.{conv}", values, runs))
        h = _boosted(norm(layer(h)), norm.bias, values, runs)
        h = h if conv == convs[-1] else relu(h)
    return block.join(h, x), seen


def _boosted(y: Tensor, beta: Tensor, saliences: Tensor, runs: Tensor) -> Tensor:
    """`m (g (y - beta) + beta)`: y is a BN's output, whose shift is not boosted."""
    scale = (saliences.clamp(max=LIMIT) * runs)[:, :, None, None].to(y.dtype)
    shift = beta[:, None, None].to(y.dtype)
    return (y - shift) * scale + shift * runs[:, :, None, None].to(y.dtype)


def usage_of(seen: Sequence[Sequence[Gated]]) -> dict[str, LayerUsage]:
    """Return what ran, as masks.

    The first convolution of a block reads the residual stream, which is dense; each other one what the one before it
    wrote.
    """
    return dict(_usage(seen))


def _usage(seen: Sequence[Sequence[Gated]]) -> Iterator[tuple[str, LayerUsage]]:
    for block in seen:
        inputs = None
        for gated in block:
            yield gated.layer, LayerUsage(inputs=inputs, outputs=gated.runs)
            inputs = gated.runs
