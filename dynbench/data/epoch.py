"""The batches of a training epoch, of tensors and of files alike, for one process or each of several."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dynbench.data.augment import crop_flip, draw_crops
from dynbench.data.image_files import ImageFiles
from dynbench.data.split import Split


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
        """Which of the `size` images of a step. Raises ValueError when they cannot be divided evenly."""
        if size % self.world:
            raise ValueError(f"{size} images a step cannot be divided among {self.world} processes")
        each = size // self.world
        return slice(self.rank * each, (self.rank + 1) * each)


WHOLE = Share()


def epoch_batches(
    train: Split, size: int, seed: int, augment: bool, share: Share = WHOLE
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images, uint8, and labels of each step of `share`; `size` images a step over all processes, each image at most
    once an epoch, the last incomplete step left out. Order and augmentation depend on `seed` alone: the shares of one
    step put together are the step of one process, and a later start gives the steps that were left."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator).to(train.labels.device)
    steps = torch.split(order[: len(order) // size * size], size)
    if isinstance(train.images, ImageFiles):
        mine = [numbers[share.of(size)] for numbers in steps[share.start :]]
        for numbers, images in zip(mine, train.images.stream(mine, seed if augment else None), strict=True):
            yield images, train.labels[numbers]
        return
    part = share.of(size)
    crops = _draw_epoch(len(steps), size, generator, train.images.device) if augment else None
    for step in range(share.start, len(steps)):
        images, labels = train.images[steps[step][part]], train.labels[steps[step][part]]
        yield images if crops is None else crop_flip(images, crops[0][step, :, part], crops[1][step, part]), labels


def _draw_epoch(steps: int, size: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """`draw_crops` for every step, also those of other processes: (steps, 2, size) and (steps, size). Moved to the
    device at once: a GPU waits for the host at every copy from memory that is not pinned."""
    shifts, flips = zip(*(draw_crops(size, generator) for _ in range(steps)), strict=True)
    return torch.stack(shifts).to(device), torch.stack(flips).to(device)
