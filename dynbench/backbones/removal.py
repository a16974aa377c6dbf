"""Removing filters for good: the net that is left is smaller, and every layer of it runs whole.

Filters are removed inside a block's branch only, the way Li et al. (arXiv 1608.08710, section 3.3) prune residual
nets: of every branch convolution but the last, whose outputs have to fit the shortcut's. A depthwise convolution has as
many channels as the convolution that it reads, and loses those with it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import takewhile
from math import ceil

import torch
from torch import Tensor, nn

from dynbench.backbones.backbone import Backbone, ResidualBlock

ConvNorm = tuple[nn.Conv2d, nn.BatchNorm2d]


@dataclass(frozen=True)
class InnerConv:
    """A convolution of a block's branch, with the BN after it and the convolution that reads it.

    `name` is the layer's in the backbone (`layer1.0.conv1`), `block` its block's (`layer1.0`), `stage` that of its
    stage (`layer1`). `number` is Li et al.'s: the stem is layer 1, then the branches' convolutions in order; shortcuts
    have none. `between` are the depthwise convolutions, with BN, that stand before the reader, by name in the backbone.
    """

    name: str
    block: str
    stage: str
    number: int
    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    reader: nn.Conv2d
    between: Mapping[str, ConvNorm] = field(default_factory=dict)

    @property
    def filters(self) -> int:
        """Return how many filters the convolution has."""
        return self.conv.out_channels

    def keep(self, filters: Tensor) -> None:
        """Remove every filter but those with the indices `filters` (int64), in place.

        The convolution's output channels, the BN's, the depthwise convolutions' in between, and the input channels of
        the convolution that reads them.

        Raises ValueError when none would be left, and for other grouped convolutions.
        """
        if not len(filters):
            raise ValueError(f"{self.name}: at least one filter has to be left")
        if self.conv.groups > 1 or self.reader.groups > 1:
            raise ValueError(f"{self.name}: filters of grouped convolutions cannot be removed one by one")
        for conv, norm in ((self.conv, self.norm), *self.between.values()):
            _select(conv, 0, filters)
            _select_norm(norm, filters)
            conv.out_channels = len(filters)
        for conv, _ in self.between.values():
            conv.in_channels = conv.groups = len(filters)
        _select(self.reader, 1, filters)
        self.reader.in_channels = len(filters)


def inner_convs(backbone: Backbone) -> Iterator[InnerConv]:
    """Yield every convolution of which filters can be removed, in the order of execution.

    A depthwise convolution that opens a branch is none: its channels are the block's input.
    """
    number = 1
    for name, block in backbone.named_blocks():
        convs = block.branch_convs()
        for index, conv in enumerate(convs[:-1]):
            number += 1
            if not _is_depthwise(block, conv):
                yield _inner_conv(backbone, name, block, index, number)
        number += 1


def _inner_conv(backbone: Backbone, name: str, block: ResidualBlock, index: int, number: int) -> InnerConv:
    conv, *later = block.branch_convs()[index:]
    between = list(takewhile(lambda one: _is_depthwise(block, one), later[:-1]))
    reader, _ = block.conv_and_norm(later[len(between)])
    pairs = {f"{name}.{one}": block.conv_and_norm(one) for one in between}
    stage = backbone.stage_of(name)
    return InnerConv(f"{name}.{conv}", name, stage, number, *block.conv_and_norm(conv), reader, pairs)


def _is_depthwise(block: ResidualBlock, name: str) -> bool:
    conv, _ = block.conv_and_norm(name)
    return conv.groups == conv.in_channels == conv.out_channels > 1


def fit_filters(backbone: Backbone, weights: Mapping[str, Tensor], prefix: str = "") -> None:
    """Shrink `backbone` to the filters that its trained `weights` have, by name after `prefix`.

    `Method.restore` needs it. The caller loads the values of the weights.
    """
    for layer in inner_convs(backbone):
        weight = weights.get(f"{prefix}{layer.name}.weight")
        if weight is not None and len(weight) < layer.filters:
            layer.keep(torch.arange(len(weight), device=layer.conv.weight.device))


def l1_norms(conv: nn.Conv2d) -> Tensor:
    """Sum of each filter's absolute weights, (filters,) in float64: Li et al., section 3.1."""
    return conv.weight.detach().double().abs().sum((1, 2, 3))


def largest(scores: Tensor, count: int) -> Tensor:
    """Return indices of the `count` largest of `scores` (n,), ascending, as `keep` takes them; of equals, the first."""
    return scores.sort(descending=True, stable=True).indices[:count].sort().values


def rounded_up(ratio: float, filters: int) -> int:
    """Return how many of `filters` a share of them is, so that one is left."""
    # As it was written: 0.1 of 30 is 3, and a float's 0.1 is a little more.
    return min(ceil(Fraction(str(ratio)) * filters), filters - 1)


def _select(conv: nn.Conv2d, dim: int, channels: Tensor) -> None:
    """Keep some output (`dim` 0) or input (`dim` 1) channels."""
    weight = _selected(conv.weight, dim, channels)
    assert isinstance(weight, nn.Parameter)
    conv.weight = weight
    if dim == 0 and conv.bias is not None:
        conv.bias = _selected(conv.bias, 0, channels)


def _select_norm(norm: nn.BatchNorm2d, channels: Tensor) -> None:
    for name, value in [*norm.named_parameters(), *norm.named_buffers()]:
        if value.ndim:  # BN's counter of batches has no channels
            setattr(norm, name, _selected(value, 0, channels))
    norm.num_features = len(channels)


def _selected(value: Tensor, dim: int, channels: Tensor) -> Tensor:
    """A part of a parameter or buffer, itself one, in the same memory format."""
    channels_last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)  # noqa: PLR2004
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    part = value.detach().index_select(dim, channels.to(value.device)).contiguous(memory_format=memory_format)
    return nn.Parameter(part, requires_grad=value.requires_grad) if isinstance(value, nn.Parameter) else part
