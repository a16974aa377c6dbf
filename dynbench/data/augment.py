"""Augmentation and normalisation as batched tensor operations, on whatever device the images are."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from dynbench.suite.recipe import Augmentation


@dataclass(frozen=True)
class Changes:
    """How each image of a step, or of several, is changed.

    `shifts` (..., 2, batch): where it is cropped, rows and columns; `flips` (..., batch): whether it is flipped;
    `centres` (..., 2, batch): of its cutout, None without one.
    """

    shifts: Tensor
    flips: Tensor
    centres: Tensor | None = None

    def at(self, step: int, part: slice) -> "Changes":
        """Return those of the images `part` of a step, of several."""
        centres = None if self.centres is None else self.centres[step, :, part]
        return Changes(self.shifts[step, :, part], self.flips[step, part], centres)

    def to(self, device: torch.device) -> "Changes":
        """Return the same on another device."""
        centres = None if self.centres is None else self.centres.to(device)
        return Changes(self.shifts.to(device), self.flips.to(device), centres)


def draw_changes(
    batch: int, generator: torch.Generator, how: Augmentation, size: tuple[int, int], flips: Tensor | None = None
) -> Changes:
    """Draw those of a batch of images of `size` (height, width), on the CPU, so that every device sees the same.

    `flips` (batch,): which are flipped, where that is not drawn. What an option draws comes last: without it, the
    others draw what they always drew.
    """
    shifts = torch.randint(0, 2 * how.padding + 1, (2, batch), generator=generator)
    drawn = torch.rand(batch, generator=generator) < 0.5  # noqa: PLR2004  (half)
    if flips is None:
        flips = drawn if how.flip == "random" else torch.zeros_like(drawn)
    if not how.cutout:
        return Changes(shifts, flips)
    centres = torch.stack([torch.randint(0, pixels, (batch,), generator=generator) for pixels in size])
    return Changes(shifts, flips, centres)


def stack_changes(steps: Sequence[Changes]) -> Changes:
    """Return those of several steps, one after another in a new first dimension."""
    centres = [one.centres for one in steps if one.centres is not None]
    shifts, flips = torch.stack([one.shifts for one in steps]), torch.stack([one.flips for one in steps])
    return Changes(shifts, flips, torch.stack(centres) if centres else None)


def augmented(images: Tensor, changes: Changes, how: Augmentation, fill: Tensor | None = None) -> Tensor:
    """Crop, flip and cut out of images (batch, channels, height, width) of any type; the same shape and type.

    `fill` (channels,): what a cutout is set to.
    """
    changed = crop_flip(images, changes.shifts, changes.flips, how.padding, how.padding_mode)
    if changes.centres is None or fill is None:
        return changed
    cut = _cut(changes.centres, how.cutout, images.shape[-2:])
    colour: Tensor = fill[:, None, None]
    return torch.where(cut, colour, changed)


def _cut(centres: Tensor, side: int, size: Sequence[int]) -> Tensor:
    """Which pixels lie in a square of `side` around the `centres` (2, batch): (batch, 1, height, width)."""
    inside: list[Tensor] = []
    for pixels, centre in zip(size, centres, strict=True):
        first = centre[:, None] - side // 2
        place = torch.arange(pixels, device=centres.device)
        inside.append((place >= first) & (place < first + side))
    rows, columns = inside
    cut: Tensor = rows[:, None, :, None] & columns[:, None, None, :]
    return cut


def crop_flip(images: Tensor, shifts: Tensor, flips: Tensor, padding: int, mode: str = "zeros") -> Tensor:
    """Pad images (batch, channels, height, width), crop them to their size, and flip some.

    `padding` is in pixels, `mode` zeros or reflect. Crops begin at `shifts` (2, batch) rows and columns; those of
    `flips` (batch,) are flipped left to right.
    """
    batch, channels, height, width = images.shape
    shifts, flips = shifts.to(images.device), flips.to(images.device)
    columns = torch.arange(width, device=images.device).expand(batch, width)
    columns = torch.where(flips[:, None], width - 1 - columns, columns) + shifts[1][:, None]
    rows = torch.arange(height, device=images.device) + shifts[0][:, None]
    if mode == "reflect":
        rows, columns = _reflected(rows - padding, height), _reflected(columns - padding, width)
        padded = images
    else:
        padded = pad(images, (padding,) * 4)
    image = torch.arange(batch, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _reflected(places: Tensor, pixels: int) -> Tensor:
    """Places beyond a border of an image are mirrored at its last pixel, which is not repeated."""
    places = places.abs()
    return torch.where(places >= pixels, 2 * (pixels - 1) - places, places)


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
