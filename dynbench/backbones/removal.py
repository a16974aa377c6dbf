"""Removing filters for good: the net that is left is smaller, and every layer of it runs whole.

Filters are removed inside a block's branch only, the way Li et al. (arXiv 1608.08710, section 3.3) prune residual
nets: of every branch convolution but the last, whose outputs have to fit the shortcut's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil

import torch
from torch import Tensor, nn

from dynbench.backbones.residual import Backbone, ResidualBlock


@dataclass(frozen=True)
class InnerConv:
    """A convolution of a block's branch, with the BN after it and the convolution that reads it.

    `name` is the layer's in the backbone (`layer1.0.conv1`), `stage` that of its stage (`layer1`). `number` is Li et
    al.'s: the stem is layer 1, then the branches' convolutions in order; shortcuts have none.
    """

    name: str
    stage: str
    number: int
    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    reader: nn.Conv2d

    @property
    def filters(self) -> int:
        return self.conv.out_channels

    def keep(self, filters: Tensor) -> None:
        """Remove every filter but those with the indices `filters` (int64), in place: the convolution's output
        channels, the BN's, and the input channels of the convolution that reads them.

        Raises ValueError when none would be left, and for grouped convolutions.
        """
        if not len(filters):
            raise ValueError(f"{self.name}: at least one filter has to be left")
        if self.conv.groups > 1 or self.reader.groups > 1:
            raise ValueError(f"{self.name}: filters of grouped convolutions cannot be removed one by one")
        _select(self.conv, 0, filters)
        for name, value in [*self.norm.named_parameters(), *self.norm.named_buffers()]:
            if value.ndim:  # BN's counter of batches has no channels
                setattr(self.norm, name, _selected(value, 0, filters))
        _select(self.reader, 1, filters)
        self.conv.out_channels = self.norm.num_features = self.reader.in_channels = len(filters)


def inner_convs(backbone: Backbone) -> Iterator[InnerConv]:
    """Every convolution of which filters can be removed, in the order of execution."""
    number = 1
    for name, block in backbone.named_blocks():
        for conv, reader in pairwise(block.branch_convs()):
            number += 1
            stage = name.partition(".")[0]
            parts = (_conv(block, conv), _norm(block, conv), _conv(block, reader))
            yield InnerConv(f"{name}.{conv}", stage, number, *parts)
        number += 1


def fit_filters(backbone: Backbone, weights: Mapping[str, Tensor], prefix: str = "") -> None:
    """Shrink `backbone` to the filters that its trained `weights` have, by name after `prefix`: what `Method.restore`
    needs. Values are left to whoever loads the weights."""
    for layer in inner_convs(backbone):
        weight = weights.get(f"{prefix}{layer.name}.weight")
        if weight is not None and len(weight) < layer.filters:
            layer.keep(torch.arange(len(weight), device=layer.conv.weight.device))


def l1_norms(conv: nn.Conv2d) -> Tensor:
    """Sum of each filter's absolute weights, (filters,) in float64: Li et al., section 3.1."""
    return conv.weight.detach().double().abs().sum((1, 2, 3))


def largest(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest of `scores` (n,), ascending, as `keep` takes them; of equals, the first."""
    return scores.sort(descending=True, stable=True).indices[:count].sort().values


def rounded_up(ratio: float, filters: int) -> int:
    """How many of `filters` a share of them is, so that one is left."""
    # As it was written: 0.1 of 30 is 3, and a float's 0.1 is a little more.
    return min(ceil(Fraction(str(ratio)) * filters), filters - 1)


def _conv(block: ResidualBlock, name: str) -> nn.Conv2d:
    conv = block.get_submodule(name)
    assert isinstance(conv, nn.Conv2d)
    return conv


def _norm(block: ResidualBlock, conv: str) -> nn.BatchNorm2d:
    norm = block.get_submodule(conv.replace("conv", "bn"))
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


def _select(conv: nn.Conv2d, dim: int, channels: Tensor) -> None:
    """Keep some output (`dim` 0) or input (`dim` 1) channels."""
    weight = _selected(conv.weight, dim, channels)
    assert isinstance(weight, nn.Parameter)
    conv.weight = weight
    if dim == 0 and conv.bias is not None:
        conv.bias = _selected(conv.bias, 0, channels)


def _selected(value: Tensor, dim: int, channels: Tensor) -> Tensor:
    """A part of a parameter or buffer, itself one, in the same memory format."""
    channels_last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)  # noqa: PLR2004
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    part = value.detach().index_select(dim, channels.to(value.device)).contiguous(memory_format=memory_format)
    return nn.Parameter(part, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else part
