"""The batches of a training epoch, of tensors and of files alike, for one process or each of several."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dynbench.data.augment import Changes, augmented, draw_changes, stack_changes
from dynbench.data.image_files import ImageFiles
from dynbench.data.split import Split
from dynbench.suite.recipe import Augmentation


@dataclass(frozen=True)
class Share:
    """The part of an epoch that one process trains on: number `rank` of `world`, beginning at step `start`."""

    rank: int = 0
    world: int = 1
    start: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world or self.start < 0:
            raise ValueError(f"there is no such share of an epoch: {self}")

    def of(self, size: int) -> slice:
        """Return which of the `size` images of a step. Raises ValueError when they cannot be divided evenly."""
        if size % self.world:
            raise ValueError(f"{size} images a step cannot be divided among {self.world} processes")
        each = size // self.world
        return slice(self.rank * each, (self.rank + 1) * each)


WHOLE = Share()


STANDARD = Augmentation()
"""Random crops of images padded by four zeros, and flips."""


@dataclass(frozen=True)
class Augment:
    """How an epoch's images are changed.

    `flips` (images of the split,): which are flipped, where that is not drawn; `fill` (channels,), uint8: the colour of
    a cutout. Images in files are cropped in a way of their own.
    """

    how: Augmentation = STANDARD
    flips: Tensor | None = None
    fill: Tensor | None = None


def epoch_batches(
    train: Split, size: int, seed: int, augment: Augment | None, share: Share = WHOLE
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images, uint8, and labels of each step of `share`.

    There are `size` images a step over all processes, each image at most once an epoch; the last incomplete step is
    left out.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)
    steps = torch.split(order.to(train.labels.device)[: len(order) // size * size], size)
    if isinstance(train.images, ImageFiles):
        mine = [numbers[share.of(size)] for numbers in steps[share.start :]]
        for numbers, images in zip(mine, train.images.stream(mine, seed if augment else None), strict=True):
            yield images, train.labels[numbers]
        return
    part = share.of(size)
    changes = _draw_epoch(order, len(steps), size, generator, augment, train.images) if augment else None
    fill = augment.fill.to(train.images.device) if augment and augment.fill is not None else None
    for step in range(share.start, len(steps)):
        images, labels = train.images[steps[step][part]], train.labels[steps[step][part]]
        if augment and changes:
            images = augmented(images, changes.at(step, part), augment.how, fill)
        yield images, labels


def _draw_epoch(
    order: Tensor, steps: int, size: int, generator: torch.Generator, augment: Augment, images: Tensor
) -> Changes:
    """Draw the changes of every step, also those of other processes.

    For images (images, channels, height, width) taken in `order`. They are moved to their device at once: a GPU waits
    for the host at every copy from memory that is not pinned.
    """
    pixels = images.shape[2], images.shape[3]
    numbers = torch.split(order[: steps * size], size)
    flips = [None if augment.flips is None else augment.flips[one] for one in numbers]
    drawn = [draw_changes(size, generator, augment.how, pixels, one) for one in flips]
    return stack_changes(drawn).to(images.device)
