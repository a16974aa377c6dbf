"""Images that stay in their files until they are wanted."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from dynbench.data.decoders import Batch, Decoders

AHEAD = 3
"""Batches that are decoded ahead of the one in use."""
ALL = slice(None)


class ImageFiles:
    """Stands where a uint8 tensor (n, 3, side, side) of images stands.

    Indexing gives such a tensor, decoded then, of the centre crops. Whole splits are better read as a `stream`, which
    is decoded ahead.

    Reading raises UserError that names the file which cannot be decoded.
    """

    def __init__(self, decoders: Decoders, device: torch.device | None = None, numbers: Tensor | None = None) -> None:
        """`numbers`, int64: only these of the decoders' files; None: all."""
        self._decoders, self._numbers = decoders, numbers
        self.device = device or torch.device("cpu")

    def __len__(self) -> int:
        return self._decoders.count if self._numbers is None else len(self._numbers)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), 3, self._decoders.side, self._decoders.side

    def to(self, device: torch.device) -> "ImageFiles":
        """Return the same images, decoded here and then sent to `device`, as uint8."""
        return ImageFiles(self._decoders, device, self._numbers)

    def part(self, which: Tensor) -> "ImageFiles":
        """Some of the images, by their numbers here; none is decoded."""
        return ImageFiles(self._decoders, self.device, which if self._numbers is None else self._numbers[which])

    def __getitem__(self, which: slice | Tensor | Sequence[int]) -> Tensor:
        chosen: Any = which.cpu() if isinstance(which, Tensor) else which
        return next(self.stream([torch.arange(len(self))[chosen]]))

    def stream(self, batches: Iterable[Tensor], seed: int | None = None) -> Iterator[Tensor]:
        """Yield the images of each tensor (batch,) of image numbers.

        With a `seed`, they are random crops and flips instead of centre crops, which depend on the seed and the image's
        number and on nothing else.
        """
        waiting: deque[Batch] = deque()
        for chosen in batches:
            numbers = chosen if self._numbers is None else self._numbers[chosen]
            waiting.append(self._decoders.submit(numbers.tolist(), seed, self.device.type == "cuda"))
            if len(waiting) > AHEAD:
                yield self._sent(waiting.popleft().wait())
        while waiting:
            yield self._sent(waiting.popleft().wait())

    def _sent(self, batch: Tensor) -> Tensor:
        return batch.to(self.device, non_blocking=True)


Images = Tensor | ImageFiles
"""uint8 (n, channels, height, width)."""


def in_batches(images: Images, size: int, part: slice = ALL) -> Iterator[Tensor]:
    """Yield all of the images, or a contiguous `part` of them, in order, `size` at a time."""
    first, end, _ = part.indices(len(images))
    if isinstance(images, ImageFiles):
        yield from images.stream(torch.arange(start, min(start + size, end)) for start in range(first, end, size))
        return
    for start in range(first, end, size):
        yield images[start : min(start + size, end)]
