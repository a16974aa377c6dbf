"""Augmentation and normalisation as batched tensor operations, on whatever device the images are."""

import torch
from torch import Tensor
from torch.nn.functional import pad

PADDING = 4


def random_crop_flip(images: Tensor, generator: torch.Generator, padding: int = PADDING) -> Tensor:
    """Zero-pad by `padding`, crop at a random place, flip half of the images left to right.

    (batch, channels, height, width) -> the same shape and type, every image on its own. Random numbers are
    drawn on the CPU from `generator`, so that every device sees the same crops.
    """
    return crop_flip(images, *draw_crops(len(images), generator, padding), padding)


def draw_crops(batch: int, generator: torch.Generator, padding: int = PADDING) -> tuple[Tensor, Tensor]:
    """Where each image of a batch is cropped, rows and columns (2, batch), and whether it is flipped (batch,)."""
    shifts = torch.randint(0, 2 * padding + 1, (2, batch), generator=generator)
    return shifts, torch.rand(batch, generator=generator) < 0.5  # noqa: PLR2004  (half)


def crop_flip(images: Tensor, shifts: Tensor, flips: Tensor, padding: int = PADDING) -> Tensor:
    """Crop and flip images (batch, channels, height, width) as `draw_crops` says."""
    batch, channels, height, width = images.shape
    shifts, flips = shifts.to(images.device), flips.to(images.device)
    columns = torch.arange(width, device=images.device).expand(batch, width)
    columns = torch.where(flips[:, None], width - 1 - columns, columns) + shifts[1][:, None]
    rows = torch.arange(height, device=images.device) + shifts[0][:, None]
    padded = pad(images, (padding,) * 4)
    image = torch.arange(batch, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


class Normalise:
    """uint8 images -> float32, `(x / 255 - mean) / std` per channel, in the wanted memory format."""

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device, channels_last: bool = False
    ) -> None:
        self._scale = torch.tensor([1 / (255 * s) for s in std], device=device)[:, None, None]
        self._shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)[:, None, None]
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, images: Tensor) -> Tensor:
        """(batch, channels, height, width) uint8 -> float32 of the same shape."""
        x = images.to(dtype=torch.float32, memory_format=self._format)
        return x.mul_(self._scale).add_(self._shift)
