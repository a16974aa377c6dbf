"""Images and their labels, divided; and a test split that can be read once."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO

import numpy as np
import torch
from torch import Tensor

from dynbench.data.augment import Normalise
from dynbench.data.catalogue import Shape
from dynbench.data.image_files import Images
from dynbench.errors import UserError


@dataclass(frozen=True)
class Split:
    """`images` uint8 (n, channels, height, width), in memory or in files, and `labels` int64 (n,)."""

    images: Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, indices: Tensor) -> "Split":
        """Some of the images, in memory."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class RawData:
    """A data set as it lies on disk, before its training images are divided."""

    train: Split
    test: Callable[[], Split]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation: Split | None = None
    """What a rule of the data set's own has held out of `train` already."""
    notes: tuple[str, ...] = ()
    """What is unusual about it, a line each."""


class TestSplit:
    """The test split: `read` gives it once and raises after that. One run, one look."""

    __test__ = False  # not a pytest class

    def __init__(self, read: Callable[[], Split]) -> None:
        self._read: Callable[[], Split] | None = read

    def read(self) -> Split:
        """The test images and labels. Raises RuntimeError when they were read before in this run."""
        if self._read is None:
            raise RuntimeError("the test split was read already in this run; selection belongs to validation")
        read, self._read = self._read, None
        return read()


@dataclass(frozen=True)
class Data:
    """What a run trains on, selects on, and reads once at its end."""

    train: Split
    validation: Split
    test: TestSplit
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int
    augment: bool
    notes: tuple[str, ...] = ()
    """What is unusual about the data as they lie on disk, a line each."""

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of an image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def normalise(self, device: torch.device, channels_last: bool = False) -> Normalise:
        return Normalise(self.mean, self.std, device, channels_last)


def stored_permutation(name: str, size: int) -> Tensor:
    """The fixed permutation of a data set's training images that ships with dynbench."""
    raw = (files("dynbench.data") / "permutations" / f"{name}.npy").read_bytes()
    order = np.load(BytesIO(raw))
    if len(order) != size:
        raise UserError(f"{name} has {size} training images, {len(order)} expected")
    return torch.from_numpy(order.astype(np.int64))


def hold_out(name: str, train: Split, validation: int) -> tuple[Split, Split]:
    """(train, validation): the first `validation` images of the stored permutation are held out."""
    if not 0 < validation < len(train):
        raise UserError(f"validation must lie between 1 and {len(train) - 1} images of {name}, got {validation}")
    order = stored_permutation(name, len(train))
    held, kept = order[:validation].sort().values, order[validation:].sort().values
    return train.take(kept), train.take(held)
