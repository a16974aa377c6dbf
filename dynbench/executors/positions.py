"""Convolutions at some positions of their output.

Of the others nothing is computed, and nothing that only they need is read.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d

from dynbench.executors.convolution import FoldedConv


def positions_read(mask: Tensor, conv: nn.Conv2d | FoldedConv, size: tuple[int, int]) -> Tensor:
    """Return the positions of its input that a convolution reads to compute those in `mask` of its output.

    `mask`: (batch, h, w). The result: `(batch, *size)`, 1 where it reads, of `mask`'s type, and differentiable where
    that is a float. It is LAUDNet's and DynConv's dilation: every stride-th pixel, and its neighbours under the kernel.

    Raises ValueError for convolutions that are not padded to keep the kernel's centre inside.
    """
    kernel, stride, padding, dilation = conv.weight.shape[2:], conv.stride, conv.padding, conv.dilation
    reach = tuple(spread * (side - 1) for spread, side in zip(dilation, kernel, strict=True))
    if isinstance(padding, str) or tuple(2 * one for one in padding) != reach:
        raise ValueError("positions are only followed through convolutions whose padding is half of their kernel")
    floats = mask if mask.is_floating_point() else mask.float()
    placed = floats
    if tuple(stride) != (1, 1):
        placed = floats.new_zeros(len(mask), *size)
        placed[:, :: stride[0], :: stride[1]] = floats
    if max(reach):
        sides = (reach[0] + 1, reach[1] + 1)
        placed = max_pool2d(placed[:, None], sides, 1, (sides[0] // 2, sides[1] // 2))[:, 0]
    return placed.to(mask.dtype)


def write_positions(
    conv: FoldedConv,
    x: Tensor,
    where: Tensor,
    out: Tensor,
    outputs: Tensor | None = None,
    inputs: Tensor | None = None,
    add: bool = False,
) -> Tensor:
    """Write `relu(conv(x) + bias)` into `out` at the positions `where`, and return `out`.

    `out` is (batch, active outputs, h', w'); `where` are int64 indices of (batch, h', w') laid flat, in rising order.
    With `add` it is `relu(conv(x) + bias + out)`. Nothing else of `out` is touched, and of `x` (batch, active inputs,
    h, w) nothing is read that lies under no kernel. `outputs` and `inputs` are as in `FoldedConv.forward`.

    Raises ValueError for grouped convolutions, and for those whose ReLU is cut off.
    """
    if conv.groups > 1 or conv.limit is not None:
        raise ValueError(f"{conv.layers[0]}: positions of a grouped convolution, or before a ReLU6, cannot be left out")
    if conv.kernel is not None and len(x) == 1:
        return conv.kernel.at(x, where, out, outputs, inputs, add)
    image, row, column = _places(where, out)
    weight = conv.weight if outputs is None else conv.weight[outputs]
    weight = weight if inputs is None else weight[:, inputs]
    bias = conv.bias if outputs is None else conv.bias[outputs]
    columns = _columns(conv, x, image, row, column)
    values = torch.addmm(bias[:, None], weight.flatten(1), columns)
    into = out.transpose(0, 1)
    into[:, image, row, column] = (values + into[:, image, row, column] if add else values).relu_()
    return out


def _places(where: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, row and column of each position, int64 (positions,)."""
    height, width = out.shape[2:]
    within, column = where // width, where % width
    return within // height, within % height, column


def _columns(conv: FoldedConv, x: Tensor, image: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """What the kernel sees at each position: (input channels * taps, positions), zero beside the image."""
    (high, wide), (height, width) = conv.weight.shape[2:], x.shape[2:]
    tap = torch.arange(high * wide, device=x.device)[:, None]
    rows = row * conv.stride[0] - conv.padding[0] + tap // wide * conv.dilation[0]
    columns = column * conv.stride[1] - conv.padding[1] + tap % wide * conv.dilation[1]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    seen = x.transpose(0, 1)[:, image, rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
    return seen.masked_fill_(~inside, 0.0).flatten(0, 1)


class PatchScores(nn.Module):
    """One score for each patch of a map: a linear layer on the mean over its pixels.

    `layers` names the model's layer that it stands for.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, source: nn.Linear, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = layers
        self.register_buffer("weight", source.weight.detach())
        self.register_buffer("bias", source.bias.detach())

    def forward(self, x: Tensor, patches: tuple[int, int]) -> Tensor:
        """Features (batch, channels, h, w) -> scores `(batch, *patches)`."""
        pooled = x if tuple(x.shape[2:]) == patches else adaptive_avg_pool2d(x, patches)
        scores = torch.bmm(self.weight.expand(len(x), -1, -1), pooled.flatten(2)) + self.bias
        return scores.view(len(x), *patches)


def spread(patches: Tensor, size: tuple[int, int]) -> Tensor:
    """Return what each position of a map `(batch, *size)` has from its patch (batch, rows, columns): the nearest."""
    if tuple(patches.shape[1:]) == size:
        return patches
    row, column = (
        torch.arange(side, device=patches.device) * count // side
        for side, count in zip(size, patches.shape[1:], strict=True)
    )
    return patches[:, row[:, None], column]
