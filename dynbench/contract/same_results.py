"""Two results of the same images, compared with each other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dynbench.method import LayerUsage, Output, Point


def split_batches(x: Tensor, size: int = 1) -> list[Tensor]:
    """Map (n, ...) -> tensors of (size, ...), the last of them shorter."""
    return [x[start : start + size] for start in range(0, len(x), size)]


TOLERANCE = 1e-3
"""Largest difference of logits, relative to the image's largest: fp32 sums in another order, nothing more. Ten times
that of a run's audit: a net of a few steps of training cancels more of what it sums."""


def not_the_same(one: Sequence[Output], other: Sequence[Output], points: Sequence[Point]) -> str | None:
    """Return what differs first between two results, to the last bit; None: nothing."""
    if not len(one) == len(other) == len(points):
        return f"{len(points)} operating points have {len(one)} and {len(other)} outputs"
    for first, second, point in zip(one, other, points, strict=True):
        where = f'at point "{point.name}"'
        if not torch.equal(first.logits, second.logits):
            image = int((first.logits != second.logits).any(1).nonzero()[0, 0])
            return f"{where}, image {image}: logits differ by {float((first.logits - second.logits).abs().max()):.2g}"
        layer = _other_usage(first, second)
        if layer is not None:
            return f"{where}: the usage of layer {layer} differs"
    return None


def _other_usage(one: Output, other: Output) -> str | None:
    """A layer whose usage differs."""
    whole = LayerUsage()
    for layer in {**one.usage, **other.usage}:
        mine, theirs = one.usage.get(layer, whole).parts, other.usage.get(layer, whole).parts
        if mine.keys() != theirs.keys() or not all(torch.equal(part, theirs[name]) for name, part in mine.items()):
            return layer
    return None


def far_apart(logits: Tensor, others: Tensor) -> Tensor:
    """Return for each image, bool (batch,), whether its logits (batch, classes) differ by more than rounding."""
    scale = logits.abs().amax(1).clamp(min=1e-6)
    return ~((logits - others).abs().amax(1) <= TOLERANCE * scale)
