"""Progressive resizing: smaller training images first."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate

from dynbench.suite.recipe import Phase


def side_at(phases: Sequence[Phase], fraction: float, whole: int) -> int:
    """Return the side of training images, in pixels, after a `fraction` of a stage; `whole` after the last phase."""
    return next((phase.side for phase in phases if fraction < phase.until), whole)


def epoch_sides(phases: Sequence[Phase], epochs: int, whole: int) -> tuple[int, ...]:
    """Return the side of each of a stage's epochs, in pixels: an epoch has the size that it begins with."""
    return tuple(side_at(phases, epoch / epochs, whole) for epoch in range(epochs))


def at_side(shape: tuple[int, int, int], side: int) -> tuple[int, int, int]:
    """Return the shape (channels, height, width) of images scaled to `side`."""
    return shape[0], side, side


def resized(images: Tensor, side: int) -> Tensor:
    """Scale images (batch, channels, height, width) to `side` pixels a side, bilinearly and with antialiasing.

    Those of that height are returned as they are.
    """
    if images.shape[-2] == side:
        return images
    return interpolate(images, size=(side, side), mode="bilinear", antialias=True)
