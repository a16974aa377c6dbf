"""A residual block on a batch in which every image runs its own channels, on the Triton kernels."""

from typing import cast

from torch import Tensor

from dynbench.executors.convolution import FoldedConv
from dynbench.executors.folded_block import FoldedBlock
from dynbench.kernels.triton import operators as gpu
from dynbench.kernels.triton.operators import ActiveRows


def fits(block: FoldedBlock, x: Tensor) -> bool:
    """Return whether the kernels are wanted and can run the block's gated channels on images like `x`."""
    plain = block.depthwise is None and block.skippable and block.ends_in_relu
    return gpu.wanted(x) and plain and all(conv.per_image_fits for conv in (block.first, _reader(block)))


def open_rows(block: FoldedBlock, x: Tensor, rows: ActiveRows, values: Tensor | None) -> Tensor:
    """Open as `FoldedBlock.open` does: x (images, in, h, w), scores `values` (rows,) or None -> (rows, h', w')."""
    return cast("Tensor", block.first(x, rows, scale=values, relu=True))


def narrow_rows(whole: Tensor, rows: ActiveRows, values: Tensor | None) -> Tensor:
    """Narrow as `FoldedBlock.narrow` does, of what was computed whole (images, mid, h', w'): (rows, h', w')."""
    some = whole[rows.image, rows.channel]
    return some if values is None else some * values[:, None, None]


def join_rows(block: FoldedBlock, hidden: Tensor, rows: ActiveRows, x: Tensor, layer: Tensor | None) -> Tensor:
    """Join as `FoldedBlock.join` does, image by image.

    hidden (rows, h', w'), x (images, in, h, w), scores `layer` (images,) or None -> (images, out, h'', w'').
    """
    first, *later = cast("list[FoldedConv]", list(block.rest))
    if not later:
        return cast("Tensor", first(hidden, None, rows, scale=layer, residual=block.shortcut(x), relu=True))
    y = first(hidden, None, rows, relu=True)
    for conv in later[:-1]:
        y = conv(y, relu=True)
    scale = None if layer is None else layer[:, None]
    return cast("Tensor", later[-1](y, scale=scale, residual=block.shortcut(x), relu=True))


def _reader(block: FoldedBlock) -> FoldedConv:
    """The convolution whose inputs are gated."""
    return cast("FoldedConv", block.rest[0])
